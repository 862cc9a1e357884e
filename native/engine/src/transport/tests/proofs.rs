use super::link::*;
use crate::transport::Proof;
use std::net::SocketAddr;
use std::time::Duration;

fn elsewhere() -> SocketAddr {
    ([10, 0, 0, 66], 6).into()
}

/// The newest STUN message of this type that B sent to A.
fn last_of_b(pair: &Pair, kind: [u8; 2]) -> Vec<u8> {
    let mut log = pair.log.iter().rev();
    let found = log.find(|(to_b, bytes)| !to_b && bytes[..2] == kind);
    found.unwrap().1.clone()
}

#[test]
fn an_answered_check_proves_that_the_peer_is_reached() {
    let mut pair = Pair::new();
    pair.connect();
    let proof = Proof {
        local: pair.a.address,
        remote: pair.b.address,
        reached: true,
    };
    assert_eq!(pair.a.transport.take_proofs(), [proof]);
    assert_eq!(pair.a.transport.take_proofs(), [], "each is told once");
    pair.run(Duration::from_secs(6));
    assert_eq!(
        pair.a.transport.take_proofs(),
        [proof],
        "consent checks prove it again"
    );
}

#[test]
fn a_request_from_another_address_proves_less() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(5));
    pair.a.transport.take_proofs();
    let request = last_of_b(&pair, [0, 1]);
    pair.a.deliver(pair.now, elsewhere(), &request);
    let proof = Proof {
        local: pair.a.address,
        remote: elsewhere(),
        reached: false,
    };
    assert_eq!(pair.a.transport.take_proofs(), [proof]);
}

#[test]
fn what_is_not_authentic_proves_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(5));
    pair.a.transport.take_proofs();
    for kind in [[0, 1], [1, 1]] {
        let mut forged = last_of_b(&pair, kind);
        forged[8] ^= 1;
        pair.a.deliver(pair.now, elsewhere(), &forged);
    }
    assert_eq!(pair.a.transport.take_proofs(), []);
}

#[test]
fn an_answer_proves_no_address_that_was_not_asked() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(5));
    pair.a.transport.take_proofs();
    // Its check has had this answer already: the peer may repeat it from wherever it likes.
    let answer = last_of_b(&pair, [1, 1]);
    pair.a.deliver(pair.now, elsewhere(), &answer);
    let proofs = pair.a.transport.take_proofs();
    assert!(proofs.iter().all(|proof| !proof.reached), "{proofs:?}");
}

#[test]
fn proofs_that_nobody_asks_for_are_bounded() {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(Duration::from_secs(5));
    let request = last_of_b(&pair, [0, 1]);
    for number in 0..10_000_u16 {
        if number % 100 == 0 {
            pair.run(ms(50));
        }
        let [high, low] = number.to_be_bytes();
        let from = ([10, 1, high, low], 5_000).into();
        pair.a.deliver(pair.now, from, &request);
    }
    assert!(pair.a.transport.take_proofs().len() <= 64);
}
