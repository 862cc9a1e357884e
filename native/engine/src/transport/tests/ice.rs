use super::link::*;
use crate::error::Error;
use crate::transport::{LocalCandidate, LocalCandidateKind};
use crate::w3c::IceConnectionState::{Checking, Connected, Disconnected, Failed};
use crate::w3c::{DtlsRole, DtlsState, IceRole};
use serde_json::json;
use std::time::Duration;

#[test]
fn the_states_are_checking_and_connected_once_each() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.a.ice(), [Checking, Connected]);
    assert_eq!(pair.b.ice(), [Checking, Connected]);
}

#[test]
fn an_idle_connection_wakes_about_every_two_seconds() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(10));
    (pair.a.wakeups, pair.b.wakeups, pair.datagrams) = (0, 0, 0);
    pair.run(Duration::from_secs(60));
    for peer in [&pair.a, &pair.b] {
        assert!(
            (20..=60).contains(&peer.wakeups),
            "{} wake-ups",
            peer.wakeups
        );
    }
    assert!(
        (80..=240).contains(&pair.datagrams),
        "{} datagrams",
        pair.datagrams
    );
}

#[test]
fn a_wrong_password_gets_nowhere() {
    let mut pair = Pair::new();
    pair.introduce(DtlsRole::Server);
    let mut pair = Pair::new();
    pair.b.plan.local = credentials("bbbb");
    pair.a.apply(pair.now);
    let of_a = pair.a.gather(pair.now);
    let print = pair.a.transport.fingerprint();
    pair.learn_b(DtlsRole::Client, vec![print]);
    pair.b.apply(pair.now);
    let of_b = pair.b.gather(pair.now);
    pair.b.add_remote(pair.now, &of_a);
    let print = pair.b.transport.fingerprint();
    pair.learn_a(DtlsRole::Server, vec![print]);
    pair.a.plan.remote.as_mut().unwrap().pwd = "wrong-0123456789abcdefghijkl".into();
    pair.a.apply(pair.now);
    pair.a.add_remote(pair.now, &of_b);
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.a.ice(), [Checking]);
    assert_eq!(pair.b.ice(), [Checking]);
    assert_ne!(
        pair.b.stat(pair.now, "transport", "unmatched_requests"),
        Some(json!(0))
    );
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.a.transport.ice_state(), Failed);
    assert_eq!(pair.a.transport.dtls_state(), DtlsState::New);
}

#[test]
fn checks_that_come_before_the_answer_are_answered_with_it() {
    let mut pair = Pair::new();
    pair.a.apply(pair.now);
    let of_a = pair.a.gather(pair.now);
    let print = pair.a.transport.fingerprint();
    pair.learn_b(DtlsRole::Client, vec![print]);
    pair.b.apply(pair.now);
    pair.b.gather(pair.now);
    pair.b.add_remote(pair.now, &of_a);
    // The answer takes 300 ms, and names no candidate.
    pair.run(ms(300));
    assert_eq!(pair.a.ice(), []);
    let print = pair.b.transport.fingerprint();
    pair.learn_a(DtlsRole::Server, vec![print]);
    pair.a.apply(pair.now);
    let answered = pair.now;
    assert!(pair.run_until(Duration::from_secs(2), Pair::is_connected));
    assert!(pair.now - answered <= ms(30), "{:?}", pair.now - answered);
    assert_eq!(pair.a.ice(), [Checking, Connected]);
}

#[test]
fn both_controlling_and_both_controlled_are_repaired() {
    for role in [IceRole::Controlling, IceRole::Controlled] {
        let mut pair = Pair::new();
        pair.a.plan.ice_role = role;
        pair.b.plan.ice_role = role;
        pair.introduce(DtlsRole::Client);
        assert!(
            pair.run_until(Duration::from_secs(5), Pair::is_connected),
            "{role:?}"
        );
        assert_ne!(
            pair.a.stat(pair.now, "transport", "ice_role"),
            pair.b.stat(pair.now, "transport", "ice_role"),
        );
    }
}

#[test]
fn a_vanished_peer_is_disconnected_after_5_s_and_failed_after_30_more() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    pair.cut = true;
    let cut = pair.now;
    assert!(pair.run_until(Duration::from_secs(10), |pair| {
        pair.a.transport.ice_state() == Disconnected && pair.b.transport.ice_state() == Disconnected
    }));
    let silent = pair.now - cut;
    assert!((ms(2_500)..ms(5_500)).contains(&silent), "{silent:?}");
    // Media still goes to the old address: the silence may pass.
    assert!(pair.a.send_rtp(1).is_some());
    pair.run(Duration::from_secs(18));
    assert_eq!(pair.a.transport.ice_state(), Disconnected);
    pair.run(Duration::from_secs(17));
    for peer in [&mut pair.a, &mut pair.b] {
        assert_eq!(peer.ice(), [Checking, Connected, Disconnected, Failed]);
        assert_eq!(peer.send_rtp(2), None, "sending without consent");
    }
}

#[test]
fn a_short_silence_is_got_over_without_a_restart() {
    for silence in [6, 8, 12, 20, 26] {
        let mut pair = Pair::new();
        pair.connect();
        pair.cut = true;
        pair.run(Duration::from_secs(silence));
        pair.cut = false;
        let back = pair.now;
        let recovered = pair.run_until(Duration::from_secs(6), Pair::is_connected);
        assert!(
            recovered,
            "after {silence} s: {:?} {:?}",
            pair.a.ice(),
            pair.b.ice()
        );
        assert!(pair.now - back < Duration::from_secs(5));
        pair.run(Duration::from_secs(60));
        assert!(
            pair.is_connected(),
            "after {silence} s, later: {:?} {:?}",
            pair.a.ice(),
            pair.b.ice()
        );
        assert!(pair.exchange(9));
    }
}

/// Both sides take new credentials, as an offer with `ice_restart` and its answer do.
fn restart(pair: &mut Pair, signalling: Duration) {
    pair.a.plan.local = credentials("a2a2");
    pair.a.apply(pair.now);
    let of_a = pair.a.gather(pair.now);
    pair.run(signalling);
    pair.b.plan.remote = Some(pair.a.plan.local.clone());
    pair.b.plan.local = credentials("b2b2");
    pair.b.apply(pair.now);
    let of_b = pair.b.gather(pair.now);
    pair.b.add_remote(pair.now, &of_a);
    pair.run(signalling);
    pair.a.plan.remote = Some(pair.b.plan.local.clone());
    pair.a.apply(pair.now);
    pair.a.add_remote(pair.now, &of_b);
}

#[test]
fn a_restart_loses_no_packet_and_tells_no_state() {
    let mut pair = Pair::new();
    pair.connect();
    let mut sequence = 0;
    let mut flow = |pair: &mut Pair| {
        for _ in 0..20 {
            sequence += 1;
            assert!(pair.exchange(sequence), "packet {sequence}");
        }
    };
    flow(&mut pair);
    pair.a.plan.local = credentials("a2a2");
    pair.a.apply(pair.now);
    let of_a = pair.a.gather(pair.now);
    flow(&mut pair);
    pair.b.plan.remote = Some(pair.a.plan.local.clone());
    pair.b.apply(pair.now);
    pair.b.plan.local = credentials("b2b2");
    pair.b.apply(pair.now);
    let of_b = pair.b.gather(pair.now);
    pair.b.add_remote(pair.now, &of_a);
    flow(&mut pair);
    pair.a.plan.remote = Some(pair.b.plan.local.clone());
    pair.a.apply(pair.now);
    pair.a.add_remote(pair.now, &of_b);
    flow(&mut pair);
    pair.run(Duration::from_secs(60));
    flow(&mut pair);
    assert_eq!(pair.a.ice(), [Checking, Connected]);
    assert_eq!(pair.b.ice(), [Checking, Connected]);
    assert_eq!(pair.a.dtls(), [DtlsState::Connecting, DtlsState::Connected]);
    assert_eq!(
        pair.a.stat(pair.now, "transport", "ice_local_ufrag"),
        Some(json!("a2a2"))
    );
    assert_eq!(
        pair.a
            .stat(pair.now, "transport", "selected_candidate_pair_changes"),
        Some(json!(2))
    );
}

#[test]
fn a_restart_whose_answer_takes_a_minute_keeps_the_old_pair_alive() {
    let mut pair = Pair::new();
    pair.connect();
    restart(&mut pair, Duration::from_secs(60));
    assert!(pair.exchange(1));
    pair.run(Duration::from_secs(5));
    assert!(pair.exchange(2));
    assert_eq!(pair.a.ice(), [Checking, Connected]);
    assert_eq!(pair.b.ice(), [Checking, Connected]);
}

#[test]
fn a_restart_that_is_rolled_back_leaves_everything_as_it_was() {
    let mut pair = Pair::new();
    pair.connect();
    let before = pair.a.plan.clone();
    pair.a.plan.local = credentials("a2a2");
    pair.a.apply(pair.now);
    pair.a.gather(pair.now);
    pair.run(Duration::from_secs(10));
    pair.a.plan = before;
    pair.a.apply(pair.now);
    pair.run(Duration::from_secs(60));
    assert!(pair.exchange(1));
    assert_eq!(pair.a.ice(), [Checking, Connected]);
    assert_eq!(
        pair.a.stat(pair.now, "transport", "ice_local_ufrag"),
        Some(json!("aaaa"))
    );
    assert!(pair.a.stat(pair.now, "local_candidate", "port").is_some());
}

#[test]
fn a_restart_brings_a_failed_transport_back() {
    let mut pair = Pair::new();
    pair.connect();
    pair.cut = true;
    pair.run(Duration::from_secs(45));
    assert_eq!(pair.a.transport.ice_state(), Failed);
    pair.cut = false;
    restart(&mut pair, ms(20));
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(1));
    assert_eq!(
        pair.a.ice(),
        [
            Checking,
            Connected,
            Disconnected,
            Failed,
            Checking,
            Connected
        ]
    );
    assert_eq!(pair.a.dtls(), [DtlsState::Connecting, DtlsState::Connected]);
}

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
    let tcp = "candidate:1 1 tcp 1518280447 10.0.0.5 9 typ host tcptype active";
    assert_eq!(
        pair.a.transport.add_remote_candidate(pair.now, tcp, None),
        Ok(None)
    );
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
        .map(|segment| (segment.local, segment.remote))
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
                .map(|segment| (segment.local, segment.remote)),
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
        kind: LocalCandidateKind::Relay,
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
            .all(|segment| segment.local == relay.address)
    );
    assert!(!pair.a.out.is_empty());
}

#[test]
fn a_lite_agent_connects_by_answering() {
    let mut lite = config();
    lite.ice_lite = true;
    let mut pair = Pair::with(&config(), &lite);
    pair.a.plan.remote_ice_lite = true;
    pair.introduce(DtlsRole::Client);
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    assert!(pair.exchange(1));
    pair.run(Duration::from_secs(60));
    assert!(pair.is_connected());
}

#[test]
fn a_pair_reports_what_it_carried() {
    let mut pair = Pair::new();
    pair.connect();
    for sequence in 1..=10 {
        assert!(pair.exchange(sequence));
    }
    pair.run(Duration::from_secs(10));
    let now = pair.now;
    let field = |name| {
        pair.a
            .stat(now, "candidate_pair", name)
            .and_then(|value| value.as_f64())
    };
    assert!(field("packets_sent").unwrap() >= 10.0);
    assert!(field("bytes_received").unwrap() >= 10.0 * 128.0);
    assert!((field("current_round_trip_time").unwrap() - 0.002).abs() < 1e-6);
    assert!(field("requests_sent").unwrap() >= field("responses_received").unwrap());
    assert!(field("responses_received").unwrap() >= 4.0);
    assert_eq!(
        pair.a.stat(now, "candidate_pair", "nominated"),
        Some(json!(true))
    );
    assert_eq!(
        pair.a.stat(now, "transport", "packets_sent"),
        pair.a.stat(now, "candidate_pair", "packets_sent")
    );
}

#[test]
fn a_candidate_that_signalling_tells_after_its_check_came_makes_no_second_pair() {
    // Before the pair is selected, and after.
    for late in [ms(0), Duration::from_secs(1)] {
        let mut pair = Pair::new();
        pair.a.apply(pair.now);
        let of_a = pair.a.gather(pair.now);
        let print = pair.a.transport.fingerprint();
        pair.learn_b(DtlsRole::Client, vec![print]);
        pair.b.apply(pair.now);
        let of_b = pair.b.gather(pair.now);
        pair.b.add_remote(pair.now, &of_a);
        pair.run(ms(20));
        let print = pair.b.transport.fingerprint();
        pair.learn_a(DtlsRole::Server, vec![print]);
        pair.a.apply(pair.now);
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

#[test]
fn an_answer_that_comes_from_elsewhere_than_its_check_went_is_counted() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    let count = |pair: &Pair| {
        let field = "non_symmetric_responses_received";
        pair.a.stat(pair.now, "candidate_pair", field)
    };
    assert_eq!(count(&pair), Some(json!(0)));
    // The next answer of B is carried to A from another address.
    let answered = |pair: &Pair| {
        let log = pair.log.iter();
        log.filter(|(to_b, bytes)| !to_b && bytes[..2] == [1, 1])
            .count()
    };
    let before = answered(&pair);
    pair.cut = true;
    assert!(!pair.run_until(ms(3_000), |_| false));
    pair.cut = false;
    assert_eq!(answered(&pair), before, "nothing reached B");
    let check = pair
        .log
        .iter()
        .rev()
        .find(|(to_b, bytes)| *to_b && bytes[..2] == [0, 1]);
    let (_, check) = check.cloned().unwrap();
    pair.b.deliver(pair.now, pair.a.address, &check);
    let out = std::mem::take(&mut pair.b.out);
    let answer = out
        .segments
        .iter()
        .find(|segment| out.bytes[segment.offset..][..2] == [1, 1]);
    let answer = answer.unwrap();
    let bytes = out.bytes[answer.offset..][..answer.length].to_vec();
    pair.a
        .deliver(pair.now, ([10, 0, 0, 66], 2_000).into(), &bytes);
    assert_eq!(count(&pair), Some(json!(1)));
}

#[test]
fn when_an_interface_dies_the_other_one_takes_over() {
    for at_a in [true, false] {
        for nominator in [IceRole::Controlling, IceRole::Controlled] {
            let mut pair = Pair::new();
            pair.a.plan.ice_role = nominator;
            pair.b.plan.ice_role = match nominator {
                IceRole::Controlling => IceRole::Controlled,
                IceRole::Controlled => IceRole::Controlling,
            };
            pair.introduce(DtlsRole::Server);
            let now = pair.now;
            let second = ([10, 1, 1, 1], 9_000).into();
            let (one, other) = if at_a {
                (&mut pair.a, &mut pair.b)
            } else {
                (&mut pair.b, &mut pair.a)
            };
            one.second = Some(second);
            let attribute = one
                .transport
                .add_local_candidate(now, &host(second))
                .unwrap();
            other.add_remote(now, &attribute);
            let first = one.address;
            assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
            assert!(pair.exchange(1));
            pair.run(Duration::from_secs(10));
            pair.dead = Some(first);
            pair.run(Duration::from_secs(20));
            assert!(
                pair.exchange(2),
                "{at_a} {nominator:?}: {:?} {:?}",
                pair.a.ice(),
                pair.b.ice()
            );
            pair.run(Duration::from_secs(60));
            assert!(
                pair.is_connected(),
                "{at_a} {nominator:?}: {:?} {:?}",
                pair.a.ice(),
                pair.b.ice()
            );
            assert!(pair.exchange(3));
        }
    }
}

#[test]
fn a_controlled_peer_that_goes_mute_on_one_interface_is_led_to_the_other() {
    let mut pair = Pair::new();
    pair.introduce(DtlsRole::Server);
    let second = ([10, 1, 1, 1], 9_000).into();
    let now = pair.now;
    pair.b.second = Some(second);
    let attribute = pair.b.transport.add_local_candidate(now, &host(second));
    pair.a.add_remote(now, &attribute.unwrap());
    assert!(pair.run_until(Duration::from_secs(5), Pair::is_connected));
    pair.run(Duration::from_secs(10));
    pair.mute = Some(pair.b.address);
    // The controlling side hears nothing, looks again, and nominates the other pair; the
    // controlled side still hears the first one for a while.
    pair.run(Duration::from_secs(25));
    assert!(pair.exchange(1), "{:?} {:?}", pair.a.ice(), pair.b.ice());
    pair.run(Duration::from_secs(60));
    assert!(pair.is_connected(), "{:?} {:?}", pair.a.ice(), pair.b.ice());
    assert!(pair.exchange(2));
}
