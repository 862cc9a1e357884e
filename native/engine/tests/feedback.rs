//! RTCP between whole engines: what one side asks or reports, the other side's program is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::Command;
use engine::ids::TrackId;
use std::collections::BTreeSet;
use std::time::Duration;
use world::World;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// The packets of a type and, for feedback, a format, told to a side.
fn told(world: &World, side: usize, kind: u8, format: Option<u8>) -> Vec<(Option<TrackId>, Bytes)> {
    let mut packets = world.rtcp(side);
    packets.retain(|(_, packet)| {
        packet[1] == kind && format.is_none_or(|format| packet[0] & 0x1f == format)
    });
    packets
}

/// The chunks of a source description, read strictly (RFC 3550 section 6.5): source and name.
fn chunks(packet: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut rest = &packet[4..];
    let mut chunks = Vec::new();
    for _ in 0..packet[0] & 0x1f {
        let (source, items) = rest.split_at(4);
        let name = &items[2..][..usize::from(items[1])];
        assert_eq!(items[0], 1, "a canonical name");
        let whole = (4 + 2 + name.len() + 1).next_multiple_of(4);
        let padding = &rest[4 + 2 + name.len()..whole];
        assert!(padding.iter().all(|byte| *byte == 0), "{padding:?}");
        chunks.push((
            u32::from_be_bytes(source.try_into().unwrap()),
            name.to_vec(),
        ));
        rest = &rest[whole..];
    }
    assert!(rest.is_empty(), "nothing is behind the last chunk");
    chunks
}

#[test]
fn sources_are_described_with_null_octets_behind_their_names() {
    let mut world = World::connected();
    world.flows(0, 1, 0..5);
    world.flows(0, 2, 0..5);
    world.run_for(Duration::from_secs(2));
    let descriptions = told(&world, 1, SOURCE_DESCRIPTION, None);
    let sources: BTreeSet<_> = descriptions
        .iter()
        .flat_map(|(_, packet)| chunks(packet))
        .collect();
    let names: BTreeSet<_> = sources.iter().map(|(_, name)| name).collect();
    assert_eq!((sources.len(), names.len()), (2, 1));
}

#[test]
fn a_request_for_a_keyframe_reaches_the_program_that_sends() {
    let mut world = World::connected();
    world.flows(0, 2, 0..5);
    let remote = world.remote_track_of(0, 2);
    let now = world.now;
    world.peers[1].engine.send_pli(now, remote, None);
    world.settle(1);
    world.run_for(Duration::from_millis(10));
    let requests = told(&world, 0, PAYLOAD_FEEDBACK, Some(1));
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, Some(TrackId(2)));
}

#[test]
fn a_keyframe_asked_for_before_the_first_packet_is_asked_for_when_it_comes() {
    let mut world = World::connected();
    let remote = world.remote_track_of(0, 2);
    let now = world.now;
    world.peers[1].engine.send_pli(now, remote, None);
    world.settle(1);
    world.run_for(Duration::from_millis(10));
    world.flows(0, 2, 0..5);
    let requests = told(&world, 0, PAYLOAD_FEEDBACK, Some(1));
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, Some(TrackId(2)));
}

#[test]
fn a_full_intra_request_of_the_program_reaches_the_program_that_sends() {
    let mut world = World::connected();
    world.flows(0, 2, 0..5);
    let ssrc = world.peers[1].heard.packets.last().unwrap().ssrc;
    // RFC 5104 section 4.3.1.1: sender, unused media source, the stream, command number 7.
    let mut request = vec![0x84, PAYLOAD_FEEDBACK, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0];
    request.extend(ssrc.to_be_bytes());
    request.extend([7, 0, 0, 0]);
    let now = world.now;
    world.peers[1].engine.send_rtcp(now, &request);
    world.settle(1);
    world.run_for(Duration::from_millis(10));
    let requests = told(&world, 0, PAYLOAD_FEEDBACK, Some(4));
    assert_eq!(requests, [(Some(TrackId(2)), Bytes::from(request))]);
}

#[test]
fn reports_reach_both_programs_with_the_track_they_are_about() {
    let mut world = World::connected();
    let remote = world.remote_track_of(0, 2);
    for second in 0..4 {
        world.flows(0, 2, second * 20..second * 20 + 20);
        world.run_for(Duration::from_secs(1));
    }
    let of_sender = told(&world, 1, SENDER_REPORT, None);
    assert!(of_sender.len() >= 2, "{of_sender:?}");
    assert!(of_sender.iter().all(|(track, _)| *track == Some(remote)));
    let of_receiver = told(&world, 0, RECEIVER_REPORT, None);
    let blocks = of_receiver
        .iter()
        .filter(|(track, _)| *track == Some(TrackId(2)));
    assert!(blocks.count() >= 2, "{of_receiver:?}");
    // The last sender report counts what was sent, behind sender, NTP and RTP time.
    let packets = u32::from_be_bytes(of_sender.last().unwrap().1[20..24].try_into().unwrap());
    assert!((60..=80).contains(&packets), "{packets} packets reported");
}

#[test]
fn reports_are_not_sent_where_they_are_switched_off() {
    let mut quiet = world::config();
    quiet.features.rtcp_reports = false;
    let mut world = World::new(quiet.clone(), quiet);
    world.add_transceiver(0, 2, engine::w3c::Kind::Video);
    world.negotiate(0);
    world.connect();
    for second in 0..4 {
        world.flows(0, 2, second * 20..second * 20 + 20);
        world.run_for(Duration::from_secs(1));
    }
    for side in 0..2 {
        assert_eq!(told(&world, side, SENDER_REPORT, None), []);
        assert_eq!(told(&world, side, RECEIVER_REPORT, None), []);
    }
}

#[test]
fn a_request_for_a_lost_packet_is_told_and_answered() {
    let mut world = World::connected();
    world.flows(0, 2, 0..5);
    world.link.loss = 100;
    world.send_number(0, 2, 5);
    world.link.loss = 0;
    let mut arrived = world.flow(0, 2, 6..20);
    assert_eq!(arrived[0], 6, "the lost one comes late");
    arrived.sort_unstable();
    assert_eq!(arrived, (5..20).collect::<Vec<u16>>());
    let requests = told(&world, 0, TRANSPORT_FEEDBACK, Some(1));
    assert!(!requests.is_empty());
    for (track, request) in requests {
        assert_eq!(track, Some(TrackId(2)));
        assert_eq!(request[12..16], [0, 5, 0, 0], "the packet, and no other");
    }
}

#[test]
fn closing_says_goodbye_for_what_was_sent() {
    let mut world = World::connected();
    world.flows(0, 2, 0..5);
    let remote = world.remote_track_of(0, 2);
    world.ok(0, Command::Close);
    world.run_for(Duration::from_millis(10));
    let goodbyes = told(&world, 1, GOODBYE, None);
    assert!(
        goodbyes.iter().any(|(track, _)| *track == Some(remote)),
        "{goodbyes:?}"
    );
}

#[test]
fn rtcp_of_the_program_that_is_none_is_not_sent() {
    let mut world = World::connected();
    world.flows(0, 2, 0..5);
    let before = world.rtcp(0).len();
    let now = world.now;
    for bytes in [
        &b""[..],
        b"x",
        &[0x80, 72, 0, 0],
        &[0x80, 206, 0, 9, 1, 2, 3, 4],
    ] {
        world.peers[1].engine.send_rtcp(now, bytes);
        world.settle(1);
    }
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.rtcp(0).len(), before);
}
