//! Data channels of a program that takes messages when it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{ChannelInfo, Command};
use engine::event::Event;
use engine::w3c::{ChannelState, DataKind};
use std::time::Duration;
use world::World;

/// The receive window of an association, see `channels/association.rs`.
const WINDOW: u64 = 4 << 20;

fn numbered(number: u32, size: usize) -> Bytes {
    let mut data = number.to_be_bytes().to_vec();
    data.resize(size.max(4), number as u8);
    data.into()
}

/// A channel of side 0 that is open; side 1 takes `credit` messages.
fn world_with_credit(credit: u64) -> (World, ChannelInfo, ChannelInfo) {
    let mut world = World::plain();
    let mine = world.channel(0, "flow");
    world.negotiate(0);
    world.connect();
    world.wait_until_open(0, &mine);
    let theirs = world.remote_channel(1, "flow");
    world.peers[1].heard.credit = Some(credit);
    (world, mine, theirs)
}

fn send(world: &mut World, channel: &ChannelInfo, numbers: std::ops::Range<u32>, size: usize) {
    for number in numbers {
        world.send_data(0, channel, DataKind::Binary, numbered(number, size));
    }
}

fn rearm(world: &mut World, credit: u64) {
    world.peers[1].heard.credit = Some(credit);
    world.settle(1);
}

/// How many messages came on a channel of side 1: whole, and in order from the first on.
fn received(world: &World, channel: &ChannelInfo, size: usize) -> u32 {
    let mut count = 0;
    for (_, data) in world.messages_on(1, channel) {
        assert!(data == numbered(count, size), "message {count} is next");
        count += 1;
    }
    count
}

#[test]
fn messages_beyond_the_credit_wait_and_come_with_more_of_it() {
    let (mut world, mine, theirs) = world_with_credit(3);
    send(&mut world, &mine, 0..10, 2_000);
    world.run_for(Duration::from_secs(2));
    assert_eq!(received(&world, &theirs, 2_000), 3);
    rearm(&mut world, 5);
    assert_eq!(received(&world, &theirs, 2_000), 8);
    rearm(&mut world, 5);
    assert_eq!(received(&world, &theirs, 2_000), 10);
    // Three are left over for what comes.
    send(&mut world, &mine, 10..20, 2_000);
    world.run_for(Duration::from_secs(2));
    assert_eq!(received(&world, &theirs, 2_000), 13);
}

#[test]
fn what_is_not_taken_stays_with_the_sender_beyond_a_window_and_arrives_when_it_is() {
    const SIZE: usize = 16_384;
    const COUNT: u32 = 1_280;
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..COUNT, SIZE);
    world.run_for(Duration::from_secs(10));
    let all = u64::from(COUNT) * SIZE as u64;
    let waiting = mine.handle.account.waiting();
    assert!(
        (all - WINDOW - 65_536..all).contains(&waiting),
        "{waiting} of {all} bytes wait"
    );
    for _ in 0..COUNT / 64 {
        rearm(&mut world, 64);
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(received(&world, &theirs, SIZE), COUNT);
    assert_eq!(mine.handle.account.waiting(), 0);
}

#[test]
fn a_window_that_was_closed_for_long_opens_at_once() {
    const SIZE: usize = 60_000;
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..200, SIZE);
    world.run_for(Duration::from_secs(900));
    assert_eq!(received(&world, &theirs, SIZE), 0);
    world.peers[1].heard.credit = None;
    world.settle(1);
    world.run_for(Duration::from_millis(300));
    assert_eq!(received(&world, &theirs, SIZE), 200);
}

#[test]
fn many_small_messages_wait_without_a_limit_of_their_number_being_met() {
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..200_000, 8);
    world.run_for(Duration::from_secs(20));
    assert!(mine.handle.account.waiting() > 0, "the sender was stopped");
    for _ in 0..20 {
        rearm(&mut world, 10_000);
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(received(&world, &theirs, 8), 200_000);
}

#[test]
fn channels_take_turns_with_the_credit() {
    let (mut world, busy, theirs) = world_with_credit(0);
    let quiet = world.channel(0, "quiet");
    let quiet_there = world.remote_channel(1, "quiet");
    send(&mut world, &busy, 0..100, 100);
    send(&mut world, &quiet, 0..2, 100);
    world.run_for(Duration::from_secs(1));
    rearm(&mut world, 4);
    assert_eq!(received(&world, &theirs, 100), 2);
    assert_eq!(received(&world, &quiet_there, 100), 2);
}

#[test]
fn the_states_of_channels_are_told_without_credit() {
    let (mut world, _, _) = world_with_credit(0);
    let later = world.channel(0, "later");
    world.wait_until_open(0, &later);
    let there = world.remote_channel(1, "later");
    world.wait_until_open(1, &there);
    let back = world.channel(1, "back");
    world.wait_until_open(1, &back);
    let back_here = world.remote_channel(0, "back");
    world.ok(0, Command::CloseDataChannel(back_here.handle.id));
    world.run_for(Duration::from_secs(1));
    assert!(is_closed(&world, &back));
}

fn is_closed(world: &World, channel: &ChannelInfo) -> bool {
    world.peers[1].heard.events.iter().any(|event| {
        matches!(event, Event::DataChannelStateChange(handle, ChannelState::Closed)
            if handle.id == channel.handle.id)
    })
}

#[test]
fn what_waits_in_a_channel_that_the_peer_closes_is_told_before_it_is_closed() {
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..20, 100);
    world.ok(0, Command::CloseDataChannel(mine.handle.id));
    world.run_for(Duration::from_secs(2));
    assert!(!is_closed(&world, &theirs));
    rearm(&mut world, 20);
    world.run_for(Duration::from_secs(10));
    assert_eq!(received(&world, &theirs, 100), 20);
    assert!(is_closed(&world, &theirs));
    assert!(matches!(
        world.peers[1].heard.events.last(),
        Some(Event::DataChannelStateChange(_, ChannelState::Closed))
    ));
}

#[test]
fn what_waits_when_the_peer_ends_the_connection_is_told_before_the_end() {
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..20, 100);
    world.run_for(Duration::from_secs(1));
    world.ok(0, Command::Close);
    world.run_for(Duration::from_secs(1));
    rearm(&mut world, 19);
    assert!(!is_closed(&world, &theirs));
    rearm(&mut world, 1);
    assert_eq!(received(&world, &theirs, 100), 20);
    assert!(is_closed(&world, &theirs));
}

#[test]
fn an_own_close_throws_away_what_waits() {
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..20, 100);
    world.run_for(Duration::from_secs(1));
    world.ok(1, Command::Close);
    rearm(&mut world, 20);
    assert_eq!(received(&world, &theirs, 100), 0);
}

#[test]
fn on_a_lossy_link_nothing_is_lost_or_doubled_by_a_window_that_opens_and_closes() {
    const SIZE: usize = 20_000;
    let (mut world, mine, theirs) = world_with_credit(0);
    world.link.loss = 3;
    world.link.delay = Duration::from_millis(2);
    send(&mut world, &mine, 0..600, SIZE);
    for _ in 0..60 {
        world.run_for(Duration::from_secs(10));
        rearm(&mut world, 30);
    }
    assert_eq!(received(&world, &theirs, SIZE), 600);
}

#[test]
fn a_channel_closed_by_the_program_that_does_not_read_closes_at_once() {
    let (mut world, mine, theirs) = world_with_credit(0);
    send(&mut world, &mine, 0..20, 100);
    world.run_for(Duration::from_secs(1));
    world.ok(1, Command::CloseDataChannel(theirs.handle.id));
    world.run_for(Duration::from_secs(1));
    assert!(is_closed(&world, &theirs));
    assert_eq!(received(&world, &theirs, 100), 0);
}
