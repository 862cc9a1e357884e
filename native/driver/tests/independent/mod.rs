//! `webrtc`'s own `PeerConnection`, driven from a test's thread: an independent negotiation,
//! driver and media path, on the same protocol crates as ours.

use crate::support::PATIENCE;
use crate::support::inbox::Inbox;
use bytes::{Bytes, BytesMut};
use engine::w3c::{DataKind, Kind, SdpType, SessionDescription};
use rtc::peer_connection::configuration::setting_engine::{
    SctpMaxMessageSize, SettingEngineBuilder,
};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use tokio::runtime::{Builder, Runtime};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceCandidateInit, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState,
    Registry, SrtpProtectionProfile, register_default_interceptors,
};

/// A packet that reached their application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub kind: Kind,
    pub payload_type: u8,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Bytes,
}

/// What their side was told.
#[derive(Clone)]
pub enum Told {
    Gathered,
    State(RTCPeerConnectionState),
    Ice(RTCIceConnectionState),
    Track(Kind, Arc<dyn TrackRemote>),
    Packet(Packet),
    Channel(String, Arc<dyn DataChannel>),
    Open(String),
    Closed(String),
    Message(String, DataKind, Bytes),
}

struct Handler(Sender<Told>);

/// The test may have seen enough.
fn tell(told: &Sender<Told>, what: Told) {
    let _ = told.send(what);
}

const fn kind_of(kind: RtpCodecKind) -> Kind {
    match kind {
        RtpCodecKind::Audio => Kind::Audio,
        _ => Kind::Video,
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            tell(&self.0, Told::Gathered);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        tell(&self.0, Told::Ice(state));
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tell(&self.0, Told::State(state));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let told = self.0.clone();
        let kind = kind_of(track.kind().await);
        tell(&told, Told::Track(kind, Arc::clone(&track)));
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let packet = Packet {
                        kind,
                        payload_type: packet.header.payload_type,
                        sequence_number: packet.header.sequence_number,
                        timestamp: packet.header.timestamp,
                        marker: packet.header.marker,
                        payload: packet.payload,
                    };
                    tell(&told, Told::Packet(packet));
                }
            }
        });
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let label = channel.label().await.unwrap();
        tell(&self.0, Told::Channel(label, Arc::clone(&channel)));
        tokio::spawn(listen(channel, self.0.clone()));
    }
}

async fn listen(channel: Arc<dyn DataChannel>, told: Sender<Told>) {
    let label = channel.label().await.unwrap();
    while let Some(event) = channel.poll().await {
        let label = label.clone();
        match event {
            DataChannelEvent::OnOpen => tell(&told, Told::Open(label)),
            DataChannelEvent::OnClose => tell(&told, Told::Closed(label)),
            DataChannelEvent::OnMessage(message) => {
                let kind = if message.is_string {
                    DataKind::String
                } else {
                    DataKind::Binary
                };
                tell(&told, Told::Message(label, kind, message.data.freeze()));
            }
            _ => {}
        }
    }
}

/// How their side is set up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The DTLS role they take when they answer.
    pub answering_role: Option<RTCDtlsRole>,
    /// The SRTP profiles they take; empty for their default.
    pub srtp: Vec<SrtpProtectionProfile>,
    /// They speak TCP only.
    pub over_tcp: bool,
}

/// One track of theirs.
pub struct TheirTrack {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
}

/// Their side of a connection.
pub struct Theirs {
    tokio: Runtime,
    connection: Arc<dyn PeerConnection>,
    told: Inbox<Told>,
    teller: Sender<Told>,
}

impl Theirs {
    pub fn open(settings: Settings) -> Self {
        let tokio = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (teller, told) = channel();
        let handler = Arc::new(Handler(teller.clone()));
        let mut setting = SettingEngineBuilder::new()
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(256 * 1024));
        if let Some(role) = settings.answering_role {
            setting = setting.with_answering_dtls_role(role);
        }
        if !settings.srtp.is_empty() {
            setting = setting.with_srtp_protection_profiles(settings.srtp);
        }
        let address = vec!["127.0.0.1:0".to_owned()];
        let connection = tokio.block_on(async {
            let mut media = MediaEngine::default();
            media.register_default_codecs().unwrap();
            let registry = register_default_interceptors(Registry::new(), &mut media).unwrap();
            let builder = PeerConnectionBuilder::new();
            let builder = if settings.over_tcp {
                builder.with_tcp_addrs(address)
            } else {
                builder.with_udp_addrs(address)
            };
            let connection: Arc<dyn PeerConnection> = Arc::new(
                builder
                    .with_media_engine(media)
                    .with_setting_engine(setting.build())
                    .with_interceptor_registry(registry)
                    .with_handler(handler)
                    .with_runtime(webrtc::runtime::default_runtime().unwrap())
                    .build()
                    .await
                    .unwrap(),
            );
            connection
        });
        Self {
            tokio,
            connection,
            told: Inbox::new(told),
            teller,
        }
    }

    /// Carries out one of their calls.
    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.tokio
            .block_on(async { tokio::time::timeout(PATIENCE, call).await })
            .expect("their call returns in time")
    }

    /// The first thing told, already or in time, that `pick` takes; the others stay.
    pub fn wait_for<T>(&mut self, what: &str, pick: impl FnMut(&Told) -> Option<T>) -> T {
        match self.told.wait_for(pick) {
            Ok(found) => found,
            Err(error) => panic!("{error}: they wait for {what}"),
        }
    }

    pub fn wait_for_state(&mut self, state: RTCPeerConnectionState) {
        self.wait_for(&format!("{state}"), |told| {
            matches!(told, Told::State(new) if *new == state).then_some(())
        });
    }

    /// Forgets what was told of ICE until now, so that what a restart tells is waited for.
    fn forget_ice(&mut self) {
        self.told
            .retain(|told| !matches!(told, Told::Gathered | Told::Ice(_)));
    }

    /// Waits until the checks of a restart have found a path.
    pub fn wait_until_restarted(&mut self) {
        self.wait_for("a path after a restart", |told| {
            matches!(told, Told::Ice(RTCIceConnectionState::Connected)).then_some(())
        });
    }

    fn gathered(&mut self) -> String {
        self.wait_for("the end of gathering", |told| {
            matches!(told, Told::Gathered).then_some(())
        });
        self.described()
    }

    fn described(&self) -> String {
        self.run(self.connection.local_description()).unwrap().sdp
    }

    fn set_local_offer(&mut self) {
        self.run(async {
            let offer = self.connection.create_offer(None).await.unwrap();
            self.connection.set_local_description(offer).await.unwrap();
        });
    }

    fn set_local_answer(&mut self, offer: SessionDescription) {
        self.run(async {
            let offer = RTCSessionDescription::offer(offer.sdp).unwrap();
            self.connection.set_remote_description(offer).await.unwrap();
            let answer = self.connection.create_answer(None).await.unwrap();
            self.connection.set_local_description(answer).await.unwrap();
        });
    }

    /// The first offer, with all its candidates.
    pub fn offer(&mut self) -> SessionDescription {
        self.set_local_offer();
        let sdp = self.gathered();
        let sdp_type = SdpType::Offer;
        SessionDescription { sdp_type, sdp }
    }

    /// The first answer, with all its candidates.
    pub fn answer(&mut self, offer: SessionDescription) -> SessionDescription {
        let candidates = offer.sdp.clone();
        self.set_local_answer(offer);
        self.trickle_tcp(&candidates);
        let sdp = self.gathered();
        let sdp_type = SdpType::Answer;
        SessionDescription { sdp_type, sdp }
    }

    /// An offer on the transport that is there.
    pub fn reoffer(&mut self) -> SessionDescription {
        self.set_local_offer();
        let sdp = self.described();
        let sdp_type = SdpType::Offer;
        SessionDescription { sdp_type, sdp }
    }

    /// An answer on the transport that is there.
    pub fn reanswer(&mut self, offer: SessionDescription) -> SessionDescription {
        self.set_local_answer(offer);
        let sdp = self.described();
        let sdp_type = SdpType::Answer;
        SessionDescription { sdp_type, sdp }
    }

    /// An offer that restarts ICE.
    pub fn restart(&mut self) -> SessionDescription {
        self.forget_ice();
        self.run(self.connection.restart_ice()).unwrap();
        self.offer()
    }

    /// The answer to an offer that restarts ICE.
    pub fn answer_restart(&mut self, offer: SessionDescription) -> SessionDescription {
        self.forget_ice();
        self.answer(offer)
    }

    pub fn accept(&mut self, answer: SessionDescription) {
        let description = RTCSessionDescription::answer(answer.sdp.clone()).unwrap();
        self.run(self.connection.set_remote_description(description))
            .unwrap();
        self.trickle_tcp(&answer.sdp);
    }

    /// They connect only to candidates that come by themselves, not to those in descriptions.
    fn trickle_tcp(&self, sdp: &str) {
        let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a="));
        for candidate in candidates.filter(|it| it.ends_with("tcptype passive")) {
            let candidate = RTCIceCandidateInit {
                candidate: candidate.to_owned(),
                sdp_mid: Some("0".to_owned()),
                sdp_mline_index: Some(0),
                ..RTCIceCandidateInit::default()
            };
            self.run(self.connection.add_ice_candidate(candidate))
                .unwrap();
        }
    }

    pub fn add_track(&mut self, kind: Kind, ssrc: u32) -> TheirTrack {
        let (mime_type, clock_rate, channels, payload_type, codec_kind) = match kind {
            Kind::Audio => ("audio/opus", 48_000, 2, 111, RtpCodecKind::Audio),
            Kind::Video => ("video/VP8", 90_000, 0, 96, RtpCodecKind::Video),
        };
        let codec = RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: String::new(),
            rtcp_feedback: vec![],
        };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec,
            ..Default::default()
        };
        let name = format!("their-{mime_type}-{ssrc}").replace('/', "-");
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "their-stream".to_owned(),
            name.clone(),
            name,
            codec_kind,
            vec![encoding],
        )));
        self.run(
            self.connection
                .add_track(Arc::clone(&track) as Arc<dyn TrackLocal>),
        )
        .unwrap();
        TheirTrack {
            track,
            ssrc,
            payload_type,
        }
    }

    pub fn send_packet(&self, track: &TheirTrack, number: u16, marker: bool, payload: &[u8]) {
        let packet = rtc::rtp::packet::Packet {
            header: rtc::rtp::header::Header {
                version: 2,
                marker,
                payload_type: track.payload_type,
                sequence_number: number,
                timestamp: u32::from(number) * 3000,
                ssrc: track.ssrc,
                ..Default::default()
            },
            payload: Bytes::copy_from_slice(payload),
        };
        self.run(track.track.write_rtp(packet)).unwrap();
    }

    /// The next packet of a kind.
    pub fn packet(&mut self, kind: Kind) -> Packet {
        self.wait_for("a packet", |told| match told {
            Told::Packet(packet) if packet.kind == kind => Some(packet.clone()),
            _ => None,
        })
    }

    /// Asks us for a keyframe of a track we send.
    pub fn ask_for_a_keyframe(&mut self) {
        let track = self.wait_for("a video track", |told| match told {
            Told::Track(Kind::Video, track) => Some(Arc::clone(track)),
            _ => None,
        });
        self.run(async {
            let ssrc = track.ssrcs().await[0];
            let request = PictureLossIndication {
                sender_ssrc: 0,
                media_ssrc: ssrc,
            };
            track.write_rtcp(vec![Box::new(request)]).await.unwrap();
        });
    }

    pub fn create_channel(&mut self, label: &str) -> Arc<dyn DataChannel> {
        let channel = self
            .run(self.connection.create_data_channel(label, None))
            .unwrap();
        self.tokio
            .spawn(listen(Arc::clone(&channel), self.teller.clone()));
        channel
    }

    /// The channel that we made, at their side.
    pub fn channel(&mut self, label: &str) -> Arc<dyn DataChannel> {
        self.wait_for("a channel", |told| match told {
            Told::Channel(name, channel) if name == label => Some(Arc::clone(channel)),
            _ => None,
        })
    }

    pub fn wait_until_open(&mut self, label: &str) {
        self.wait_for("an open channel", |told| {
            matches!(told, Told::Open(name) if name == label).then_some(())
        });
    }

    pub fn wait_until_channel_closed(&mut self, label: &str) {
        self.wait_for("a closed channel", |told| {
            matches!(told, Told::Closed(name) if name == label).then_some(())
        });
    }

    pub fn send_message(&self, channel: &Arc<dyn DataChannel>, kind: DataKind, payload: &[u8]) {
        match kind {
            DataKind::String => {
                let text = std::str::from_utf8(payload).unwrap();
                self.run(channel.send_text(text)).unwrap();
            }
            DataKind::Binary => self.run(channel.send(BytesMut::from(payload))).unwrap(),
        }
    }

    pub fn close_channel(&self, channel: &Arc<dyn DataChannel>) {
        self.run(channel.close()).unwrap();
    }

    /// The next message on a channel.
    pub fn message(&mut self, label: &str) -> (DataKind, Bytes) {
        self.wait_for("a message", |told| match told {
            Told::Message(name, kind, data) if name == label => Some((*kind, data.clone())),
            _ => None,
        })
    }

    pub fn close(&self) {
        self.run(self.connection.close()).unwrap();
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.tokio.block_on(self.connection.close());
    }
}
