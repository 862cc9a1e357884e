//! Two connections of ours over real loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use driver::SubmitError;
use engine::command::{Command, OutgoingRtp, Property};
use engine::event::Event;
use engine::w3c::{DataKind, Kind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use support::{Output, Peer, config, connect, runtime};

#[test]
fn media_and_data_go_both_ways() {
    let runtime = runtime(2);
    let mut alice = Peer::open(&runtime, config());
    let mut bob = Peer::open(&runtime, config());
    let from_alice = alice.add_track(Kind::Video, 11);
    let channel = alice.create_channel("chat");
    let from_bob = bob.add_track(Kind::Video, 22);
    connect(&mut alice, &mut bob);

    let at_bob = bob.remote_track().id;
    let at_alice = alice.remote_track().id;
    for number in 0..20u16 {
        alice.send_packet(
            from_alice,
            96,
            number,
            format!("to bob {number}").as_bytes(),
        );
        bob.send_packet(
            from_bob,
            96,
            number,
            format!("to alice {number}").as_bytes(),
        );
    }
    for number in 0..20 {
        assert_eq!(bob.packet_on(at_bob), format!("to bob {number}").as_bytes());
        assert_eq!(
            alice.packet_on(at_alice),
            format!("to alice {number}").as_bytes()
        );
    }

    alice.wait_until_open(&channel);
    let same_channel = bob.remote_channel();
    assert_eq!(same_channel.label, "chat");
    alice.send_message(&channel, DataKind::String, b"hello");
    assert_eq!(bob.message(), (DataKind::String, "hello".into()));
    bob.send_message(&same_channel, DataKind::Binary, &[0; 100_000]);
    assert_eq!(alice.message(), (DataKind::Binary, vec![0; 100_000].into()));
}

#[test]
fn a_burst_of_messages_arrives_whole_and_in_order() {
    const MESSAGES: usize = 20_000;
    let runtime = runtime(2);
    let mut alice = Peer::open(&runtime, config());
    let mut bob = Peer::open(&runtime, config());
    let channel = alice.create_channel("burst");
    connect(&mut alice, &mut bob);
    alice.wait_until_open(&channel);
    for number in 0..MESSAGES {
        alice.send_message(&channel, DataKind::Binary, &number.to_be_bytes());
    }
    for number in 0..MESSAGES {
        assert_eq!(bob.message().1.as_ref(), number.to_be_bytes());
    }
}

#[test]
fn two_hundred_connections_come_up_at_once() {
    let runtime = runtime(2);
    let mut pairs: Vec<_> = (0..100)
        .map(|_| {
            (
                Peer::open(&runtime, config()),
                Peer::open(&runtime, config()),
            )
        })
        .collect();
    assert_eq!(runtime.connections(), 200);
    for (alice, bob) in &mut pairs {
        alice.add_track(Kind::Audio, 1);
        let offer = alice.offer();
        let answer = bob.answer(offer);
        alice.accept(answer);
    }
    for (alice, bob) in &mut pairs {
        alice.wait_for_state(engine::w3c::ConnectionState::Connected);
        bob.wait_for_state(engine::w3c::ConnectionState::Connected);
    }
}

#[test]
fn a_connected_pair_tells_each_state_once_and_in_order() {
    let runtime = runtime(1);
    let mut alice = Peer::open(&runtime, config());
    let mut bob = Peer::open(&runtime, config());
    alice.add_track(Kind::Audio, 1);
    let offer = alice.offer();
    let answer = bob.answer(offer);
    alice.accept(answer);
    let mut states = Vec::new();
    while states.last().map(String::as_str) != Some("Connected") {
        states.push(alice.wait_for("a state", |output| match output {
            Output::Event(Event::ConnectionStateChange(state)) => Some(format!("{state:?}")),
            _ => None,
        }));
    }
    assert_eq!(states, ["New", "Connecting", "Connected"]);
}

#[test]
fn ipv6_carries_a_connection_alone() {
    let runtime = runtime(1);
    let only_v6 = engine::config::Config {
        host_addresses: Some(vec![(std::net::Ipv6Addr::LOCALHOST.into(), None)]),
        ..config()
    };
    let mut alice = Peer::open(&runtime, only_v6.clone());
    let mut bob = Peer::open(&runtime, only_v6);
    let track = alice.add_track(Kind::Video, 1);
    connect(&mut alice, &mut bob);
    let at_bob = bob.remote_track().id;
    for number in 0..100 {
        alice.send_packet(track, 96, number, &[number as u8; 1100]);
    }
    for number in 0..100u16 {
        assert_eq!(bob.packet_on(at_bob), [number as u8; 1100]);
    }
}

#[test]
fn a_flood_on_one_connection_does_not_starve_its_neighbours() {
    let runtime = runtime(1);
    let mut alice = Peer::open(&runtime, config());
    let mut bob = Peer::open(&runtime, config());
    let mut neighbour = Peer::open(&runtime, config());
    let track = alice.add_track(Kind::Video, 1);
    connect(&mut alice, &mut bob);
    neighbour.request(Command::GetStats).unwrap();

    // Ends the flood also when an assertion fails.
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = Stop(Arc::default());
    let stopped = Arc::clone(&stop.0);
    let flood = alice.connection.clone();
    let flooder = std::thread::spawn(move || {
        let mut refused = 0u64;
        let mut number = 0u16;
        while !stopped.load(Ordering::Relaxed) {
            number = number.wrapping_add(1);
            let packet = OutgoingRtp {
                marker: false,
                payload_type: 96,
                sequence_number: number,
                timestamp: 0,
                ssrc: 1,
                csrc: Vec::new(),
                extensions: Vec::new(),
                payload: Bytes::from_static(&[1; 1000]),
                padding_size: 0,
                rtx: false,
            };
            match flood.send_rtp(track, packet) {
                Ok(()) => {}
                Err(SubmitError::Busy) => refused += 1,
                Err(SubmitError::Closed) => break,
            }
        }
        refused
    });
    // Before each request the queue has been full once more, so the flood is under way. A
    // neighbour that had to wait for its end would wait for ever: only the answers end it.
    for _ in 0..50 {
        let refused = alice.connection.dropped_packets();
        let deadline = Instant::now() + support::PATIENCE;
        while alice.connection.dropped_packets() == refused {
            assert!(
                Instant::now() < deadline,
                "the flood does not fill the queue"
            );
            std::thread::yield_now();
        }
        neighbour
            .request(Command::Get(Property::SignalingState))
            .unwrap();
    }
    assert!(!flooder.is_finished(), "the flood outlasts the requests");
    drop(stop);
    let refused = flooder.join().unwrap();
    assert_eq!(
        alice.connection.dropped_packets(),
        refused,
        "what is refused is counted"
    );
}
