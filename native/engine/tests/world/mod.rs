//! Two engines, a virtual clock and a link that loses, delays and reorders: no socket, no thread,
//! no wait. Every test that composes whole connections uses this.

#![allow(dead_code)] // Each test binary uses its part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod network;

pub use network::{Bottleneck, Middle};

use bytes::Bytes;
use engine::Engine;
use engine::command::{
    ChannelInfo, ChannelOptions, Command, CommandResult, OutgoingRtp, Property, RtpEncoding, Value,
};
use engine::config::{Config, Features, Feedback, HeaderExtension};
use engine::error::Error;
use engine::event::{Action, Event, Sink, Warning};
use engine::ids::{RequestId, Rid, TrackId};
use engine::media::ReceivedRtp;
use engine::transport::{LocalCandidate, LocalCandidateKind};
use engine::w3c::{
    Codec, ConnectionState, DataKind, Direction, DtlsState, IceCandidateInit, IceConnectionState,
    Kind, SdpType, SessionDescription, Track,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

/// A packet that reached the controlling process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub track: TrackId,
    pub rid: Option<String>,
    pub payload_type: u8,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

/// Everything one side told.
#[derive(Debug, Default)]
pub struct Heard {
    pub replies: BTreeMap<u64, CommandResult>,
    pub events: Vec<Event>,
    pub packets: Vec<Delivered>,
    pub warnings: Vec<Warning>,
    /// How many messages of data channels it takes; None: all.
    pub credit: Option<u64>,
}

impl Sink for Heard {
    fn reply(&mut self, id: RequestId, result: CommandResult) {
        assert!(
            self.replies.insert(id.0, result).is_none(),
            "two replies to request {id}"
        );
    }

    fn event(&mut self, event: Event) {
        if let (Event::Data(..), Some(credit)) = (&event, &mut self.credit) {
            *credit = credit.saturating_sub(1);
        }
        self.events.push(event);
    }

    fn data_credit(&self) -> Option<u64> {
        self.credit
    }

    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.packets.push(Delivered {
            track,
            rid: rid.map(|rid| rid.as_str().to_owned()),
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            marker: packet.marker,
            payload: packet.payload.to_vec(),
        });
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// One connection and its one address.
pub struct Peer {
    pub engine: Engine,
    pub heard: Heard,
    pub address: SocketAddr,
    /// The address as the other side sees it: another one behind a NAT.
    pub public: SocketAddr,
    next_request: u64,
    /// Candidates not yet passed to the other side.
    pub candidates: Vec<IceCandidateInit>,
    seen_events: usize,
}

/// A datagram on the link: from, to, content.
pub type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

/// What the link does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Share lost, in percent.
    pub loss: u32,
    /// Share that arrives up to `delay` later than its neighbours, in percent.
    pub reorder: u32,
    /// Share that arrives twice, in percent.
    pub duplicate: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(100),
            loss: 0,
            reorder: 0,
            duplicate: 0,
        }
    }
}

/// Two peers and the link between them. Side 0 is `a`, side 1 is `b`.
pub struct World {
    pub now: Instant,
    pub peers: [Peer; 2],
    pub link: Link,
    /// In the way of what side 0 and side 1 send.
    pub bottlenecks: [Option<Bottleneck>; 2],
    flying: BTreeMap<(Instant, u64), Datagram>,
    order: u64,
    random: u64,
    /// Whether gathered candidates reach the other side by themselves.
    pub trickle: bool,
    /// Everything put on the link, while somebody listens.
    pub tap: Option<Vec<Datagram>>,
    /// Who sits on the link, and what he makes of each datagram.
    pub middle: Option<Middle>,
}

pub fn codec(payload_type: u8, mime_type: &str, clock_rate: u32, channels: Option<u16>) -> Codec {
    Codec {
        payload_type,
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        fmtp: None,
        feedback: Vec::new(),
    }
}

/// The defaults of `ExWebRTC.PeerConnection.Configuration`, less H264 and AV1.
pub fn config() -> Config {
    Config {
        audio_codecs: vec![codec(111, "audio/opus", 48_000, Some(2))],
        video_codecs: vec![codec(96, "video/VP8", 90_000, None)],
        header_extensions: vec![
            HeaderExtension {
                kind: None,
                uri: MID_URI.to_owned(),
            },
            HeaderExtension {
                kind: Some(Kind::Video),
                uri: RID_URI.to_owned(),
            },
        ],
        rtcp_feedbacks: vec![
            (Some(Kind::Video), Feedback::Fir),
            (Some(Kind::Video), Feedback::Pli),
        ],
        features: Features::ALL,
        deliver_rtp: true,
        ..Config::bare()
    }
}

/// As [`config`], and layers of simulcast can be repaired.
pub fn repairing() -> Config {
    let mut config = config();
    config.header_extensions.push(HeaderExtension {
        kind: Some(Kind::Video),
        uri: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id".to_owned(),
    });
    config
}

pub fn track(id: u64, kind: Kind) -> Track {
    Track {
        id: TrackId(id),
        kind,
        streams: vec!["stream".to_owned()],
        rids: None,
    }
}

/// `send_encodings` with these rids.
pub fn encodings(rids: &[&str]) -> Vec<RtpEncoding> {
    let named = |rid: &&str| RtpEncoding {
        rid: Some((*rid).into()),
        ..RtpEncoding::default()
    };
    rids.iter().map(named).collect()
}

pub fn channel_options(label: &str) -> ChannelOptions {
    ChannelOptions {
        label: label.to_owned(),
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
        protocol: String::new(),
        negotiated: false,
        id: None,
    }
}

pub fn packet(sequence_number: u16, timestamp: u32, payload: &[u8]) -> OutgoingRtp {
    OutgoingRtp {
        marker: false,
        payload_type: 96,
        sequence_number,
        timestamp,
        ssrc: 0,
        csrc: Vec::new(),
        extensions: Vec::new(),
        payload: Bytes::copy_from_slice(payload),
        padding_size: 0,
        rtx: false,
    }
}

impl Peer {
    fn new(now: Instant, config: Config, address: SocketAddr) -> Self {
        let mut heard = Heard::default();
        let engine = Engine::new(now, config, &mut heard).expect("a fresh engine");
        Self {
            engine,
            heard,
            address,
            public: address,
            next_request: 1,
            candidates: Vec::new(),
            seen_events: 0,
        }
    }

    /// The events since the last call.
    pub fn fresh_events(&mut self) -> Vec<Event> {
        let fresh = self.heard.events[self.seen_events..].to_vec();
        self.seen_events = self.heard.events.len();
        fresh
    }

    /// What `pick` takes of the events.
    pub fn told<T>(&self, pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
        self.heard.events.iter().filter_map(pick).collect()
    }

    pub fn connection_states(&self) -> Vec<ConnectionState> {
        self.told(|event| match event {
            Event::ConnectionStateChange(state) => Some(*state),
            _ => None,
        })
    }

    pub fn ice_states(&self) -> Vec<IceConnectionState> {
        self.told(|event| match event {
            Event::IceConnectionStateChange(state) => Some(*state),
            _ => None,
        })
    }

    pub fn dtls_states(&self) -> Vec<DtlsState> {
        self.told(|event| match event {
            Event::DtlsTransportStateChange(state) => Some(*state),
            _ => None,
        })
    }

    pub fn tracks(&self) -> Vec<Track> {
        self.told(|event| match event {
            Event::Track(track) => Some(track.clone()),
            _ => None,
        })
    }

    pub fn channels(&self) -> Vec<ChannelInfo> {
        self.told(|event| match event {
            Event::DataChannel(channel) => Some(channel.clone()),
            _ => None,
        })
    }

    pub fn messages(&self) -> Vec<(DataKind, Bytes)> {
        self.told(|event| match event {
            Event::Data(_, kind, payload) => Some((*kind, payload.clone())),
            _ => None,
        })
    }
}

impl World {
    pub fn new(a: Config, b: Config) -> Self {
        let now = Instant::now();
        Self {
            now,
            peers: [
                Peer::new(now, a, "10.0.0.1:1111".parse().unwrap()),
                Peer::new(now, b, "10.0.0.2:2222".parse().unwrap()),
            ],
            link: Link::default(),
            bottlenecks: [None; 2],
            flying: BTreeMap::new(),
            order: 0,
            random: 0x9E37_79B9_7F4A_7C15,
            trickle: true,
            tap: None,
            middle: None,
        }
    }

    pub fn plain() -> Self {
        Self::new(config(), config())
    }

    /// A small deterministic generator: failures repeat.
    fn chance(&mut self, percent: u32) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % 100) < u64::from(percent)
    }

    /// Sends a command and takes its reply, which comes in the same step.
    pub fn ask(&mut self, side: usize, command: Command) -> CommandResult {
        let peer = &mut self.peers[side];
        let id = peer.next_request;
        peer.next_request += 1;
        peer.engine
            .handle_command(self.now, RequestId(id), command, &mut peer.heard);
        let reply = peer
            .heard
            .replies
            .remove(&id)
            .expect("a reply in the same step");
        self.settle(side);
        reply
    }

    pub fn ok(&mut self, side: usize, command: Command) -> Value {
        let text = format!("{command:?}");
        self.ask(side, command)
            .unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    pub fn error(&mut self, side: usize, command: Command) -> Error {
        self.ask(side, command).expect_err("an error")
    }

    pub fn create(&mut self, side: usize, command: Command) -> SessionDescription {
        match self.ok(side, command) {
            Value::Description(description) => description,
            other => panic!("a description, not {other:?}"),
        }
    }

    /// One offer/answer exchange, offered by `side`.
    pub fn negotiate(&mut self, side: usize) {
        let offer = self.create(side, Command::CreateOffer { ice_restart: false });
        self.exchange(side, offer);
    }

    pub fn exchange(&mut self, side: usize, offer: SessionDescription) {
        assert_eq!(offer.sdp_type, SdpType::Offer);
        self.ok(side, Command::SetLocalDescription(Some(offer.clone())));
        self.ok(1 - side, Command::SetRemoteDescription(offer));
        let answer = self.create(1 - side, Command::CreateAnswer);
        self.ok(1 - side, Command::SetLocalDescription(Some(answer.clone())));
        self.ok(side, Command::SetRemoteDescription(answer));
    }

    pub fn add_transceiver(&mut self, side: usize, id: u64, kind: Kind) {
        self.ok(
            side,
            Command::AddTransceiver {
                kind,
                track: Some(track(id, kind)),
                direction: Direction::Sendrecv,
                send_encodings: Vec::new(),
            },
        );
    }

    /// Runs until both sides are connected.
    pub fn connect(&mut self) {
        let connected = self.run_until(Duration::from_secs(10), |world| {
            world
                .peers
                .iter()
                .all(|peer| peer.connection_states().last() == Some(&ConnectionState::Connected))
        });
        assert!(
            connected,
            "connected; a: {:?}, b: {:?}",
            self.peers[0].connection_states(),
            self.peers[1].connection_states()
        );
    }

    /// Carries out actions, passes candidates on, puts datagrams on the link.
    pub fn settle(&mut self, side: usize) {
        let now = self.now;
        let peer = &mut self.peers[side];
        while let Some(action) = peer.engine.poll_action() {
            if let Action::Gather { generation, .. } = action {
                let candidate = LocalCandidate {
                    kind: LocalCandidateKind::Host,
                    tcp_type: None,
                    address: peer.address,
                    base: peer.address,
                    url: None,
                };
                peer.engine
                    .local_candidate(now, generation, candidate, &mut peer.heard);
                peer.engine
                    .gathering_complete(now, generation, &mut peer.heard);
            }
        }
        peer.engine.flush(now, &mut peer.heard);
        let outbox = peer.engine.outbox();
        let datagrams: Vec<_> = outbox
            .segments
            .iter()
            .map(|s| {
                (
                    s.local.address,
                    s.remote,
                    outbox.bytes[s.offset..s.offset + s.length].to_vec(),
                )
            })
            .collect();
        outbox.clear(0);
        for event in peer.fresh_events() {
            if let Event::IceCandidate(candidate) = event {
                self.peers[side].candidates.push(candidate);
            }
        }
        for (local, remote, bytes) in datagrams {
            self.launch(local, remote, bytes);
        }
    }

    /// Trickles what the sides have gathered, once the other side can take it.
    fn pass_candidates(&mut self) {
        for side in 0..2 {
            if self.has_remote_description(1 - side) {
                for candidate in std::mem::take(&mut self.peers[side].candidates) {
                    let _ = self.ask(1 - side, Command::AddIceCandidate(Some(candidate)));
                }
            }
        }
    }

    fn has_remote_description(&mut self, side: usize) -> bool {
        let remote = Command::Get(Property::RemoteDescription);
        matches!(self.ask(side, remote), Ok(Value::Description(_)))
    }

    /// Runs until `done` or until `limit` of virtual time has passed; says whether `done`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            for side in 0..2 {
                self.settle(side);
            }
            if self.trickle {
                self.pass_candidates();
            }
            if done(self) {
                return true;
            }
            let mut next = self.flying.keys().next().map(|(at, _)| *at);
            for peer in &mut self.peers {
                next = [next, peer.engine.poll_timeout()]
                    .into_iter()
                    .flatten()
                    .min();
            }
            let Some(next) = next else { return false };
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |_| false);
        self.now = end;
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (from, to, mut bytes) = entry.remove();
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.public == to) {
                let local = peer.address;
                peer.engine
                    .handle_datagram(now, local, from, &mut bytes, &mut peer.heard);
            }
        }
        for peer in &mut self.peers {
            peer.engine.flush(now, &mut peer.heard);
            if peer.engine.poll_timeout().is_some_and(|at| at <= now) {
                peer.engine.handle_timeout(now, &mut peer.heard);
            }
        }
    }

    /// Sends a packet and lets it leave.
    pub fn send(&mut self, side: usize, track: u64, packet: &OutgoingRtp) {
        let now = self.now;
        let peer = &mut self.peers[side];
        peer.engine
            .send_rtp(now, TrackId(track), packet, &mut peer.heard);
        self.settle(side);
    }
}
