//! Publishers, a middle, viewers, each pair with a link and all on one virtual clock. The middle's
//! connections are joined as the driver joins them.

use crate::world::{Delivered, RID_URI, World, config, packet, repairing, track};
use bytes::Bytes;
use engine::command::{Command, OutgoingRtp, Value};
use engine::config::Config;
use engine::error::Error;
use engine::event::Event;
use engine::ids::{ForwardId, SenderId, TrackId};
use engine::media::{ForwardEnd, ForwardName, ForwardOutput, LayerChoice, SourceOptions};
use engine::w3c::{Direction, Kind};
use std::collections::BTreeMap;
use std::time::Duration;

/// In every world, side 0 is the peer and side 1 the middle.
pub const PEER: usize = 0;
pub const MIDDLE: usize = 1;

pub const STEP: Duration = Duration::from_millis(1);

/// Publishers and viewers, and what is forwarded between them.
pub struct Room {
    pub worlds: Vec<World>,
    /// Source and sink of each forward.
    pub forwards: BTreeMap<ForwardId, (usize, usize)>,
}

impl Room {
    pub fn new(worlds: Vec<World>) -> Self {
        Self {
            worlds,
            forwards: BTreeMap::new(),
        }
    }

    pub fn forward(
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
    pub fn carry(&mut self) {
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

    pub fn run(&mut self, time: Duration) {
        let mut passed = Duration::ZERO;
        while passed < time {
            for world in &mut self.worlds {
                world.run_for(STEP);
            }
            self.carry();
            passed += STEP;
        }
    }

    pub fn ended(&self, at: usize) -> Vec<(String, ForwardEnd)> {
        self.worlds[at].peers[MIDDLE].told(|event| match event {
            Event::ForwardEnded(label, reason) => {
                Some((String::from_utf8(label.to_vec()).unwrap(), *reason))
            }
            _ => None,
        })
    }

    /// What a viewer received, in the order of its numbers, each number once.
    pub fn seen(&self, viewer: usize) -> Vec<Delivered> {
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

/// A peer that sends `kind` to the middle, and the track that the middle receives.
pub fn publisher(config: Config, kind: Kind, layers: &[&str]) -> (World, TrackId) {
    let mut world = World::new(config.clone(), config);
    world.ok(
        PEER,
        Command::AddTransceiver {
            kind,
            track: Some(track(5, kind)),
            direction: Direction::Sendonly,
            send_encodings: crate::world::encodings(layers),
        },
    );
    world.negotiate(PEER);
    world.connect();
    let received = world.peers[MIDDLE].tracks()[0].id;
    (world, received)
}

/// A peer that watches, and the sender that the middle has for it.
pub fn viewer(config: Config, kind: Kind) -> (World, SenderId) {
    let (mut world, sender) = waiting_viewer(config, kind);
    world.connect();
    (world, sender)
}

pub fn waiting_viewer(config: Config, kind: Kind) -> (World, SenderId) {
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
pub fn vp8(keyframe: bool, picture: u16, first: bool, text: &str) -> Vec<u8> {
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
pub struct Encoder {
    pub world: usize,
    pub rid: Option<&'static str>,
    pub number: u16,
    pub timestamp: u32,
    pub picture: u16,
    /// Bytes of a packet, of which a keyframe has eight and another frame two.
    pub size: usize,
    pub told: usize,
    pub keyframes: usize,
    pub wants_key: bool,
}

impl Encoder {
    pub fn new(world: usize, rid: Option<&'static str>, number: u16) -> Self {
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
    pub fn look(&mut self, room: &Room, ssrc: Option<u32>) {
        let rtcp = room.worlds[self.world].rtcp(PEER);
        for (_, packet) in &rtcp[self.told..] {
            let about = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            if packet[1] == 206 && packet[0] & 0x1f == 1 && ssrc.is_none_or(|own| own == about) {
                self.wants_key = true;
            }
        }
        self.told = rtcp.len();
    }

    pub fn frame(&mut self, room: &mut Room, ssrc: Option<u32>) {
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

    pub fn send(&mut self, room: &mut Room, mut packet: OutgoingRtp) {
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
pub fn text(packet: &Delivered) -> (String, u16) {
    let length = if packet.payload[0] & 0x10 != 0 { 5 } else { 4 };
    let text = String::from_utf8(packet.payload[length..].to_vec()).unwrap();
    let mut parts = text.split('/');
    let of = parts.next().unwrap().to_owned();
    (of, parts.next().unwrap().parse().unwrap())
}

/// The layer, or what else the packet is of, without what it says of keyframes.
pub fn layer(packet: &Delivered) -> String {
    text(packet).0.trim_end_matches('!').to_owned()
}

/// The layers in the order in which they came.
pub fn layers(packets: &[Delivered]) -> Vec<String> {
    let mut layers: Vec<String> = packets.iter().map(layer).collect();
    layers.dedup();
    layers
}

pub fn picture(packet: &Delivered) -> u16 {
    u16::from_be_bytes([packet.payload[2], packet.payload[3]]) & 0x7fff
}

/// What a decoder needs: numbers without a gap, timestamps and picture ids that never go back nor
/// stand still between frames, and every change of source at the first packet of a keyframe.
pub fn assert_decodable(packets: &[Delivered]) {
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
        if layer(before) != layer(after) {
            assert!(before.marker && text(after).0.ends_with('!'), "{what}");
        }
    }
}

/// A publisher, whose picture goes to so many viewers.
pub fn one_to_many(viewers: usize) -> Room {
    let (source, track) = publisher(config(), Kind::Video, &[]);
    let (worlds, senders): (Vec<_>, Vec<_>) =
        (0..viewers).map(|_| viewer(config(), Kind::Video)).unzip();
    let mut room = Room::new(std::iter::once(source).chain(worlds).collect());
    for (at, sender) in senders.into_iter().enumerate() {
        room.forward(at as u64, (0, track), (at + 1, sender), LayerChoice::Auto)
            .unwrap();
    }
    room
}

pub fn one_to_one(layers: &[&str]) -> (Room, TrackId, SenderId) {
    let (source, track) = publisher(repairing(), Kind::Video, layers);
    let (sink, sender) = viewer(repairing(), Kind::Video);
    (Room::new(vec![source, sink]), track, sender)
}

pub fn ssrc_of(room: &mut Room, rid: &str) -> Option<u32> {
    // The middle delivers nothing of a forwarded track: ask the statistics of the publisher.
    let stats = room.worlds[0].outbound_stats(PEER);
    stats
        .into_iter()
        .find(|fields| fields.get("rid").and_then(|v| v.as_str()) == Some(rid))
        .and_then(|fields| fields["ssrc"].as_u64())
        .map(|ssrc| ssrc as u32)
}
