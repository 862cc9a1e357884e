//! The estimate of whole engines whose link is narrow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, Value};
use engine::config::{Config, Feedback, HeaderExtension};
use engine::event::Event;
use engine::w3c::Kind;
use std::time::Duration;
use world::{Bottleneck, World, config, packet};

const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

fn with_twcc() -> Config {
    let mut config = config();
    config.header_extensions.push(HeaderExtension {
        kind: None,
        uri: TWCC_URI.to_owned(),
    });
    config.rtcp_feedbacks.push((None, Feedback::Twcc));
    config
}

/// Connected, with a video track 2 of side 0.
fn connected(config: &Config) -> World {
    let mut world = World::new(config.clone(), config.clone());
    world.link.delay = Duration::from_millis(20);
    world.add_transceiver(0, 2, Kind::Video);
    world.negotiate(0);
    world.connect();
    world
}

/// Frames of 30 a second.
struct Camera {
    number: u16,
    frame: u32,
}

impl Camera {
    fn frame(&mut self, world: &mut World, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let size = left.min(1150);
            left -= size;
            let mut packet = packet(self.number, self.frame * 3000, &[]);
            packet.payload = Bytes::from(vec![0x55; size]);
            packet.marker = left == 0;
            world.send(0, 2, &packet);
            self.number = self.number.wrapping_add(1);
        }
        self.frame += 1;
        world.run_for(Duration::from_micros(33_333));
    }

    /// Sends so many seconds of video at a rate.
    fn film(&mut self, world: &mut World, seconds: f64, rate: impl Fn(&World) -> u64) {
        for _ in 0..(seconds * 30.0) as usize {
            let bytes = rate(world) / 8 / 30;
            self.frame(world, bytes as usize);
        }
    }
}

/// What side 0's program was told, and when.
fn told(world: &mut World, seconds: f64, camera: &mut Camera, rate: u64) -> Vec<(Duration, u64)> {
    let start = world.now;
    let mut told = Vec::new();
    let mut seen = world.peers[0].heard.events.len();
    for _ in 0..(seconds * 30.0) as usize {
        camera.frame(world, (rate / 8 / 30) as usize);
        for event in &world.peers[0].heard.events[seen..] {
            if let Event::BandwidthEstimate(bits) = event {
                told.push((world.now - start, *bits));
            }
        }
        seen = world.peers[0].heard.events.len();
    }
    told
}

fn asking() -> Config {
    Config {
        bandwidth_estimate: true,
        ..with_twcc()
    }
}

fn drops(world: &mut World, side: usize, name: &str) -> u64 {
    let Value::Stats(report) = world.ok(side, Command::GetStats) else {
        panic!("statistics");
    };
    let mut entries = report.entries.iter().filter(|e| e.kind == "media_drops");
    let count = entries.find_map(|entry| entry.fields.get(name)?.as_u64());
    count.unwrap_or(0)
}

fn available(world: &mut World) -> Option<u64> {
    let Value::Stats(report) = world.ok(0, Command::GetStats) else {
        panic!("statistics");
    };
    let mut pairs = report.entries.iter().filter(|e| e.kind == "candidate_pair");
    pairs.find_map(|pair| pair.fields.get("available_outgoing_bitrate")?.as_u64())
}

#[test]
fn a_sender_that_keeps_to_the_estimate_finds_the_capacity_of_the_link() {
    let mut world = connected(&with_twcc());
    assert_eq!(available(&mut world), None);
    world.bottlenecks[0] = Some(Bottleneck::new(1_000_000, 300));
    let mut camera = Camera {
        number: 0,
        frame: 0,
    };
    let mut found = Vec::new();
    for _ in 0..40 {
        let target = available(&mut world).unwrap_or(300_000);
        camera.film(&mut world, 1.0, |_| target);
        found.push(target);
    }
    let mean = found.split_off(20).iter().sum::<u64>() / 20;
    assert!((850_000..1_150_000).contains(&mean), "{mean}");
}

#[test]
fn without_transport_wide_numbers_the_reports_tell_what_arrives() {
    let mut world = connected(&config());
    let mut camera = Camera {
        number: 0,
        frame: 0,
    };
    camera.film(&mut world, 10.0, |_| 1_000_000);
    let found = available(&mut world).unwrap();
    assert!((950_000..1_600_000).contains(&found), "{found}");
}

#[test]
fn the_program_that_asks_is_told_of_changes_and_not_too_often() {
    let mut world = connected(&asking());
    world.bottlenecks[0] = Some(Bottleneck::new(3_000_000, 300));
    let mut camera = Camera {
        number: 0,
        frame: 0,
    };
    let told = told(&mut world, 20.0, &mut camera, 400_000);
    assert!(told.len() > 2, "{told:?}");
    for pair in told.windows(2) {
        let [(before, was), (after, is)] = pair else {
            unreachable!()
        };
        assert!(*after - *before >= Duration::from_millis(165), "{told:?}");
        assert!(was.abs_diff(*is) * 20 >= *was, "{told:?}");
    }
    let (_, last) = told.last().unwrap();
    assert!((2_300_000..3_300_000).contains(last), "{told:?}");
    let probes = drops(&mut world, 1, "padding_probes");
    assert!((20..2000).contains(&probes), "{probes} packets of padding");
}

#[test]
fn nobody_is_told_and_nothing_is_padded_unasked() {
    let mut world = connected(&with_twcc());
    let mut camera = Camera {
        number: 0,
        frame: 0,
    };
    assert_eq!(told(&mut world, 10.0, &mut camera, 400_000), []);
    assert!(available(&mut world).is_some());
    assert_eq!(drops(&mut world, 1, "padding_probes"), 0);
}

/// Sends a keyframe of 60 KB over 2 Mbit/s with a queue of 180 ms, of which it would fill 240; how
/// many of its packets arrived without being sent again, of 53.
fn keyframe(config: &Config) -> usize {
    let mut world = connected(config);
    world.bottlenecks[0] = Some(Bottleneck::new(2_000_000, 180));
    let mut camera = Camera {
        number: 0,
        frame: 0,
    };
    camera.film(&mut world, 10.0, |_| 500_000);
    let before = camera.number;
    camera.frame(&mut world, 60_000);
    world.run_for(Duration::from_secs(1));
    let packets = world.peers[1].heard.packets.iter();
    let arrived = packets
        .filter(|p| (before..camera.number).contains(&p.sequence_number))
        .count();
    arrived.saturating_sub(repairs_sent(&mut world))
}

fn repairs_sent(world: &mut World) -> usize {
    let Value::Stats(report) = world.ok(0, Command::GetStats) else {
        panic!("statistics");
    };
    let sent = report.entries.iter().filter(|e| e.kind == "outbound_rtp");
    sent.filter_map(|entry| entry.fields.get("retransmitted_packets_sent")?.as_u64())
        .sum::<u64>() as usize
}

#[test]
fn a_keyframe_fits_a_queue_that_a_burst_overflows_where_the_estimate_is_asked_for() {
    assert_eq!(keyframe(&asking()), 53);
    let arrived = keyframe(&with_twcc());
    assert!(arrived < 48, "{arrived} arrive of a burst");
}
