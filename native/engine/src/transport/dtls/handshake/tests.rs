#![allow(clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

fn record(kind: u8, sequence: u16, offset: u8, fragment: &[u8]) -> Vec<u8> {
    let length = fragment.len() as u8;
    let mut bytes = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + length];
    bytes.extend([kind, 0, 0, 200]);
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, offset, 0, 0, length]);
    bytes.extend(fragment);
    bytes
}

#[test]
fn a_repetition_is_told_from_news() {
    let mut arrived = Arrived::default();
    let first = record(11, 3, 0, &[1; 20]);
    let second = record(11, 3, 20, &[1; 20]);
    assert!(!arrived.is_repetition(&first));
    assert!(arrived.is_repetition(&first));
    assert!(!arrived.is_repetition(&[first.clone(), second.clone()].concat()));
    assert!(arrived.is_repetition(&[second, first].concat()));
}

#[test]
fn encrypted_records_always_pass() {
    let mut arrived = Arrived::default();
    let mut finished = record(20, 5, 0, &[1; 12]);
    finished[4] = 1;
    assert!(!arrived.is_repetition(&finished));
    assert!(!arrived.is_repetition(&finished));
}

#[test]
fn a_first_hello_may_ask_again_until_the_second_came() {
    let mut arrived = Arrived::default();
    let first = record(1, 0, 0, &[1; 60]);
    let second = record(1, 1, 0, &[1; 60]);
    assert!(!arrived.is_repetition(&first));
    assert!(!arrived.is_repetition(&first));
    assert!(!arrived.is_repetition(&second));
    assert!(arrived.is_repetition(&first));
    assert!(arrived.is_repetition(&second));
}

/// A ClientHello body with a list of SRTP profiles behind a large extension.
fn hello(profiles: &[u16]) -> Vec<u8> {
    let mut body = vec![254, 253];
    body.extend([7; 32]);
    body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]);
    let list: Vec<u8> = profiles.iter().flat_map(|id| id.to_be_bytes()).collect();
    let size = 4 + 100 + 4 + 2 + list.len() + 1;
    body.extend((size as u16).to_be_bytes());
    body.extend([0, 51, 0, 100]);
    body.extend([9; 100]);
    body.extend([0, 14, 0, list.len() as u8 + 3, 0, list.len() as u8]);
    body.extend(list);
    body.push(0);
    body
}

fn fragment(body: &[u8], from: usize, to: usize) -> Vec<u8> {
    let mut bytes = record(1, 0, from as u8, &body[from..to]);
    bytes[16] = body.len() as u8;
    bytes
}

#[test]
fn a_fragmented_hello_is_put_together_in_any_order() {
    let body = hello(&[1, 7]);
    let (one, two, three) = (
        fragment(&body, 0, 70),
        fragment(&body, 70, 120),
        fragment(&body, 120, body.len()),
    );
    let put = |parts: &[&Vec<u8>]| first_hello(parts.iter().map(|part| part.as_slice()));
    assert_eq!(put(&[&one, &two, &three]).as_ref(), Some(&body));
    assert_eq!(put(&[&three, &one, &two, &one]).as_ref(), Some(&body));
    assert_eq!(put(&[&one, &three]), None);
    assert_eq!(put(&[&two, &three]), None);
    assert_eq!(put(&[]), None);
    assert!(
        [one.clone(), two.clone(), three]
            .iter()
            .all(|part| is_first_hello(part))
    );
    let mut arrived = Arrived::default();
    assert!(!arrived.is_new_beginning(&one));
    assert!(!arrived.is_new_beginning(&two));
    assert!(!arrived.is_new_beginning(&one));
}

#[test]
fn the_srtp_profiles_of_a_hello_are_read() {
    assert!(offers_gcm(&hello(&[1, 7])));
    assert!(offers_gcm(&hello(&[7])));
    assert!(!offers_gcm(&hello(&[1, 2])));
    assert!(!offers_gcm(&hello(&[])));
}

#[test]
fn what_no_handshake_has_is_implausible() {
    let hello = record(1, 0, 0, &[1; 60]);
    assert!(is_plausible(&hello));
    assert!(is_plausible(&[
        21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40
    ]));
    let changed = |at: usize, byte| {
        let mut bytes = hello.clone();
        bytes[at] = byte;
        bytes
    };
    for bytes in [
        changed(0, 23),
        changed(0, 24),
        changed(1, 3),
        changed(12, 73),
        changed(13, 9),
        changed(16, 10),
        changed(24, 61),
        vec![20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
        vec![22],
    ] {
        assert!(!is_plausible(&bytes), "{bytes:?}");
    }
}

#[test]
fn a_hello_with_another_random_is_a_new_beginning() {
    let mut arrived = Arrived::default();
    assert!(!arrived.is_new_beginning(&record(1, 0, 0, &[1; 60])));
    assert!(!arrived.is_new_beginning(&record(1, 0, 0, &[1; 60])));
    assert!(!arrived.is_new_beginning(&record(1, 1, 0, &[2; 60])));
    assert!(arrived.is_new_beginning(&record(1, 0, 0, &[2; 60])));
}

#[test]
fn warnings_are_left_out_and_what_ends_something_is_not() {
    let alert = |level, description| {
        let mut bytes = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 3, 0, 2];
        bytes.extend([level, description]);
        bytes
    };
    let hello = record(1, 0, 0, &[1; 60]);
    let (warning, fatal, close) = (alert(1, 112), alert(2, 42), alert(1, 0));
    let mut encrypted = warning.clone();
    encrypted[4] = 1;
    let all = [&hello, &warning, &fatal, &close, &warning, &encrypted].map(Vec::as_slice);
    let all = all.concat();
    assert!(has_warning(&all));
    let kept = [hello, fatal, close, encrypted].concat();
    assert_eq!(without_warnings(&all), kept);
    assert!(!has_warning(&kept));
}

#[test]
fn a_flight_is_later_without_its_first_message() {
    let (first, second) = (record(2, 0, 0, &[1; 20]), record(11, 1, 0, &[1; 20]));
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 3, 0, 2, 2, 40];
    assert!(is_later(&second));
    assert!(!is_later(&first));
    assert!(!is_later(&[second.clone(), first.clone()].concat()));
    assert!(is_later(&[second.as_slice(), &alert].concat()));
    assert!(!is_later(&alert));
    let mut arrived = Arrived::default();
    assert!(!arrived.is_repetition(&second) && !arrived.has_first());
    // Several messages in one record.
    let mut both = first;
    both[12] += 32;
    both.extend(&second[RECORD_HEADER..]);
    assert!(!arrived.is_repetition(&both) && arrived.has_first());
}

#[test]
fn a_request_for_a_certificate_is_found_wherever_it_is() {
    let (certificate, request) = (record(11, 1, 0, &[13; 20]), record(13, 3, 0, &[1; 8]));
    assert!(asks_for_certificate(&request));
    assert!(asks_for_certificate(
        &[certificate.clone(), request.clone()].concat()
    ));
    assert!(!asks_for_certificate(&certificate));
    // Two messages in one record.
    let mut both = certificate;
    both[12] += 20;
    both.extend(&request[RECORD_HEADER..]);
    assert!(asks_for_certificate(&both));
    both[4] = 1;
    assert!(!asks_for_certificate(&both));
}

#[test]
fn messages_are_counted_as_the_endpoint_finds_them() {
    let one = record(11, 3, 0, &[1; 20]);
    assert_eq!(messages(&one), 1);
    assert_eq!(messages(&[one.clone(), one.clone()].concat()), 2);
    // Empty messages, many in a record.
    let mut many = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120];
    many.extend([0; 120]);
    assert_eq!(messages(&many), 10);
    // The same, but nobody can look inside.
    many[4] = 1;
    assert_eq!(messages(&many), 11);
    many[0] = 23;
    assert_eq!(messages(&many), 0);
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if bytes.len() > 13 {
            bytes[0] = 22;
            bytes[13] = 1;
        }
        let mut arrived = Arrived::default();
        let _ = (is_plausible(&bytes), is_ahead(&bytes), messages(&bytes), offers_gcm(&bytes), arrived.is_repetition(&bytes), arrived.is_new_beginning(&bytes),
                 asks_for_certificate(&bytes), has_warning(&bytes), is_later(&bytes), without_warnings(&bytes), is_first_hello(&bytes), first_hello([bytes.as_slice(); 2].into_iter()));
    }
}
