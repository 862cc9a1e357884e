//! Candidates of both sides: which are told, kept, checked and dropped.

use super::super::link::*;
use super::restarts::restart;
use crate::error::Error;
use crate::transport::{LocalCandidate, LocalCandidateKind};
use crate::w3c::{DtlsRole, RelayProtocol};
use serde_json::json;
use std::time::Duration;

#[test]
fn candidates_of_a_past_restart_are_ignored() {
    let mut pair = Pair::new();
    pair.connect();
    restart(&mut pair, ms(5));
    pair.run(ms(100));
    let before = pair.a.stats(pair.now).entries.len();
    let stale = "candidate:1 1 udp 2130706431 10.0.0.77 7 typ host";
    assert_eq!(
        pair.a
            .transport
            .add_remote_candidate(pair.now, stale, Some("bbbb")),
        Ok(None)
    );
    pair.run(ms(100));
    assert_eq!(pair.a.stats(pair.now).entries.len(), before);
}

#[test]
fn candidates_that_come_before_the_credentials_are_kept() {
    let mut pair = Pair::new();
    pair.a.apply(pair.now);
    pair.a.gather(pair.now);
    let of_b = "candidate:1 1 udp 2130706431 10.0.0.2 2000 typ host";
    assert_eq!(
        pair.a
            .transport
            .add_remote_candidate(pair.now, of_b, Some("bbbb")),
        Ok(None)
    );
    let foreign = "candidate:1 1 udp 2130706431 10.0.0.3 2000 typ host";
    assert_eq!(
        pair.a
            .transport
            .add_remote_candidate(pair.now, foreign, Some("cccc")),
        Ok(None)
    );
    let print = pair.a.transport.fingerprint();
    pair.learn_b(DtlsRole::Client, vec![print]);
    pair.b.apply(pair.now);
    pair.b.gather(pair.now);
    let print = pair.b.transport.fingerprint();
    pair.learn_a(DtlsRole::Server, vec![print]);
    pair.a.apply(pair.now);
    assert!(pair.run_until(Duration::from_secs(2), Pair::is_connected));
    assert_eq!(
        pair.a
            .stats(pair.now)
            .entries
            .iter()
            .filter(|entry| entry.kind == "remote_candidate")
            .count(),
        1
    );
}

#[test]
fn ten_thousand_candidates_cost_nothing() {
    let mut pair = Pair::new();
    pair.introduce(DtlsRole::Server);
    pair.out_of_the_way();
    for n in 0..10_000_u32 {
        let [_, x, y, z] = n.to_be_bytes();
        let text = format!("candidate:{n} 1 udp 1 172.{}.{y}.{z} 4000 typ host", 16 + x);
        assert_eq!(
            pair.a.transport.add_remote_candidate(pair.now, &text, None),
            Ok(None)
        );
    }
    let entries = pair.a.stats(pair.now).entries.len();
    assert!(entries <= 210, "{entries} entries");
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    let before = pair.datagrams;
    pair.run(Duration::from_secs(10));
    assert!(pair.datagrams - before < 100);
}

impl Pair {
    fn out_of_the_way(&mut self) {
        self.pass();
    }
}

#[test]
fn checks_to_many_candidates_are_paced() {
    let mut pair = Pair::new();
    pair.a.apply(pair.now);
    pair.a.gather(pair.now);
    pair.a.plan.remote = Some(credentials("bbbb"));
    pair.a.apply(pair.now);
    for n in 0..100 {
        pair.a.add_remote(
            pair.now,
            &format!("candidate:{n} 1 udp 1 172.16.0.{n} 4000 typ host"),
        );
    }
    pair.run(Duration::from_secs(10));
    assert!(
        pair.datagrams <= 100 + 10 * 420,
        "{} checks in 10 s",
        pair.datagrams
    );
    assert!(pair.datagrams >= 1_000);
}

#[test]
fn mdns_candidates_wait_for_their_name() {
    let mut pair = Pair::new();
    pair.a.apply(pair.now);
    pair.a.gather(pair.now);
    let named = "candidate:1 1 udp 2113937151 0a1b-2c.local 2000 typ host";
    pair.a.plan.remote = Some(credentials("bbbb"));
    pair.a.apply(pair.now);
    assert_eq!(
        pair.a.transport.add_remote_candidate(pair.now, named, None),
        Ok(Some("0a1b-2c.local".to_owned()))
    );
    pair.run(ms(50));
    assert_eq!(pair.datagrams, 0);
    assert_eq!(
        pair.a.stat(pair.now, "remote_candidate", "address"),
        Some(json!("0a1b-2c.local"))
    );
    pair.a
        .transport
        .mdns_resolved(pair.now, "other.local", Some([10, 0, 0, 9].into()));
    pair.a
        .transport
        .mdns_resolved(pair.now, "0a1b-2c.local", Some([10, 0, 0, 2].into()));
    pair.run(ms(50));
    assert!(pair.datagrams > 0);
    assert_eq!(
        pair.a.stat(pair.now, "remote_candidate", "address"),
        Some(json!("10.0.0.2"))
    );
}

#[test]
fn text_that_is_no_candidate_is_an_error_and_changes_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    let before = pair.a.stats(pair.now).entries.len();
    assert_eq!(
        pair.a
            .transport
            .add_remote_candidate(pair.now, "candidate:x", None),
        Err(Error::InvalidCandidate)
    );
    for unused in [
        "candidate:1 1 tcp 1518280447 10.0.0.5 9 typ host tcptype active",
        "candidate:1 1 udp 2130706431 peer.example 4000 typ host",
        "candidate:1 1 udp 2130706431 fe80::1%eth0 4000 typ host",
        "candidate:1 1 udp 2130706431 10.0.0.5 0 typ host",
    ] {
        let outcome = pair
            .a
            .transport
            .add_remote_candidate(pair.now, unused, None);
        assert_eq!(outcome, Ok(None), "{unused}");
    }
    assert_eq!(before, pair.a.stats(pair.now).entries.len());
}

#[test]
fn reflexive_candidates_share_the_socket_of_their_base() {
    let mut pair = Pair::new();
    pair.a.apply(pair.now);
    let first = pair.a.gather(pair.now);
    assert!(
        first.starts_with("candidate:")
            && first.contains(" 1 udp 2130706431 10.0.0.1 1000 typ host")
    );
    let reflexive = LocalCandidate {
        kind: LocalCandidateKind::ServerReflexive,
        tcp_type: None,
        address: ([203, 0, 113, 1], 4_000).into(),
        base: pair.a.address,
        url: Some("stun:stun.example".into()),
    };
    let text = pair
        .a
        .transport
        .add_local_candidate(pair.now, &reflexive)
        .unwrap();
    assert!(
        text.ends_with(" 1 udp 1694498815 203.0.113.1 4000 typ srflx raddr 10.0.0.1 rport 1000")
    );
    assert_eq!(
        pair.a.transport.add_local_candidate(pair.now, &reflexive),
        None
    );
    let second = host("[2001:db8::1]:1000".parse().unwrap());
    let text = pair
        .a
        .transport
        .add_local_candidate(pair.now, &second)
        .unwrap();
    assert!(
        text.contains(" 2130706175 2001:db8::1 1000 typ host"),
        "{text}"
    );
    pair.a.plan.remote = Some(credentials("bbbb"));
    pair.a.apply(pair.now);
    pair.a.add_remote(
        pair.now,
        "candidate:1 1 udp 2130706431 10.0.0.2 2000 typ host",
    );
    pair.a.add_remote(
        pair.now,
        "candidate:1 1 udp 2130706431 2001:db8::2 2000 typ host",
    );
    let mut sent: Vec<_> = pair
        .a
        .out
        .segments
        .iter()
        .map(|segment| (segment.local.address, segment.remote))
        .collect();
    for _ in 0..3 {
        pair.a.out.clear(0);
        let now = pair.a.transport.poll_timeout().unwrap();
        pair.a.transport.handle_timeout(now, &mut pair.a.out);
        sent.extend(
            pair.a
                .out
                .segments
                .iter()
                .map(|segment| (segment.local.address, segment.remote)),
        );
    }
    sent.sort();
    sent.dedup();
    assert_eq!(
        sent,
        [
            (pair.a.address, ([10, 0, 0, 2], 2_000).into()),
            (second.address, "[2001:db8::2]:2000".parse().unwrap()),
        ],
        "each pair is checked from the base of its family"
    );
}

#[test]
fn relay_policy_hides_everything_else() {
    let mut relay_only = config();
    relay_only.ice_transport_policy = crate::w3c::IceTransportPolicy::Relay;
    let mut pair = Pair::with(&relay_only, &config());
    pair.a.apply(pair.now);
    assert_eq!(
        pair.a
            .transport
            .add_local_candidate(pair.now, &host(pair.a.address)),
        None
    );
    let relay = LocalCandidate {
        kind: LocalCandidateKind::Relay(RelayProtocol::Udp),
        tcp_type: None,
        address: ([198, 51, 100, 1], 5_000).into(),
        base: pair.a.address,
        url: Some("turn:turn.example".into()),
    };
    assert!(
        pair.a
            .transport
            .add_local_candidate(pair.now, &relay)
            .is_some()
    );
    pair.a.plan.remote = Some(credentials("bbbb"));
    pair.a.apply(pair.now);
    pair.a.add_remote(
        pair.now,
        "candidate:1 1 udp 2130706431 10.0.0.2 2000 typ host",
    );
    let now = pair.now;
    pair.a.transport.handle_timeout(now, &mut pair.a.out);
    assert!(
        pair.a
            .out
            .segments
            .iter()
            .all(|segment| segment.local == relay.local())
    );
    assert!(!pair.a.out.is_empty());
}

#[test]
fn a_candidate_that_signalling_tells_after_its_check_came_makes_no_second_pair() {
    // Before the pair is selected, and after.
    for late in [ms(0), Duration::from_secs(1)] {
        let mut pair = Pair::new();
        let of_b = pair.offer(DtlsRole::Server);
        pair.run(ms(20));
        pair.answer(DtlsRole::Server);
        pair.run(late);
        pair.a.add_remote(pair.now, &of_b);
        assert!(pair.run_until(Duration::from_secs(2), Pair::is_connected));
        let report = pair.a.stats(pair.now);
        let entries = |kind: &str| {
            let of_kind = report
                .entries
                .iter()
                .filter(move |entry| entry.kind == kind);
            of_kind.collect::<Vec<_>>()
        };
        let [selected] = entries("candidate_pair")[..] else {
            panic!("more than one pair, {late:?} late");
        };
        assert_eq!(selected.fields["state"], json!("succeeded"));
        assert_eq!(selected.fields["valid"], json!(true));
        assert_eq!(selected.fields["nominated"], json!(true));
        let [remote] = entries("remote_candidate")[..] else {
            panic!("more than one candidate of the peer, {late:?} late");
        };
        // What the peer says of itself, not what was guessed from its check.
        assert_eq!(remote.fields["candidate_type"], json!("host"));
        let host = remote.fields["priority"].as_u64().unwrap();
        assert_eq!(
            selected.fields["priority"].as_u64(),
            Some((host << 32) + 2 * host)
        );
    }
}
