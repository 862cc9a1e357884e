//! The estimate of whole engines whose link is narrow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, Value};
use engine::config::{Config, Feedback, HeaderExtension};
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
