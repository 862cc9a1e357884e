//! The typed view of a session description that the rest of negotiation works on.
//!
//! `parse` reads it from text (`rtc-sdp` splits the lines), `write` prints it. Attributes that
//! negotiation has no use for are not kept; the text of a description is kept beside its view.

use crate::plan::Fingerprint;
use crate::w3c::{Codec, Direction, Kind};
use std::collections::BTreeMap;

/// A whole description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sdp {
    /// `o=`: the session id.
    pub session_id: u64,
    /// `o=`: the version.
    pub version: u64,
    /// `a=group:BUNDLE`, one entry a line.
    pub bundle_groups: Vec<Vec<String>>,
    /// `a=ice-lite`
    pub ice_lite: bool,
    /// `a=ice-options` has `trickle`, on either level.
    pub trickle: bool,
    /// The m-lines.
    pub sections: Vec<Section>,
}

/// What an m-line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `m=audio`, `m=video`
    Rtp(Kind),
    /// `m=application`
    Application,
    /// Anything else; always rejected.
    Other(String),
}

impl Media {
    /// The word in the m-line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Rtp(kind) => kind.as_str(),
            Self::Application => "application",
            Self::Other(name) => name,
        }
    }
}

/// `a=setup` (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// DTLS client.
    Active,
    /// DTLS server.
    Passive,
    /// Either, in offers.
    Actpass,
}

/// `a=extmap` (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    /// The id on the wire.
    pub id: u16,
    /// Seen from the description's author.
    pub direction: Direction,
    /// What it is.
    pub uri: String,
}

/// `a=msid` (RFC 8830).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Msid {
    /// The stream; `-` for none.
    pub stream: String,
    /// The track id ("appdata").
    pub track: Option<String>,
}

/// What `a=ssrc` lines say of one SSRC (RFC 5576).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SsrcAttributes {
    /// `cname:`
    pub cname: Option<String>,
    /// `msid:`
    pub msid: Option<Msid>,
}

/// `a=rid` (RFC 8851).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RidLine {
    /// The identifier.
    pub rid: String,
    /// Whether the description's author sends it.
    pub send: bool,
    /// What follows the direction, as it stands.
    pub restrictions: Option<String>,
}

impl RidLine {
    /// The payload types of `pt=`; `None` where every one is allowed.
    pub fn payload_types(&self) -> Option<Vec<u8>> {
        self.restrictions
            .as_deref()?
            .split(';')
            .find_map(|part| part.trim().strip_prefix("pt="))
            .map(|list| {
                list.split(',')
                    .filter_map(|pt| pt.trim().parse().ok())
                    .collect()
            })
    }
}

/// One alternative in `a=simulcast` (RFC 8853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// The rid it names.
    pub rid: String,
    /// Marked with `~`.
    pub paused: bool,
}

/// The layers of one direction of `a=simulcast`: streams in order, each with its alternatives.
pub(super) type Layers = Vec<Vec<Layer>>;

/// One m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// What it is about.
    pub media: Media,
    /// The port; 0 rejects, unless `bundle_only`.
    pub port: u16,
    /// For example `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The formats as they stand.
    pub formats: Vec<String>,
    /// `a=mid`
    pub mid: Option<String>,
    /// `a=bundle-only`
    pub bundle_only: bool,
    /// Seen from the description's author.
    pub direction: Direction,
    /// `a=ice-ufrag`
    pub ufrag: Option<String>,
    /// `a=ice-pwd`
    pub pwd: Option<String>,
    /// `a=fingerprint`
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`
    pub setup: Option<Setup>,
    /// `a=rtcp-mux`
    pub rtcp_mux: bool,
    /// `a=rtcp-rsize`
    pub rtcp_rsize: bool,
    /// `a=extmap-allow-mixed`, on either level.
    pub allow_mixed: bool,
    /// Codecs in the order of the formats, RTX among them.
    pub codecs: Vec<Codec>,
    /// `a=extmap`
    pub extensions: Vec<Extension>,
    /// `a=msid`
    pub msids: Vec<Msid>,
    /// `a=ssrc`
    pub ssrcs: BTreeMap<u32, SsrcAttributes>,
    /// `a=ssrc-group:FID`: a stream and its RTX stream.
    pub repairs: Vec<(u32, u32)>,
    /// `a=rid`
    pub rids: Vec<RidLine>,
    /// `a=simulcast`: what the author sends.
    pub simulcast_send: Layers,
    /// `a=simulcast`: what the author receives.
    pub simulcast_receive: Layers,
    /// `a=candidate`, each with its `candidate:`.
    pub candidates: Vec<String>,
    /// `a=end-of-candidates`
    pub end_of_candidates: bool,
    /// `a=sctp-port`, or the port of the old `a=sctpmap` form.
    pub sctp_port: Option<u16>,
    /// `a=max-message-size`
    pub max_message_size: Option<u64>,
}

impl Section {
    /// An m-line with nothing in it.
    pub fn empty(media: Media, protocol: &str) -> Self {
        Self {
            media,
            port: 9,
            protocol: protocol.to_owned(),
            formats: Vec::new(),
            mid: None,
            bundle_only: false,
            direction: Direction::Sendrecv,
            ufrag: None,
            pwd: None,
            fingerprints: Vec::new(),
            setup: None,
            rtcp_mux: false,
            rtcp_rsize: false,
            allow_mixed: false,
            codecs: Vec::new(),
            extensions: Vec::new(),
            msids: Vec::new(),
            ssrcs: BTreeMap::new(),
            repairs: Vec::new(),
            rids: Vec::new(),
            simulcast_send: Vec::new(),
            simulcast_receive: Vec::new(),
            candidates: Vec::new(),
            end_of_candidates: false,
            sctp_port: None,
            max_message_size: None,
        }
    }

    /// Whether the m-line is refused: port 0, and not because it rides on another one
    /// (RFC 9143 section 6).
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// The mid; empty where there is none, which a checked description no longer has.
    pub fn mid(&self) -> &str {
        self.mid.as_deref().unwrap_or_default()
    }

    /// The kind of an RTP m-line.
    pub fn kind(&self) -> Option<Kind> {
        match self.media {
            Media::Rtp(kind) => Some(kind),
            _ => None,
        }
    }

    /// The ids of the streams that the author sends here: from `a=msid`, or from `a=ssrc` lines
    /// as endpoints before RFC 8830 wrote them.
    pub fn streams(&self) -> Vec<String> {
        let from_ssrcs = self.ssrcs.values().filter_map(|s| s.msid.as_ref());
        let msids: Vec<&Msid> = if self.msids.is_empty() {
            from_ssrcs.collect()
        } else {
            self.msids.iter().collect()
        };
        let mut streams: Vec<String> = Vec::new();
        for msid in msids {
            if msid.stream != "-" && !streams.contains(&msid.stream) {
                streams.push(msid.stream.clone());
            }
        }
        streams
    }
}

impl Sdp {
    /// The description without what may differ between what was created and what is applied
    /// (RFC 9429 section 5.4 lets nothing else change): candidates arrive meanwhile, and neither
    /// the version nor `a=rtcp-rsize` is a promise about this negotiation.
    pub fn comparable(&self) -> Self {
        let mut sdp = self.clone();
        sdp.version = 0;
        sdp.trickle = false;
        for section in &mut sdp.sections {
            section.candidates.clear();
            section.end_of_candidates = false;
            section.rtcp_rsize = false;
            // The port may name a gathered default candidate.
            if section.port != 0 {
                section.port = 9;
            }
        }
        sdp
    }

    /// The index of the m-line whose transport counts: the first accepted one of the BUNDLE
    /// group (RFC 9143 section 7.2), or the first accepted one where there is no group.
    pub fn tagged(&self) -> Option<usize> {
        let usable = |s: &Section| !s.is_rejected() && !matches!(s.media, Media::Other(_));
        match self.bundle_groups.first() {
            Some(group) => group.iter().find_map(|mid| {
                self.sections
                    .iter()
                    .position(|s| usable(s) && s.mid.as_deref() == Some(mid))
            }),
            None => self.sections.iter().position(usable),
        }
    }

    /// Whether the m-line shares the one transport.
    pub fn is_bundled(&self, index: usize) -> bool {
        let Some(section) = self.sections.get(index) else {
            return false;
        };
        match self.bundle_groups.first() {
            Some(group) => section.mid.as_ref().is_some_and(|mid| group.contains(mid)),
            None => self.tagged() == Some(index),
        }
    }
}
