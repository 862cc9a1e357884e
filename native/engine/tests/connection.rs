//! Whole connections between two engines on a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, OutgoingData, Property, Value};
use engine::config::Config;
use engine::error::Error;
use engine::event::{Event, Warning};
use engine::ids::TrackId;
use engine::w3c::{
    ChannelState, ConnectionState, DataKind, DtlsRole, IceConnectionState, Kind, SdpType,
    SignalingState,
};
use std::time::Duration;
use world::{Link, World, channel_options, config, packet};

fn open_channel(world: &mut World, side: usize, label: &str) -> engine::command::ChannelInfo {
    match world.ok(side, Command::CreateDataChannel(channel_options(label))) {
        Value::DataChannel(channel) => channel,
        other => panic!("a channel, not {other:?}"),
    }
}

fn send_text(world: &mut World, side: usize, channel: &engine::command::ChannelInfo, text: &str) {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    assert!(channel.handle.account.charge(payload.len() as u64));
    let data = OutgoingData {
        channel: channel.handle.id,
        kind: DataKind::String,
        payload,
        notify: None,
    };
    let now = world.now;
    let peer = &mut world.peers[side];
    peer.engine.send_data(now, data, &mut peer.heard);
    world.settle(side);
}

fn connected(a: Config, b: Config) -> World {
    let mut world = World::new(a, b);
    world.add_transceiver(0, 1, Kind::Audio);
    world.add_transceiver(0, 2, Kind::Video);
    world.negotiate(0);
    world.connect();
    world
}

#[test]
fn a_connection_tells_new_and_stable_first() {
    let world = World::plain();
    for peer in &world.peers {
        assert!(matches!(
            peer.heard.events[..],
            [
                Event::ConnectionStateChange(ConnectionState::New),
                Event::SignalingStateChange(SignalingState::Stable)
            ]
        ));
    }
}

#[test]
fn two_engines_connect_and_tell_each_state_once() {
    let world = connected(config(), config());
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

#[test]
fn packets_arrive_whole_and_in_order_in_both_directions() {
    let mut world = connected(config(), config());
    // The answerer sends on the transceivers that the offer made.
    let Value::Transceivers(transceivers) = world.ok(1, Command::GetTransceivers) else {
        panic!()
    };
    let video = transceivers.iter().find(|t| t.kind == Kind::Video).unwrap();
    let mine = world::track(7, Kind::Video);
    world.ok(
        1,
        Command::SetTransceiverDirection(video.id, engine::w3c::Direction::Sendrecv),
    );
    world.ok(1, Command::ReplaceTrack(video.sender.id, Some(mine)));
    world.negotiate(1);
    for n in 0..300u16 {
        world.send(0, 2, &packet(n, u32::from(n) * 3000, &n.to_be_bytes()));
        world.send(1, 7, &packet(n, u32::from(n) * 3000, &n.to_be_bytes()));
        world.run_for(Duration::from_millis(5));
    }
    for side in 0..2 {
        let got: Vec<u16> = world.peers[side]
            .heard
            .packets
            .iter()
            .map(|p| p.sequence_number)
            .collect();
        assert_eq!(got, (0..300).collect::<Vec<u16>>(), "side {side}");
        assert!(
            world.peers[side]
                .heard
                .packets
                .iter()
                .all(|p| p.payload == p.sequence_number.to_be_bytes()
                    && p.timestamp == u32::from(p.sequence_number) * 3000)
        );
    }
}

#[test]
fn lost_packets_are_repaired() {
    let mut world = connected(config(), config());
    world.link = Link {
        delay: Duration::from_millis(10),
        loss: 10,
        reorder: 5,
        duplicate: 2,
    };
    for n in 0..1000u16 {
        world.send(0, 2, &packet(n, u32::from(n) * 3000, &n.to_be_bytes()));
        world.run_for(Duration::from_millis(5));
    }
    world.link.loss = 0;
    world.send(0, 2, &packet(1000, 3_000_000, b"last"));
    world.run_for(Duration::from_secs(1));
    let mut got: Vec<u16> = world.peers[1]
        .heard
        .packets
        .iter()
        .map(|p| p.sequence_number)
        .collect();
    got.sort_unstable();
    assert_eq!(
        got.len(),
        got.iter().collect::<std::collections::HashSet<_>>().len(),
        "twice"
    );
    assert!(got.len() >= 998, "{} of 1001 arrived", got.len());
}

#[test]
fn both_dtls_roles_connect() {
    for (a, b) in [
        (None, Some(DtlsRole::Server)),
        (None, Some(DtlsRole::Client)),
    ] {
        let (mut first, mut second) = (config(), config());
        first.dtls_role = a;
        second.dtls_role = b;
        let mut world = connected(first, second);
        world.send(0, 2, &packet(1, 1, b"x"));
        world.run_for(Duration::from_millis(50));
        assert_eq!(world.peers[1].heard.packets.len(), 1);
    }
}

#[test]
fn a_connection_comes_up_over_a_bad_link() {
    let mut world = World::plain();
    world.link = Link {
        delay: Duration::from_millis(50),
        loss: 20,
        reorder: 20,
        duplicate: 10,
    };
    world.add_transceiver(0, 1, Kind::Audio);
    world.negotiate(0);
    world.connect();
}

#[test]
fn a_data_channel_carries_text_and_binary_both_ways() {
    let mut world = World::plain();
    let mine = open_channel(&mut world, 0, "chat");
    world.negotiate(0);
    world.connect();
    assert!(world.run_until(Duration::from_secs(5), |world| {
        !world.peers[1].channels().is_empty()
    }));
    let theirs = world.peers[1].channels().remove(0);
    assert_eq!(
        (theirs.label.as_str(), theirs.ready_state),
        ("chat", ChannelState::Open)
    );
    world.run_for(Duration::from_millis(100));
    send_text(&mut world, 0, &mine, "hello");
    send_text(&mut world, 1, &theirs, "");
    world.run_for(Duration::from_millis(100));
    assert_eq!(
        world.peers[1].messages(),
        [(DataKind::String, Bytes::from_static(b"hello"))]
    );
    assert_eq!(
        world.peers[0].messages(),
        [(DataKind::String, Bytes::new())]
    );
}

#[test]
fn a_channel_first_added_long_after_media_opens_in_both_dtls_roles() {
    for creator in 0..2 {
        let mut world = connected(config(), config());
        world.run_for(Duration::from_secs(30));
        open_channel(&mut world, creator, "late");
        world.negotiate(creator);
        let opened = world.run_until(Duration::from_secs(2), |world| {
            world.peers.iter().all(|peer| {
                peer.heard.events.iter().any(|event| {
                    matches!(event, Event::DataChannelStateChange(_, ChannelState::Open))
                })
            })
        });
        assert!(opened, "side {creator} creates the channel");
    }
}

#[test]
fn a_vanished_peer_is_disconnected_then_failed_and_an_ice_restart_brings_it_back() {
    let mut world = connected(config(), config());
    world.link.loss = 100;
    world.run_for(Duration::from_secs(60));
    assert_eq!(
        world.peers[0].connection_states()[3..],
        [ConnectionState::Disconnected, ConnectionState::Failed]
    );
    world.link.loss = 0;
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.exchange(0, offer);
    world.connect();
    world.send(0, 2, &packet(9, 9, b"back"));
    world.run_for(Duration::from_millis(50));
    assert_eq!(
        world.peers[1].heard.packets.last().unwrap().payload,
        b"back"
    );
}

#[test]
fn an_ice_restart_loses_no_packet() {
    let mut world = connected(config(), config());
    let mut n = 0u16;
    let mut feed = |world: &mut World, count: u16| {
        for _ in 0..count {
            world.send(0, 2, &packet(n, u32::from(n), b"media"));
            n += 1;
            world.run_for(Duration::from_millis(10));
        }
    };
    feed(&mut world, 20);
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.ok(0, Command::SetLocalDescription(Some(offer.clone())));
    feed(&mut world, 20);
    world.ok(1, Command::SetRemoteDescription(offer));
    let answer = world.create(1, Command::CreateAnswer);
    world.ok(1, Command::SetLocalDescription(Some(answer.clone())));
    feed(&mut world, 20);
    world.ok(0, Command::SetRemoteDescription(answer));
    feed(&mut world, 50);
    assert_eq!(world.peers[1].heard.packets.len(), 110);
    assert!(
        !world.peers[0]
            .connection_states()
            .contains(&ConnectionState::Failed)
    );
}

#[test]
fn close_is_silent_idempotent_and_answers_getters_afterwards() {
    let mut world = connected(config(), config());
    let told = world.peers[0].heard.events.len();
    world.ok(0, Command::Close);
    world.ok(0, Command::Close);
    assert_eq!(
        world.peers[0].heard.events.len(),
        told,
        "close emits no events"
    );
    let Value::SignalingState(state) = world.ok(0, Command::Get(Property::SignalingState)) else {
        panic!()
    };
    assert_eq!(state, SignalingState::Closed);
    let Value::Transceivers(transceivers) = world.ok(0, Command::GetTransceivers) else {
        panic!()
    };
    assert!(transceivers.len() == 2 && transceivers.iter().all(|t| t.stopped));
    assert_eq!(
        world.error(0, Command::CreateOffer { ice_restart: false }),
        Error::InvalidState
    );
    assert!(
        world.peers[0].engine.poll_timeout().is_none(),
        "a closed connection has no timer"
    );
    world.run_for(Duration::from_secs(1));
    assert!(world.peers[1].heard.events.iter().any(|event| matches!(
        event,
        Event::DtlsTransportStateChange(engine::w3c::DtlsState::Closed)
    )));
}

#[test]
fn sending_on_an_unknown_track_warns_once() {
    let mut world = connected(config(), config());
    for n in 0..5 {
        world.send(0, 99, &packet(n, 0, b"lost"));
    }
    assert_eq!(
        world.peers[0].heard.warnings,
        [Warning::UnknownTrack(TrackId(99))]
    );
}

#[test]
fn set_description_tells_tracks_before_the_state_and_both_before_it_returns() {
    let mut world = World::plain();
    world.add_transceiver(0, 2, Kind::Video);
    let offer = world.create(0, Command::CreateOffer { ice_restart: false });
    world.ok(0, Command::SetLocalDescription(Some(offer.clone())));
    assert_eq!(offer.sdp_type, SdpType::Offer);
    let before = world.peers[1].heard.events.len();
    world.ok(1, Command::SetRemoteDescription(offer));
    assert!(matches!(
        world.peers[1].heard.events[before..],
        [
            Event::Track(_),
            Event::SignalingStateChange(SignalingState::HaveRemoteOffer)
        ]
    ));
}

#[test]
fn an_idle_connection_wakes_rarely() {
    let mut world = connected(config(), config());
    world.run_for(Duration::from_secs(10));
    let mut wakes = 0;
    let end = world.now + Duration::from_secs(60);
    while world.now < end {
        let limit = end - world.now;
        wakes += 1;
        world.run_until(limit.min(Duration::from_millis(1)), |_| false);
        let next = world
            .peers
            .iter_mut()
            .filter_map(|p| p.engine.poll_timeout())
            .min();
        world.now = next
            .unwrap_or(end)
            .max(world.now + Duration::from_millis(1));
    }
    assert!(
        wakes < 60 * 12,
        "{wakes} wake-ups of two idle connections in a minute"
    );
}

#[test]
fn ice_is_completed_once_neither_side_has_more_candidates() {
    use IceConnectionState::{Checking, Completed, Connected};
    let mut world = connected(config(), config());
    world.run_for(Duration::from_secs(1));
    // The end of trickled candidates was not told: one may still come.
    for side in 0..2 {
        assert_eq!(world.peers[side].ice_states(), [Checking, Connected]);
        world.ok(side, Command::AddIceCandidate(None));
        assert_eq!(
            world.peers[side].ice_states(),
            [Checking, Connected, Completed]
        );
        assert_eq!(
            world.peers[side].connection_states().last(),
            Some(&ConnectionState::Connected)
        );
    }
    // A restart has candidates to come again, and loses no connection.
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.exchange(0, offer);
    world.run_for(Duration::from_secs(1));
    assert_eq!(
        world.peers[0].ice_states(),
        [Checking, Connected, Completed, Connected]
    );
    world.ok(0, Command::AddIceCandidate(None));
    assert_eq!(world.peers[0].ice_states().last(), Some(&Completed));
    // A completed connection loses its peer like any other.
    world.link.loss = 100;
    world.run_for(Duration::from_secs(60));
    assert_eq!(
        world.peers[0].ice_states()[5..],
        [IceConnectionState::Disconnected, IceConnectionState::Failed]
    );
}
