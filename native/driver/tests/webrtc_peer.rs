//! Ours against `webrtc`'s own `PeerConnection`, over loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod independent;
mod support;

use engine::command::Command;
use engine::config::{Config, IceTcp};
use engine::event::Event;
use engine::ids::TrackId;
use engine::w3c::{
    ChannelState, ConnectionState, DataKind, DtlsRole, DtlsState, Kind, SessionDescription,
};
use independent::{Settings, TheirTrack, Theirs};
use rtc::peer_connection::transport::RTCDtlsRole;
use support::{Output, Peer, TestMailbox, config, runtime};
use webrtc::peer_connection::{RTCPeerConnectionState, SrtpProtectionProfile};

const KINDS: [(Kind, u8); 2] = [(Kind::Audio, 111), (Kind::Video, 96)];

/// The sizes at which something changes: none, one, one chunk and its neighbours, the old limit
/// of browsers, the limit of both sides.
const SIZES: [usize; 8] = [0, 1, 1_199, 1_200, 16_384, 65_535, 65_536, 262_144];

/// A connection between us and them with audio and video both ways.
struct Pair {
    ours: Peer,
    theirs: Theirs,
    /// What we send, audio then video.
    our_tracks: Vec<TrackId>,
    /// What they send, audio then video.
    their_tracks: Vec<TheirTrack>,
    /// What we know their tracks as.
    remote_tracks: Vec<(Kind, TrackId)>,
    next_number: u16,
    // Last: the connections go first.
    _runtime: driver::Runtime<TestMailbox>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offerer {
    We,
    They,
}

impl Pair {
    /// Tracks on both sides, nothing negotiated.
    fn new(config: Config, settings: Settings) -> Self {
        let runtime = runtime(1);
        Self {
            ours: Peer::open(&runtime, config),
            theirs: Theirs::open(settings),
            our_tracks: Vec::new(),
            their_tracks: Vec::new(),
            remote_tracks: Vec::new(),
            next_number: 0,
            _runtime: runtime,
        }
    }

    fn add_our_tracks(&mut self) {
        for (id, (kind, _)) in (10..).zip(KINDS) {
            self.our_tracks.push(self.ours.add_track(kind, id));
        }
    }

    fn add_their_tracks(&mut self) {
        for (ssrc, (kind, _)) in (0x1020_3040..).zip(KINDS) {
            self.their_tracks.push(self.theirs.add_track(kind, ssrc));
        }
    }

    /// Negotiates audio and video both ways and waits until both sides are connected. The
    /// answerer adds its tracks when it has the offer, so that they go on the offered m-lines.
    fn connect(&mut self, offerer: Offerer) {
        match offerer {
            Offerer::We => {
                self.add_our_tracks();
                self.add_their_tracks();
                let offer = self.ours.offer();
                let answer = self.theirs.answer(offer);
                self.ours.accept(answer);
            }
            Offerer::They => {
                self.add_their_tracks();
                self.add_our_tracks();
                let offer = self.theirs.offer();
                let answer = self.ours.answer(offer);
                self.theirs.accept(answer);
            }
        }
        self.wait_until_connected();
        self.learn_tracks();
    }

    fn wait_until_connected(&mut self) {
        self.ours.wait_for_state(ConnectionState::Connected);
        self.theirs
            .wait_for_state(RTCPeerConnectionState::Connected);
    }

    fn learn_tracks(&mut self) {
        for _ in KINDS {
            let track = self.ours.remote_track();
            self.remote_tracks.push((track.kind, track.id));
        }
        self.remote_tracks
            .sort_by_key(|(kind, _)| *kind == Kind::Video);
        let kinds: Vec<Kind> = self.remote_tracks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Audio, Kind::Video]);
    }

    fn connected(offerer: Offerer, config: Config, settings: Settings) -> Self {
        let mut pair = Self::new(config, settings);
        pair.connect(offerer);
        pair
    }

    /// Packets of both kinds both ways, one at a time: each must arrive as it was sent.
    fn exchange_media(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.next_number;
            self.next_number += 1;
            for (at, (kind, payload_type)) in KINDS.into_iter().enumerate() {
                let from_us = format!("our {kind:?} {number}");
                self.ours.send_packet(
                    self.our_tracks[at],
                    payload_type,
                    number,
                    from_us.as_bytes(),
                );
                let got = self.theirs.packet(kind);
                assert_eq!(
                    (got.payload_type, got.sequence_number, got.timestamp),
                    (payload_type, number, u32::from(number) * 3000)
                );
                assert!(got.marker);
                assert_eq!(got.payload, from_us.as_bytes());

                let from_them = format!("their {kind:?} {number}");
                self.theirs
                    .send_packet(&self.their_tracks[at], number, true, from_them.as_bytes());
                let remote = self.remote_tracks[at].1;
                let got = self.ours.wait_for("a packet", |output| match output {
                    Output::Rtp {
                        track,
                        payload_type,
                        sequence_number,
                        payload,
                    } if *track == remote => {
                        Some((*payload_type, *sequence_number, payload.clone()))
                    }
                    _ => None,
                });
                assert_eq!(got, (payload_type, number, from_them.into_bytes()));
            }
        }
    }
}

/// A payload that differs at every size and position.
fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| b'a' + (at % 23) as u8).collect()
}

/// Text and binary of every size, both ways on one channel.
fn exchange_messages(
    pair: &mut Pair,
    label: &str,
    our_end: &engine::command::ChannelInfo,
    their_end: &std::sync::Arc<dyn webrtc::data_channel::DataChannel>,
) {
    for size in SIZES {
        for kind in [DataKind::String, DataKind::Binary] {
            let sent = payload(size);
            pair.ours.send_message(our_end, kind, &sent);
            let (got_kind, got) = pair.theirs.message(label);
            assert_eq!((got_kind, got.len()), (kind, size), "ours to them");
            assert!(got == sent, "{size} bytes of ours are as they were");

            pair.theirs.send_message(their_end, kind, &sent);
            let (got_kind, got) = pair.ours.message();
            assert_eq!((got_kind, got.len()), (kind, size), "theirs to us");
            assert!(got == sent, "{size} bytes of theirs are as they were");
        }
    }
}

#[test]
fn they_offer_and_media_goes_both_ways_in_both_dtls_roles() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let config = Config {
            dtls_role: Some(role),
            ..config()
        };
        let mut pair = Pair::connected(Offerer::They, config, Settings::default());
        pair.exchange_media(50);
    }
}

#[test]
fn we_offer_and_media_goes_both_ways_in_both_dtls_roles() {
    for role in [RTCDtlsRole::Client, RTCDtlsRole::Server] {
        let settings = Settings {
            answering_role: Some(role),
            ..Settings::default()
        };
        let mut pair = Pair::connected(Offerer::We, config(), settings);
        pair.exchange_media(50);
    }
}

#[test]
fn media_goes_both_ways_with_each_srtp_profile() {
    for profile in [
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    ] {
        for offerer in [Offerer::We, Offerer::They] {
            let settings = Settings {
                srtp: vec![profile],
                ..Settings::default()
            };
            let mut pair = Pair::connected(offerer, config(), settings);
            pair.exchange_media(10);
        }
    }
}

#[test]
fn media_and_messages_go_over_tcp_whichever_side_connects() {
    for (active, passive) in [(true, false), (false, true), (true, true)] {
        for offerer in [Offerer::We, Offerer::They] {
            let config = Config {
                ice_tcp: IceTcp { active, passive },
                ..config()
            };
            let settings = Settings {
                over_tcp: true,
                ..Settings::default()
            };
            let mut pair = Pair::new(config, settings);
            let ours = pair.ours.create_channel("from us");
            if offerer == Offerer::They {
                pair.theirs.create_channel("from them");
            }
            pair.connect(offerer);
            pair.exchange_media(20);
            pair.ours.wait_until_open(&ours);
            let theirs = pair.theirs.channel("from us");
            exchange_messages(&mut pair, "from us", &ours, &theirs);
        }
    }
}

#[test]
fn their_request_for_a_keyframe_reaches_the_program() {
    let mut pair = Pair::connected(Offerer::They, config(), Settings::default());
    pair.exchange_media(1);
    pair.theirs.ask_for_a_keyframe();
    let video = pair.our_tracks[1];
    pair.ours
        .wait_for_event("a request for a keyframe", |event| match event {
            // RFC 4585 section 6.3.1: payload-specific feedback (206), format 1.
            Event::Rtcp(packets) => packets
                .iter()
                .any(|(track, packet)| {
                    *track == Some(video) && packet[0] & 0x1f == 1 && packet[1] == 206
                })
                .then_some(()),
            _ => None,
        });
}

#[test]
fn a_channel_of_theirs_carries_messages_of_every_size_both_ways() {
    for offerer in [Offerer::We, Offerer::They] {
        let mut pair = Pair::new(config(), Settings::default());
        let theirs = pair.theirs.create_channel("from them");
        if offerer == Offerer::We {
            // An offer without the data m-line could not carry their channel.
            pair.ours.create_channel("from us");
        }
        pair.connect(offerer);
        pair.theirs.wait_until_open("from them");
        let ours = pair.ours.remote_channel();
        assert_eq!(
            (ours.label.as_str(), ours.ready_state),
            ("from them", ChannelState::Open)
        );
        exchange_messages(&mut pair, "from them", &ours, &theirs);
    }
}

#[test]
fn a_channel_of_ours_carries_messages_of_every_size_both_ways() {
    for offerer in [Offerer::We, Offerer::They] {
        let mut pair = Pair::new(config(), Settings::default());
        let ours = pair.ours.create_channel("from us");
        if offerer == Offerer::They {
            pair.theirs.create_channel("from them");
        }
        pair.connect(offerer);
        pair.ours.wait_until_open(&ours);
        let theirs = pair.theirs.channel("from us");
        exchange_messages(&mut pair, "from us", &ours, &theirs);
    }
}

#[test]
fn channels_made_while_connected_open_from_either_side() {
    let mut pair = Pair::new(config(), Settings::default());
    pair.ours.create_channel("first");
    pair.connect(Offerer::We);
    pair.theirs.channel("first");

    let ours = pair.ours.create_channel("ours, later");
    pair.ours.wait_until_open(&ours);
    let at_theirs = pair.theirs.channel("ours, later");
    pair.ours.send_message(&ours, DataKind::String, b"one");
    assert_eq!(
        pair.theirs.message("ours, later"),
        (DataKind::String, "one".into())
    );
    pair.theirs
        .send_message(&at_theirs, DataKind::String, b"two");
    assert_eq!(pair.ours.message(), (DataKind::String, "two".into()));

    let theirs = pair.theirs.create_channel("theirs, later");
    let at_ours = pair.ours.remote_channel();
    assert_eq!(at_ours.label, "theirs, later");
    pair.theirs.wait_until_open("theirs, later");
    pair.theirs
        .send_message(&theirs, DataKind::Binary, b"three");
    assert_eq!(pair.ours.message(), (DataKind::Binary, "three".into()));
    pair.ours.send_message(&at_ours, DataKind::Binary, b"four");
    assert_eq!(
        pair.theirs.message("theirs, later"),
        (DataKind::Binary, "four".into())
    );
}

#[test]
fn a_burst_of_messages_arrives_whole_and_in_order_both_ways() {
    const MESSAGES: u32 = 1_000;
    let mut pair = Pair::new(config(), Settings::default());
    let ours = pair.ours.create_channel("burst");
    pair.connect(Offerer::We);
    pair.ours.wait_until_open(&ours);
    let theirs = pair.theirs.channel("burst");
    for number in 0..MESSAGES {
        let sent = number.to_be_bytes();
        pair.ours.send_message(&ours, DataKind::Binary, &sent);
        pair.theirs.send_message(&theirs, DataKind::Binary, &sent);
    }
    for number in 0..MESSAGES {
        let expected = number.to_be_bytes();
        assert_eq!(pair.theirs.message("burst").1.as_ref(), expected);
        assert_eq!(pair.ours.message().1.as_ref(), expected);
    }
}

#[test]
fn a_channel_that_either_side_closes_closes_at_both() {
    let mut pair = Pair::new(config(), Settings::default());
    let first = pair.ours.create_channel("first");
    let second = pair.ours.create_channel("second");
    pair.connect(Offerer::We);
    pair.ours.wait_until_open(&first);
    pair.ours.wait_until_open(&second);
    pair.theirs.channel("first");
    let at_theirs = pair.theirs.channel("second");

    pair.ours
        .request(Command::CloseDataChannel(first.handle.id))
        .unwrap();
    wait_until_channel_closed(&mut pair.ours, &first);
    pair.theirs.wait_until_channel_closed("first");

    pair.theirs.close_channel(&at_theirs);
    wait_until_channel_closed(&mut pair.ours, &second);
    pair.theirs.wait_until_channel_closed("second");
}

fn wait_until_channel_closed(ours: &mut Peer, channel: &engine::command::ChannelInfo) {
    let id = channel.handle.id;
    ours.wait_for_event("a closed channel", |event| match event {
        Event::DataChannelStateChange(handle, ChannelState::Closed) if handle.id == id => Some(()),
        _ => None,
    });
}

#[test]
fn a_track_added_later_arrives_after_another_exchange() {
    for offerer in [Offerer::We, Offerer::They] {
        let mut pair = Pair::connected(offerer, config(), Settings::default());
        pair.exchange_media(5);
        let ours = pair.ours.add_track(Kind::Video, 77);
        let theirs = pair.theirs.add_track(Kind::Video, 0x7777_7777);
        match offerer {
            Offerer::We => {
                let offer = pair.ours.reoffer();
                let answer = pair.theirs.reanswer(offer);
                pair.ours.accept(answer);
            }
            Offerer::They => {
                let offer = pair.theirs.reoffer();
                let answer = pair.ours.reanswer(offer);
                pair.theirs.accept(answer);
            }
        }
        let remote = pair.ours.remote_track();
        pair.exchange_media(5);
        pair.ours.send_packet(ours, 96, 1, b"our second video");
        assert_eq!(pair.theirs.packet(Kind::Video).payload, "our second video");
        pair.theirs
            .send_packet(&theirs, 1, true, b"their second video");
        assert_eq!(pair.ours.packet_on(remote.id), b"their second video");
    }
}

#[test]
fn media_and_data_go_on_over_an_ice_restart_of_either_side() {
    for offerer in [Offerer::We, Offerer::They] {
        for restarter in [Offerer::We, Offerer::They] {
            let mut pair = Pair::new(config(), Settings::default());
            let (label, ours, theirs) = match offerer {
                Offerer::We => {
                    let ours = pair.ours.create_channel("data");
                    pair.connect(offerer);
                    pair.ours.wait_until_open(&ours);
                    ("data", ours, pair.theirs.channel("data"))
                }
                Offerer::They => {
                    let theirs = pair.theirs.create_channel("data");
                    pair.connect(offerer);
                    pair.theirs.wait_until_open("data");
                    ("data", pair.ours.remote_channel(), theirs)
                }
            };
            pair.exchange_media(5);
            match restarter {
                Offerer::We => {
                    let before = ufrag(&pair.ours.local_description());
                    let offer = pair.ours.restart_offer();
                    assert_ne!(ufrag(&offer), before, "new credentials");
                    let answer = pair.theirs.answer_restart(offer);
                    pair.ours.accept(answer);
                }
                Offerer::They => {
                    let offer = pair.theirs.restart();
                    let answer = pair.ours.answer(offer);
                    pair.theirs.accept(answer);
                }
            }
            pair.theirs.wait_until_restarted();
            pair.ours.send_message(&ours, DataKind::String, b"still");
            assert_eq!(
                pair.theirs.message(label),
                (DataKind::String, "still".into())
            );
            pair.theirs.send_message(&theirs, DataKind::String, b"here");
            assert_eq!(pair.ours.message(), (DataKind::String, "here".into()));
            pair.exchange_media(20);
        }
    }
}

fn ufrag(description: &SessionDescription) -> String {
    let (_, rest) = description.sdp.split_once("a=ice-ufrag:").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[test]
fn when_they_close_our_dtls_is_closed_and_we_stay() {
    let mut pair = Pair::connected(Offerer::They, config(), Settings::default());
    pair.exchange_media(1);
    pair.theirs.close();
    pair.ours.wait_for_event("the end of DTLS", |event| {
        matches!(event, Event::DtlsTransportStateChange(DtlsState::Closed)).then_some(())
    });
    assert!(pair.ours.request(Command::GetTransceivers).is_ok());
}

#[test]
fn when_we_close_their_channels_close() {
    let mut pair = Pair::new(config(), Settings::default());
    let channel = pair.ours.create_channel("data");
    pair.connect(Offerer::We);
    pair.ours.wait_until_open(&channel);
    pair.theirs.wait_until_open("data");
    pair.exchange_media(1);
    pair.ours.request(Command::Close).unwrap();
    pair.theirs.wait_until_channel_closed("data");
}
