//! Connections of a real runtime, driven from a test's thread.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod inbox;
pub mod proxy;

use bytes::Bytes;
use driver::{Connection, Mailbox, PortLease, Runtime, RuntimeOptions};
use engine::command::{
    ChannelInfo, ChannelOptions, Command, CommandResult, OutgoingData, OutgoingRtp, Property, Value,
};
use engine::config::{Config, Features, HeaderExtension};
use engine::event::{Event, IceCandidateError, Sink};
use engine::ids::{RequestId, Rid, TrackId};
use engine::media::ReceivedRtp;
use engine::w3c::{
    Codec, ConnectionState, DataKind, DtlsState, IceCandidateInit, IceGatheringState, Kind,
    SdpType, SessionDescription, Track,
};
use inbox::Inbox;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Everything on one machine is there long before.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a mailbox was told.
#[derive(Debug)]
pub enum Output {
    Reply(RequestId, CommandResult),
    Event(Event),
    Rtp {
        track: TrackId,
        payload_type: u8,
        sequence_number: u16,
        payload: Vec<u8>,
    },
    Panicked(String),
    Closed,
}

pub struct TestMailbox(Sender<Output>);

impl TestMailbox {
    fn tell(&self, output: Output) {
        // The test may have seen enough.
        let _ = self.0.send(output);
    }

    /// A mailbox for output that is looked at with [`Output`] alone.
    pub fn new() -> (Self, Receiver<Output>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }
}

impl Sink for TestMailbox {
    fn reply(&mut self, id: RequestId, result: CommandResult) {
        self.tell(Output::Reply(id, result));
    }

    fn event(&mut self, event: Event) {
        self.tell(Output::Event(event));
    }

    fn rtp(&mut self, track: TrackId, _rid: Option<&Rid>, packet: &ReceivedRtp<'_>) {
        self.tell(Output::Rtp {
            track,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            payload: packet.payload.to_vec(),
        });
    }
}

impl Mailbox for TestMailbox {
    fn panicked(&mut self, text: &str) {
        self.tell(Output::Panicked(text.to_owned()));
    }

    fn closed(&mut self) {
        self.tell(Output::Closed);
    }
}

/// With `shards` threads, whose turns follow one another: two connections are on two of them.
pub fn runtime(shards: usize) -> Runtime<TestMailbox> {
    Runtime::new(RuntimeOptions {
        shards: Some(shards),
        neighbours: Some(1),
    })
    .unwrap()
}

/// The contract's defaults, on IPv4 loopback only.
pub fn config() -> Config {
    let video = |payload_type, mime_type: &str, fmtp: Option<&str>| Codec {
        payload_type,
        mime_type: mime_type.to_owned(),
        clock_rate: 90_000,
        channels: None,
        fmtp: fmtp.map(str::to_owned),
        feedback: vec![
            "nack".to_owned(),
            "nack pli".to_owned(),
            "ccm fir".to_owned(),
        ],
    };
    let opus = Codec {
        payload_type: 111,
        mime_type: "audio/opus".to_owned(),
        clock_rate: 48_000,
        channels: Some(2),
        fmtp: None,
        feedback: Vec::new(),
    };
    Config {
        host_addresses: Some(vec![(IpAddr::V4(Ipv4Addr::LOCALHOST), None)]),
        audio_codecs: vec![opus],
        video_codecs: vec![video(96, "video/VP8", None)],
        header_extensions: vec![HeaderExtension {
            kind: None,
            uri: "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned(),
        }],
        features: Features::ALL,
        deliver_rtp: true,
        ..Config::bare()
    }
}

/// A port that nobody has over UDP.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A port that nobody has over TCP.
pub fn free_tcp_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A connection on a runtime of its own that has something to gather candidates for.
pub fn gathering(config: Config) -> (Runtime<TestMailbox>, Peer) {
    let runtime = runtime(1);
    let mut peer = Peer::open(&runtime, config);
    peer.add_track(Kind::Audio, 1);
    (runtime, peer)
}

/// A connection and what it has told.
pub struct Peer {
    pub connection: Connection<TestMailbox>,
    output: Inbox<Output>,
    next_id: u64,
}

impl Peer {
    pub fn open(runtime: &Runtime<TestMailbox>, config: Config) -> Self {
        Self::of(|mailbox| runtime.open(config, mailbox).unwrap())
    }

    /// On a shared port.
    pub fn open_on(runtime: &Runtime<TestMailbox>, lease: PortLease, config: Config) -> Self {
        Self::of(|mailbox| runtime.open_on(lease, config, mailbox).unwrap())
    }

    fn of(open: impl FnOnce(TestMailbox) -> Connection<TestMailbox>) -> Self {
        let (mailbox, output) = TestMailbox::new();
        Self {
            connection: open(mailbox),
            output: Inbox::new(output),
            next_id: 1,
        }
    }

    /// The first output, told already or in time, that `pick` takes; the others stay.
    pub fn wait_for<T>(&mut self, what: &str, pick: impl FnMut(&Output) -> Option<T>) -> T {
        match self.output.wait_for(pick) {
            Ok(found) => found,
            Err(error) => panic!(
                "{error} waiting for {what}; told: {:#?}",
                self.output.seen()
            ),
        }
    }

    /// Everything told so far that nobody has waited for.
    pub fn drain(&mut self) -> Vec<Output> {
        self.output.drain()
    }

    /// Output that [`Self::drain`] gave and that may still be waited for.
    pub fn put_back(&mut self, output: Output) {
        self.output.put_back(output);
    }

    pub fn connection_state(&mut self) -> ConnectionState {
        match self.request(Command::Get(Property::ConnectionState)) {
            Ok(Value::ConnectionState(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    pub fn submit(&mut self, command: Command) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.connection.request(id, command).unwrap();
        id
    }

    pub fn reply(&mut self, id: RequestId) -> CommandResult {
        self.wait_for(&format!("the reply to {id}"), |output| match output {
            Output::Reply(told, result) if *told == id => Some(result.clone()),
            _ => None,
        })
    }

    pub fn request(&mut self, command: Command) -> CommandResult {
        let id = self.submit(command);
        self.reply(id)
    }

    pub fn wait_for_event<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        self.wait_for(what, |output| match output {
            Output::Event(event) => pick(event),
            _ => None,
        })
    }

    pub fn candidate_error(&mut self) -> IceCandidateError {
        self.wait_for_event("a candidate error", |event| match event {
            Event::IceCandidateError(error) => Some(error.clone()),
            _ => None,
        })
    }

    pub fn wait_for_state(&mut self, state: ConnectionState) {
        self.wait_for_event(&format!("{state:?}"), |event| {
            matches!(event, Event::ConnectionStateChange(told) if *told == state).then_some(())
        });
    }

    pub fn wait_until_gathered(&mut self) {
        self.wait_for_event("the end of gathering", |event| {
            matches!(
                event,
                Event::IceGatheringStateChange(IceGatheringState::Complete)
            )
            .then_some(())
        });
    }

    pub fn wait_for_the_end_of_dtls(&mut self) {
        self.wait_for_event("the end of DTLS", |event| {
            matches!(event, Event::DtlsTransportStateChange(DtlsState::Closed)).then_some(())
        });
    }

    pub fn wait_for_closed(&mut self) {
        self.wait_for("the last call", |output| {
            matches!(output, Output::Closed).then_some(())
        });
    }

    /// The candidates told so far, after gathering.
    pub fn candidates(&mut self) -> Vec<IceCandidateInit> {
        let mut candidates = Vec::new();
        let outputs = self.drain();
        for output in outputs {
            match output {
                Output::Event(Event::IceCandidate(candidate)) => candidates.push(candidate),
                other => self.put_back(other),
            }
        }
        candidates
    }

    pub fn add_track(&mut self, kind: Kind, id: u64) -> TrackId {
        let id = TrackId(id);
        let track = Track {
            id,
            kind,
            streams: vec!["stream".to_owned()],
            rids: None,
        };
        self.request(Command::AddTrack(track)).unwrap();
        id
    }

    pub fn create_channel(&mut self, label: &str) -> ChannelInfo {
        let options = ChannelOptions {
            label: label.to_owned(),
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
        };
        match self.request(Command::CreateDataChannel(options)) {
            Ok(Value::DataChannel(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    fn description(&mut self, command: Command) -> SessionDescription {
        match self.request(command) {
            Ok(Value::Description(description)) => description,
            other => panic!("{other:?}"),
        }
    }

    /// An offer with all its candidates.
    pub fn offer(&mut self) -> SessionDescription {
        self.offered(false)
    }

    /// An offer that restarts ICE, with all its candidates.
    pub fn restart_offer(&mut self) -> SessionDescription {
        self.offered(true)
    }

    fn offered(&mut self, ice_restart: bool) -> SessionDescription {
        self.set_local(Command::CreateOffer { ice_restart });
        self.wait_until_gathered();
        self.local_description()
    }

    /// The answer to an offer with all its candidates.
    pub fn answer(&mut self, offer: SessionDescription) -> SessionDescription {
        self.request(Command::SetRemoteDescription(offer)).unwrap();
        self.set_local(Command::CreateAnswer);
        self.wait_until_gathered();
        self.local_description()
    }

    /// An offer on the transport that is there.
    pub fn reoffer(&mut self) -> SessionDescription {
        self.set_local(Command::CreateOffer { ice_restart: false });
        self.local_description()
    }

    /// The answer to an offer on the transport that is there.
    pub fn reanswer(&mut self, offer: SessionDescription) -> SessionDescription {
        self.request(Command::SetRemoteDescription(offer)).unwrap();
        self.set_local(Command::CreateAnswer);
        self.local_description()
    }

    fn set_local(&mut self, make: Command) {
        let description = self.description(make);
        self.request(Command::SetLocalDescription(Some(description)))
            .unwrap();
    }

    pub fn local_description(&mut self) -> SessionDescription {
        self.description(Command::Get(Property::LocalDescription))
    }

    pub fn accept(&mut self, answer: SessionDescription) {
        assert_eq!(answer.sdp_type, SdpType::Answer);
        self.request(Command::SetRemoteDescription(answer)).unwrap();
    }

    /// The next track the peer has added.
    pub fn remote_track(&mut self) -> Track {
        self.wait_for_event("a track", |event| match event {
            Event::Track(track) => Some(track.clone()),
            _ => None,
        })
    }

    pub fn send_packet(&self, track: TrackId, payload_type: u8, number: u16, payload: &[u8]) {
        let packet = OutgoingRtp {
            marker: true,
            payload_type,
            sequence_number: number,
            timestamp: u32::from(number) * 3000,
            ssrc: 1,
            csrc: Vec::new(),
            extensions: Vec::new(),
            payload: Bytes::copy_from_slice(payload),
            padding_size: 0,
            rtx: false,
        };
        self.connection.send_rtp(track, packet).unwrap();
    }

    /// The payload of the next packet on any track.
    pub fn next_packet(&mut self) -> Vec<u8> {
        self.wait_for("a packet", |output| match output {
            Output::Rtp { payload, .. } => Some(payload.clone()),
            _ => None,
        })
    }

    /// The payload of the next packet on a track.
    pub fn packet_on(&mut self, track: TrackId) -> Vec<u8> {
        self.wait_for("a packet", |output| match output {
            Output::Rtp {
                track: told,
                payload,
                ..
            } if *told == track => Some(payload.clone()),
            _ => None,
        })
    }

    pub fn wait_until_open(&mut self, channel: &ChannelInfo) {
        let id = channel.handle.id;
        self.wait_for_event("an open channel", |event| match event {
            Event::DataChannelStateChange(handle, engine::w3c::ChannelState::Open)
                if handle.id == id =>
            {
                Some(())
            }
            _ => None,
        });
    }

    pub fn remote_channel(&mut self) -> ChannelInfo {
        self.wait_for_event("a channel", |event| match event {
            Event::DataChannel(channel) => Some(channel.clone()),
            _ => None,
        })
    }

    pub fn send_message(&self, channel: &ChannelInfo, kind: DataKind, payload: &[u8]) {
        assert!(channel.handle.account.charge(payload.len() as u64));
        let data = OutgoingData {
            channel: channel.handle.id,
            kind,
            payload: Bytes::copy_from_slice(payload),
            notify: None,
        };
        self.connection.send_data(data).unwrap();
    }

    /// The next message on any channel.
    pub fn message(&mut self) -> (DataKind, Bytes) {
        self.wait_for_event("a message", |event| match event {
            Event::Data(_, kind, payload) => Some((*kind, payload.clone())),
            _ => None,
        })
    }
}

/// Negotiates with all candidates in the descriptions, and waits for both to be connected.
pub fn connect(offerer: &mut Peer, answerer: &mut Peer) {
    let offer = offerer.offer();
    let answer = answerer.answer(offer);
    offerer.accept(answer);
    offerer.wait_for_state(ConnectionState::Connected);
    answerer.wait_for_state(ConnectionState::Connected);
}
