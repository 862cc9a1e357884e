//! The W3C vocabulary: the states and small types that every room of the engine speaks of.
//!
//! Types that carry behaviour come from the `webrtc` crate; the states are our own enums, because
//! the crate's have an `Unspecified` member that a parsed value can never be.

pub use webrtc::peer_connection::{
    RTCIceCandidateInit as IceCandidateInit, RTCIceServer as IceServer,
    RTCIceTransportPolicy as IceTransportPolicy,
};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant),* }

        impl $name {
            /// The name the control plane uses: the W3C term in snake_case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Every member, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    )*};
}

states! {
    /// `RTCSignalingState`.
    SignalingState {
        Stable = "stable", HaveLocalOffer = "have_local_offer", HaveRemoteOffer = "have_remote_offer",
        HaveLocalPranswer = "have_local_pranswer", HaveRemotePranswer = "have_remote_pranswer", Closed = "closed",
    }
    /// `RTCPeerConnectionState`.
    ConnectionState {
        New = "new", Connecting = "connecting", Connected = "connected",
        Disconnected = "disconnected", Failed = "failed", Closed = "closed",
    }
    /// `RTCIceConnectionState`.
    IceConnectionState {
        New = "new", Checking = "checking", Connected = "connected", Completed = "completed",
        Disconnected = "disconnected", Failed = "failed", Closed = "closed",
    }
    /// `RTCIceGatheringState`.
    IceGatheringState { New = "new", Gathering = "gathering", Complete = "complete" }
    /// `RTCDtlsTransportState`.
    DtlsState {
        New = "new", Connecting = "connecting", Connected = "connected", Closed = "closed", Failed = "failed",
    }
    /// `RTCDataChannelState`.
    ChannelState { Connecting = "connecting", Open = "open", Closing = "closing", Closed = "closed" }
    /// `RTCSdpType`.
    SdpType { Offer = "offer", Answer = "answer", Pranswer = "pranswer", Rollback = "rollback" }
    /// `MediaStreamTrack.kind`.
    Kind { Audio = "audio", Video = "video" }
    /// `RTCRtpTransceiverDirection` without `stopped`, which is a flag of its own.
    Direction { Sendrecv = "sendrecv", Sendonly = "sendonly", Recvonly = "recvonly", Inactive = "inactive" }
    /// The end of the DTLS association that we are.
    DtlsRole { Client = "client", Server = "server" }
    /// The ICE agent's role (RFC 8445 section 6.1.1).
    IceRole { Controlling = "controlling", Controlled = "controlled" }
    /// `RTCIceProtocol`.
    IceProtocol { Udp = "udp", Tcp = "tcp" }
    /// `RTCIceTcpCandidateType`: who connects (RFC 6544 section 4.1).
    TcpType { Active = "active", Passive = "passive", So = "so" }
    /// `RTCIceServerTransportProtocol`: how we reach a TURN server.
    RelayProtocol { Udp = "udp", Tcp = "tcp", Tls = "tls" }
    /// Which PPID a data channel message carries (RFC 8831 section 8).
    DataKind { String = "string", Binary = "binary" }
    /// How strictly `set_remote_description` reads SDP (contract section 4).
    SdpValidation { W3c = "w3c", Strict = "strict" }
}

impl Direction {
    /// Whether we send in this direction.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Sendrecv | Self::Sendonly)
    }

    /// Whether we receive in this direction.
    pub const fn receives(self) -> bool {
        matches!(self, Self::Sendrecv | Self::Recvonly)
    }

    /// The direction with these two halves.
    pub const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::Sendrecv,
            (true, false) => Self::Sendonly,
            (false, true) => Self::Recvonly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same direction seen from the other peer.
    pub const fn reversed(self) -> Self {
        Self::of(self.receives(), self.sends())
    }

    /// What both directions allow.
    pub const fn and(self, other: Self) -> Self {
        Self::of(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }
}

/// A session description as the control plane passes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// Offer, answer, pranswer or rollback.
    pub sdp_type: SdpType,
    /// The SDP text; empty for a rollback.
    pub sdp: String,
}

/// One codec of an m-line: `ExWebRTC.RTPCodecParameters`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Codec {
    /// The RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// For example `video/VP8`; compared without case.
    pub mime_type: String,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels; `None` for video, and for audio where SDP leaves it out.
    pub channels: Option<u16>,
    /// The value of `a=fmtp` behind the payload type.
    pub fmtp: Option<String>,
    /// The values of `a=rtcp-fb` behind the payload type, for example `nack pli`.
    pub feedback: Vec<String>,
}

/// A track as the control plane sees it: `ExWebRTC.MediaStreamTrack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Unique in this connection.
    pub id: crate::ids::TrackId,
    /// Audio or video.
    pub kind: Kind,
    /// Ids of the streams it belongs to (`a=msid`).
    pub streams: Vec<String>,
    /// The simulcast layers a remote track arrives in, in SDP order; `None` without simulcast.
    pub rids: Option<Vec<crate::ids::Rid>>,
}
