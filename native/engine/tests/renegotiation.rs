//! Offers and answers on a connection that is up: transceivers come, go, pause and come back, and
//! what flows is not disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use engine::command::{Command, Property, Value};
use engine::event::Event;
use engine::w3c::{ConnectionState, Direction, Kind, SdpType, SessionDescription, SignalingState};
use std::time::Duration;
use world::World;

fn direction(world: &mut World, side: usize, track: u64, direction: Direction) {
    let id = world.transceiver_of(side, track).id;
    world.ok(side, Command::SetTransceiverDirection(id, direction));
}

fn m_lines(world: &mut World, side: usize) -> usize {
    let description = world.create(side, Command::Get(Property::LocalDescription));
    description.sdp.matches("\nm=").count()
}

fn assert_undisturbed(world: &World) {
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
fn every_one_of_several_transceivers_carries_its_own_media_both_ways() {
    let mut world = World::plain();
    for id in 1..=3 {
        world.add_transceiver(0, id, Kind::Audio);
        world.add_transceiver(0, 10 + id, Kind::Video);
    }
    world.negotiate(0);
    world.connect();
    for id in [1, 2, 3, 11, 12, 13] {
        world.send_back(1, id, 100 + id);
    }
    world.negotiate(1);
    for id in [1, 2, 3, 11, 12, 13] {
        world.flows(0, id, 0..20);
        world.flows(1, 100 + id, 0..20);
    }
    assert_undisturbed(&world);
}

#[test]
fn interleaved_packets_of_several_transceivers_stay_apart() {
    let mut world = World::plain();
    let ids = [1, 2, 3, 4];
    for id in ids {
        world.add_transceiver(0, id, Kind::Video);
    }
    world.negotiate(0);
    world.connect();
    for number in 0..50 {
        for id in ids {
            world.send_number(0, id, number);
        }
        world.run_for(Duration::from_millis(10));
    }
    for id in ids {
        let remote = world.remote_track_of(0, id);
        let got: Vec<Vec<u8>> = world.peers[1]
            .heard
            .packets
            .iter()
            .filter(|packet| packet.track == remote)
            .map(|packet| packet.payload.clone())
            .collect();
        let sent: Vec<Vec<u8>> = (0..50).map(|n| format!("{id}/{n}").into_bytes()).collect();
        assert_eq!(got, sent, "track {id}");
    }
}

#[test]
fn a_transceiver_added_later_by_either_side_does_not_disturb_what_flows() {
    for adder in 0..2 {
        let mut world = World::connected();
        world.flows(0, 2, 0..20);
        world.add_transceiver(adder, 7, Kind::Video);
        world.flows(0, 2, 20..30);
        let offer = world.create(adder, Command::CreateOffer { ice_restart: false });
        world.ok(adder, Command::SetLocalDescription(Some(offer.clone())));
        world.flows(0, 2, 30..40);
        world.ok(1 - adder, Command::SetRemoteDescription(offer));
        world.flows(0, 2, 40..50);
        let answer = world.create(1 - adder, Command::CreateAnswer);
        world.ok(
            1 - adder,
            Command::SetLocalDescription(Some(answer.clone())),
        );
        world.flows(0, 2, 50..60);
        world.ok(adder, Command::SetRemoteDescription(answer));
        world.flows(0, 2, 60..70);
        world.flows(adder, 7, 0..20);
        assert_eq!(m_lines(&mut world, adder), 3);
        assert_undisturbed(&world);
    }
}

#[test]
fn a_stopped_transceiver_falls_silent_and_the_others_go_on() {
    for stopper in 0..2 {
        let mut world = World::connected();
        world.flows(0, 1, 0..10);
        world.flows(0, 2, 0..10);
        let remote = world.remote_track_of(0, 2);
        let mid = world.transceiver_of(0, 2).mid;
        let id = world
            .transceivers(stopper)
            .into_iter()
            .find(|transceiver| transceiver.mid == mid)
            .unwrap()
            .id;
        world.ok(stopper, Command::StopTransceiver(id));
        world.negotiate(stopper);
        world.is_silent(0, 2, 10..20);
        world.flows(0, 1, 10..20);
        assert!(
            world.peers[1]
                .heard
                .events
                .iter()
                .any(|event| matches!(event, Event::TrackEnded(track) if *track == remote)),
            "side {stopper} stops: the receiver is told that the track has ended"
        );
        assert_undisturbed(&world);
    }
}

#[test]
fn the_m_line_of_a_stopped_transceiver_is_used_again() {
    for adder in 0..2 {
        let mut world = World::connected();
        world.flows(0, 2, 0..10);
        let old = world.transceiver_of(0, 2);
        world.ok(0, Command::StopTransceiver(old.id));
        world.negotiate(0);
        assert_eq!(m_lines(&mut world, 0), 2);
        world.flows(0, 1, 0..10);

        world.add_transceiver(adder, 8, Kind::Video);
        world.negotiate(adder);
        assert_eq!(m_lines(&mut world, adder), 2, "side {adder} adds");
        assert_ne!(world.transceiver_of(adder, 8).mid, old.mid);
        world.flows(adder, 8, 0..20);
        world.flows(0, 1, 10..20);
        assert_undisturbed(&world);
    }
}

#[test]
fn an_m_line_can_be_used_again_many_times() {
    let mut world = World::connected();
    for round in 0..10 {
        let id = 100 + round;
        world.add_transceiver(0, id, Kind::Video);
        world.negotiate(0);
        world.flows(0, id, 0..5);
        let transceiver = world.transceiver_of(0, id).id;
        world.ok(0, Command::StopTransceiver(transceiver));
        world.negotiate(0);
    }
    assert_eq!(m_lines(&mut world, 0), 3);
    world.flows(0, 2, 0..10);
    for side in 0..2 {
        assert_eq!(
            world.transceivers(side).len(),
            2,
            "stopped transceivers are gone from side {side}"
        );
    }
}

#[test]
fn a_held_transceiver_is_silent_and_muted_and_goes_on_when_resumed() {
    for holder in 0..2 {
        let mut world = World::connected();
        world.send_back(1, 2, 9);
        world.negotiate(1);
        world.flows(0, 2, 0..10);
        world.flows(1, 9, 0..10);
        let held = [2, 9][holder];
        let remote = world.remote_track_of(0, 2);

        direction(&mut world, holder, held, Direction::Inactive);
        world.negotiate(holder);
        world.is_silent(0, 2, 10..20);
        world.is_silent(1, 9, 10..20);
        world.flows(0, 1, 0..10);
        let muted = |event: &Event| matches!(event, Event::TrackMuted(track) if *track == remote);
        assert_eq!(
            world.peers[1]
                .heard
                .events
                .iter()
                .filter(|e| muted(e))
                .count(),
            1,
            "side {holder} holds"
        );
        let tracks = world.peers[1].tracks().len();

        direction(&mut world, holder, held, Direction::Sendrecv);
        world.negotiate(holder);
        assert_eq!(world.peers[1].tracks().len(), tracks + 1, "told anew");
        world.flows(0, 2, 20..40);
        world.flows(1, 9, 20..40);
        assert_undisturbed(&world);
    }
}

#[test]
fn one_direction_can_be_held_alone() {
    let mut world = World::connected();
    world.send_back(1, 2, 9);
    world.negotiate(1);
    direction(&mut world, 1, 9, Direction::Recvonly);
    world.negotiate(1);
    world.flows(0, 2, 0..10);
    world.is_silent(1, 9, 0..10);
    direction(&mut world, 1, 9, Direction::Sendonly);
    world.negotiate(1);
    world.is_silent(0, 2, 10..20);
    world.flows(1, 9, 10..20);
}

/// Both offer at once. The polite side takes the other's offer, which rolls its own back; then it
/// offers again what the rollback took back.
fn glare(world: &mut World, polite: usize, offers: [SessionDescription; 2]) {
    let impolite = 1 - polite;
    for (side, offer) in offers.iter().enumerate() {
        world.ok(side, Command::SetLocalDescription(Some(offer.clone())));
    }
    world.ok(
        polite,
        Command::SetRemoteDescription(offers[impolite].clone()),
    );
    let Value::SignalingState(state) = world.ok(polite, Command::Get(Property::SignalingState))
    else {
        panic!()
    };
    assert_eq!(state, SignalingState::HaveRemoteOffer);
    let answer = world.create(polite, Command::CreateAnswer);
    assert_eq!(answer.sdp_type, SdpType::Answer);
    world.ok(polite, Command::SetLocalDescription(Some(answer.clone())));
    world.ok(impolite, Command::SetRemoteDescription(answer));
    world.negotiate(polite);
}

fn offers(world: &mut World) -> [SessionDescription; 2] {
    [0, 1].map(|side| world.create(side, Command::CreateOffer { ice_restart: false }))
}

#[test]
fn glare_on_a_connection_that_is_up_is_resolved_by_either_side_and_media_goes_on() {
    for polite in 0..2 {
        let mut world = World::connected();
        world.flows(0, 2, 0..10);
        world.add_transceiver(0, 20, Kind::Video);
        world.add_transceiver(1, 21, Kind::Video);
        let offers = offers(&mut world);
        glare(&mut world, polite, offers);
        world.flows(0, 2, 10..20);
        world.flows(0, 20, 0..20);
        world.flows(1, 21, 0..20);
        assert_undisturbed(&world);
    }
}

#[test]
fn glare_in_the_very_first_exchange_is_resolved_by_either_side() {
    for polite in 0..2 {
        let mut world = World::plain();
        world.add_transceiver(0, 20, Kind::Audio);
        world.add_transceiver(1, 21, Kind::Video);
        let offers = offers(&mut world);
        glare(&mut world, polite, offers);
        world.connect();
        world.flows(0, 20, 0..20);
        world.flows(1, 21, 0..20);
    }
}

#[test]
fn an_explicit_rollback_leaves_media_as_it_was() {
    for offerer in 0..2 {
        let mut world = World::connected();
        world.flows(0, 2, 0..10);
        let video = world.transceiver_of(0, 2).id;
        world.ok(
            0,
            Command::SetTransceiverDirection(video, Direction::Inactive),
        );
        world.add_transceiver(offerer, 30, Kind::Audio);
        let offer = world.create(offerer, Command::CreateOffer { ice_restart: true });
        world.ok(offerer, Command::SetLocalDescription(Some(offer.clone())));
        world.ok(1 - offerer, Command::SetRemoteDescription(offer));
        for side in 0..2 {
            let rollback = SessionDescription {
                sdp_type: SdpType::Rollback,
                sdp: String::new(),
            };
            world.ok(
                side,
                if side == offerer {
                    Command::SetLocalDescription(Some(rollback))
                } else {
                    Command::SetRemoteDescription(rollback)
                },
            );
        }
        world.flows(0, 2, 10..60);
        world.flows(0, 1, 0..10);
        world.run_for(Duration::from_secs(40));
        world.flows(0, 1, 10..20);
        assert_undisturbed(&world);
    }
}

#[test]
fn negotiation_needed_is_told_once_per_change_and_not_while_negotiating() {
    let mut world = World::connected();
    let told = |world: &World| {
        let events = world.peers[0].heard.events.iter();
        events
            .filter(|event| matches!(event, Event::NegotiationNeeded))
            .count()
    };
    let before = told(&world);
    world.add_transceiver(0, 40, Kind::Audio);
    world.add_transceiver(0, 41, Kind::Audio);
    assert_eq!(told(&world), before + 1);
    let offer = world.create(0, Command::CreateOffer { ice_restart: false });
    world.ok(0, Command::SetLocalDescription(Some(offer.clone())));
    world.add_transceiver(0, 42, Kind::Audio);
    assert_eq!(told(&world), before + 1, "not while an offer is out");
    world.ok(1, Command::SetRemoteDescription(offer));
    let answer = world.create(1, Command::CreateAnswer);
    world.ok(1, Command::SetLocalDescription(Some(answer.clone())));
    world.ok(0, Command::SetRemoteDescription(answer));
    assert_eq!(told(&world), before + 2, "stable again, one change is left");
    world.negotiate(0);
    assert_eq!(told(&world), before + 2);
    world.flows(0, 42, 0..5);
}
