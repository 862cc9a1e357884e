//! What negotiation decides and the other rooms carry out.
//!
//! A plan is the *whole* wanted state, not a difference: after every description that was applied
//! the rooms are handed a fresh plan and reconcile with it, so a rollback or an m-line that was
//! recycled needs no code of its own outside negotiation.

use crate::ids::{Mid, ReceiverId, Rid, SenderId, TrackId, TransceiverId};
use crate::w3c::{Codec, DtlsRole, IceRole, Kind};
use std::collections::BTreeMap;

/// One side's ICE user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`
    pub pwd: String,
}

/// A certificate fingerprint (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash function, lower case, for example `sha-256`.
    pub algorithm: String,
    /// The hash as upper-case hex pairs with colons.
    pub value: String,
}

/// ICE and DTLS of the one bundled transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportPlan {
    /// Who we are to ICE: the offerer of the first exchange controls, unless the peer is lite.
    pub ice_role: IceRole,
    /// Our credentials in force (from the local description, pending before current). New ones
    /// mean a restart: gather again, check again, keep the old pair until a new one is chosen.
    pub local: IceCredentials,
    /// The peer's credentials, once a remote description with a transport is set.
    pub remote: Option<IceCredentials>,
    /// The peer answers checks only.
    pub remote_ice_lite: bool,
    /// Certificates the peer may present: any one must match. Empty until known.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// Our end of DTLS, once an answer has settled it. DTLS starts when this is set.
    pub dtls_role: Option<DtlsRole>,
}

/// Everything the media path routes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlan {
    /// The m-lines that carry media, in m-line order; rejected and stopped ones are left out.
    pub sections: Vec<MediaSection>,
}

/// One m-line with media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSection {
    /// Its `a=mid`.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// The transceiver it is associated with.
    pub transceiver: TransceiverId,
    /// Negotiated header extensions: id on the wire (1 to 255) to URI.
    pub extensions: BTreeMap<u8, String>,
    /// Both sides take RTCP feedback that stands alone (RFC 5506).
    pub reduced_size_rtcp: bool,
    /// What may arrive. Receiving is also possible between our offer and its answer (early media).
    pub receive: Option<ReceivePlan>,
    /// What we may send; present only while the negotiated direction lets us.
    pub send: Option<SendPlan>,
}

/// The receiving half of an m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivePlan {
    /// The receiver it belongs to.
    pub receiver: ReceiverId,
    /// The track that packets are delivered on.
    pub track: TrackId,
    /// Codecs by payload type, RTX left out.
    pub codecs: Vec<Codec>,
    /// RTX payload type to the payload type it repairs (`apt`).
    pub rtx: BTreeMap<u8, u8>,
    /// SSRCs that the peer's SDP declares, each with its RTX SSRC (`a=ssrc-group:FID`).
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// Simulcast layers the peer may send, in order; empty without simulcast.
    pub rids: Vec<Rid>,
}

/// The sending half of an m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendPlan {
    /// The sender it belongs to.
    pub sender: SenderId,
    /// The track whose packets go out here; `None` after `replace_track(nil)`.
    pub track: Option<TrackId>,
    /// The codec in use: the first negotiated one, or what `set_sender_codec` chose.
    pub codec: Codec,
    /// Every negotiated codec, RTX left out; packets may name another one's payload type.
    pub codecs: Vec<Codec>,
    /// RTX payload type to the payload type it repairs (`apt`), of those in `codecs`.
    pub rtx: BTreeMap<u8, u8>,
    /// One entry without simulcast, else one a layer.
    pub encodings: Vec<EncodingPlan>,
    /// `CNAME` for SDES (RFC 8834 section 4.9).
    pub cname: String,
}

impl SendPlan {
    /// The payload type of RTX for a codec's payload type.
    pub fn rtx_of(&self, payload_type: u8) -> Option<u8> {
        let mut repairs = self.rtx.iter();
        let found = repairs.find(|(_, apt)| **apt == payload_type);
        found.map(|(rtx, _)| *rtx)
    }
}

/// One RTP stream that we send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodingPlan {
    /// The layer's name; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Its SSRC.
    pub ssrc: u32,
    /// The SSRC of its RTX stream, if RTX is negotiated.
    pub rtx_ssrc: Option<u32>,
    /// Whether the application wants it sent (`set_sender_parameters/3`).
    pub active: bool,
}

/// The data channel m-line, once both sides have agreed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPlan {
    /// Our `a=sctp-port`.
    pub local_port: u16,
    /// The peer's `a=sctp-port`.
    pub remote_port: u16,
    /// The largest message the peer takes, in bytes; 0 in SDP means no limit, here `None`.
    pub remote_max_message_size: Option<u64>,
}
