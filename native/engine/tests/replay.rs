//! Protected packets that somebody on the path sends again (RFC 3711 section 3.3.2): SRTP itself
//! drops them, so that no statistic of a stream and no feedback is touched by them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use engine::command::{Command, Value};
use engine::config::SrtpProfile;
use engine::w3c::Kind;
use serde_json::{Value as Json, json};
use std::time::Duration;
use world::{World, config};

const TRACK: u64 = 1;

fn connected(profile: SrtpProfile) -> World {
    let config = engine::config::Config {
        srtp_profiles: vec![profile],
        ..config()
    };
    let mut world = World::new(config.clone(), config);
    world.add_transceiver(0, TRACK, Kind::Video);
    world.negotiate(0);
    world.connect();
    world
}

/// A field of the first entry of a kind.
fn stat(world: &mut World, side: usize, kind: &str, field: &str) -> Json {
    let Value::Stats(report) = world.ok(side, Command::GetStats) else {
        panic!("statistics");
    };
    let entry = report.entries.iter().find(|entry| entry.kind == kind);
    let entry = entry.unwrap_or_else(|| panic!("an entry {kind}"));
    entry.fields.get(field).cloned().unwrap_or(Json::Null)
}

/// What was protected and went to a side while `act` ran, by RFC 5761's rule: RTCP or RTP.
fn tapped(
    world: &mut World,
    side: usize,
    rtcp: bool,
    act: impl FnOnce(&mut World),
) -> Vec<Vec<u8>> {
    world.tap = Some(Vec::new());
    act(world);
    let target = world.peers[side].public;
    let all = world.tap.take().unwrap_or_default().into_iter();
    all.filter(|(_, to, bytes)| {
        *to == target && (128..192).contains(&bytes[0]) && (192..224).contains(&bytes[1]) == rtcp
    })
    .map(|(_, _, bytes)| bytes)
    .collect()
}

fn replay(world: &mut World, side: usize, datagrams: &[Vec<u8>]) {
    let from = world.peers[1 - side].public;
    for datagram in datagrams {
        world.inject(side, from, datagram.clone());
    }
}

#[test]
fn replayed_rtp_is_dropped_before_any_stream_counts_it() {
    for &profile in SrtpProfile::ALL {
        let mut world = connected(profile);
        let packets = tapped(&mut world, 1, false, |world| {
            world.flows(0, TRACK, 1..101);
        });
        assert_eq!(packets.len(), 100);
        let counted = ["packets_received", "bytes_received", "packets_duplicated"];
        let before = counted.map(|field| stat(&mut world, 1, "inbound_rtp", field));
        let discarded = stat(&mut world, 1, "transport", "packets_discarded_on_receive");
        let delivered = world.peers[1].heard.packets.len();

        replay(&mut world, 1, &packets);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.peers[1].heard.packets.len(), delivered);
        assert_eq!(
            counted.map(|field| stat(&mut world, 1, "inbound_rtp", field)),
            before,
            "{profile:?}"
        );
        assert_eq!(
            stat(&mut world, 1, "transport", "packets_discarded_on_receive"),
            json!(discarded.as_u64().unwrap() + 100)
        );
        // The connection has noticed nothing.
        world.flows(0, TRACK, 101..111);
    }
}

#[test]
fn replayed_feedback_asks_for_nothing_and_is_not_delivered() {
    for &profile in SrtpProfile::ALL {
        let mut world = connected(profile);
        world.flows(0, TRACK, 1..11);
        let remote = world.remote_track_of(0, TRACK);
        let requests = tapped(&mut world, 0, true, |world| {
            let now = world.now;
            world.peers[1].engine.send_pli(now, remote, None);
            world.settle(1);
            world.run_for(Duration::from_millis(10));
        });
        assert!(!requests.is_empty());
        assert_eq!(stat(&mut world, 0, "outbound_rtp", "pli_count"), json!(1));
        let told = world.rtcp(0).len();
        let discarded = stat(&mut world, 0, "transport", "packets_discarded_on_receive");

        for _ in 0..10 {
            replay(&mut world, 0, &requests);
        }
        assert_eq!(world.rtcp(0).len(), told, "{profile:?}");
        assert_eq!(stat(&mut world, 0, "outbound_rtp", "pli_count"), json!(1));
        let now_discarded = stat(&mut world, 0, "transport", "packets_discarded_on_receive");
        assert_eq!(
            now_discarded,
            json!(discarded.as_u64().unwrap() + 10 * requests.len() as u64)
        );
    }
}
