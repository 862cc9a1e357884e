use super::*;
use proptest::prelude::*;

fn header(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [0, flags, questions, answers, 0, 0]
        .iter()
        .flat_map(|it: &u16| it.to_be_bytes())
        .collect()
}

fn labels(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.') {
        encoded.push(label.len() as u8);
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

fn record(name: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = name.to_vec();
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&class.to_be_bytes());
    record.extend_from_slice(&ttl.to_be_bytes());
    record.extend_from_slice(&(data.len() as u16).to_be_bytes());
    record.extend_from_slice(data);
    record
}

#[test]
fn a_query_asks_for_both_kinds_of_address() {
    let query = query("ab.local").unwrap();
    let mut expected = header(0, 2, 0);
    for kind in [1u16, 28] {
        expected.extend_from_slice(&labels("ab.local"));
        expected.extend_from_slice(&kind.to_be_bytes());
        expected.extend_from_slice(&1u16.to_be_bytes());
    }
    assert_eq!(query, expected);
}

#[test]
fn what_is_no_host_name_makes_no_query() {
    let long_label = format!("{}.local", "a".repeat(64));
    let long_name = format!("{}.local", vec!["a".repeat(60); 5].join("."));
    for name in ["", ".local", "a..local", &long_label, &long_name] {
        assert_eq!(query(name), None, "{name:?}");
    }
}

#[test]
fn addresses_of_both_kinds_are_read_in_any_case_with_the_cache_flush_bit() {
    let mut message = header(0x8400, 0, 2);
    message.extend(record(&labels("Ab.LOCAL"), 1, 0x8001, 120, &[10, 0, 0, 1]));
    let ip: Ipv6Addr = "2001:db8::1".parse().unwrap();
    message.extend(record(&labels("cd.local"), 28, 1, 60, &ip.octets()));
    let records = addresses(&message);
    assert_eq!(
        records,
        [
            Record {
                name: "ab.local".into(),
                address: "10.0.0.1".parse().unwrap(),
                ttl: 120
            },
            Record {
                name: "cd.local".into(),
                address: ip.into(),
                ttl: 60
            },
        ]
    );
}

#[test]
fn a_compressed_name_is_read_and_other_records_are_passed_over() {
    let mut message = header(0x8400, 1, 2);
    let question = message.len() as u8;
    message.extend(labels("ab.local"));
    message.extend_from_slice(&[0, 1, 0, 1]);
    message.extend(record(&[0xc0, question], 16, 1, 5, b"text"));
    message.extend(record(&[0xc0, question], 1, 1, 5, &[10, 0, 0, 2]));
    let records = addresses(&message);
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].name.as_str(), records[0].address),
        ("ab.local", "10.0.0.2".parse().unwrap())
    );
}

#[test]
fn a_circle_of_pointers_ends() {
    let mut message = header(0x8400, 0, 1);
    let here = message.len() as u8;
    message.extend(record(&[0xc0, here], 1, 1, 5, &[10, 0, 0, 2]));
    assert_eq!(addresses(&message), []);
}

#[test]
fn questions_and_failures_have_no_addresses() {
    for flags in [0x0000, 0x8403, 0xa400] {
        let mut message = header(flags, 0, 1);
        message.extend(record(&labels("ab.local"), 1, 1, 5, &[10, 0, 0, 2]));
        assert_eq!(addresses(&message), [], "{flags:#x}");
    }
}

#[test]
fn an_address_of_the_wrong_length_is_none() {
    let mut message = header(0x8400, 0, 2);
    message.extend(record(&labels("ab.local"), 1, 1, 5, &[10, 0, 0]));
    message.extend(record(&labels("ab.local"), 28, 1, 5, &[10, 0, 0, 1]));
    assert_eq!(addresses(&message), []);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        addresses(&bytes);
        let mut response = header(0x8400, 1, 9);
        response.extend_from_slice(&bytes);
        prop_assert!(addresses(&response).len() <= MAX_RECORDS);
    }

    #[test]
    fn every_host_name_can_be_asked_for(name in "[a-z0-9-]{1,63}") {
        let query = query(&format!("{name}.local")).unwrap();
        let mut reader = Reader { message: &query, at: 12 };
        prop_assert_eq!(reader.name(), Some(format!("{name}.local")));
    }
}
