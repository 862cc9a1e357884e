//! A network that loses packets from the first datagram to the last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::config::Config;
use engine::w3c::{ConnectionState, DataKind, Kind};
use std::time::Duration;
use world::{Link, World, config};

/// Media and data over a link that loses `loss` % all the time, set-up included. Returns how many
/// of 2,000 video packets arrived.
fn whole_session(loss: u32, config: &Config) -> usize {
    let mut world = World::new(config.clone(), config.clone());
    world.link = Link {
        delay: Duration::from_millis(10),
        loss,
        reorder: 5,
        duplicate: 2,
    };
    world.add_transceiver(0, 2, Kind::Video);
    let mine = world.channel(0, "data");
    world.negotiate(0);
    world.connect();
    world.wait_until_open(0, &mine);
    let theirs = world.remote_channel(1, "data");
    for number in 0..2000u16 {
        world.send_number(0, 2, number);
        if number % 20 == 0 {
            let data = Bytes::from(number.to_be_bytes().repeat(200));
            world.send_data(0, &mine, DataKind::Binary, data);
        }
        world.run_for(Duration::from_millis(5));
    }
    // Time for the last repairs, while packets go on so that a loss at the end is seen.
    for number in 2000..2100 {
        world.send_number(0, 2, number);
        world.run_for(Duration::from_millis(10));
    }
    world.run_until(Duration::from_secs(120), |world| {
        world.messages_on(1, &theirs).len() >= 100
    });
    let messages = world.messages_on(1, &theirs);
    assert_eq!(messages.len(), 100);
    for (at, (_, data)) in (0u16..).zip(messages) {
        assert_eq!(data, (at * 20).to_be_bytes().repeat(200));
    }
    for peer in &world.peers {
        assert!(!peer.connection_states().contains(&ConnectionState::Failed));
    }
    let mut arrived: Vec<u16> = world.peers[1]
        .heard
        .packets
        .iter()
        .map(|packet| {
            assert_eq!(
                packet.payload,
                format!("2/{}", packet.sequence_number).as_bytes()
            );
            packet.sequence_number
        })
        .filter(|number| *number < 2000)
        .collect();
    let all = arrived.len();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived.len(), all, "no packet comes twice");
    all
}

#[test]
fn at_10_percent_loss_video_is_repaired_and_data_is_whole() {
    let arrived = whole_session(10, &config());
    assert!(arrived >= 1998, "{arrived} of 2000");
}

#[test]
fn at_20_percent_loss_video_is_repaired_and_data_is_whole() {
    let arrived = whole_session(20, &config());
    assert!(arrived >= 1980, "{arrived} of 2000");
}

#[test]
fn without_repair_video_arrives_as_the_network_leaves_it() {
    let mut plain = config();
    plain.features.inbound_rtx = false;
    plain.features.outbound_rtx = false;
    let arrived = whole_session(10, &plain);
    assert!((1700..1900).contains(&arrived), "{arrived} of 2000");
}

#[test]
fn connections_come_up_at_20_percent_loss_again_and_again() {
    let mut world = World::plain();
    for _ in 0..100 {
        // The generator of the link goes on: every connection has its own losses.
        world = world.another();
        world.link = Link {
            delay: Duration::from_millis(10),
            loss: 20,
            reorder: 5,
            duplicate: 2,
        };
        world.add_transceiver(0, 1, Kind::Audio);
        world.negotiate(0);
        world.connect();
    }
}
