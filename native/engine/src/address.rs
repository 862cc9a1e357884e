//! Transport addresses: where datagrams come from and go to.
//!
//! A pair of candidates has one protocol, so its local side names it for both. Over TCP a
//! "datagram" is what stands between two length fields (RFC 4571); the driver adds and removes
//! them.

use crate::w3c::IceProtocol;
use std::fmt;
use std::net::SocketAddr;

/// The port of an active TCP candidate, which nobody can send to (RFC 6544 section 4.5): the one
/// that connects gets another port with each connection.
pub const ACTIVE_PORT: u16 = 9;

/// An address of ours: the base of a candidate (RFC 8445 section 4).
///
/// Over TCP it is the listening address, or for connections that we open the address with
/// [`ACTIVE_PORT`]: one base has at most one connection to one address of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportAddress {
    /// How.
    pub protocol: IceProtocol,
    /// Where.
    pub address: SocketAddr,
}

impl TransportAddress {
    /// A socket of datagrams.
    pub const fn udp(address: SocketAddr) -> Self {
        Self {
            protocol: IceProtocol::Udp,
            address,
        }
    }

    /// A TCP socket.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self {
            protocol: IceProtocol::Tcp,
            address,
        }
    }

    /// Whether it is a TCP address.
    pub const fn is_tcp(self) -> bool {
        matches!(self.protocol, IceProtocol::Tcp)
    }
}

/// An address that says no more is one of datagrams.
impl From<SocketAddr> for TransportAddress {
    fn from(address: SocketAddr) -> Self {
        Self::udp(address)
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            IceProtocol::Udp => self.address.fmt(f),
            IceProtocol::Tcp => write!(f, "tcp:{}", self.address),
        }
    }
}
