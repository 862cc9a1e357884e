//! ICE restarts and addresses that change under a connection of whole engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::Command;
use engine::w3c::{ConnectionState, DataKind};
use std::time::Duration;
use world::World;

fn restart(world: &mut World, side: usize) {
    let offer = world.create(side, Command::CreateOffer { ice_restart: true });
    world.exchange(side, offer);
}

fn last_state(world: &World, side: usize) -> ConnectionState {
    *world.peers[side].connection_states().last().unwrap()
}

#[test]
fn the_answerer_can_restart_and_no_packet_is_lost() {
    let mut world = World::connected();
    world.flows(0, 2, 0..20);
    let offer = world.create(1, Command::CreateOffer { ice_restart: true });
    world.ok(1, Command::SetLocalDescription(Some(offer.clone())));
    world.flows(0, 2, 20..40);
    world.ok(0, Command::SetRemoteDescription(offer));
    let answer = world.create(0, Command::CreateAnswer);
    world.ok(0, Command::SetLocalDescription(Some(answer.clone())));
    world.flows(0, 2, 40..60);
    world.ok(1, Command::SetRemoteDescription(answer));
    world.flows(0, 2, 60..100);
    world.run_for(Duration::from_secs(60));
    world.flows(0, 2, 100..120);
    for side in 0..2 {
        assert_eq!(
            world.peers[side].connection_states().len(),
            3,
            "undisturbed"
        );
    }
}

#[test]
fn a_connection_survives_many_restarts_of_either_side() {
    let (mut world, mine, theirs) = World::with_channel();
    world.add_transceiver(0, 2, engine::w3c::Kind::Video);
    world.negotiate(0);
    for round in 0..20u16 {
        restart(&mut world, usize::from(round % 2));
        world.flows(0, 2, round * 10..round * 10 + 10);
        let data = Bytes::from(format!("round {round}"));
        world.send_data(0, &mine, DataKind::String, data.clone());
        world.run_for(Duration::from_millis(50));
        assert_eq!(
            world.messages_on(1, &theirs).last(),
            Some(&(DataKind::String, data))
        );
    }
}

#[test]
fn new_credentials_are_used_after_a_restart() {
    let mut world = World::connected();
    let before = world.create(0, Command::Get(engine::command::Property::LocalDescription));
    restart(&mut world, 0);
    let after = world.create(0, Command::Get(engine::command::Property::LocalDescription));
    let ufrag = |sdp: &str| {
        let (_, rest) = sdp.split_once("a=ice-ufrag:").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    assert_ne!(ufrag(&before.sdp), ufrag(&after.sdp));
}

#[test]
fn a_side_that_moves_to_another_address_is_back_after_a_restart_of_either_side() {
    for mover in 0..2 {
        for restarter in 0..2 {
            let (mut world, mine, theirs) = World::with_channel();
            world.add_transceiver(0, 2, engine::w3c::Kind::Video);
            world.negotiate(0);
            world.flows(0, 2, 0..10);
            world.move_to(mover, "10.0.0.77:7777");
            assert_eq!(world.flow(0, 2, 10..20), [0u16; 0], "nothing arrives there");
            world.send_data(0, &mine, DataKind::String, Bytes::from_static(b"waits"));
            world.run_for(Duration::from_secs(8));
            assert_eq!(last_state(&world, 0), ConnectionState::Disconnected);
            restart(&mut world, restarter);
            world.connect();
            world.flows(0, 2, 20..40);
            world.run_for(Duration::from_secs(10));
            assert_eq!(
                world.messages_on(1, &theirs),
                [(DataKind::String, Bytes::from_static(b"waits"))],
                "{mover} moves, {restarter} restarts"
            );
        }
    }
}

#[test]
fn a_side_that_moves_and_restarts_at_once_is_back_before_anyone_notices() {
    for mover in 0..2 {
        let mut world = World::connected();
        world.flows(0, 2, 0..10);
        world.move_to(mover, "10.0.0.77:7777");
        restart(&mut world, mover);
        world.run_for(Duration::from_secs(1));
        world.flows(0, 2, 10..40);
        for side in 0..2 {
            assert!(
                !world.peers[side]
                    .connection_states()
                    .contains(&ConnectionState::Failed)
            );
        }
    }
}

#[test]
fn a_nat_that_maps_anew_is_survived_with_a_restart() {
    for mapped in 0..2 {
        for restarter in 0..2 {
            let mut world = World::connected();
            world.flows(0, 2, 0..10);
            world.rebind(mapped, "192.0.2.7:4444");
            world.run_for(Duration::from_secs(1));
            restart(&mut world, restarter);
            world.run_for(Duration::from_secs(1));
            world.flows(0, 2, 10..40);
            assert_eq!(last_state(&world, 0), ConnectionState::Connected);
            assert_eq!(last_state(&world, 1), ConnectionState::Connected);
        }
    }
}

#[test]
fn a_path_that_comes_back_in_time_needs_no_restart() {
    let mut world = World::connected();
    world.flows(0, 2, 0..10);
    world.link.loss = 100;
    world.run_for(Duration::from_secs(10));
    assert_eq!(last_state(&world, 0), ConnectionState::Disconnected);
    world.link.loss = 0;
    world.connect();
    world.flows(0, 2, 10..20);
}
