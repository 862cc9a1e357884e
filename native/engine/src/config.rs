//! What a connection is configured with. Names, defaults and checks live in
//! `ExWebRTC.PeerConnection.Configuration`; this is their parsed form.

use crate::w3c::{Codec, DtlsRole, IceServer, IceTransportPolicy, Kind, SdpValidation};
use std::net::IpAddr;

/// Everything that `ExWebRTC.PeerConnection.start_link/2` was given and the native side uses.
#[derive(Clone, Debug)]
pub struct Config {
    /// STUN and TURN servers to gather candidates from.
    pub ice_servers: Vec<IceServer>,
    /// Authorities that TURN servers over TLS must be certified by, as PEM; `None` for the
    /// system's.
    pub ice_tls_ca_pem: Option<String>,
    /// `relay` gathers and uses relayed candidates only.
    pub ice_transport_policy: IceTransportPolicy,
    /// The host addresses that passed `ice_ip_filter`, with what `host_to_srflx_ip_mapper` said
    /// of each; `None` where neither option is set: every usable interface is taken.
    pub host_addresses: Option<Vec<(IpAddr, Option<IpAddr>)>>,
    /// Local ports to choose from, for UDP and TCP; empty for any.
    pub ice_ports: Vec<u16>,
    /// Nominate with the first check (RFC 5245 aggressive nomination).
    pub ice_aggressive_nomination: bool,
    /// Which TCP candidates are gathered and used (RFC 6544).
    pub ice_tcp: IceTcp,
    /// Answer checks only (RFC 8445 section 2.5).
    pub ice_lite: bool,
    /// Audio codecs in order of preference, without RTX.
    pub audio_codecs: Vec<Codec>,
    /// Video codecs in order of preference, without RTX.
    pub video_codecs: Vec<Codec>,
    /// RTP header extensions to offer and accept.
    pub header_extensions: Vec<HeaderExtension>,
    /// RTCP feedback added to every codec of a kind (`None`: both kinds).
    pub rtcp_feedbacks: Vec<(Option<Kind>, Feedback)>,
    /// Which parts of the media path are on.
    pub features: Features,
    /// The DTLS role to take where the choice is ours.
    pub dtls_role: Option<DtlsRole>,
    /// SRTP protection profiles to offer and accept, best first; never empty.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// How strictly remote SDP is read.
    pub sdp_validation: SdpValidation,
    /// The largest data channel message we take, in bytes.
    pub sctp_max_message_size: u32,
    /// Bytes that may wait in one channel before `send_data/4` answers `buffer_full`.
    pub data_buffer_limit: u64,
    /// Deliver RTP packets to the control plane (`rtp_delivery` is not `none`).
    pub deliver_rtp: bool,
    /// Tell the control plane what the path to the peer carries; paces and probes for it.
    pub bandwidth_estimate: bool,
    /// A DTLS certificate and its key as PEM; `None` makes a fresh ECDSA P-256 one.
    pub certificate_pem: Option<String>,
}

impl Config {
    /// No codec, no server, no option: what tests and measurements begin with. Users get what
    /// `Configuration` says.
    pub fn bare() -> Self {
        Self {
            ice_servers: Vec::new(),
            ice_tls_ca_pem: None,
            ice_transport_policy: IceTransportPolicy::All,
            host_addresses: None,
            ice_ports: Vec::new(),
            ice_aggressive_nomination: false,
            ice_tcp: IceTcp::default(),
            ice_lite: false,
            audio_codecs: Vec::new(),
            video_codecs: Vec::new(),
            header_extensions: Vec::new(),
            rtcp_feedbacks: Vec::new(),
            features: Features::NONE,
            dtls_role: None,
            srtp_profiles: SrtpProfile::ALL.to_vec(),
            sdp_validation: SdpValidation::W3c,
            sctp_max_message_size: 256 << 10,
            data_buffer_limit: 64 << 20,
            deliver_rtp: false,
            bandwidth_estimate: false,
            certificate_pem: None,
        }
    }
}

/// `ice_tcp` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceTcp {
    /// Connect to the peer's passive candidates.
    pub active: bool,
    /// Listen, and let the peer connect.
    pub passive: bool,
}

/// One header extension of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderExtension {
    /// The kind of m-line it belongs to; `None` for both.
    pub kind: Option<Kind>,
    /// Its URI (RFC 8285 section 5).
    pub uri: String,
}

/// `rtcp_feedbacks` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feedback {
    /// `nack`
    Nack,
    /// `ccm fir`
    Fir,
    /// `nack pli`
    Pli,
    /// `transport-cc`
    Twcc,
}

/// `features` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Transport-wide congestion control feedback for what we receive.
    pub twcc: bool,
    /// NACK what is missing and take repairs over RTX.
    pub inbound_rtx: bool,
    /// Answer NACKs, over RTX where negotiated.
    pub outbound_rtx: bool,
    /// Sender and receiver reports.
    pub rtcp_reports: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Self = Self {
        twcc: true,
        inbound_rtx: true,
        outbound_rtx: true,
        rtcp_reports: true,
    };

    /// None of them.
    pub const NONE: Self = Self {
        twcc: false,
        inbound_rtx: false,
        outbound_rtx: false,
        rtcp_reports: false,
    };
}

/// A protection profile of DTLS-SRTP (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// `SRTP_AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`
    Aes128CmHmacSha1_80,
}

impl SrtpProfile {
    /// Both, the faster first: AES-GCM costs about half of AES-CM with HMAC-SHA1 a packet.
    pub const ALL: &'static [Self] = &[Self::AeadAes128Gcm, Self::Aes128CmHmacSha1_80];

    /// The name in the IANA registry, as statistics give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }
}
