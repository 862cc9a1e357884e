//! ICE restarts.

use super::super::link::*;
use crate::w3c::DtlsState;
use crate::w3c::IceConnectionState::{Checking, Connected, Disconnected, Failed};
use serde_json::json;
use std::time::Duration;

/// Both sides take new credentials, as an offer with `ice_restart` and its answer do.
pub(super) fn restart(pair: &mut Pair, signalling: Duration) {
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
