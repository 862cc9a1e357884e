//! Ours against `webrtc`'s own `PeerConnection`, an independent negotiation, driver and media
//! path on the same protocol crates: both offer directions, media and data both ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::{Bytes, BytesMut};
use engine::w3c::{ConnectionState, DataKind, Kind, SdpType, SessionDescription};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use support::{Output, PATIENCE, Peer, config, runtime};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionState, Registry, register_default_interceptors,
};

const THEIR_SSRC: u32 = 0x1020_3040;

/// What their side was told.
enum Told {
    Gathered,
    Connected,
    Packet(Bytes),
    Channel(Arc<dyn DataChannel>),
    Open,
    Message { is_string: bool, data: Bytes },
}

struct Handler(Sender<Told>);

impl Handler {
    fn tell(told: &Sender<Told>, what: Told) {
        // The test may have seen enough.
        let _ = told.send(what);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            Self::tell(&self.0, Told::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            Self::tell(&self.0, Told::Connected);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let told = self.0.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    Self::tell(&told, Told::Packet(packet.payload));
                }
            }
        });
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        Self::tell(&self.0, Told::Channel(Arc::clone(&channel)));
        tokio::spawn(listen(channel, self.0.clone()));
    }
}

async fn listen(channel: Arc<dyn DataChannel>, told: Sender<Told>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => Handler::tell(&told, Told::Open),
            DataChannelEvent::OnMessage(message) => Handler::tell(
                &told,
                Told::Message {
                    is_string: message.is_string,
                    data: message.data.freeze(),
                },
            ),
            _ => {}
        }
    }
}

struct Theirs {
    tokio: tokio::runtime::Runtime,
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    told: Receiver<Told>,
    teller: Sender<Told>,
}

impl Theirs {
    /// With a VP8 track to send.
    fn open() -> Self {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let tokio = tokio.unwrap();
        let (teller, told) = channel();
        let handler = Arc::new(Handler(teller.clone()));
        let codec = RTCRtpCodec {
            mime_type: "video/VP8".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: String::new(),
            rtcp_feedback: vec![],
        };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(THEIR_SSRC),
                ..Default::default()
            },
            codec,
            ..Default::default()
        };
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            "their-stream".to_owned(),
            "their-track".to_owned(),
            "their-track".to_owned(),
            RtpCodecKind::Video,
            vec![encoding],
        )));
        let connection = tokio.block_on(async {
            let mut media = MediaEngine::default();
            media.register_default_codecs().unwrap();
            let registry = register_default_interceptors(Registry::new(), &mut media).unwrap();
            let connection: Arc<dyn PeerConnection> = Arc::new(
                PeerConnectionBuilder::new()
                    .with_media_engine(media)
                    .with_interceptor_registry(registry)
                    .with_handler(handler)
                    .with_runtime(webrtc::runtime::default_runtime().unwrap())
                    .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
                    .build()
                    .await
                    .unwrap(),
            );
            connection
                .add_track(Arc::clone(&track) as Arc<dyn TrackLocal>)
                .await
                .unwrap();
            connection
        });
        Self {
            tokio,
            connection,
            track,
            told,
            teller,
        }
    }

    fn wait_for<T>(&self, what: &str, pick: impl Fn(Told) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(told) => {
                    if let Some(found) = pick(told) {
                        return found;
                    }
                }
                Err(error) => panic!("{error} waiting for {what}"),
            }
        }
    }

    fn create_channel(&self, label: &str) -> Arc<dyn DataChannel> {
        self.tokio.block_on(async {
            let channel = self
                .connection
                .create_data_channel(label, None)
                .await
                .unwrap();
            tokio::spawn(listen(Arc::clone(&channel), self.teller.clone()));
            channel
        })
    }

    fn gathered(&self) -> String {
        self.wait_for("the end of gathering", |told| {
            matches!(told, Told::Gathered).then_some(())
        });
        self.tokio
            .block_on(self.connection.local_description())
            .unwrap()
            .sdp
    }

    fn offer(&self) -> SessionDescription {
        self.tokio.block_on(async {
            let offer = self.connection.create_offer(None).await.unwrap();
            self.connection.set_local_description(offer).await.unwrap();
        });
        SessionDescription {
            sdp_type: SdpType::Offer,
            sdp: self.gathered(),
        }
    }

    fn answer(&self, offer: SessionDescription) -> SessionDescription {
        self.tokio.block_on(async {
            let offer = RTCSessionDescription::offer(offer.sdp).unwrap();
            self.connection.set_remote_description(offer).await.unwrap();
            let answer = self.connection.create_answer(None).await.unwrap();
            self.connection.set_local_description(answer).await.unwrap();
        });
        SessionDescription {
            sdp_type: SdpType::Answer,
            sdp: self.gathered(),
        }
    }

    fn accept(&self, answer: SessionDescription) {
        let answer = RTCSessionDescription::answer(answer.sdp).unwrap();
        self.tokio
            .block_on(self.connection.set_remote_description(answer))
            .unwrap();
    }

    fn wait_until_connected(&self) {
        self.wait_for("connected", |told| {
            matches!(told, Told::Connected).then_some(())
        });
    }

    fn send_packet(&self, number: u16, payload: &'static [u8]) {
        let packet = rtc::rtp::packet::Packet {
            header: rtc::rtp::header::Header {
                version: 2,
                payload_type: 96,
                sequence_number: number,
                timestamp: u32::from(number) * 3000,
                ssrc: THEIR_SSRC,
                ..Default::default()
            },
            payload: Bytes::from_static(payload),
        };
        self.tokio.block_on(self.track.write_rtp(packet)).unwrap();
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.tokio.block_on(self.connection.close());
    }
}

/// Media starts when it starts: both send until both have received.
fn exchange_media(ours: &mut Peer, theirs: &Theirs, our_track: engine::ids::TrackId) {
    const FROM_THEM: &[u8] = &[0x10, 0, 0, 0x9d, 1, 0x2a, 7];
    const FROM_US: &[u8] = &[0x10, 0, 0, 0x9d, 1, 0x2a, 9];
    let remote = ours.remote_track();
    assert_eq!(remote.kind, Kind::Video);
    let (mut at_ours, mut at_theirs) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0;
    while at_ours < 10 || at_theirs < 10 {
        assert!(
            Instant::now() < deadline,
            "we got {at_ours}, they got {at_theirs}"
        );
        number += 1;
        theirs.send_packet(number, FROM_THEM);
        ours.send_packet(our_track, 96, number, FROM_US);
        std::thread::sleep(Duration::from_millis(2));
        for output in ours.drain() {
            if let Output::Rtp { track, payload, .. } = output {
                assert_eq!((track, payload.as_slice()), (remote.id, FROM_THEM));
                at_ours += 1;
            }
        }
        for told in theirs.told.try_iter() {
            if let Told::Packet(payload) = told {
                assert_eq!(payload.as_ref(), FROM_US);
                at_theirs += 1;
            }
        }
    }
}

#[test]
fn they_offer_and_media_and_data_go_both_ways() {
    let runtime = runtime(1);
    let mut ours = Peer::open(&runtime, config());
    let theirs = Theirs::open();
    let their_channel = theirs.create_channel("from them");

    let offer = theirs.offer();
    let our_track = ours.add_track(Kind::Video, 5);
    let answer = ours.answer(offer);
    theirs.accept(answer);
    ours.wait_for_state(ConnectionState::Connected);
    theirs.wait_until_connected();

    let our_end = ours.remote_channel();
    assert_eq!(our_end.label, "from them");
    theirs.wait_for("an open channel", |told| {
        matches!(told, Told::Open).then_some(())
    });
    theirs
        .tokio
        .block_on(their_channel.send_text("hello"))
        .unwrap();
    assert_eq!(ours.message(), (DataKind::String, "hello".into()));
    ours.send_message(&our_end, DataKind::Binary, &[7; 50_000]);
    let (is_string, data) = theirs.wait_for("a message", |told| match told {
        Told::Message { is_string, data } => Some((is_string, data)),
        _ => None,
    });
    assert_eq!((is_string, data.as_ref()), (false, [7; 50_000].as_slice()));

    exchange_media(&mut ours, &theirs, our_track);
}

#[test]
fn we_offer_and_media_and_data_go_both_ways() {
    let runtime = runtime(1);
    let mut ours = Peer::open(&runtime, config());
    let theirs = Theirs::open();
    let our_track = ours.add_track(Kind::Video, 5);
    let our_channel = ours.create_channel("from us");

    let offer = ours.offer();
    let answer = theirs.answer(offer);
    ours.accept(answer);
    ours.wait_for_state(ConnectionState::Connected);
    theirs.wait_until_connected();

    ours.wait_until_open(&our_channel);
    let their_end = theirs.wait_for("a channel", |told| match told {
        Told::Channel(channel) => Some(channel),
        _ => None,
    });
    ours.send_message(&our_channel, DataKind::String, b"hello");
    let (is_string, data) = theirs.wait_for("a message", |told| match told {
        Told::Message { is_string, data } => Some((is_string, data)),
        _ => None,
    });
    assert_eq!((is_string, data.as_ref()), (true, b"hello".as_slice()));
    let binary = BytesMut::from([7; 50_000].as_slice());
    theirs.tokio.block_on(their_end.send(binary)).unwrap();
    assert_eq!(ours.message(), (DataKind::Binary, vec![7; 50_000].into()));

    exchange_media(&mut ours, &theirs, our_track);
}
