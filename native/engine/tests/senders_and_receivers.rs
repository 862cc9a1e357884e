//! What senders and receivers can be asked, on whole connections: parameters, sources, tones,
//! selected statistics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod world;

use engine::command::{Command, OutgoingRtp, RtpParameters, TransceiverInfo, Value};
use engine::config::{Config, HeaderExtension};
use engine::error::Error;
use engine::event::Event;
use engine::ids::{ReceiverId, SenderId, TrackId};
use engine::stats::{StatsReport, StatsSelector};
use engine::w3c::{Direction, IceServer, IceTransportPolicy, Kind};
use std::time::Duration;
use world::{World, codec, config, packet};

const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MIXED_URI: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Audio on track 1, with tones and levels, and video on track 2.
fn talkative() -> Config {
    let mut config = config();
    for (payload_type, clock_rate) in [(101, 8_000), (102, 48_000)] {
        let events = codec(payload_type, "audio/telephone-event", clock_rate, None);
        config.audio_codecs.push(events);
    }
    for uri in [LEVEL_URI, MIXED_URI] {
        config.header_extensions.push(HeaderExtension {
            kind: Some(Kind::Audio),
            uri: uri.to_owned(),
        });
    }
    config
}

fn connected() -> World {
    let mut world = World::new(talkative(), talkative());
    world.add_transceiver(0, 1, Kind::Audio);
    world.add_transceiver(0, 2, Kind::Video);
    world.negotiate(0);
    world.connect();
    world
}

fn transceivers(world: &mut World, side: usize) -> Vec<TransceiverInfo> {
    match world.ok(side, Command::GetTransceivers) {
        Value::Transceivers(all) => all,
        other => panic!("transceivers, not {other:?}"),
    }
}

fn parameters(world: &mut World, sender: SenderId) -> RtpParameters {
    match world.ok(0, Command::GetSenderParameters(sender)) {
        Value::Parameters(parameters) => *parameters,
        other => panic!("parameters, not {other:?}"),
    }
}

fn stats(world: &mut World, side: usize, command: Command) -> StatsReport {
    match world.ok(side, command) {
        Value::Stats(report) => *report,
        other => panic!("statistics, not {other:?}"),
    }
}

fn count(report: &StatsReport, kind: &str) -> usize {
    report
        .entries
        .iter()
        .filter(|entry| entry.kind == kind)
        .count()
}

fn audio(sequence_number: u16, extensions: &[(u8, &[u8])], csrc: &[u32]) -> OutgoingRtp {
    let mut audio = packet(sequence_number, u32::from(sequence_number) * 960, b"sound");
    audio.payload_type = 111;
    audio.csrc = csrc.to_vec();
    audio.extensions = extensions
        .iter()
        .map(|(id, data)| (*id, bytes::Bytes::copy_from_slice(data)))
        .collect();
    audio
}

#[test]
fn an_encoding_that_is_made_inactive_is_not_sent_until_it_is_active_again() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[1].sender.id;
    world.send(0, 2, &packet(1, 0, b"a"));
    let mut wanted = parameters(&mut world, sender);
    assert!(wanted.encodings[0].settings.active);
    wanted.encodings[0].settings.active = false;
    wanted.encodings[0].settings.max_bitrate = Some(500_000);
    world.ok(0, Command::SetSenderParameters(sender, Box::new(wanted)));
    world.send(0, 2, &packet(2, 0, b"b"));
    let mut wanted = parameters(&mut world, sender);
    assert_eq!(wanted.encodings[0].settings.max_bitrate, Some(500_000));
    wanted.encodings[0].settings.active = true;
    world.ok(0, Command::SetSenderParameters(sender, Box::new(wanted)));
    world.send(0, 2, &packet(3, 0, b"c"));
    world.run_for(ms(200));
    let heard = &world.peers[1].heard.packets;
    let payloads: Vec<_> = heard.iter().map(|p| p.payload.clone()).collect();
    assert_eq!(payloads, [b"a".to_vec(), b"c".to_vec()]);
}

#[test]
fn parameters_can_be_set_once_after_they_were_asked_for() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[1].sender.id;
    let set = |parameters: &RtpParameters| {
        Command::SetSenderParameters(sender, Box::new(parameters.clone()))
    };
    let first = parameters(&mut world, sender);
    let second = parameters(&mut world, sender);
    assert_eq!(world.error(0, set(&first)), Error::InvalidModification);
    world.ok(0, set(&second));
    assert_eq!(world.error(0, set(&second)), Error::InvalidState);
}

#[test]
fn nothing_but_the_settings_of_encodings_can_be_set() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[1].sender.id;
    let good = parameters(&mut world, sender);
    assert_eq!(
        good.codecs
            .iter()
            .map(|c| c.mime_type.as_str())
            .collect::<Vec<_>>(),
        ["video/VP8", "video/rtx"]
    );
    assert!(good.reduced_size);
    assert!(!good.header_extensions.is_empty());
    let changes: [fn(&mut RtpParameters); 7] = [
        |p| p.encodings.clear(),
        |p| p.encodings[0].rid = Some("x".into()),
        |p| p.codecs.clear(),
        |p| p.header_extensions.clear(),
        |p| p.cname = Some("other".into()),
        |p| p.encodings[0].settings.scale_resolution_down_by = Some(0.5),
        |p| p.encodings[0].settings.max_framerate = Some(-1.0),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        let command = Command::SetSenderParameters(sender, Box::new(bad));
        assert_eq!(
            world.error(0, command),
            Error::InvalidModification,
            "change {at}"
        );
    }
    // The refused ones changed nothing, so the good ones are still the last that were returned.
    world.ok(0, Command::SetSenderParameters(sender, Box::new(good)));
}

#[test]
fn sources_are_told_with_their_levels_for_ten_seconds() {
    let mut world = connected();
    let of_a = transceivers(&mut world, 0)[0].clone();
    let of_b = transceivers(&mut world, 1)[0].clone();
    let id = |uri: &str| {
        let mut all = of_a.header_extensions.iter();
        all.find(|(_, known)| known == uri).unwrap().0
    };
    let (level, mixed) = (id(LEVEL_URI), id(MIXED_URI));
    // 20 dB below full scale; contributors at full scale and silent.
    world.send(
        0,
        1,
        &audio(7, &[(level, &[0x80 | 20]), (mixed, &[0, 127])], &[77, 78]),
    );
    world.run_for(ms(10));
    let ask = |world: &mut World, command| match world.ok(1, command) {
        Value::Sources(sources) => sources,
        other => panic!("sources, not {other:?}"),
    };
    let own = Command::GetSynchronizationSources(of_b.receiver.id);
    let mixed = Command::GetContributingSources(of_b.receiver.id);
    let [heard] = ask(&mut world, own.clone())[..] else {
        panic!("one source");
    };
    assert_eq!(heard.rtp_timestamp, 7 * 960);
    assert!((heard.audio_level.unwrap() - 0.1).abs() < 1e-9);
    let mut contributors = ask(&mut world, mixed.clone());
    contributors.sort_by_key(|source| source.source);
    let told: Vec<_> = contributors
        .iter()
        .map(|s| (s.source, s.audio_level))
        .collect();
    assert_eq!(told, [(77, Some(1.0)), (78, Some(0.0))]);
    // Without the extension nothing is known of the level.
    world.send(0, 1, &audio(8, &[], &[]));
    world.run_for(ms(10));
    assert_eq!(ask(&mut world, own.clone())[0].audio_level, None);
    world.run_for(Duration::from_secs(11));
    assert_eq!(ask(&mut world, own), []);
    assert_eq!(ask(&mut world, mixed), []);
    let nobody = Command::GetSynchronizationSources(ReceiverId(1));
    assert_eq!(world.error(1, nobody), Error::InvalidReceiverId);
}

fn dtmf(sender: SenderId, tones: &str, duration: u32) -> Command {
    Command::InsertDtmf {
        sender,
        tones: tones.to_owned(),
        duration,
        inter_tone_gap: 50,
    }
}

fn tones(world: &World) -> Vec<String> {
    world.peers[0].told(|event| match event {
        Event::ToneChange(_, tone) => Some(tone.clone()),
        _ => None,
    })
}

#[test]
fn tones_are_sent_as_telephone_events_between_the_audio() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[0].sender.id;
    world.send(0, 1, &audio(100, &[], &[]));
    world.ok(0, dtmf(sender, "1#", 100));
    // The program does not stop to send.
    for n in 101..=130 {
        world.run_for(ms(20));
        world.send(0, 1, &audio(n, &[], &[]));
    }
    world.run_for(ms(100));
    assert_eq!(tones(&world), ["1", "#", ""]);
    let heard = &world.peers[1].heard.packets;
    let mut numbers: Vec<_> = heard.iter().map(|p| p.sequence_number).collect();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "every packet has a number of its own");
    let gapless = numbers
        .windows(2)
        .all(|pair| pair[1] == pair[0].wrapping_add(1));
    assert!(gapless, "{numbers:?}");
    // The format with the clock of Opus is the one that is used.
    let events: Vec<_> = heard.iter().filter(|p| p.payload_type == 102).collect();
    assert_eq!(heard.iter().filter(|p| p.payload_type == 111).count(), 31);
    for (event, start) in [(1, 0), (11, events.len() / 2)] {
        let tone: Vec<_> = events.iter().filter(|p| p.payload[0] == event).collect();
        assert!(tone[0].marker && tone.iter().skip(1).all(|p| !p.marker));
        assert!(tone.iter().all(|p| p.timestamp == events[start].timestamp));
        let durations: Vec<_> = tone
            .iter()
            .map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]]))
            .collect();
        assert!(durations.is_sorted());
        assert_eq!(durations.last(), Some(&4_800), "100 ms at 48 kHz");
        let ends: Vec<_> = tone.iter().filter(|p| p.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends.len(), 3);
    }
    let between = events[events.len() / 2]
        .timestamp
        .wrapping_sub(events[0].timestamp);
    assert!(
        (7_200..=8_200).contains(&between),
        "150 ms later: {between}"
    );
}

#[test]
fn tones_that_wait_are_replaced_and_a_comma_waits_two_seconds() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[0].sender.id;
    world.ok(0, dtmf(sender, "123", 100));
    world.run_for(ms(50));
    world.ok(0, dtmf(sender, ",9", 100));
    world.run_for(ms(1_900));
    assert_eq!(tones(&world), ["1", ","]);
    world.run_for(ms(1_000));
    assert_eq!(tones(&world), ["1", ",", "9", ""]);
    world.ok(0, dtmf(sender, "", 100));
    world.run_for(ms(100));
    assert_eq!(tones(&world).len(), 4);
}

#[test]
fn a_tone_longer_than_a_packet_can_tell_goes_on_in_segments() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[0].sender.id;
    world.ok(0, dtmf(sender, "5", 3_000));
    world.run_for(ms(3_500));
    assert_eq!(tones(&world), ["5", ""]);
    let heard = &world.peers[1].heard.packets;
    let mut starts: Vec<_> = heard.iter().map(|p| p.timestamp).collect();
    starts.dedup();
    let apart: Vec<_> = starts.windows(2).map(|p| p[1].wrapping_sub(p[0])).collect();
    assert_eq!(apart, [0xFFFF, 0xFFFF]);
    let last = heard.last().unwrap();
    let duration = u16::from_be_bytes([last.payload[2], last.payload[3]]);
    assert_eq!(2 * 0xFFFF + u32::from(duration), 3 * 48_000);
}

#[test]
fn tones_need_an_audio_sender_that_may_send_them() {
    let mut world = connected();
    let all = transceivers(&mut world, 0);
    let (sound, picture) = (all[0].sender.id, all[1].sender.id);
    assert_eq!(
        world.error(0, dtmf(SenderId(1), "1", 100)),
        Error::InvalidSenderId
    );
    assert_eq!(world.error(0, dtmf(picture, "1", 100)), Error::InvalidState);
    world.ok(
        0,
        Command::SetTransceiverDirection(all[0].id, Direction::Recvonly),
    );
    world.negotiate(0);
    assert_eq!(world.error(0, dtmf(sound, "1", 100)), Error::InvalidState);
    let mut plain = World::plain();
    plain.add_transceiver(0, 1, Kind::Audio);
    plain.negotiate(0);
    plain.connect();
    let sound = transceivers(&mut plain, 0)[0].sender.id;
    assert_eq!(plain.error(0, dtmf(sound, "1", 100)), Error::InvalidState);
}

#[test]
fn selected_statistics_are_of_one_stream_and_what_it_refers_to() {
    let mut world = connected();
    for n in 0..20 {
        world.send(0, 1, &audio(n, &[], &[]));
        world.send(0, 2, &packet(n, 0, b"picture"));
        world.run_for(ms(50));
    }
    let of_a = transceivers(&mut world, 0)[0].clone();
    let of_b = transceivers(&mut world, 1)[0].clone();
    let sent = [
        StatsSelector::Track(TrackId(1)),
        StatsSelector::Sender(of_a.sender.id),
    ];
    for selector in sent {
        let report = stats(&mut world, 0, Command::SelectStats(selector));
        assert_eq!(count(&report, "outbound_rtp"), 1);
        assert_eq!(count(&report, "remote_inbound_rtp"), 1);
        assert_eq!(count(&report, "codec"), 1);
        assert_eq!(count(&report, "transport"), 1);
        assert_eq!(count(&report, "certificate"), 2);
        assert_eq!(count(&report, "candidate_pair"), 1);
        assert_eq!(count(&report, "remote_candidate"), 1);
        assert_eq!(count(&report, "peer_connection"), 0);
        assert_eq!(count(&report, "inbound_rtp"), 0);
    }
    let received = [
        StatsSelector::Track(of_b.receiver.track.id),
        StatsSelector::Receiver(of_b.receiver.id),
    ];
    for selector in received {
        let report = stats(&mut world, 1, Command::SelectStats(selector));
        assert_eq!(count(&report, "inbound_rtp"), 1);
        assert_eq!(count(&report, "remote_outbound_rtp"), 1);
        assert_eq!(count(&report, "outbound_rtp"), 0);
    }
    for (selector, reason) in [
        (StatsSelector::Track(TrackId(99)), Error::InvalidTrackId),
        (StatsSelector::Sender(SenderId(99)), Error::InvalidSenderId),
        (
            StatsSelector::Receiver(ReceiverId(99)),
            Error::InvalidReceiverId,
        ),
    ] {
        assert_eq!(world.error(0, Command::SelectStats(selector)), reason);
    }
}

#[test]
fn the_transport_tells_how_gathering_stands() {
    let mut world = World::plain();
    let gathering = |world: &mut World| {
        let report = stats(world, 0, Command::GetStats);
        let transport = report
            .entries
            .iter()
            .find(|e| e.kind == "transport")
            .unwrap();
        transport.fields["ice_gathering_state"].clone()
    };
    assert_eq!(gathering(&mut world), "new");
    world.add_transceiver(0, 1, Kind::Audio);
    world.negotiate(0);
    world.connect();
    assert_eq!(gathering(&mut world), "complete");
}

#[test]
fn datagrams_that_the_system_did_not_take_are_not_counted_as_sent() {
    let mut world = connected();
    let pair = |world: &mut World, field: &str| {
        let report = stats(world, 0, Command::GetStats);
        let pair = report
            .entries
            .iter()
            .find(|e| e.kind == "candidate_pair")
            .unwrap();
        pair.fields[field].as_u64().unwrap()
    };
    let before = pair(&mut world, "packets_sent");
    assert_eq!(pair(&mut world, "packets_discarded_on_send"), 0);
    let (a, b) = (world.peers[0].address, world.peers[1].address);
    world.peers[0].engine.discarded(a, b, 2, 300);
    assert_eq!(pair(&mut world, "packets_sent"), before - 2);
    assert_eq!(pair(&mut world, "packets_discarded_on_send"), 2);
    assert_eq!(pair(&mut world, "bytes_discarded_on_send"), 300);
}

#[test]
fn another_transport_policy_is_in_force_with_the_next_gathering() {
    let mut world = connected();
    let servers = vec![IceServer {
        urls: vec!["stun:192.0.2.1".to_owned()],
        ..IceServer::default()
    }];
    let relay = Command::SetConfiguration {
        ice_servers: servers.clone(),
        ice_transport_policy: IceTransportPolicy::Relay,
    };
    world.ok(0, relay.clone());
    assert_eq!(world.peers[0].engine.config().ice_servers.len(), 1);
    let candidates = |world: &World| {
        let events = world.peers[0].heard.events.iter();
        events
            .filter(|e| matches!(e, Event::IceCandidate(_)))
            .count()
    };
    let before = candidates(&world);
    let offer = world.create(0, Command::CreateOffer { ice_restart: true });
    world.exchange(0, offer);
    world.run_for(ms(100));
    assert_eq!(candidates(&world), before, "host candidates are hidden now");
    world.ok(0, Command::Close);
    assert_eq!(world.error(0, relay), Error::InvalidState);
}

#[test]
fn other_streams_are_negotiated() {
    let mut world = connected();
    let sender = transceivers(&mut world, 0)[0].sender.id;
    let needed = |world: &World| {
        let events = world.peers[0].heard.events.iter();
        events
            .filter(|e| matches!(e, Event::NegotiationNeeded))
            .count()
    };
    let before = needed(&world);
    let set = |streams: &[&str]| {
        let streams = streams.iter().map(|s| (*s).to_owned()).collect();
        Command::SetStreams(sender, streams)
    };
    world.ok(0, set(&["one", "two", "one"]));
    assert_eq!(needed(&world), before + 1);
    world.negotiate(0);
    assert_eq!(
        transceivers(&mut world, 1)[0].receiver.track.streams,
        ["one", "two"]
    );
    assert_eq!(needed(&world), before + 1, "nothing is left to negotiate");
    assert_eq!(world.error(0, set(&["not a token"])), Error::InvalidOption);
    let no_one = Command::SetStreams(SenderId(1), vec![]);
    assert_eq!(world.error(0, no_one), Error::InvalidSenderId);
}
