//! Forwarding between whole engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod layers;
mod room;
#[path = "../world/mod.rs"]
mod world;

use engine::command::{Command, Value};
use engine::error::Error;
use engine::ids::{ForwardId, Rid, SenderId, TrackId};
use engine::media::{ForwardEnd, LayerChoice};
use engine::w3c::Kind;
use room::*;
use std::time::Duration;
use world::{Link, World, codec, config, packet};

#[test]
fn a_track_arrives_at_a_sender_as_it_was_and_not_in_the_program() {
    let (mut room, track, sender) = one_to_one(&[]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoder = Encoder::new(0, None, 65_500);
    for _ in 0..60 {
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(33));
    }
    let seen = room.seen(1);
    assert_decodable(&seen);
    assert!(seen.len() > 110, "{}", seen.len());
    assert!(
        seen.iter()
            .all(|packet| text(packet).1 == packet.sequence_number)
    );
    assert_eq!(room.worlds[0].peers[MIDDLE].heard.packets, []);
}

#[test]
fn a_gap_keeps_its_place_and_is_repaired_on_either_hop() {
    let (mut room, track, sender) = one_to_one(&[]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoder = Encoder::new(0, None, 10);
    for frame in 0..400 {
        let lossy = Link {
            delay: Duration::from_millis(10),
            loss: if (10..380).contains(&frame) { 5 } else { 0 },
            reorder: 5,
            duplicate: 2,
        };
        room.worlds.iter_mut().for_each(|world| world.link = lossy);
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(20));
    }
    room.run(Duration::from_secs(1));
    let seen = room.seen(1);
    assert_decodable(&seen);
    assert!(seen.len() > 700, "{}", seen.len());
    for world in &mut room.worlds {
        let mut stats = world.outbound_stats(PEER);
        stats.extend(world.outbound_stats(MIDDLE));
        let repaired: u64 = stats
            .into_iter()
            .filter_map(|fields| fields.get("retransmitted_packets_sent")?.as_u64())
            .sum();
        assert!(repaired > 10, "each hop repairs its own: {repaired}");
    }
}

#[test]
fn a_viewer_that_connects_later_begins_with_a_keyframe() {
    let (source, track) = publisher(config(), Kind::Video, &[]);
    let (sink, sender) = waiting_viewer(config(), Kind::Video);
    let mut room = Room::new(vec![source, sink]);
    // The viewer's link carries nothing yet.
    room.worlds[1].link.loss = 100;
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoder = Encoder::new(0, None, 0);
    for frame in 0..200 {
        if frame == 60 {
            room.worlds[1].link.loss = 0;
        }
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(33));
    }
    let seen = room.seen(1);
    assert_decodable(&seen);
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn keyframe_requests_of_viewers_reach_the_publisher_merged_and_limited() {
    let mut room = one_to_many(5);
    let mut encoder = Encoder::new(0, None, 0);
    for _ in 0..10 {
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(33));
    }
    let before = encoder.keyframes;
    // For one second each viewer asks with every frame.
    for _ in 0..30 {
        for viewer in 1..=5 {
            let watched = room.worlds[viewer].peers[PEER].tracks()[0].id;
            let now = room.worlds[viewer].now;
            let engine = &mut room.worlds[viewer].peers[PEER].engine;
            engine.send_pli(now, watched, None);
            room.worlds[viewer].settle(PEER);
        }
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(33));
    }
    let asked = encoder.keyframes - before;
    assert!((3..=4).contains(&asked), "{asked}");
    for viewer in 1..=5 {
        assert_decodable(&room.seen(viewer));
    }
}

#[test]
fn many_viewers_get_the_packets_of_a_picture_together_once_it_is_whole() {
    let ms = Duration::from_millis;
    let mut room = one_to_many(8);
    room.worlds
        .iter_mut()
        .for_each(|world| world.link.delay = Duration::ZERO);
    let mut encoder = Encoder::new(0, None, 0);
    encoder.frame(&mut room, None);
    room.run(ms(33));
    let keyframe = room.seen(1).len();
    let mut send = |room: &mut Room, last| {
        let payload = vp8(false, encoder.picture, true, &encoder.number.to_string());
        let mut packet = packet(encoder.number, encoder.timestamp, &payload);
        packet.marker = last;
        encoder.send(room, packet);
        encoder.number += 1;
    };
    let seen = |room: &Room| {
        let seen: Vec<usize> = (1..=8).map(|viewer| room.seen(viewer).len()).collect();
        assert!(seen.iter().all(|count| *count == seen[0]), "{seen:?}");
        seen[0] - keyframe
    };

    send(&mut room, false);
    room.run(ms(3));
    assert_eq!(seen(&room), 0, "the rest of the picture may come");
    send(&mut room, true);
    room.run(ms(2));
    assert_eq!(seen(&room), 2, "it is whole");
    send(&mut room, false);
    room.run(ms(8));
    assert_eq!(seen(&room), 3, "the rest does not come");
}

#[test]
fn another_source_takes_over_at_its_keyframe_and_the_first_is_told() {
    let (first, one) = publisher(config(), Kind::Video, &[]);
    let (second, two) = publisher(config(), Kind::Video, &[]);
    let (sink, sender) = viewer(config(), Kind::Video);
    let mut room = Room::new(vec![first, second, sink]);
    room.forward(1, (0, one), (2, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoders = [Encoder::new(0, None, 500), Encoder::new(1, None, 40_000)];
    encoders[1].rid = None;
    for frame in 0..120 {
        if frame == 50 {
            room.forward(2, (1, two), (2, sender), LayerChoice::Auto)
                .unwrap();
        }
        for encoder in &mut encoders {
            encoder.frame(&mut room, None);
        }
        room.run(Duration::from_millis(33));
    }
    assert_decodable(&room.seen(2));
    let sources = room
        .seen(2)
        .iter()
        .map(|packet| text(packet).1 >= 40_000)
        .collect::<Vec<_>>();
    assert!(!sources[0] && sources[sources.len() - 1]);
    assert_eq!(
        sources.windows(2).filter(|pair| pair[0] != pair[1]).count(),
        1
    );
    let replaced = [("1".to_owned(), ForwardEnd::Replaced)];
    assert_eq!(room.ended(0), replaced);
    assert_eq!(room.ended(2), replaced);
    assert_eq!(room.ended(1), []);
}

#[test]
fn the_same_source_again_takes_over_with_each_packet_once() {
    let (source, track) = publisher(config(), Kind::Video, &[]);
    let (sink, sender) = viewer(config(), Kind::Video);
    let mut room = Room::new(vec![source, sink]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoder = Encoder::new(0, None, 500);
    for frame in 0..120 {
        if frame == 50 {
            room.forward(2, (0, track), (1, sender), LayerChoice::Auto)
                .unwrap();
        }
        encoder.frame(&mut room, None);
        room.run(Duration::from_millis(33));
    }
    let replaced = [("1".to_owned(), ForwardEnd::Replaced)];
    assert_eq!(room.ended(1), replaced);
    let seen = room.seen(1);
    assert_decodable(&seen);
    let numbers: Vec<u16> = seen.iter().map(|packet| text(packet).1).collect();
    let sent: Vec<u16> = (numbers[0]..encoder.number).collect();
    assert_eq!(numbers, sent);
}

#[test]
fn a_sender_that_was_forwarded_to_goes_on_with_the_programs_packets() {
    let (source, track_id) = publisher(config(), Kind::Video, &[]);
    let mut sink = World::plain();
    sink.add_transceiver(MIDDLE, 9, Kind::Video);
    sink.negotiate(MIDDLE);
    sink.connect();
    let sender = sink.transceiver_of(MIDDLE, 9).sender.id;
    let mut room = Room::new(vec![source, sink]);
    for number in 0..5 {
        room.worlds[1].send_number(MIDDLE, 9, number);
    }
    room.forward(1, (0, track_id), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoder = Encoder::new(0, None, 900);
    for _ in 0..20 {
        encoder.frame(&mut room, None);
        // Not sent: the sender has another source now.
        room.worlds[1].send_number(MIDDLE, 9, 77);
        room.run(Duration::from_millis(33));
    }
    room.worlds[0].ok(MIDDLE, Command::StopForward(ForwardId(1)));
    room.run(Duration::from_millis(50));
    let seen = room.seen(1);
    assert_eq!(seen[5].sequence_number, 5, "goes on where the program was");
    assert!(seen.len() > 40);
    assert_decodable(&seen[5..]);
    let stopped = [("1".to_owned(), ForwardEnd::Stopped)];
    assert_eq!(room.ended(0), stopped);
    assert_eq!(room.ended(1), stopped);
    assert_eq!(
        room.worlds[0].error(MIDDLE, Command::StopForward(ForwardId(1))),
        Error::InvalidForward
    );
}

#[test]
fn sound_is_forwarded_from_its_first_packet_with_its_pauses() {
    let (source, track) = publisher(config(), Kind::Audio, &[]);
    let (sink, sender) = viewer(config(), Kind::Audio);
    let mut room = Room::new(vec![source, sink]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut sent = Vec::new();
    for number in 0..50u16 {
        // Discontinuous transmission: a pause between the numbers 20 and 21.
        let timestamp = u32::from(number) * 960 + if number > 20 { 48_000 } else { 0 };
        let mut packet = packet(number, timestamp, &[number as u8; 40]);
        packet.payload_type = 111;
        packet.marker = number == 0 || number == 21;
        sent.push((number, timestamp, packet.marker));
        room.worlds[0].send(PEER, 5, &packet);
        room.run(Duration::from_millis(20));
    }
    let seen = room.seen(1);
    let got: Vec<_> = seen
        .iter()
        .map(|p| (p.sequence_number, p.timestamp, p.marker))
        .collect();
    assert_eq!(got, sent);
    assert!(seen.iter().all(|packet| packet.payload_type == 111));
}

#[test]
fn payload_types_are_those_of_the_same_codec_at_the_sink() {
    let mut from = config();
    from.video_codecs = vec![
        codec(100, "video/VP9", 90_000, None),
        codec(101, "video/VP8", 90_000, None),
    ];
    let mut to = config();
    to.video_codecs = vec![
        codec(120, "video/H264", 90_000, None),
        codec(96, "video/VP8", 90_000, None),
    ];
    let (source, track) = publisher(from, Kind::Video, &[]);
    let (sink, sender) = viewer(to, Kind::Video);
    let mut room = Room::new(vec![source, sink]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    for number in 0..20u16 {
        let text = format!("v!/{number}/");
        let mut packet = packet(
            number,
            u32::from(number) * 3000,
            &vp8(true, number, true, &text),
        );
        packet.payload_type = 101;
        packet.marker = true;
        room.worlds[0].send(PEER, 5, &packet);
        room.run(Duration::from_millis(33));
    }
    let seen = room.seen(1);
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|packet| packet.payload_type == 96));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (source, track) = publisher(config(), Kind::Video, &["h", "l"]);
    let mut only_h264 = config();
    only_h264.video_codecs = vec![codec(120, "video/H264", 90_000, None)];
    let (strange, strange_sender) = viewer(only_h264, Kind::Video);
    let (audio, audio_sender) = viewer(config(), Kind::Audio);
    let (mut closed, closed_sender) = viewer(config(), Kind::Video);
    closed.ok(MIDDLE, Command::Close);
    let mut room = Room::new(vec![source, strange, audio, closed]);
    let mut refused = |from, to, layer| room.forward(1, from, to, layer).unwrap_err();
    let auto = LayerChoice::Auto;
    let unknown = TrackId(7);
    assert_eq!(
        refused((0, unknown), (1, strange_sender), auto.clone()),
        Error::InvalidTrackId
    );
    assert_eq!(
        refused((0, track), (1, SenderId(7)), auto.clone()),
        Error::InvalidSenderId
    );
    assert_eq!(
        refused((0, track), (1, strange_sender), auto.clone()),
        Error::CodecMismatch
    );
    assert_eq!(
        refused((0, track), (2, audio_sender), auto.clone()),
        Error::InvalidTrackType
    );
    assert_eq!(
        refused((0, track), (3, closed_sender), auto),
        Error::InvalidState
    );
    let none = LayerChoice::Rid(Rid::from("x"));
    assert_eq!(
        refused((0, track), (1, strange_sender), none),
        Error::InvalidLayer
    );
    for world in &mut room.worlds[..3] {
        let Value::Forwards(forwards) = world.ok(MIDDLE, Command::GetForwards) else {
            panic!("forwards");
        };
        assert_eq!(forwards, []);
    }
}

#[test]
fn a_forward_ends_with_its_track_its_sender_and_either_connection() {
    for (what, reason) in [
        ("track", ForwardEnd::TrackEnded),
        ("sender", ForwardEnd::SenderStopped),
        ("source", ForwardEnd::Closed),
        ("sink", ForwardEnd::Closed),
    ] {
        let (mut room, track, sender) = one_to_one(&[]);
        room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
            .unwrap();
        let Value::Transceivers(transceivers) =
            room.worlds[usize::from(what == "sender")].ok(MIDDLE, Command::GetTransceivers)
        else {
            panic!("transceivers");
        };
        let id = transceivers[0].id;
        match what {
            "track" => room.worlds[0].ok(MIDDLE, Command::StopTransceiver(id)),
            "sender" => room.worlds[1].ok(MIDDLE, Command::StopTransceiver(id)),
            "source" => room.worlds[0].ok(MIDDLE, Command::Close),
            _ => room.worlds[1].ok(MIDDLE, Command::Close),
        };
        room.carry();
        room.run(Duration::from_millis(5));
        let ended = [("1".to_owned(), reason)];
        assert_eq!(room.ended(0), ended, "{what}");
        assert_eq!(room.ended(1), ended, "{what}");
    }
}
