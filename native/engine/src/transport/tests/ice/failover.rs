//! An interface that dies, and the one that takes over.

use super::super::link::*;
use crate::w3c::{DtlsRole, IceRole};
use std::time::Duration;

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
