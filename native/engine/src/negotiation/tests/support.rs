//! Configurations, tracks and exchanges that the tests share.

use crate::command::RtpEncoding;
use crate::config::{Config, Features, Feedback, HeaderExtension};
use crate::ids::{Rid, TrackId};
use crate::negotiation::{Change, Negotiation};
use crate::plan::Fingerprint;
use crate::w3c::{Codec, Kind, SdpType, SessionDescription, Track};

pub const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub const RID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

pub fn codec(payload_type: u8, mime: &str, clock_rate: u32, channels: Option<u16>) -> Codec {
    Codec {
        payload_type,
        mime_type: mime.to_owned(),
        clock_rate,
        channels,
        fmtp: None,
        feedback: Vec::new(),
    }
}

pub fn with_fmtp(codec: Codec, fmtp: &str) -> Codec {
    Codec {
        fmtp: Some(fmtp.to_owned()),
        ..codec
    }
}

/// The defaults of `ExWebRTC.PeerConnection.Configuration`.
pub fn config() -> Config {
    let h264 = |pt, mode| {
        with_fmtp(
            codec(pt, "video/H264", 90_000, None),
            &format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id=42e01f"),
        )
    };
    Config {
        audio_codecs: vec![codec(111, "audio/opus", 48_000, Some(2))],
        video_codecs: vec![
            codec(96, "video/VP8", 90_000, None),
            h264(98, 0),
            h264(99, 1),
            with_fmtp(
                codec(45, "video/AV1", 90_000, None),
                "level-idx=5;profile=0;tier=0",
            ),
        ],
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

pub fn fingerprint(byte: &str) -> Fingerprint {
    Fingerprint {
        algorithm: "sha-256".to_owned(),
        value: vec![byte; 32].join(":"),
    }
}

pub fn peer() -> Negotiation {
    with(config())
}

pub fn with(config: Config) -> Negotiation {
    Negotiation::new(&config, fingerprint("AB"))
}

pub fn track(id: u64, kind: Kind) -> Track {
    Track {
        id: TrackId(id),
        kind,
        streams: vec![format!("stream-{id}")],
        rids: None,
    }
}

pub fn description(sdp_type: SdpType, sdp: &str) -> SessionDescription {
    SessionDescription {
        sdp_type,
        sdp: sdp.to_owned(),
    }
}

/// `sendEncodings` with these rids.
pub fn layers(rids: &[&str]) -> Vec<RtpEncoding> {
    let named = |rid: &&str| RtpEncoding {
        rid: Some(Rid::from(*rid)),
        ..RtpEncoding::default()
    };
    rids.iter().map(named).collect()
}

/// What both sides were told by a whole exchange.
pub struct Told {
    pub offerer: Vec<Change>,
    pub answerer: Vec<Change>,
}

/// A whole offer/answer exchange.
pub fn exchange(offerer: &mut Negotiation, answerer: &mut Negotiation) -> Told {
    let offer = offerer.create_offer(false).unwrap();
    finish(offerer, answerer, offer)
}

/// The rest of an exchange, from an offer that was created.
pub fn finish(
    offerer: &mut Negotiation,
    answerer: &mut Negotiation,
    offer: SessionDescription,
) -> Told {
    let mut told = Told {
        offerer: offerer.set_local(Some(offer.clone())).unwrap(),
        answerer: Vec::new(),
    };
    told.answerer = answerer.set_remote(offer).unwrap();
    let answer = answerer.create_answer().unwrap();
    told.answerer
        .extend(answerer.set_local(Some(answer.clone())).unwrap());
    told.offerer.extend(offerer.set_remote(answer).unwrap());
    told
}

/// The lines of a description that start with `prefix`.
pub fn lines<'a>(sdp: &'a str, prefix: &str) -> Vec<&'a str> {
    sdp.lines()
        .filter(|line| line.starts_with(prefix))
        .collect()
}

/// A change of signaling state.
pub fn signaling(state: crate::w3c::SignalingState) -> Change {
    Change::SignalingState(state)
}

/// The ids of the tracks announced.
pub fn announced(changes: &[Change]) -> Vec<TrackId> {
    let id = |change: &Change| match change {
        Change::Track(track) => Some(track.id),
        _ => None,
    };
    changes.iter().filter_map(id).collect()
}
