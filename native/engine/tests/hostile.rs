//! Datagrams that nobody of the connection sent, or not now: whatever they are and wherever they
//! seem to come from, media and data go on as if they were not there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::w3c::{ConnectionState, DataKind, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use world::{Datagram, World};

/// One datagram of the attacker.
#[derive(Clone, Debug)]
enum Attack {
    /// Bytes without a meaning.
    Random(Vec<u8>),
    /// A first byte that says STUN, DTLS, RTP or RTCP (RFC 7983), and bytes without a meaning.
    Headed(u8, Vec<u8>),
    /// A DTLS record of this type and epoch.
    Record(u8, u8, Vec<u8>),
    /// What a side sent before, again; `usize` picks it.
    Replay(usize),
    /// The same with one bit of each of these bytes turned.
    Flip(usize, Vec<(usize, u8)>),
    /// The same, cut off.
    Cut(usize, usize),
    /// The same, sent back to where it came from.
    Reflect(usize),
}

/// Who the attacker seems to be.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Peer,
    Stranger,
}

fn attack() -> impl Strategy<Value = Attack> {
    let first = prop_oneof![
        Just(0u8),
        Just(1),
        20..=26u8,
        Just(0x80u8),
        Just(0x90),
        Just(0xb0),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Attack::Random),
        (first, vec(any::<u8>(), 0..1500)).prop_map(|(head, rest)| Attack::Headed(head, rest)),
        (20..=26u8, 0..3u8, vec(any::<u8>(), 0..100))
            .prop_map(|(kind, epoch, body)| Attack::Record(kind, epoch, body)),
        any::<usize>().prop_map(Attack::Replay),
        (any::<usize>(), vec((any::<usize>(), 0..8u8), 1..4))
            .prop_map(|(which, bits)| Attack::Flip(which, bits)),
        (any::<usize>(), any::<usize>()).prop_map(|(which, length)| Attack::Cut(which, length)),
        any::<usize>().prop_map(Attack::Reflect),
    ]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Peer), Just(Origin::Stranger)]
}

/// The datagram of an attack on `side`, made from what is on the tap.
fn datagram(world: &World, side: usize, attack: &Attack) -> Vec<u8> {
    let target: SocketAddr = world.peers[side].public;
    let tapped = |which: usize, reflected: bool| -> Vec<u8> {
        let all: Vec<&Datagram> = world
            .tap
            .iter()
            .flatten()
            .filter(|(from, to, _)| if reflected { *from } else { *to } == target)
            .collect();
        all[which % all.len()].2.clone()
    };
    match attack {
        Attack::Random(bytes) => bytes.clone(),
        Attack::Headed(head, rest) => std::iter::once(*head).chain(rest.iter().copied()).collect(),
        Attack::Record(kind, epoch, body) => {
            let mut record = vec![*kind, 254, 253, 0, *epoch, 0, 0, 0, 0, 0, 9, 0];
            record.push(body.len() as u8);
            record.extend(body);
            record
        }
        Attack::Replay(which) => tapped(*which, false),
        Attack::Flip(which, bits) => {
            let mut bytes = tapped(*which, false);
            for (at, bit) in bits {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
            }
            bytes
        }
        Attack::Cut(which, length) => {
            let mut bytes = tapped(*which, false);
            bytes.truncate(length % (bytes.len() + 1));
            bytes
        }
        Attack::Reflect(which) => tapped(*which, true),
    }
}

fn strike(world: &mut World, side: usize, origin: Origin, attack: &Attack) {
    let bytes = datagram(world, side, attack);
    let from = match origin {
        Origin::Peer => world.peers[1 - side].public,
        Origin::Stranger => "198.51.100.6:6666".parse().unwrap(),
    };
    world.inject(side, from, bytes);
}

fn assert_healthy(world: &World) {
    for peer in &world.peers {
        assert_eq!(
            peer.connection_states(),
            [
                ConnectionState::New,
                ConnectionState::Connecting,
                ConnectionState::Connected
            ]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn strange_datagrams_never_disturb_a_connection_that_is_up(
        attacks in vec((0..2usize, origin(), attack(), 0..30u64), 1..80),
    ) {
        let mut world = World::plain();
        world.tap = Some(Vec::new());
        world.add_transceiver(0, 2, Kind::Video);
        let mine = world.channel(0, "data");
        world.negotiate(0);
        world.connect();
        world.wait_until_open(0, &mine);
        let theirs = world.remote_channel(1, "data");
        for (number, (side, origin, attack, wait)) in (0u16..).zip(&attacks) {
            world.send_number(0, 2, number);
            let data = Bytes::copy_from_slice(&number.to_be_bytes());
            world.send_data(0, &mine, DataKind::Binary, data.clone());
            world.send_data(1, &theirs, DataKind::Binary, data);
            strike(&mut world, *side, *origin, attack);
            world.run_for(Duration::from_millis(*wait));
            strike(&mut world, *side, *origin, attack);
        }
        world.run_for(Duration::from_secs(60));
        let numbers: Vec<u16> = (0..).take(attacks.len()).collect();
        let mut arrived: Vec<u16> = world.peers[1]
            .heard
            .packets
            .iter()
            .map(|packet| packet.sequence_number)
            .collect();
        // A copy of a packet that is still under way may overtake it.
        arrived.sort_unstable();
        prop_assert_eq!(&arrived, &numbers);
        for (side, end) in [(0, &mine), (1, &theirs)] {
            let got: Vec<u16> = world
                .messages_on(side, end)
                .iter()
                .map(|(_, data)| u16::from_be_bytes(data.as_ref().try_into().unwrap()))
                .collect();
            prop_assert_eq!(&got, &numbers, "data at side {}", side);
        }
        assert_healthy(&world);
    }

    #[test]
    fn strange_datagrams_never_keep_a_connection_from_coming_up(
        attacks in vec((0..2usize, origin(), attack(), 0..5u64), 1..40),
    ) {
        // Of a stranger anything; in the peer's name nothing that changes its handshake: who can
        // forge that before there are keys can break it (RFC 6347 section 4.1.2.7).
        let mut world = World::plain();
        world.tap = Some(vec![
            (world.peers[1].public, world.peers[0].public, vec![22, 254, 253]),
            (world.peers[0].public, world.peers[1].public, vec![22, 254, 253]),
        ]);
        world.add_transceiver(0, 2, Kind::Video);
        world.negotiate(0);
        for (side, origin, attack, wait) in &attacks {
            let origin = match attack {
                Attack::Flip(..) | Attack::Cut(..) | Attack::Record(20 | 21, ..) => {
                    Origin::Stranger
                }
                _ => *origin,
            };
            strike(&mut world, *side, origin, attack);
            world.run_for(Duration::from_millis(*wait));
        }
        world.connect();
        world.flows(0, 2, 0..10);
        assert_healthy(&world);
    }
}

#[test]
fn a_flood_of_strange_datagrams_does_not_stop_media() {
    let mut world = World::connected();
    for number in 0..200u16 {
        for source in 0..50u16 {
            let from = SocketAddr::from(([203, 0, 113, (number % 250) as u8], 1024 + source));
            let mut forged = vec![0x80, 96, 0, 0, 0, 0, 0, 0];
            forged.extend(u32::from(number * 50 + source).to_be_bytes());
            forged.extend([7; 100]);
            world.inject(1, from, forged);
        }
        world.send_number(0, 2, number);
        world.run_for(Duration::from_millis(5));
    }
    world.run_for(Duration::from_millis(100));
    let arrived: Vec<u16> = world.peers[1]
        .heard
        .packets
        .iter()
        .map(|packet| packet.sequence_number)
        .collect();
    assert_eq!(arrived, (0..200).collect::<Vec<u16>>());
    assert_healthy(&world);
}
