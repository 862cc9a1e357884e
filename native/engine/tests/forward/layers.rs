//! Which simulcast layer a viewer gets, and how one follows the other.

use crate::room::*;
use crate::world::{Bottleneck, Delivered, Link, repairing};
use engine::command::{Command, Value};
use engine::config::{Feedback, HeaderExtension};
use engine::ids::{ForwardId, Rid};
use engine::media::LayerChoice;
use engine::w3c::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

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
    assert_eq!(layers(&seen), order);
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
        if layer(&pair[0]) != layer(&pair[1]) && gap == 1 {
            let (from, to) = (text(&pair[0]).0, text(&pair[1]).0);
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
    assert_eq!(layers(&seen), ["h", "l", "h"]);
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
                let layer = layer(frame);
                if shown.last() != Some(&layer) {
                    shown.push(layer);
                }
            }
        }
        shown
    }
}

/// The SSRC of an encoder that is asked for no keyframe.
const DEAF: Option<u32> = Some(0);

#[test]
fn nothing_of_a_layer_that_is_far_too_large_stands_in_the_way_of_one_that_fits() {
    let (mut room, track, sender) = one_to_one(&["h", "l"]);
    room.forward(1, (0, track), (1, sender), LayerChoice::Auto)
        .unwrap();
    let mut encoders = [Encoder::new(0, Some("h"), 1), Encoder::new(0, Some("l"), 1)];
    // Two packets a frame: 0.6 Mbit/s and 0.1 Mbit/s.
    encoders[0].size = 1_100;
    let mut frames = |room: &mut Room, count: usize, keyframes_of_l: bool| {
        for _ in 0..count {
            for encoder in &mut encoders {
                let ssrc = ssrc_of(room, encoder.rid.unwrap());
                let hears = keyframes_of_l || encoder.rid == Some("h");
                encoder.frame(room, if hears { ssrc } else { DEAF });
            }
            room.run(Duration::from_millis(33));
        }
    };
    frames(&mut room, 250, true);
    assert_eq!(layers(&room.seen(1)).last().unwrap(), "h");
    let remb = remb(&mut room, 250_000);
    let now = room.worlds[1].now;
    room.worlds[1].peers[PEER].engine.send_rtcp(now, &remb);
    room.worlds[1].settle(PEER);
    // What the source is told of comes with a packet that passes.
    frames(&mut room, 2, false);
    let before = room.seen(1).len();
    frames(&mut room, 10, false);
    assert_eq!(room.seen(1).len(), before, "nothing until the keyframe");
    frames(&mut room, 10, true);
    let seen = room.seen(1);
    assert_eq!(layers(&seen).last().unwrap(), "l");
    assert_decodable(&seen);
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
    // The better layer has become somewhat larger meanwhile.
    screen.encoders[2].size += screen.encoders[2].size * 15 / 100;
    screen.run(&mut room, 2.0);
    room.worlds[1].bottlenecks[MIDDLE] = None;
    let climbed = screen.run(&mut room, 15.0);
    assert_eq!(climbed.last().map(String::as_str), Some("h"), "{climbed:?}");
    assert!(
        screen.frozen <= Duration::from_millis(330),
        "{:?}",
        screen.frozen
    );
}
