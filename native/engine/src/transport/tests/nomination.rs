//! How long the controlling side waits for a better pair.

use super::link::{Pair, config};
use crate::w3c::{DtlsRole, IceConnectionState};
use std::time::Duration;

/// From the introduction to the pair, where the other side has a candidate of this type only.
fn time_to_connect(aggressive: bool, kind: &str) -> Duration {
    let mut settings = config();
    settings.ice_aggressive_nomination = aggressive;
    let mut pair = Pair::with(&settings, &config());
    let (to_a, to_b) = (
        pair.b.transport.fingerprint(),
        pair.a.transport.fingerprint(),
    );
    pair.a.apply(pair.now);
    let of_a = pair.a.gather(pair.now);
    pair.learn_b(DtlsRole::Server, vec![to_b]);
    pair.learn_a(DtlsRole::Client, vec![to_a]);
    pair.a.apply(pair.now);
    let address = pair.b.address;
    let of_b = format!(
        "candidate:1 1 udp 1694498815 {} {} typ {kind} raddr 192.0.2.1 rport 9",
        address.ip(),
        address.port()
    );
    pair.a.add_remote(pair.now, &of_b);
    pair.b.apply(pair.now);
    pair.b.gather(pair.now);
    pair.b.add_remote(pair.now, &of_a);
    let start = pair.now;
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        pair.a.transport.ice_state() == IceConnectionState::Connected
    }));
    pair.now - start
}

#[test]
fn a_reflexive_or_relayed_pair_waits_for_a_better_one() {
    for (kind, wait) in [("srflx", 100), ("relay", 300)] {
        let time = time_to_connect(false, kind);
        let wait = Duration::from_millis(wait);
        assert!((wait..wait * 2).contains(&time), "{kind}: {time:?}");
    }
}

#[test]
fn with_aggressive_nomination_the_first_pair_that_works_is_taken() {
    for kind in ["srflx", "relay"] {
        let time = time_to_connect(true, kind);
        assert!(time < Duration::from_millis(50), "{kind}: {time:?}");
    }
}
