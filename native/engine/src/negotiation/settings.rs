//! The configuration as negotiation uses it: every codec with its feedback, every extension.
//!
//! How `features` become SDP:
//!
//! | feature | codecs | extensions | payload types |
//! |---|---|---|---|
//! | `twcc` | `transport-cc` on every codec | transport-wide-cc on every m-line | – |
//! | `inbound_rtx`, `outbound_rtx` (either) | `nack` on video codecs | repaired-rid on video | one `video/rtx` for each video codec |
//! | `rtcp_reports` | – | – | – |
//!
//! SDP has one list of payload types and feedback for both directions, so either half of RTX puts
//! all of it in; the plans then leave out the half that is off.

use super::codecs;
use super::extensions::{REPAIRED_RID_URI, TRANSPORT_CC_URI};
use crate::config::{Config, Feedback};
use crate::plan::Fingerprint;
use crate::w3c::{Codec, DtlsRole, Kind, SdpValidation};

/// What does not change in the life of a connection.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    audio: Vec<Codec>,
    video: Vec<Codec>,
    extensions: Vec<(Option<Kind>, String)>,
    /// We take repairs over RTX.
    pub inbound_rtx: bool,
    /// We send repairs over RTX.
    pub outbound_rtx: bool,
    /// Our certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// We are ICE lite.
    pub ice_lite: bool,
    /// The DTLS role to take where the choice is ours.
    pub dtls_role: Option<DtlsRole>,
    /// How strictly remote SDP is read.
    pub validation: SdpValidation,
    /// Our `a=max-message-size`.
    pub max_message_size: u32,
}

impl Settings {
    pub fn new(config: &Config, fingerprint: Fingerprint) -> Self {
        let rtx = config.features.inbound_rtx || config.features.outbound_rtx;
        let mut extensions: Vec<(Option<Kind>, String)> = Vec::new();
        let configured = config
            .header_extensions
            .iter()
            .map(|e| (e.kind, e.uri.clone()));
        let twcc = config
            .features
            .twcc
            .then(|| (None, TRANSPORT_CC_URI.to_owned()));
        let repaired = rtx.then(|| (Some(Kind::Video), REPAIRED_RID_URI.to_owned()));
        for (kind, uri) in configured.chain(twcc).chain(repaired) {
            if !extensions
                .iter()
                .any(|(k, u)| *u == uri && (k.is_none() || *k == kind))
            {
                extensions.push((kind, uri));
            }
        }
        Self {
            audio: with_feedback(Kind::Audio, &config.audio_codecs, config),
            video: with_feedback(Kind::Video, &config.video_codecs, config),
            extensions,
            inbound_rtx: config.features.inbound_rtx,
            outbound_rtx: config.features.outbound_rtx,
            fingerprint,
            ice_lite: config.ice_lite,
            dtls_role: config.dtls_role,
            validation: config.sdp_validation,
            max_message_size: config.sctp_max_message_size,
        }
    }

    /// The codecs of a kind in order of preference, without RTX.
    pub fn codecs(&self, kind: Kind) -> &[Codec] {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }

    /// Whether `video/rtx` is negotiated for the kind.
    pub fn rtx(&self, kind: Kind) -> bool {
        kind == Kind::Video && (self.inbound_rtx || self.outbound_rtx)
    }

    /// The payload types the configuration gives to codecs.
    pub fn configured_payload_types(&self) -> Vec<u8> {
        self.audio
            .iter()
            .chain(&self.video)
            .map(|c| c.payload_type)
            .collect()
    }

    /// The URIs of the header extensions of a kind.
    pub fn extensions(&self, kind: Kind) -> Vec<&str> {
        let mut uris: Vec<&str> = Vec::new();
        for (of, uri) in &self.extensions {
            if (of.is_none() || *of == Some(kind)) && !uris.contains(&uri.as_str()) {
                uris.push(uri);
            }
        }
        uris
    }
}

fn with_feedback(kind: Kind, configured: &[Codec], config: &Config) -> Vec<Codec> {
    let features = &config.features;
    let repair = kind == Kind::Video && (features.inbound_rtx || features.outbound_rtx);
    let mut feedback: Vec<&str> = Vec::new();
    if features.twcc {
        feedback.push(feedback_text(Feedback::Twcc));
    }
    for (of, wanted) in &config.rtcp_feedbacks {
        if of.is_none() || *of == Some(kind) {
            feedback.push(feedback_text(*wanted));
        }
    }
    if repair {
        feedback.push(feedback_text(Feedback::Nack));
    }
    configured
        .iter()
        .filter(|codec| !codecs::is_rtx(codec))
        .map(|codec| {
            let mut codec = codec.clone();
            for text in &feedback {
                if !codec.feedback.iter().any(|known| known == text) {
                    codec.feedback.push((*text).to_owned());
                }
            }
            codec
        })
        .collect()
}

const fn feedback_text(feedback: Feedback) -> &'static str {
    match feedback {
        Feedback::Nack => "nack",
        Feedback::Fir => "ccm fir",
        Feedback::Pli => "nack pli",
        Feedback::Twcc => "transport-cc",
    }
}
