//! Forwarding between whole engines: publishers, a middle, viewers, each pair with a link and all
//! on one virtual clock. The middle's two connections are joined as the driver joins them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, OutgoingRtp, Value};
use engine::config::{Config, Feedback, HeaderExtension};
use engine::error::Error;
use engine::event::Event;
use engine::ids::{ForwardId, Rid, SenderId, TrackId};
use engine::media::{ForwardEnd, ForwardName, ForwardOutput, LayerChoice, SourceOptions};
use engine::w3c::{Direction, Kind};
use std::collections::BTreeMap;
use std::time::Duration;
use world::{Bottleneck, Delivered, Link, RID_URI, World, codec, config, packet, track};

/// In every world, side 0 is the peer and side 1 the middle.
const PEER: usize = 0;
const MIDDLE: usize = 1;

const STEP: Duration = Duration::from_millis(1);

/// Publishers and viewers, and what is forwarded between them.
struct Room {
    worlds: Vec<World>,
    /// Source and sink of each forward.
    forwards: BTreeMap<ForwardId, (usize, usize)>,
}

impl Room {
    fn new(worlds: Vec<World>) -> Self {
        Self {
            worlds,
            forwards: BTreeMap::new(),
        }
    }

    fn forward(
        &mut self,
        id: u64,
        (source, track): (usize, TrackId),
        (sink, sender): (usize, SenderId),
        layer: LayerChoice,
    ) -> Result<(), Error> {
        let name = ForwardName {
            id: ForwardId(id),
            label: Bytes::from(id.to_string()),
        };
        let options = SourceOptions {
            track,
            layer,
            tap: false,
        };
        let offer = self.worlds[source].peers[MIDDLE]
            .engine
            .check_forward(&options)?;
        let viewer = &mut self.worlds[sink].peers[MIDDLE].engine;
        viewer.open_forward_sink(name.clone(), sender, &offer)?;
        let now = self.worlds[source].now;
        let publisher = &mut self.worlds[source].peers[MIDDLE].engine;
        publisher.open_forward(now, name, options)?;
        self.forwards.insert(ForwardId(id), (source, sink));
        Ok(())
    }

    /// Carries what the ends have for each other.
    fn carry(&mut self) {
        loop {
            let mut carried = false;
            for at in 0..self.worlds.len() {
                self.worlds[at].settle(MIDDLE);
                while let Some(output) = self.worlds[at].peers[MIDDLE].engine.poll_forward() {
                    carried = true;
                    match output {
                        ForwardOutput::ToSink(id, message) => {
                            let (_, sink) = self.forwards[&id];
                            let world = &mut self.worlds[sink];
                            let now = world.now;
                            let engine = &mut world.peers[MIDDLE].engine;
                            engine.forward_source_says(now, id, &message);
                            world.settle(MIDDLE);
                        }
                        ForwardOutput::ToSource(id, message) => {
                            let (source, _) = self.forwards[&id];
                            let world = &mut self.worlds[source];
                            let now = world.now;
                            world.peers[MIDDLE]
                                .engine
                                .forward_sink_says(now, id, message);
                            world.settle(MIDDLE);
                        }
                    }
                }
            }
            if !carried {
                return;
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let mut passed = Duration::ZERO;
        while passed < time {
            for world in &mut self.worlds {
                world.run_for(STEP);
            }
            self.carry();
            passed += STEP;
        }
    }

    fn ended(&self, at: usize) -> Vec<(String, ForwardEnd)> {
        let events = self.worlds[at].peers[MIDDLE].heard.events.iter();
        events
            .filter_map(|event| match event {
                Event::ForwardEnded(label, reason) => {
                    Some((String::from_utf8(label.to_vec()).unwrap(), *reason))
                }
                _ => None,
            })
            .collect()
    }

    /// What a viewer received, in the order of its numbers, each number once.
    fn seen(&self, viewer: usize) -> Vec<Delivered> {
        let mut packets = self.worlds[viewer].peers[PEER].heard.packets.clone();
        let Some(first) = packets.first().map(|packet| packet.sequence_number) else {
            return packets;
        };
        // Numbers without the wrap, near those before.
        let mut last = i64::from(first);
        let mut keyed: Vec<(i64, Delivered)> = packets
            .drain(..)
            .map(|packet| {
                let distance = packet.sequence_number.wrapping_sub(last as u16) as i16;
                let index = last + i64::from(distance);
                last = last.max(index);
                (index, packet)
            })
            .collect();
        keyed.sort_by_key(|(index, _)| *index);
        keyed.into_iter().map(|(_, packet)| packet).collect()
    }
}

fn repairing() -> Config {
    let mut config = config();
    config.header_extensions.push(HeaderExtension {
        kind: Some(Kind::Video),
        uri: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id".to_owned(),
    });
    config
}

/// A peer that sends `kind` to the middle, and the track that the middle receives.
fn publisher(config: Config, kind: Kind, layers: &[&str]) -> (World, TrackId) {
    let mut world = World::new(config.clone(), config);
    world.ok(
        PEER,
        Command::AddTransceiver {
            kind,
            track: Some(track(5, kind)),
            direction: Direction::Sendonly,
            send_encodings: world::encodings(layers),
        },
    );
    world.negotiate(PEER);
    world.connect();
    let received = world.peers[MIDDLE].tracks()[0].id;
    (world, received)
}

/// A peer that watches, and the sender that the middle has for it.
fn viewer(config: Config, kind: Kind) -> (World, SenderId) {
    let (mut world, sender) = waiting_viewer(config, kind);
    world.connect();
    (world, sender)
}

fn waiting_viewer(config: Config, kind: Kind) -> (World, SenderId) {
    let mut world = World::new(config.clone(), config);
    let command = Command::AddTransceiver {
        kind,
        track: None,
        direction: Direction::Sendonly,
        send_encodings: Vec::new(),
    };
    let Value::Transceiver(transceiver) = world.ok(MIDDLE, command) else {
        panic!("a transceiver");
    };
    world.negotiate(MIDDLE);
    (world, transceiver.sender.id)
}

/// A VP8 packet: its descriptor with a picture id of 15 bits, and what it is.
fn vp8(keyframe: bool, picture: u16, first: bool, text: &str) -> Vec<u8> {
    let [high, low] = (picture & 0x7fff).to_be_bytes();
    let start = if first { 0x90 } else { 0x80 };
    let mut payload = vec![start, 0x80, 0x80 | high, low];
    if first {
        payload.push(u8::from(!keyframe));
    }
    payload.extend_from_slice(text.as_bytes());
    payload
}

/// Sends frames of one layer, or of a plain track, answering keyframe requests.
struct Encoder {
    world: usize,
    rid: Option<&'static str>,
    number: u16,
    timestamp: u32,
    picture: u16,
    /// Bytes of a packet, of which a keyframe has eight and another frame two.
    size: usize,
    told: usize,
    keyframes: usize,
    wants_key: bool,
}

impl Encoder {
    fn new(world: usize, rid: Option<&'static str>, number: u16) -> Self {
        Self {
            world,
            rid,
            number,
            timestamp: u32::from(number).wrapping_mul(77_777),
            picture: number & 0x7fff,
            size: 200,
            told: 0,
            keyframes: 0,
            wants_key: true,
        }
    }

    /// Whether the middle has asked for a keyframe of this layer since the last look.
    fn look(&mut self, room: &Room, ssrc: Option<u32>) {
        let rtcp = room.worlds[self.world].rtcp(PEER);
        for (_, packet) in &rtcp[self.told..] {
            let about = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            if packet[1] == 206 && packet[0] & 0x1f == 1 && ssrc.is_none_or(|own| own == about) {
                self.wants_key = true;
            }
        }
        self.told = rtcp.len();
    }

    fn frame(&mut self, room: &mut Room, ssrc: Option<u32>) {
        self.look(room, ssrc);
        let keyframe = std::mem::take(&mut self.wants_key);
        self.keyframes += usize::from(keyframe);
        let packets = if keyframe { 8 } else { 2 };
        for at in 0..packets {
            let text = format!(
                "{}{}/{}/{}",
                self.rid.unwrap_or("v"),
                if keyframe { "!" } else { "" },
                self.number,
                "x".repeat(self.size)
            );
            let mut packet = packet(
                self.number,
                self.timestamp,
                &vp8(keyframe, self.picture, at == 0, &text),
            );
            packet.marker = at == packets - 1;
            self.send(room, packet);
            self.number = self.number.wrapping_add(1);
        }
        self.picture = self.picture.wrapping_add(1) & 0x7fff;
        self.timestamp = self.timestamp.wrapping_add(3000);
    }

    fn send(&mut self, room: &mut Room, mut packet: OutgoingRtp) {
        let world = &mut room.worlds[self.world];
        if let Some(rid) = self.rid {
            let extensions = world.transceiver_of(PEER, 5).header_extensions;
            let (id, _) = extensions.iter().find(|(_, uri)| uri == RID_URI).unwrap();
            packet.extensions = vec![(*id, Bytes::copy_from_slice(rid.as_bytes()))];
        }
        world.send(PEER, 5, &packet);
    }
}

/// The text of a packet's payload: what it is of, and its number at the source.
fn text(packet: &Delivered) -> (String, u16) {
    let length = if packet.payload[0] & 0x10 != 0 { 5 } else { 4 };
    let text = String::from_utf8(packet.payload[length..].to_vec()).unwrap();
    let mut parts = text.split('/');
    let of = parts.next().unwrap().to_owned();
    (of, parts.next().unwrap().parse().unwrap())
}

fn picture(packet: &Delivered) -> u16 {
    u16::from_be_bytes([packet.payload[2], packet.payload[3]]) & 0x7fff
}

/// What a decoder needs: numbers without a gap, timestamps and picture ids that never go back nor
/// stand still between frames, and every change of source at the first packet of a keyframe.
fn assert_decodable(packets: &[Delivered]) {
    assert!(text(&packets[0]).0.ends_with('!'), "begins with a keyframe");
    for pair in packets.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let what = format!("{:?} then {:?}", text(before), text(after));
        assert_eq!(
            after.sequence_number,
            before.sequence_number.wrapping_add(1),
            "{what}"
        );
        let step = after.timestamp.wrapping_sub(before.timestamp) as i32;
        let pictures = picture(after).wrapping_sub(picture(before)) & 0x7fff;
        if before.marker {
            assert!(step > 0, "{what}: {step}");
            assert_eq!(pictures, 1, "{what}");
        } else {
            assert_eq!((step, pictures), (0, 0), "{what}");
        }
        let (from, to) = (text(before).0, text(after).0);
        if from.trim_end_matches('!') != to.trim_end_matches('!') {
            assert!(before.marker && to.ends_with('!'), "{what}");
        }
    }
}

fn one_to_one(layers: &[&str]) -> (Room, TrackId, SenderId) {
    let (source, track) = publisher(repairing(), Kind::Video, layers);
    let (sink, sender) = viewer(repairing(), Kind::Video);
    (Room::new(vec![source, sink]), track, sender)
}

fn ssrc_of(room: &mut Room, rid: &str) -> Option<u32> {
    // The middle delivers nothing of a forwarded track: ask the statistics of the publisher.
    let stats = room.worlds[0].outbound_stats(PEER);
    stats
        .into_iter()
        .find(|fields| fields.get("rid").and_then(|v| v.as_str()) == Some(rid))
        .and_then(|fields| fields["ssrc"].as_u64())
        .map(|ssrc| ssrc as u32)
}

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
    let (source, track) = publisher(config(), Kind::Video, &[]);
    let mut worlds = vec![source];
    let mut senders = Vec::new();
    for _ in 0..5 {
        let (world, sender) = viewer(config(), Kind::Video);
        worlds.push(world);
        senders.push(sender);
    }
    let mut room = Room::new(worlds);
    for (at, sender) in senders.iter().enumerate() {
        let sink = (at + 1, *sender);
        room.forward(at as u64, (0, track), sink, LayerChoice::Auto)
            .unwrap();
    }
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
fn layers_are_switched_at_keyframes_without_a_seam() {
    let (mut room, track, sender) = one_to_one(&["h", "m", "l"]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Rid(Rid::from("l")))
        .unwrap();
    let mut encoders = [
        Encoder::new(0, Some("h"), 65_000),
        Encoder::new(0, Some("m"), 20),
        Encoder::new(0, Some("l"), 30_000),
    ];
    let order = ["l", "h", "m", "h", "l", "m"];
    for rid in order {
        let choice = LayerChoice::Rid(Rid::from(rid));
        room.worlds[0].ok(MIDDLE, Command::SetForwardLayer(ForwardId(1), choice));
        for _ in 0..40 {
            for encoder in &mut encoders {
                let ssrc = ssrc_of(&mut room, encoder.rid.unwrap());
                encoder.frame(&mut room, ssrc);
            }
            room.run(Duration::from_millis(33));
        }
    }
    let seen = room.seen(1);
    assert_decodable(&seen);
    let mut layers: Vec<String> = seen
        .iter()
        .map(|packet| text(packet).0.trim_end_matches('!').to_owned())
        .collect();
    layers.dedup();
    assert_eq!(layers, order);
    // The clock of the viewer goes on at its own pace.
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    let ticks = last.timestamp.wrapping_sub(first.timestamp);
    let frames = 40 * order.len() as u32;
    assert!(
        ticks.abs_diff(frames * 3000) < 90_000 / 10,
        "{ticks} for {frames} frames"
    );
}

#[test]
fn under_loss_and_reordering_every_switch_is_still_without_a_seam() {
    let (mut room, track, sender) = one_to_one(&["h", "l"]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Rid(Rid::from("l")))
        .unwrap();
    let lossy = Link {
        delay: Duration::from_millis(8),
        loss: 4,
        reorder: 20,
        duplicate: 5,
    };
    let mut encoders = [
        Encoder::new(0, Some("h"), 65_000),
        Encoder::new(0, Some("l"), 30_000),
    ];
    for turn in 0..12 {
        let rid = if turn % 2 == 0 { "l" } else { "h" };
        let choice = LayerChoice::Rid(Rid::from(rid));
        room.worlds[0].ok(MIDDLE, Command::SetForwardLayer(ForwardId(1), choice));
        let link = if turn < 11 { lossy } else { Link::default() };
        room.worlds.iter_mut().for_each(|world| world.link = link);
        for _ in 0..40 {
            for encoder in &mut encoders {
                let ssrc = ssrc_of(&mut room, encoder.rid.unwrap());
                encoder.frame(&mut room, ssrc);
            }
            room.run(Duration::from_millis(33));
        }
    }
    room.run(Duration::from_secs(1));
    let seen = room.seen(1);
    // What was lost right before a switch is not repaired any more: the layer is left. Everything
    // else is there, and in order.
    let mut gaps = 0;
    for pair in seen.windows(2) {
        let gap = pair[1]
            .sequence_number
            .wrapping_sub(pair[0].sequence_number);
        gaps += usize::from(gap != 1);
        assert!((pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) >= 0);
        let (from, to) = (text(&pair[0]).0, text(&pair[1]).0);
        if from.trim_end_matches('!') != to.trim_end_matches('!') && gap == 1 {
            assert!(to.ends_with('!'), "{from} then {to}");
        }
    }
    assert!(gaps <= 11, "{gaps} gaps in {} packets", seen.len());
    let keyframes = seen.iter().filter(|packet| text(packet).0.ends_with('!'));
    let mut by_picture: BTreeMap<u16, usize> = BTreeMap::new();
    for packet in keyframes {
        *by_picture.entry(picture(packet)).or_default() += 1;
    }
    let whole = by_picture.values().filter(|count| **count == 8).count();
    assert!(whole >= 12, "{whole} whole keyframes: {by_picture:?}");
}

#[test]
fn a_layer_that_stops_is_left_and_taken_again_when_it_comes_back() {
    let (mut room, track, sender) = one_to_one(&["h", "l"]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Rid(Rid::from("h")))
        .unwrap();
    let mut encoders = [Encoder::new(0, Some("h"), 1), Encoder::new(0, Some("l"), 1)];
    for frame in 0..180 {
        for encoder in &mut encoders {
            let paused = encoder.rid == Some("h") && (60..120).contains(&frame);
            if paused {
                encoder.wants_key = true;
            } else {
                let ssrc = ssrc_of(&mut room, encoder.rid.unwrap());
                encoder.frame(&mut room, ssrc);
            }
        }
        room.run(Duration::from_millis(33));
    }
    let seen = room.seen(1);
    assert_decodable(&seen);
    let mut layers: Vec<String> = seen
        .iter()
        .map(|packet| text(packet).0.trim_end_matches('!').to_owned())
        .collect();
    layers.dedup();
    assert_eq!(layers, ["h", "l", "h"]);
    let least = seen
        .windows(2)
        .map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp))
        .max();
    assert!(
        least.unwrap() < 90 * 500,
        "away for less than half a second"
    );
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

#[test]
fn the_layer_follows_what_the_viewers_network_carries() {
    let mut from = repairing();
    let mut to = repairing();
    let twcc = HeaderExtension {
        kind: None,
        uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01".to_owned(),
    };
    from.header_extensions.push(twcc.clone());
    to.header_extensions.push(twcc);
    let (source, track) = publisher(from, Kind::Video, &["h", "l"]);
    let (sink, sender) = viewer(to, Kind::Video);
    let mut room = Room::new(vec![source, sink]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoders = [Encoder::new(0, Some("h"), 1), Encoder::new(0, Some("l"), 1)];
    // 30 frames of two packets: 0.6 Mbit/s and 0.1 Mbit/s.
    encoders[0].size = 1_100;
    let mut layers = Vec::new();
    for frame in 0..900 {
        // The viewer says that it can take less, for eight seconds (REMB).
        if frame >= 250 && frame % 15 == 0 {
            let carried = if frame < 500 { 250_000 } else { 4_000_000 };
            let remb = remb(&mut room, carried);
            let now = room.worlds[1].now;
            room.worlds[1].peers[PEER].engine.send_rtcp(now, &remb);
            room.worlds[1].settle(PEER);
        }
        for encoder in &mut encoders {
            let ssrc = ssrc_of(&mut room, encoder.rid.unwrap());
            encoder.frame(&mut room, ssrc);
        }
        room.run(Duration::from_millis(33));
        let Value::Forwards(forwards) = room.worlds[0].ok(MIDDLE, Command::GetForwards) else {
            panic!("forwards");
        };
        if let engine::media::ForwardEndpoint::Source {
            layer: Some(layer), ..
        } = &forwards[0].end
        {
            layers.push((frame, layer.as_str().to_owned()));
        }
    }
    layers.dedup_by(|after, before| after.1 == before.1);
    let order: Vec<&str> = layers.iter().map(|(_, layer)| layer.as_str()).collect();
    assert!(order.ends_with(&["h", "l", "h"]), "{layers:?}");
    let [.., (down, _), (up, _)] = layers.as_slice() else {
        panic!("{layers:?}")
    };
    assert!((250..340).contains(down), "within 3 s: {layers:?}");
    assert!(*up > 500, "{layers:?}");
    assert_decodable(&room.seen(1));
}

/// The viewer's REMB (draft-alvestrand-rmcat-remb-03).
fn remb(room: &mut Room, bits_per_second: u32) -> Vec<u8> {
    let sent = room.worlds[1].outbound_stats(MIDDLE);
    let ssrc = sent[0]["ssrc"].as_u64().unwrap() as u32;
    let exponent = 6u32;
    let mantissa = bits_per_second >> exponent;
    let mut packet = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
    packet.extend_from_slice(b"REMB");
    packet.extend_from_slice(&(1 << 24 | exponent << 18 | mantissa).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet
}

/// What a viewer shows while three layers are sent to it: the layer of its newest frame.
struct Screen {
    encoders: [Encoder; 3],
    ssrcs: [Option<u32>; 3],
    /// The longest time without a new frame.
    frozen: Duration,
    waiting: Duration,
}

impl Screen {
    /// Sends and shows for so long; the layers that were shown, in order.
    fn run(&mut self, room: &mut Room, seconds: f64) -> Vec<String> {
        let tick = Duration::from_millis(33);
        let mut shown: Vec<String> = Vec::new();
        for _ in 0..(seconds / tick.as_secs_f64()) as usize {
            for (encoder, ssrc) in self.encoders.iter_mut().zip(self.ssrcs) {
                // The best layer has twice the frames of the others.
                for _ in 0..if encoder.rid == Some("h") { 2 } else { 1 } {
                    encoder.frame(room, ssrc);
                }
            }
            let seen = room.worlds[1].peers[PEER].heard.packets.len();
            room.run(tick);
            let fresh = &room.worlds[1].peers[PEER].heard.packets[seen..];
            let frames: Vec<&Delivered> = fresh.iter().filter(|packet| packet.marker).collect();
            self.waiting = if frames.is_empty() {
                self.waiting + tick
            } else {
                Duration::ZERO
            };
            self.frozen = self.frozen.max(self.waiting);
            for frame in frames {
                let layer = text(frame).0.trim_end_matches('!').to_owned();
                if shown.last() != Some(&layer) {
                    shown.push(layer);
                }
            }
        }
        shown
    }
}

#[test]
fn a_viewer_behind_a_megabit_gets_a_layer_that_fits_and_a_better_one_when_there_is_more() {
    let mut watching = repairing();
    watching.header_extensions.push(HeaderExtension {
        kind: None,
        uri: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01".to_owned(),
    });
    watching.rtcp_feedbacks.push((None, Feedback::Twcc));
    let (source, track) = publisher(repairing(), Kind::Video, &["l", "m", "h"]);
    let (mut sink, sender) = viewer(watching, Kind::Video);
    sink.link.delay = Duration::from_millis(20);
    let mut room = Room::new(vec![source, sink]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let layer = |rid, number, size| Encoder {
        size,
        ..Encoder::new(0, Some(rid), number)
    };
    // 0.15, 0.5 and 1.8 Mbit/s.
    let mut screen = Screen {
        encoders: [
            layer("l", 10, 300),
            layer("m", 20, 1000),
            layer("h", 30, 1900),
        ],
        ssrcs: ["l", "m", "h"].map(|rid| ssrc_of(&mut room, rid)),
        frozen: Duration::ZERO,
        waiting: Duration::ZERO,
    };
    let shown = screen.run(&mut room, 8.0);
    assert_eq!(shown.last().map(String::as_str), Some("h"), "{shown:?}");
    room.worlds[1].bottlenecks[MIDDLE] = Some(Bottleneck::new(1_000_000, 300));
    screen.run(&mut room, 3.0);
    let fits = screen.run(&mut room, 10.0);
    assert!(!fits.contains(&"h".to_owned()), "{fits:?}");
    assert_eq!(fits.last().map(String::as_str), Some("m"), "{fits:?}");
    room.worlds[1].bottlenecks[MIDDLE] = None;
    let climbed = screen.run(&mut room, 15.0);
    assert_eq!(climbed.last().map(String::as_str), Some("h"), "{climbed:?}");
    assert!(
        screen.frozen <= Duration::from_millis(330),
        "{:?}",
        screen.frozen
    );
}
