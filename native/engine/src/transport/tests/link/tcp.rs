//! TCP on the link: nothing is lost or reordered, connections are made by who sends first, and end.

use super::{Flight, Pair, Peer};
use crate::address::{ACTIVE_PORT, TransportAddress};
use crate::transport::{LocalCandidate, LocalCandidateKind};
use crate::w3c::TcpType;
use std::net::SocketAddr;
use std::time::Instant;

/// One that is alive.
pub(super) struct Connection {
    /// A opened it.
    by_a: bool,
    opener: SocketAddr,
    listener: SocketAddr,
}

impl Peer {
    /// Gathers a TCP candidate on the peer's address, and the port where it listens.
    pub fn gather_tcp(&mut self, now: Instant, tcp_type: TcpType, port: u16) -> Option<String> {
        let mut address = self.address;
        address.set_port(match tcp_type {
            TcpType::Passive => port,
            _ => ACTIVE_PORT,
        });
        if tcp_type == TcpType::Passive {
            self.listening = Some(address);
        }
        let candidate = LocalCandidate {
            kind: LocalCandidateKind::Host,
            tcp_type: Some(tcp_type),
            address,
            base: address,
            url: None,
        };
        let attribute = self.transport.add_local_candidate(now, &candidate);
        self.drain();
        attribute
    }
}

impl Pair {
    pub(super) fn pass_tcp(
        &mut self,
        to_b: bool,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let (sender, receiver) = if to_b {
            (&self.a, &self.b)
        } else {
            (&self.b, &self.a)
        };
        let (from, to) = if local.port() == ACTIVE_PORT {
            let mine = |it: &&Connection| it.by_a == to_b && it.listener == remote;
            let opener = match self.connections.iter().find(mine) {
                Some(open) => open.opener,
                None if receiver.listening == Some(remote) && !self.cut => {
                    self.order += 1;
                    let port = 40_000 + u16::try_from(self.order % 20_000).unwrap();
                    let opener = SocketAddr::new(sender.address.ip(), port);
                    self.connections.push(Connection {
                        by_a: to_b,
                        opener,
                        listener: remote,
                    });
                    opener
                }
                None => return,
            };
            (opener, remote)
        } else {
            let mine = |it: &Connection| it.listener == local && it.opener == remote;
            if !self.connections.iter().any(mine) {
                return;
            }
            (local, SocketAddr::new(remote.ip(), ACTIVE_PORT))
        };
        self.order += 1;
        self.flights.push(Flight {
            at: self.now + self.latency,
            order: self.order,
            to_b,
            from,
            to: TransportAddress::tcp(to),
            bytes,
        });
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Ends every connection, and what is on its way in it; both sides notice at once.
    pub fn break_connections(&mut self) {
        self.flights.retain(|flight| !flight.to.is_tcp());
        for Connection {
            by_a,
            opener,
            listener,
        } in std::mem::take(&mut self.connections)
        {
            let (active, passive) = if by_a {
                (&mut self.a, &mut self.b)
            } else {
                (&mut self.b, &mut self.a)
            };
            let base = TransportAddress::tcp(SocketAddr::new(opener.ip(), ACTIVE_PORT));
            let now = self.now;
            active
                .transport
                .connection_lost(now, base, listener, &mut active.out);
            active.drain();
            let base = TransportAddress::tcp(listener);
            passive
                .transport
                .connection_lost(now, base, opener, &mut passive.out);
            passive.drain();
        }
    }
}
