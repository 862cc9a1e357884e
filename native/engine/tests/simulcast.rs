//! Simulcast between whole engines: layers arrive under their rid, each repaired on its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use bytes::Bytes;
use engine::command::{Command, OutgoingRtp};
use engine::config::Config;
use engine::ids::Rid;
use engine::w3c::{Direction, Kind};
use std::collections::BTreeSet;
use std::time::Duration;
use world::{Link, RID_URI, World, config, packet, repairing, track};

const LAYERS: [&str; 3] = ["h", "m", "l"];

fn add_layered(world: &mut World, side: usize, id: u64, layers: &[&str]) {
    world.ok(
        side,
        Command::AddTransceiver {
            kind: Kind::Video,
            track: Some(track(id, Kind::Video)),
            direction: Direction::Sendonly,
            send_encodings: world::encodings(layers),
        },
    );
}

/// A packet for a layer, which the program names in the rid extension.
fn layer_packet(world: &mut World, side: usize, id: u64, rid: &str, number: u16) -> OutgoingRtp {
    let extensions = world.transceiver_of(side, id).header_extensions;
    let (extension, _) = extensions
        .iter()
        .find(|(_, uri)| uri == RID_URI)
        .expect("the rid extension is negotiated");
    let mut packet = packet(
        number,
        u32::from(number) * 3000,
        format!("{rid}/{number}").as_bytes(),
    );
    packet.extensions = vec![(*extension, Bytes::copy_from_slice(rid.as_bytes()))];
    packet
}

fn send_layers(world: &mut World, numbers: std::ops::Range<u16>) {
    for number in numbers {
        for rid in LAYERS {
            let packet = layer_packet(world, 0, 5, rid, number);
            world.send(0, 5, &packet);
        }
        world.run_for(Duration::from_millis(10));
    }
}

/// Sends `count` packets of each layer, all but the first and the last five over a link that loses
/// one in ten.
fn send_layers_over_loss(world: &mut World, count: u16) {
    send_layers(world, 0..5);
    world.link = Link {
        delay: Duration::from_millis(10),
        loss: 10,
        reorder: 0,
        duplicate: 0,
    };
    send_layers(world, 5..count - 5);
    world.link.loss = 0;
    send_layers(world, count - 5..count);
    world.run_for(Duration::from_secs(1));
}

fn assert_one_stream_a_layer(world: &World) {
    let packets = world.peers[1].heard.packets.iter();
    let ssrcs: BTreeSet<u32> = packets.map(|packet| packet.ssrc).collect();
    assert_eq!(ssrcs.len(), LAYERS.len(), "one stream a layer");
}

/// What arrived of a layer at side 1, by content; checks that it came under the layer's name.
fn arrived(world: &World, rid: &str) -> Vec<u16> {
    let packets = world.peers[1].heard.packets.iter();
    packets
        .filter(|packet| packet.payload.starts_with(format!("{rid}/").as_bytes()))
        .map(|packet| {
            assert_eq!(packet.rid.as_deref(), Some(rid));
            assert_eq!(
                packet.payload,
                format!("{rid}/{}", packet.sequence_number).as_bytes()
            );
            packet.sequence_number
        })
        .collect()
}

fn layered(config: &Config) -> World {
    let mut world = World::new(config.clone(), config.clone());
    add_layered(&mut world, 0, 5, &LAYERS);
    world.negotiate(0);
    world.connect();
    world
}

#[test]
fn every_layer_arrives_on_one_track_under_its_rid() {
    let mut world = layered(&config());
    let tracks = world.peers[1].tracks();
    assert_eq!(tracks.len(), 1);
    let rids: Vec<String> = tracks[0]
        .rids
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rids, LAYERS);
    send_layers(&mut world, 0..50);
    world.run_for(Duration::from_millis(50));
    for rid in LAYERS {
        assert_eq!(arrived(&world, rid), (0..50).collect::<Vec<u16>>());
    }
    let packets = &world.peers[1].heard.packets;
    assert!(packets.iter().all(|packet| packet.track == tracks[0].id));
    assert_one_stream_a_layer(&world);
}

#[test]
fn every_layer_is_repaired_on_its_own() {
    let mut world = layered(&repairing());
    send_layers_over_loss(&mut world, 405);
    for rid in LAYERS {
        let mut got = arrived(&world, rid);
        let count = got.len();
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), count, "{rid}: none twice");
        assert!(count >= 402, "{rid}: {count} of 405 arrive");
    }
}

#[test]
fn a_layer_that_starts_late_arrives_too() {
    let mut world = layered(&config());
    for number in 0..100 {
        let packet = layer_packet(&mut world, 0, 5, "h", number);
        world.send(0, 5, &packet);
        world.run_for(Duration::from_millis(10));
    }
    send_layers(&mut world, 100..120);
    world.run_for(Duration::from_millis(50));
    assert_eq!(arrived(&world, "h"), (0..120).collect::<Vec<u16>>());
    assert_eq!(arrived(&world, "m"), (100..120).collect::<Vec<u16>>());
    assert_eq!(arrived(&world, "l"), (100..120).collect::<Vec<u16>>());
}

#[test]
fn a_keyframe_is_asked_of_the_layer_that_is_named() {
    let mut world = layered(&config());
    send_layers(&mut world, 0..5);
    world.run_for(Duration::from_millis(50));
    let remote = world.peers[1].tracks()[0].id;
    for rid in LAYERS {
        let ssrc = world.peers[1]
            .heard
            .packets
            .iter()
            .find(|packet| packet.rid.as_deref() == Some(rid))
            .unwrap()
            .ssrc;
        let told = world.rtcp(0).len();
        let now = world.now;
        world.peers[1]
            .engine
            .send_pli(now, remote, Some(&Rid::from(rid)));
        world.settle(1);
        world.run_for(Duration::from_millis(10));
        let asked: Vec<Bytes> = world.rtcp(0)[told..]
            .iter()
            .filter(|(_, packet)| packet[1] == 206)
            .map(|(_, packet)| packet.clone())
            .collect();
        assert_eq!(asked.len(), 1, "{rid}");
        assert_eq!(asked[0][8..12], ssrc.to_be_bytes(), "{rid}");
    }
}

#[test]
fn layers_and_plain_video_of_one_connection_stay_apart() {
    let mut world = World::plain();
    add_layered(&mut world, 0, 5, &LAYERS);
    world.add_transceiver(0, 6, Kind::Video);
    world.negotiate(0);
    world.connect();
    for number in 0..20 {
        send_layers(&mut world, number..number + 1);
        world.send_number(0, 6, number);
    }
    world.run_for(Duration::from_millis(50));
    for rid in LAYERS {
        assert_eq!(arrived(&world, rid), (0..20).collect::<Vec<u16>>());
    }
    let plain = world.remote_track_of(0, 6);
    let got: Vec<u16> = world.peers[1]
        .heard
        .packets
        .iter()
        .filter(|packet| packet.track == plain)
        .map(|packet| {
            assert_eq!(packet.rid, None);
            packet.sequence_number
        })
        .collect();
    assert_eq!(got, (0..20).collect::<Vec<u16>>());
}

#[test]
fn layers_go_on_over_another_exchange_and_an_ice_restart() {
    let mut world = layered(&config());
    send_layers(&mut world, 0..10);
    world.add_transceiver(1, 9, Kind::Audio);
    world.negotiate(1);
    send_layers(&mut world, 10..20);
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.exchange(0, offer);
    send_layers(&mut world, 20..40);
    world.run_for(Duration::from_millis(100));
    for rid in LAYERS {
        assert_eq!(arrived(&world, rid), (0..40).collect::<Vec<u16>>(), "{rid}");
    }
    world.flows(1, 9, 0..10);
}

/// Side 1 is an SFU that receives three layers, and side 0 is to send them to it: what an SFU
/// offers to a publisher. Only who has answered an offer of layers offers to receive some, so side
/// 0 is another program than the one that the SFU knew.
fn publisher_is_offered_layers(add: impl FnOnce(&mut World)) -> World {
    let mut world = layered(&repairing());
    world.replace_with(0, repairing());
    let offer = world.create(1, Command::CreateOffer { ice_restart: true });
    assert!(offer.sdp.contains("a=simulcast:recv h;m;l\r\n"));
    world.ok(1, Command::SetLocalDescription(Some(offer.clone())));
    world.ok(0, Command::SetRemoteDescription(offer));
    add(&mut world);
    let answer = world.create(0, Command::CreateAnswer);
    assert!(answer.sdp.contains("a=simulcast:send h;m;l\r\n"));
    world.ok(0, Command::SetLocalDescription(Some(answer.clone())));
    world.ok(1, Command::SetRemoteDescription(answer));
    world.connect();
    world
}

#[test]
fn the_layers_that_an_sfu_offers_to_receive_are_sent_and_repaired() {
    let mut world = publisher_is_offered_layers(|world| {
        world.ok(0, Command::AddTrack(track(5, Kind::Video)));
    });
    send_layers_over_loss(&mut world, 205);
    for rid in LAYERS {
        let got: BTreeSet<u16> = arrived(&world, rid).into_iter().collect();
        assert!(got.len() >= 203, "{rid}: {} of 205 arrive", got.len());
    }
    assert_one_stream_a_layer(&world);
}

#[test]
fn a_packet_that_names_no_layer_is_sent_as_the_first_one() {
    let mut world = publisher_is_offered_layers(|world| {
        world.ok(0, Command::AddTrack(track(5, Kind::Video)));
    });
    for number in 0..10 {
        world.send_number(0, 5, number);
    }
    world.run_for(Duration::from_millis(50));
    let packets = &world.peers[1].heard.packets;
    assert_eq!(packets.len(), 10);
    assert!(
        packets
            .iter()
            .all(|packet| packet.rid.as_deref() == Some("h"))
    );
}
