//! Data channels between whole engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{ChannelOptions, Command};
use engine::config::Config;
use engine::w3c::{ChannelState, DataKind, DtlsRole};
use std::time::Duration;
use world::{Link, World, channel_options, config};

/// A message that differs at every size and position.
fn message(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn numbered(number: u32) -> Bytes {
    let mut data = number.to_be_bytes().to_vec();
    data.extend(message((number as usize * 37) % 3000));
    data.into()
}

#[test]
fn channels_that_both_sides_make_at_once_open_and_stay_apart() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let answering = Config {
            dtls_role: Some(role),
            ..config()
        };
        let mut world = World::new(config(), answering);
        let early = [world.channel(0, "early 0"), world.channel(1, "early 1")];
        world.negotiate(0);
        world.connect();
        for (side, channel) in early.iter().enumerate() {
            world.wait_until_open(side, channel);
        }
        let late = [world.channel(0, "late 0"), world.channel(1, "late 1")];
        for (side, channel) in late.iter().enumerate() {
            world.wait_until_open(side, channel);
        }
        let mut ids = Vec::new();
        for side in 0..2 {
            for (time, mine) in [("early", &early[side]), ("late", &late[side])] {
                let label = format!("{time} {side}");
                let theirs = world.remote_channel(1 - side, &label);
                ids.extend(theirs.id);
                let (up, down) = (
                    Bytes::from(label.clone()),
                    Bytes::from(format!("re {label}")),
                );
                world.send_data(side, mine, DataKind::String, up.clone());
                world.send_data(1 - side, &theirs, DataKind::String, down.clone());
                world.run_for(Duration::from_millis(50));
                assert_eq!(
                    world.messages_on(1 - side, &theirs),
                    [(DataKind::String, up)]
                );
                assert_eq!(world.messages_on(side, mine), [(DataKind::String, down)]);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4, "every channel has a stream of its own");
    }
}

#[test]
fn a_channel_negotiated_by_both_programs_opens_without_being_announced() {
    let options = ChannelOptions {
        negotiated: true,
        id: Some(7),
        ..channel_options("agreed")
    };
    let mut world = World::plain();
    let ends = [0, 1].map(|side| world.channel_with(side, options.clone()));
    world.negotiate(0);
    world.connect();
    for (side, end) in ends.iter().enumerate() {
        world.wait_until_open(side, end);
        assert!(world.peers[side].channels().is_empty());
    }
    for side in 0..2 {
        let data = Bytes::from(format!("from {side}"));
        world.send_data(side, &ends[side], DataKind::Binary, data.clone());
        world.run_for(Duration::from_millis(50));
        assert_eq!(
            world.messages_on(1 - side, &ends[1 - side]),
            [(DataKind::Binary, data)]
        );
    }
}

#[test]
fn messages_of_every_size_up_to_the_limit_arrive_as_they_were() {
    // Around one chunk, 16 and 64 KiB, 256 KiB, and the limit that both sides set.
    const LIMIT: u32 = 300 * 1024;
    let large = Config {
        sctp_max_message_size: LIMIT,
        ..config()
    };
    let mut world = World::new(large.clone(), large);
    let mine = world.channel(0, "sizes");
    world.negotiate(0);
    world.connect();
    world.wait_until_open(0, &mine);
    let theirs = world.remote_channel(1, "sizes");
    for channel in [&mine, &theirs] {
        assert_eq!(
            channel.handle.account.max_message_size(),
            u64::from(LIMIT),
            "each side knows what the other takes"
        );
    }
    let mut sizes = vec![0, 1, 2, 1_000];
    for boundary in [1_148, 1_172, 1_200, 16_384, 65_536, 262_144] {
        sizes.extend([boundary - 1, boundary, boundary + 1]);
    }
    sizes.extend([LIMIT as usize - 1, LIMIT as usize]);
    for size in sizes {
        for kind in [DataKind::Binary, DataKind::String] {
            let seen = world.messages_on(1, &theirs).len();
            // SCTP does not look into text, nor does the engine.
            let sent = message(size);
            world.send_data(0, &mine, kind, sent.clone());
            world.run_for(Duration::from_secs(1));
            let got = world.messages_on(1, &theirs).split_off(seen);
            assert_eq!(got.len(), 1, "one message of {size} bytes");
            assert!(got[0] == (kind, sent), "{size} bytes are as they were");
        }
    }
}

#[test]
fn closing_a_channel_lets_what_is_in_flight_arrive_first() {
    for closer in 0..2 {
        let (mut world, mine, theirs) = World::with_channel();
        world.link.delay = Duration::from_millis(20);
        let ends = [mine, theirs];
        for number in 0..500 {
            world.send_data(closer, &ends[closer], DataKind::Binary, numbered(number));
        }
        world.ok(closer, Command::CloseDataChannel(ends[closer].handle.id));
        world.wait_until_closed(closer, &ends[closer]);
        world.wait_until_closed(1 - closer, &ends[1 - closer]);
        let got = world.messages_on(1 - closer, &ends[1 - closer]);
        assert_eq!(got.len(), 500, "side {closer} closes");
        for (number, (_, data)) in (0..).zip(got) {
            assert!(data == numbered(number), "message {number}");
        }
        // The stream is free again.
        let again = world.channel(closer, "again");
        world.wait_until_open(closer, &again);
    }
}

#[test]
fn a_channel_closed_from_both_sides_at_once_closes_once_at_each() {
    let (mut world, mine, theirs) = World::with_channel();
    world.link.delay = Duration::from_millis(20);
    world.send_data(0, &mine, DataKind::Binary, message(100_000));
    world.send_data(1, &theirs, DataKind::Binary, message(100_000));
    world.ok(0, Command::CloseDataChannel(mine.handle.id));
    world.ok(1, Command::CloseDataChannel(theirs.handle.id));
    world.wait_until_closed(0, &mine);
    world.wait_until_closed(1, &theirs);
    world.run_for(Duration::from_secs(5));
    for (side, end) in [(0, &mine), (1, &theirs)] {
        assert_eq!(
            world.channel_states(side, end),
            [ChannelState::Open, ChannelState::Closed]
        );
        assert_eq!(
            end.handle.account.waiting(),
            0,
            "every charge is given back"
        );
    }
}

#[test]
fn closing_the_connection_while_data_is_in_flight_ends_both_sides_in_order() {
    for closer in 0..2 {
        let (mut world, mine, theirs) = World::with_channel();
        world.link.delay = Duration::from_millis(20);
        let ends = [mine, theirs];
        for number in 0..300 {
            for (side, end) in ends.iter().enumerate() {
                world.send_data(side, end, DataKind::Binary, numbered(number));
            }
        }
        world.run_for(Duration::from_millis(100));
        world.ok(closer, Command::Close);
        let told = world.peers[closer].heard.events.len();
        let stayer = 1 - closer;
        world.wait_until_closed(stayer, &ends[stayer]);
        world.run_for(Duration::from_secs(60));
        assert_eq!(
            world.peers[closer].heard.events.len(),
            told,
            "nothing is told after closing"
        );
        let got = world.messages_on(stayer, &ends[stayer]);
        for (number, (_, data)) in (0..).zip(got) {
            assert!(data == numbered(number), "message {number}");
        }
        for end in &ends {
            assert_eq!(
                end.handle.account.waiting(),
                0,
                "every charge is given back"
            );
        }
    }
}

/// Messages both ways while packets are lost, reordered and repeated all the time.
fn survives_loss(loss: u32) {
    let (mut world, mine, theirs) = World::with_channel();
    world.link = Link {
        delay: Duration::from_millis(10),
        loss,
        reorder: 10,
        duplicate: 5,
    };
    for number in 0..400 {
        world.send_data(0, &mine, DataKind::Binary, numbered(number));
        world.send_data(1, &theirs, DataKind::Binary, numbered(number));
        world.run_for(Duration::from_millis(10));
    }
    let whole = world.run_until(Duration::from_secs(600), |world| {
        world.messages_on(0, &mine).len() >= 400 && world.messages_on(1, &theirs).len() >= 400
    });
    for (side, end) in [(0, &mine), (1, &theirs)] {
        let got = world.messages_on(side, end);
        assert!(whole, "{} of 400 at side {side}", got.len());
        assert_eq!(got.len(), 400);
        for (number, (_, data)) in (0..).zip(got) {
            assert!(data == numbered(number), "message {number} at side {side}");
        }
    }
}

#[test]
fn a_reliable_channel_delivers_everything_in_order_at_10_percent_loss() {
    survives_loss(10);
}

#[test]
fn a_reliable_channel_delivers_everything_in_order_at_20_percent_loss() {
    survives_loss(20);
}

#[test]
fn an_unreliable_channel_drops_and_goes_on() {
    let options = ChannelOptions {
        ordered: false,
        max_retransmits: Some(0),
        ..channel_options("fast")
    };
    let mut world = World::plain();
    let mine = world.channel_with(0, options);
    world.negotiate(0);
    world.connect();
    world.wait_until_open(0, &mine);
    let theirs = world.remote_channel(1, "fast");
    assert_eq!((theirs.ordered, theirs.max_retransmits), (false, Some(0)));
    world.link.delay = Duration::from_millis(10);
    world.link.loss = 20;
    for number in 0..200u32 {
        world.send_data(
            0,
            &mine,
            DataKind::Binary,
            number.to_be_bytes().as_slice().to_vec().into(),
        );
        world.run_for(Duration::from_millis(20));
    }
    world.link.loss = 0;
    world.run_for(Duration::from_secs(20));
    let got = world.messages_on(1, &theirs).len();
    assert!((100..200).contains(&got), "{got} of 200 at 20 % loss");
    world.send_data(0, &mine, DataKind::String, Bytes::from_static(b"last"));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.messages_on(1, &theirs).last().unwrap().1, "last");
}
