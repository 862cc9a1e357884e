//! Ends of connections: asked for, by the loss of the handle, by a panic, by the runtime.
//!
//! One test, because it counts the threads and file descriptors of the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use driver::SubmitError;
use engine::command::{Command, Property, Value};
use engine::error::Error;
use engine::ids::RequestId;
use engine::w3c::{ConnectionState, Kind, SignalingState};
use std::time::{Duration, Instant};
use support::{Output, PATIENCE, Peer, config, connect, runtime};

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// (file descriptors, threads)
fn held() -> (usize, usize) {
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_end_of_a_connection_is_clean() {
    let before = held();
    let runtime = runtime(2);
    let idle = held();
    assert_eq!(idle.1, before.1 + 2, "one thread a shard");

    closing_answers_when_the_sockets_are_closed(&runtime, idle.0);
    the_loss_of_the_last_handle_closes(&runtime);
    a_shutdown_closes_although_handles_live_on(&runtime);
    a_panic_ends_one_connection_and_leaves_the_others(&runtime);
    a_connection_that_cannot_be_made_says_why(&runtime);
    connections_come_and_go(&runtime);

    assert_eq!(runtime.connections(), 0);
    assert_eq!(held(), idle);

    let mut last = Peer::open(&runtime, config());
    last.request(Command::Get(Property::SignalingState))
        .unwrap();
    drop(runtime);
    last.wait_for_closed();
    assert_eq!(
        last.connection.request(RequestId(9), Command::GetStats),
        Err(SubmitError::Closed)
    );
    drop(last);
    assert_eq!(held(), before, "the runtime leaves nothing");
}

fn closing_answers_when_the_sockets_are_closed(
    runtime: &driver::Runtime<support::TestMailbox>,
    idle: usize,
) {
    let mut alice = Peer::open(runtime, config());
    let mut bob = Peer::open(runtime, config());
    alice.add_track(Kind::Audio, 1);
    connect(&mut alice, &mut bob);
    assert_eq!(held().0, idle + 2, "one socket each");
    alice.drain();

    let close = alice.submit(Command::Close);
    alice.reply(close).unwrap();
    assert_eq!(held().0, idle + 1, "closed before the reply");
    assert!(
        !alice
            .drain()
            .iter()
            .any(|output| matches!(output, Output::Event(_))),
        "close emits no events"
    );
    match alice.request(Command::Get(Property::SignalingState)) {
        Ok(Value::SignalingState(SignalingState::Closed)) => {}
        other => panic!("a closed connection still answers: {other:?}"),
    }
    alice.request(Command::Close).unwrap();

    // close_notify has reached the peer before the socket was closed.
    bob.wait_for_the_end_of_dtls();
    bob.request(Command::Close).unwrap();
    assert_eq!(held().0, idle);
}

fn the_loss_of_the_last_handle_closes(runtime: &driver::Runtime<support::TestMailbox>) {
    let mut alice = Peer::open(runtime, config());
    let mut bob = Peer::open(runtime, config());
    alice.add_track(Kind::Audio, 1);
    connect(&mut alice, &mut bob);
    let clone = alice.connection.clone();
    drop(alice);
    clone.request(RequestId(77), Command::GetStats).unwrap();
    drop(clone);
    bob.wait_for_the_end_of_dtls();
    drop(bob);
    eventually("both have left", || runtime.connections() == 0);
}

fn a_shutdown_closes_although_handles_live_on(runtime: &driver::Runtime<support::TestMailbox>) {
    let mut peer = Peer::open(runtime, config());
    peer.request(Command::GetStats).unwrap();
    let accepted: Vec<_> = (0..50).map(|_| peer.submit(Command::GetStats)).collect();
    peer.connection.shutdown();
    peer.connection.shutdown();
    assert_eq!(
        peer.connection.with_mailbox(|_| ()),
        Err(SubmitError::Closed)
    );
    for id in accepted {
        // Carried out or refused, but answered.
        assert!(matches!(peer.reply(id), Ok(_) | Err(Error::Closed)));
    }
    peer.wait_for_closed();
    eventually("it has left", || runtime.connections() == 0);
}

fn a_panic_ends_one_connection_and_leaves_the_others(
    runtime: &driver::Runtime<support::TestMailbox>,
) {
    let mut pairs: Vec<_> = (0..5)
        .map(|_| {
            let mut alice = Peer::open(runtime, config());
            let mut bob = Peer::open(runtime, config());
            let track = alice.add_track(Kind::Video, 1);
            connect(&mut alice, &mut bob);
            let at_bob = bob.remote_track().id;
            (alice, bob, track, at_bob)
        })
        .collect();
    let mut victim = Peer::open(runtime, config());
    victim.submit(Command::Panic);
    let text = victim.wait_for("the panic's text", |output| match output {
        Output::Panicked(text) => Some(text.clone()),
        _ => None,
    });
    assert!(text.contains("asked this connection to panic"), "{text}");
    victim.wait_for_closed();
    assert_eq!(
        victim.connection.request(RequestId(1), Command::GetStats),
        Err(SubmitError::Closed)
    );
    eventually("the victim has left", || runtime.connections() == 10);
    for (alice, bob, track, at_bob) in &mut pairs {
        alice.send_packet(*track, 96, 1, b"still here");
        assert_eq!(bob.packet_on(*at_bob), b"still here");
    }
    drop(pairs);
    eventually("all have left", || runtime.connections() == 0);
}

fn connections_come_and_go(runtime: &driver::Runtime<support::TestMailbox>) {
    let before = held();
    for _ in 0..20 {
        let mut alice = Peer::open(runtime, config());
        let mut bob = Peer::open(runtime, config());
        alice.add_track(Kind::Audio, 1);
        let offer = alice.offer();
        let answer = bob.answer(offer);
        alice.accept(answer);
        alice.wait_for_state(ConnectionState::Connected);
    }
    eventually("all have left", || runtime.connections() == 0);
    assert_eq!(held(), before);
}

fn a_connection_that_cannot_be_made_says_why(runtime: &driver::Runtime<support::TestMailbox>) {
    let config = engine::config::Config {
        certificate_pem: Some("not a certificate".to_owned()),
        ..config()
    };
    let mut peer = Peer::open(runtime, config);
    let text = peer.wait_for("the reason", |output| match output {
        Output::Panicked(text) => Some(text.clone()),
        _ => None,
    });
    assert!(text.contains(Error::InvalidOption.as_str()), "{text}");
    peer.wait_for_closed();
    eventually("it has left", || runtime.connections() == 0);
}
