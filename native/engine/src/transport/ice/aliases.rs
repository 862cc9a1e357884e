//! Names for the peer's TCP addresses that no UDP address can be equal to.
//!
//! The agent knows the peer's candidates by their address alone, and one address with the same
//! port number for UDP and TCP is the usual choice of servers. So it gets another address for each
//! that is reached over TCP: of 0.0.0.0/8 (RFC 1122 section 3.2.1.3) or 100::/64 (RFC 6666), which
//! no datagram comes from. They never leave this room.

use crate::address::TransportAddress;
use rtc_ice::agent::Agent;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Aliases in use: more than the agent may know addresses of the peer.
const MAX_ALIASES: usize = 4 * super::session::MAX_REMOTE_CANDIDATES;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// Alias and address.
    known: VecDeque<(SocketAddr, SocketAddr)>,
    last: u16,
}

impl Aliases {
    /// What the agent calls this address, if it has been told of it.
    pub(super) fn find(&self, remote: TransportAddress) -> Option<SocketAddr> {
        if !remote.is_tcp() {
            return Some(remote.address);
        }
        let known = self.known.iter().find(|(_, real)| *real == remote.address);
        known.map(|(alias, _)| *alias)
    }

    /// What the agent calls this address from now on; `None` where too many are in use.
    pub(super) fn get(&mut self, remote: TransportAddress, agent: &Agent) -> Option<SocketAddr> {
        if let Some(known) = self.find(remote) {
            return Some(known);
        }
        if self.known.len() >= MAX_ALIASES {
            let in_use = |alias: SocketAddr| {
                let candidates = agent.get_remote_candidates();
                candidates.iter().any(|candidate| candidate.addr() == alias)
            };
            self.known.retain(|(alias, _)| in_use(*alias));
        }
        if self.known.len() >= MAX_ALIASES {
            return None;
        }
        let alias = loop {
            self.last = self.last.wrapping_add(1).max(1);
            let alias = alias(self.last, remote.address);
            if !self.known.iter().any(|(used, _)| used.ip() == alias.ip()) {
                break alias;
            }
        };
        self.known.push_back((alias, remote.address));
        Some(alias)
    }

    /// The address behind an alias.
    pub(super) fn real(&self, alias: SocketAddr) -> SocketAddr {
        let known = self.known.iter().find(|(used, _)| *used == alias);
        known.map_or(alias, |(_, real)| *real)
    }
}

fn alias(number: u16, real: SocketAddr) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    let ip = if real.is_ipv4() {
        IpAddr::V4(Ipv4Addr::new(0, 0, high, low))
    } else {
        IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, number))
    };
    SocketAddr::new(ip, real.port())
}

#[cfg(test)]
mod tests;
