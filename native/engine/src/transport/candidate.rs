//! `candidate-attribute` text and addresses (RFC 8839 section 5.1), foundations and priorities
//! (RFC 8445 section 5.1).

use super::{LocalCandidate, LocalCandidateKind};
use crate::error::Error;
use crate::w3c::{IceProtocol, TcpType};
use std::net::{IpAddr, SocketAddr};

/// The longest attribute that is read at all. RFC 8839 sets no limit; real ones stay below 300.
const MAX_ATTRIBUTE: usize = 1_024;

/// RFC 8839 section 5.1: `foundation = 1*32ice-char`.
const MAX_FOUNDATION: usize = 32;

/// Host, reflexive or relayed (RFC 8445 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CandidateKind {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relay,
}

impl CandidateKind {
    /// The `typ` value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
        }
    }

    /// RFC 8445 section 5.1.2.2. Those of TCP candidates are lower by so much that every direct
    /// UDP candidate comes before every TCP one and those before the relayed ones, as RFC 6544
    /// section 4.2 recommends for RTP.
    const fn type_preference(self, protocol: IceProtocol) -> u32 {
        match (self, protocol) {
            (Self::Host, IceProtocol::Udp) => 126,
            (Self::PeerReflexive, IceProtocol::Udp) => 110,
            (Self::ServerReflexive, IceProtocol::Udp) => 100,
            (Self::Host, IceProtocol::Tcp) => 90,
            (Self::PeerReflexive, IceProtocol::Tcp) => 85,
            (Self::ServerReflexive, IceProtocol::Tcp) => 80,
            (Self::Relay, _) => 0,
        }
    }

    /// How good it is to connect, or to be connected to (RFC 6544 section 4.2).
    const fn direction_preference(self, tcp_type: TcpType) -> u32 {
        match (self, tcp_type) {
            (Self::Host | Self::Relay, TcpType::Active) => 6,
            (Self::Host | Self::Relay, TcpType::Passive) => 4,
            (Self::Host | Self::Relay, TcpType::So) => 2,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::So) => 6,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::Active) => 4,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::Passive) => 2,
        }
    }
}

impl From<LocalCandidateKind> for CandidateKind {
    fn from(kind: LocalCandidateKind) -> Self {
        match kind {
            LocalCandidateKind::Host => Self::Host,
            LocalCandidateKind::ServerReflexive => Self::ServerReflexive,
            LocalCandidateKind::Relay(_) => Self::Relay,
        }
    }
}

/// Where a remote candidate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// A `.local` name, lower case (RFC 8828 section 5.2 mode, mDNS ICE candidates).
    Name(String),
}

/// How a remote candidate is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp(TcpType),
    /// Understood and not used (RFC 8839 section 5.1: unknown transports are ignored), or of an
    /// address that nothing can be sent to.
    Other,
}

impl Transport {
    pub(super) const fn protocol(self) -> Option<IceProtocol> {
        match self {
            Self::Udp => Some(IceProtocol::Udp),
            Self::Tcp(_) => Some(IceProtocol::Tcp),
            Self::Other => None,
        }
    }

    pub(super) const fn tcp_type(self) -> Option<TcpType> {
        match self {
            Self::Tcp(tcp_type) => Some(tcp_type),
            Self::Udp | Self::Other => None,
        }
    }
}

/// A peer's candidate, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteCandidate {
    pub foundation: String,
    pub component: u16,
    pub transport: Transport,
    pub priority: u32,
    pub host: Host,
    pub port: u16,
    pub kind: CandidateKind,
    pub related: Option<(String, u16)>,
    /// The `ufrag` extension that browsers append.
    pub ufrag: Option<String>,
}

/// The component of a `candidate-attribute`; `None` for text that is none.
pub(crate) fn component(text: &str) -> Option<u16> {
    parse_or_none(text).map(|candidate| candidate.component)
}

/// Reads a `candidate-attribute`, with or without `a=`, with or without `candidate:`.
pub(super) fn parse(text: &str) -> Result<RemoteCandidate, Error> {
    parse_or_none(text).ok_or(Error::InvalidCandidate)
}

fn parse_or_none(text: &str) -> Option<RemoteCandidate> {
    if text.len() > MAX_ATTRIBUTE {
        return None;
    }
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    let text = text.strip_prefix("candidate:").unwrap_or(text);
    let mut words = text.split_ascii_whitespace();

    let foundation = words.next()?;
    if foundation.len() > MAX_FOUNDATION || !foundation.bytes().all(is_ice_char) {
        return None;
    }
    let component: u16 = words
        .next()?
        .parse()
        .ok()
        .filter(|id| (1..=256).contains(id))?;
    let transport = words.next()?;
    let udp = transport.eq_ignore_ascii_case("udp");
    if !udp
        && !transport
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return None;
    }
    // RFC 8445 section 5.1.2: 1 to 2^31 - 1; browsers' 32-bit values are taken too.
    let priority: u32 = words
        .next()?
        .parse()
        .ok()
        .filter(|priority| *priority > 0)?;
    let address = words.next()?;
    let host = parse_host(address);
    let port: u16 = words.next()?.parse().ok()?;
    if words.next()? != "typ" {
        return None;
    }
    let kind = match words.next()? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::ServerReflexive,
        "prflx" => CandidateKind::PeerReflexive,
        "relay" => CandidateKind::Relay,
        _ => return None,
    };
    let (mut related_address, mut related_port, mut ufrag) = (None, None, None);
    let mut tcp_type = None;
    while let Some(name) = words.next() {
        let value = words.next()?;
        match name {
            "raddr" => related_address = Some(value.to_owned()),
            "rport" => related_port = Some(value.parse::<u16>().ok()?),
            "ufrag" => ufrag = Some(value.to_owned()),
            "tcptype" => tcp_type = TcpType::ALL.iter().find(|known| known.as_str() == value),
            // RFC 8839 section 5.1: unknown extensions are ignored.
            _ => {}
        }
    }
    // RFC 6544 section 4.5: a TCP candidate says who connects.
    let transport = match tcp_type {
        _ if udp => Transport::Udp,
        Some(tcp_type) if transport.eq_ignore_ascii_case("tcp") => Transport::Tcp(*tcp_type),
        _ => Transport::Other,
    };
    let connects = matches!(transport, Transport::Tcp(TcpType::Active));
    // In SDP any word may be an address (RFC 8866 section 9, `extn-addr`). Names other than `.local`
    // ones are looked up by nobody: a peer would choose what our resolver asks for.
    let usable = host.is_some() && (port != 0 || connects);
    let transport = if usable { transport } else { Transport::Other };
    let host = host.unwrap_or_else(|| Host::Name(address.to_owned()));
    Some(RemoteCandidate {
        foundation: foundation.to_owned(),
        component,
        transport,
        priority,
        host,
        port,
        kind,
        related: related_address.zip(related_port),
        ufrag,
    })
}

fn parse_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Host::Address(address));
    }
    let name = text.to_ascii_lowercase();
    let label = name.strip_suffix(".local")?;
    let sound = (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    sound.then_some(Host::Name(name))
}

/// RFC 8839 section 5.1: `ice-char = ALPHA / DIGIT / "+" / "/"`. Some implementations send others
/// that are harmless (`-`, `_`, `=`), and the value is only compared.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// Whether datagrams can be sent there at all.
pub(super) fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// RFC 8445 section 5.1.2.1 for component 1. `interface` counts the local addresses in the order
/// they were found, so that no two candidates of one type share a priority.
pub(super) fn priority(kind: CandidateKind, tcp_type: Option<TcpType>, interface: usize) -> u32 {
    let below = |most: u32| most - u32::try_from(interface).unwrap_or(most).min(most);
    let (protocol, local_preference) = match tcp_type {
        None => (IceProtocol::Udp, below(65_535)),
        // RFC 6544 section 4.2.
        Some(tcp_type) => (
            IceProtocol::Tcp,
            (kind.direction_preference(tcp_type) << 13) + below(8_191),
        ),
    };
    (kind.type_preference(protocol) << 24) + (local_preference << 8) + 255
}

/// The same for candidates of one type, base address, protocol and server; different otherwise
/// (RFC 8445 section 5.1.1.3). A hash (FNV-1a), so that it tells nothing and needs no table.
pub(super) fn foundation(candidate: &LocalCandidate) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    mix(CandidateKind::from(candidate.kind).as_str().as_bytes());
    match candidate.base.ip() {
        IpAddr::V4(v4) => mix(&v4.octets()),
        IpAddr::V6(v6) => mix(&v6.octets()),
    }
    mix(candidate.url.as_deref().unwrap_or_default().as_bytes());
    if candidate.tcp_type.is_some() {
        mix(IceProtocol::Tcp.as_str().as_bytes());
    }
    hash.to_string()
}

/// Writes the attribute of a local candidate.
pub(super) fn format(candidate: &LocalCandidate, foundation: &str, priority: u32) -> String {
    let kind = CandidateKind::from(candidate.kind);
    let mut text = format!(
        "candidate:{foundation} 1 {} {priority} {} {} typ {}",
        candidate.protocol().as_str(),
        candidate.address.ip(),
        candidate.address.port(),
        kind.as_str(),
    );
    if kind != CandidateKind::Host {
        let related = related(candidate);
        text.push_str(&format!(" raddr {} rport {}", related.ip(), related.port()));
    }
    if let Some(tcp_type) = candidate.tcp_type {
        text.push_str(" tcptype ");
        text.push_str(tcp_type.as_str());
    }
    text
}

/// `raddr` and `rport`: the base for a reflexive candidate. For a relayed one it would be the
/// mapped address, which says where we are to a peer that is to know the relay only, so the
/// unspecified address is given (RFC 8839 section 5.1 allows it for privacy).
pub(super) fn related(candidate: &LocalCandidate) -> SocketAddr {
    match candidate.kind {
        LocalCandidateKind::Relay(_) => SocketAddr::new(
            if candidate.address.is_ipv4() {
                IpAddr::from([0, 0, 0, 0])
            } else {
                IpAddr::from([0_u16; 8])
            },
            0,
        ),
        LocalCandidateKind::Host | LocalCandidateKind::ServerReflexive => candidate.base,
    }
}

#[cfg(test)]
mod tests;
