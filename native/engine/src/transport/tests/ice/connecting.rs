//! How two agents connect, and how they notice that they no longer are.

use super::super::link::*;
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
fn an_idle_connection_is_woken_by_one_timer_in_5_s_for_both_sides() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(10));
    (pair.a.wakeups, pair.b.wakeups, pair.datagrams) = (0, 0, 0);
    pair.run(Duration::from_secs(60));
    let wakeups = [pair.a.wakeups, pair.b.wakeups];
    assert!(
        (10..=16).contains(&wakeups[0]) && wakeups[1] <= 1,
        "{wakeups:?} wake-ups"
    );
    assert!(
        // A check and an answer of each in 4 to 6 s.
        (40..=60).contains(&pair.datagrams),
        "{} datagrams",
        pair.datagrams
    );
}

#[test]
fn a_wrong_password_gets_nowhere() {
    let mut pair = Pair::new();
    let of_b = pair.offer(DtlsRole::Server);
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
    pair.offer(DtlsRole::Server);
    // The answer takes 300 ms, and names no candidate.
    pair.run(ms(300));
    assert_eq!(pair.a.ice(), []);
    pair.answer(DtlsRole::Server);
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
fn a_vanished_peer_is_disconnected_within_8_s_and_failed_30_s_after_its_last_answer() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(3));
    pair.cut = true;
    let cut = pair.now;
    assert!(pair.run_until(Duration::from_secs(10), |pair| {
        pair.a.transport.ice_state() == Disconnected && pair.b.transport.ice_state() == Disconnected
    }));
    let silent = pair.now - cut;
    assert!((ms(2_000)..ms(8_100)).contains(&silent), "{silent:?}");
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
fn both_sides_ask_for_consent_every_4_to_6_s() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(20));
    let count = |pair: &Pair| {
        [&pair.a, &pair.b].map(|peer| {
            let stat = |field| peer.stat(pair.now, "candidate_pair", field);
            let number = |field| stat(field).and_then(|value| value.as_u64()).unwrap();
            (number("requests_sent"), number("responses_received"))
        })
    };
    let before = count(&pair);
    pair.run(Duration::from_secs(600));
    for ((sent, answered), (sent_before, answered_before)) in count(&pair).into_iter().zip(before) {
        let sent = sent - sent_before;
        // RFC 7675 section 5.1: not more often than every 4 s.
        assert!((100..=150).contains(&sent), "{sent} checks in 600 s");
        assert!((answered - answered_before).abs_diff(sent) <= 1);
    }
    assert_eq!(pair.a.ice(), [Checking, Connected]);
}

#[test]
fn lost_checks_do_not_make_a_pair_disconnected() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..20 {
        // Whatever goes out in 1.5 s is lost, then some seconds go well.
        pair.cut = true;
        pair.run(ms(1_500));
        pair.cut = false;
        pair.run(Duration::from_secs(7));
    }
    for peer in [&mut pair.a, &mut pair.b] {
        assert_eq!(peer.ice(), [Checking, Connected]);
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
