use super::link::*;
use crate::w3c::{DtlsRole, DtlsState};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_client_hello_from_an_address_that_proved_nothing_is_ignored() {
    let mut pair = Pair::new();
    pair.introduce(DtlsRole::Server);
    pair.run_until(Duration::from_secs(5), Pair::is_connected);
    let hello = pair
        .log
        .iter()
        .find(|(to_b, bytes)| !to_b && bytes[0] == 22)
        .unwrap()
        .1
        .clone();
    let mut fresh = Pair::new();
    fresh.introduce(DtlsRole::Server);
    let now = fresh.now;
    fresh.a.deliver(now, ([10, 0, 0, 66], 6).into(), &hello);
    assert_eq!(fresh.a.transport.dtls_state(), DtlsState::New);
    assert_eq!(
        fresh
            .a
            .stat(now, "transport", "packets_discarded_on_receive"),
        Some(json!(1))
    );
    assert!(fresh.run_until(Duration::from_secs(5), Pair::is_connected));
}

#[test]
fn an_address_that_was_only_announced_has_proved_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.a
        .add_remote(pair.now, "candidate:9 1 udp 1 10.0.0.66 6 typ host");
    pair.b.send_rtp(1);
    let bytes = pair.b.out.bytes.clone();
    pair.b.out.clear(0);
    pair.a.deliver(pair.now, ([10, 0, 0, 66], 6).into(), &bytes);
    assert!(pair.a.rtp.is_empty());
}

#[test]
fn a_forged_check_changes_no_role_and_gets_no_answer() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(1));
    let check = pair
        .log
        .iter()
        .find(|(to_b, bytes)| *to_b && bytes[..2] == [0, 1])
        .unwrap()
        .1
        .clone();
    let role = pair.b.stat(pair.now, "transport", "ice_role");
    for at in 20..check.len() - 8 {
        let mut forged = check.clone();
        forged[at] ^= 0x20;
        pair.b
            .deliver(pair.now, ([10, 0, 0, 66], 6).into(), &forged);
    }
    assert!(pair.b.out.is_empty());
    assert_eq!(pair.b.stat(pair.now, "transport", "ice_role"), role);
}

/// A check that B made for A, as a peer can send it from any address it likes to write down.
fn check_of_b(pair: &Pair) -> Vec<u8> {
    let (_, check) = pair
        .log
        .iter()
        .find(|(to_b, bytes)| !to_b && bytes[..2] == [0, 1])
        .unwrap();
    check.clone()
}

fn some_address(number: u32) -> std::net::SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    ([10, 1, high, low], 5_000).into()
}

#[test]
fn checks_from_ten_thousand_addresses_cost_little_and_nobody_else() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    let check = check_of_b(&pair);
    let before = pair.datagrams;
    for number in 0..10_000 {
        pair.a.deliver(pair.now, some_address(number), &check);
        if number % 100 == 99 {
            pair.run(ms(50));
        }
    }
    let known = pair.a.stats(pair.now).entries;
    let known = known
        .iter()
        .filter(|entry| entry.kind == "remote_candidate");
    assert!(known.count() <= 200);
    assert!(
        pair.datagrams - before < 2_000,
        "{}",
        pair.datagrams - before
    );
    assert!(pair.exchange(1));
}

#[test]
fn a_peer_that_is_not_found_yet_cannot_aim_our_checks_at_thousands() {
    let mut known = Pair::new();
    known.connect();
    let check = check_of_b(&known);
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut pair = Pair::new();
        pair.cut = true;
        pair.introduce(role);
        for number in 0..10_000 {
            pair.a.deliver(pair.now, some_address(number), &check);
            if number % 100 == 99 {
                pair.run(ms(50));
            }
        }
        let before = pair.datagrams;
        pair.run(Duration::from_secs(10));
        let sent = pair.datagrams - before;
        assert!(sent < 10 * 2 * 400, "{role:?}: {sent} in 10 s");
    }
}

#[test]
fn a_flood_of_one_check_is_cut_off() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    let check = check_of_b(&pair);
    let before = pair.datagrams;
    for _ in 0..50_000 {
        pair.a.deliver(pair.now, pair.b.address, &check);
    }
    pair.run(ms(200));
    assert!(
        pair.datagrams - before < 1_000,
        "{}",
        pair.datagrams - before
    );
    assert!(pair.exchange(1));
}

#[test]
fn records_of_the_next_epoch_are_not_hoarded() {
    let mut pair = Pair::new();
    pair.introduce(DtlsRole::Server);
    assert!(pair.run_until(ms(50), |pair| pair.a.transport.dtls_state()
        == DtlsState::Connecting));
    let mut record = vec![23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 32];
    record.extend([7; 32]);
    let from = pair.b.address;
    let cipher_change = [20, 254, 253, 0, 0, 0, 0, 0, 0, 9, 9, 0, 1, 1];
    for n in 0..50_000_u32 {
        record[7..11].copy_from_slice(&n.to_be_bytes());
        pair.a.deliver(pair.now, from, &record);
        let hidden = [&cipher_change[..], &record].concat();
        pair.a.deliver(pair.now, from, &hidden);
    }
    assert!(pair.run_until(Duration::from_secs(30), Pair::is_connected));
}

/// A handshake record in the clear: a fragment of `bytes` at `offset` of a message of `whole`.
fn fragment(number: u32, sequence: u16, whole: u32, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut record = vec![22, 254, 253, 0, 0, 0, 0];
    record.extend(number.to_be_bytes());
    record.extend((12 + length).to_be_bytes());
    record.push(11);
    record.extend(&whole.to_be_bytes()[1..]);
    record.extend(sequence.to_be_bytes());
    record.extend(&offset.to_be_bytes()[1..]);
    record.extend(&u32::from(length).to_be_bytes()[1..]);
    record.extend(bytes);
    record
}

/// The parts of a message, one byte each, the first one last: what puts them together then has
/// all of them before it.
fn bomb(number: u32, sequence: u16, parts: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..parts).rev().map(move |offset| {
        fragment(
            number + parts - offset,
            sequence,
            parts,
            offset,
            &[offset as u8],
        )
    })
}

#[test]
fn a_message_in_tens_of_thousands_of_fragments_costs_only_the_handshake() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut pair = Pair::new();
        pair.introduce(role);
        assert!(pair.run_until(ms(50), |pair| {
            pair.a.transport.dtls_state() == DtlsState::Connecting
        }));
        let from = pair.b.address;
        for sequence in 0..8 {
            for record in bomb(1_000, sequence, 65_000) {
                pair.a.deliver(pair.now, from, &record);
            }
        }
        pair.run(ms(10));
    }
}

#[test]
fn fragments_after_the_handshake_change_nothing() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut pair = Pair::new();
        pair.introduce(role);
        assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
        let from = pair.b.address;
        for sequence in 0..20 {
            for record in bomb(1_000 + u32::from(sequence) * 40_000, sequence, 30_000) {
                pair.a.deliver(pair.now, from, &record);
            }
        }
        // Messages without a byte, a hundred in each record.
        for number in 0..20_000 {
            let mut record = fragment(2_000_000 + number, 30_000, 0, 0, &[]);
            let message = record.split_off(13);
            record[11..13].copy_from_slice(&1_200_u16.to_be_bytes());
            record.extend(message.repeat(100));
            pair.a.deliver(pair.now, from, &record);
        }
        assert!(pair.exchange(1), "{role:?}");
        let now = pair.now;
        pair.b
            .transport
            .write_data(now, b"still there", &mut pair.b.out);
        pair.run(ms(10));
        assert_eq!(pair.a.data, [b"still there".to_vec()]);
    }
}

#[test]
fn garbled_records_during_the_handshake_do_not_end_it() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut pair = Pair::new();
        pair.introduce(role);
        assert!(pair.run_until(ms(50), |pair| {
            pair.a.transport.dtls_state() == DtlsState::Connecting
        }));
        let from = pair.b.address;
        for kind in 20..=63 {
            for version in [0, 253] {
                for body in [&[][..], &[0], &[7; 3], &[7; 60]] {
                    let length = body.len() as u8;
                    let mut record = vec![kind, 254, version, 0, 0, 0, 0, 0, 0, 9, kind, 0, length];
                    record.extend(body);
                    pair.a.deliver(pair.now, from, &record);
                }
            }
        }
        assert!(
            pair.run_until(Duration::from_secs(5), Pair::is_connected),
            "{role:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_panics_or_disturbs(
        garbage in prop::collection::vec(
            (prop_oneof![Just(0_u8), Just(1), Just(20), Just(22), Just(23), Just(0x80), Just(0x90), any::<u8>()],
             prop::collection::vec(any::<u8>(), 0..200), any::<bool>()),
            1..40),
    ) {
        let mut pair = Pair::new();
        for stage in 0..3 {
            match stage {
                1 => pair.introduce(DtlsRole::Server),
                2 => prop_assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected)),
                _ => {}
            }
            for (first, rest, known) in &garbage {
                let mut datagram = vec![*first];
                datagram.extend(rest);
                let from = if *known { pair.b.address } else { ([10, 0, 0, 66], 6).into() };
                pair.a.deliver(pair.now, from, &datagram);
            }
        }
        prop_assert!(pair.a.rtp.is_empty() && pair.a.rtcp.is_empty());
        prop_assert!(pair.exchange(1));
    }

    #[test]
    fn no_changed_datagram_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), role in any::<bool>()) {
        let mut pair = Pair::new();
        pair.introduce(if role { DtlsRole::Server } else { DtlsRole::Client });
        pair.run_until(Duration::from_secs(5), Pair::is_connected);
        let log = std::mem::take(&mut pair.log);
        let mut other = Pair::new();
        other.introduce(if role { DtlsRole::Server } else { DtlsRole::Client });
        for (to_b, mut bytes) in log {
            let index = at.index(bytes.len());
            bytes[index] = byte;
            let (from_a, from_b) = (other.a.address, other.b.address);
            let now = other.now;
            if to_b { other.b.deliver(now, from_a, &bytes) } else { other.a.deliver(now, from_b, &bytes) }
            other.run(ms(1));
        }
    }
}
