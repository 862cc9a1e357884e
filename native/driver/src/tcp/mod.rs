//! ICE-TCP (RFC 6544): the ports on which peers of one connection may connect, and the TCP
//! connections of its candidate pairs, polled by its task.
//!
//! A TCP connection stands for a pair, as [`TransportAddress`] says. The engine knows nothing of
//! opening: a check to a passive candidate of the peer opens the connection that it is sent over,
//! and the next one does so again after the connection has ended.
//!
//! Anybody can connect. Until ICE has validated the other end, only checks are taken from it, only
//! so many and for so long, and it can cost at most its own connection; the newest stranger takes
//! the place of the oldest.

mod connection;
mod framing;
mod listener;

use crate::gather::interfaces::can_reach;
use crate::shard::backlog::Discarded;
use crate::shard::sockets::MAX_SOCKETS;
use crate::stream::{GivenUp, Opened, Turn, connect_from};
use connection::Connection;
use engine::Engine;
use engine::address::{ACTIVE_PORT, TransportAddress};
use engine::event::Sink;
use engine::outbox::Outbox;
use listener::Listener;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

/// Connections of strangers. A browser opens one for each of its addresses to each of ours.
const MAX_STRANGERS: usize = 16;

/// Connections that the peer has opened and proved itself over. The one that was silent for
/// longest makes room; the selected one is heard of every few seconds (RFC 7675).
const MAX_ACCEPTED: usize = 16;

/// Connections that we open at a time. The peer's description says where to: it must not be able
/// to have us open hundreds.
const MAX_OPENED: usize = 16;

/// Taken from one listener in one turn.
const ACCEPTS: usize = 8;

/// Connections that have their turn in one of the task's, where all have something: a peer that
/// sends over all of them gets no larger share of the shard than one that sends over a few.
const SERVED: usize = 4;

/// One attempt to connect. ICE gives up on a pair after 30 s.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A connection of ours that was silent for so long is made again with the next check: the other
/// end, or what is between, may be gone without a word, which TCP notices after many minutes. The
/// selected pair is heard of every 6 s (RFC 7675).
const SILENT: Duration = Duration::from_secs(10);

/// Before the second attempt to connect to an address; twice as long before each that follows, so
/// that an address of a third party gets five in the time that ICE tries a pair.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Addresses of which that is remembered: more than a description may name.
const MAX_REMEMBERED: usize = 128;

/// The TCP side of one connection's candidates.
#[derive(Default)]
pub struct TcpTransports {
    listeners: Vec<Listener>,
    connections: Vec<Connection>,
    /// Whose turn is first.
    next: usize,
    failures: Vec<Failure>,
    discarded: Vec<Discarded>,
}

/// An address that did not let us connect.
struct Failure {
    local: TransportAddress,
    remote: SocketAddr,
    pause: Duration,
    until: Instant,
}

impl TcpTransports {
    /// The address on `ip` that peers may connect to; listens there if nobody does yet.
    ///
    /// # Errors
    /// `AddrInUse` when every port of the range is taken; what the system says otherwise.
    pub fn listen(&mut self, ip: IpAddr, ports: &[u16]) -> io::Result<SocketAddr> {
        let known = self.listeners.iter().find(|it| it.address.ip() == ip);
        if let Some(known) = known {
            return Ok(known.address);
        }
        if self.listeners.len() >= MAX_SOCKETS {
            return Err(io::Error::other("too many host addresses"));
        }
        let listener = Listener::bind(ip, ports)?;
        let address = listener.address;
        self.listeners.push(listener);
        Ok(address)
    }

    /// A socket to connect from the port that is listened on at `base`.
    ///
    /// # Errors
    /// `NotFound` where nobody listens there; what the system says otherwise.
    pub fn socket_to_connect(&self, base: SocketAddr) -> io::Result<TcpSocket> {
        let listener = self.listeners.iter().find(|it| it.address == base);
        listener.ok_or(io::ErrorKind::NotFound)?.socket_to_connect()
    }

    /// Stops listening on addresses that this machine no longer has.
    pub fn forget_old(&mut self, current: &[IpAddr]) {
        self.listeners
            .retain(|listener| current.contains(&listener.address.ip()));
    }

    /// Takes the datagrams of TCP pairs out of the outbox, whose segments that have left are gone.
    pub fn take(&mut self, now: Instant, outbox: &mut Outbox) {
        let Outbox { bytes, segments } = outbox;
        segments.retain(|segment| {
            if segment.local.is_tcp() {
                let end = segment.offset + segment.length;
                if let Some(datagram) = bytes.get(segment.offset..end) {
                    self.send(now, segment.local, segment.remote, datagram);
                }
            }
            !segment.local.is_tcp()
        });
    }

    fn send(&mut self, now: Instant, local: TransportAddress, remote: SocketAddr, datagram: &[u8]) {
        let check = datagram.first().is_some_and(|it| framing::is_check(*it));
        if check {
            self.drop_silent(now, local, remote);
            self.open(now, local, remote);
        }
        let connection = self.connections.iter_mut();
        let mut connection = connection.filter(|it| it.local == local && it.remote == remote);
        match connection.next() {
            Some(connection) => {
                connection.send(now, datagram);
                let given_up = connection.take_given_up();
                self.discard(local, remote, given_up);
            }
            // Connectivity checks are counted by their answers.
            None if check => {}
            None => {
                let lost = GivenUp {
                    messages: 1,
                    bytes: datagram.len() as u64,
                };
                self.discard(local, remote, lost);
            }
        }
    }

    fn drop_silent(&mut self, now: Instant, local: TransportAddress, remote: SocketAddr) {
        let silent = |it: &Connection| {
            it.local == local
                && it.remote == remote
                && !it.accepted
                && now.saturating_duration_since(it.heard) >= SILENT
        };
        if let Some(at) = self.connections.iter().position(silent) {
            let mut connection = self.connections.swap_remove(at);
            connection.abandon();
            let given_up = connection.take_given_up();
            self.discard(local, remote, given_up);
        }
    }

    /// Opens the connection of a pair, where that is for us to do, it is not there, and it has not
    /// just failed.
    fn open(&mut self, now: Instant, local: TransportAddress, remote: SocketAddr) {
        let pair = |it: &Connection| it.local == local && it.remote == remote;
        let opened = self.connections.iter().filter(|it| !it.accepted).count();
        let failed = |it: &Failure| it.local == local && it.remote == remote && it.until > now;
        let ip = local.address.ip();
        if local.address.port() == ACTIVE_PORT
            && opened < MAX_OPENED
            && can_reach(ip, remote.ip())
            && !self.connections.iter().any(pair)
            && !self.failures.iter().any(failed)
        {
            let opening = connect_from(ip, remote, ATTEMPT);
            self.connections
                .push(Connection::opening(now, local, remote, opening));
        }
    }

    /// Accepts, writes and reads what can be; true where something happened. The engine is told
    /// what comes, and which connections of the peer are gone.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        engine: &mut Engine,
        sink: &mut dyn Sink,
    ) -> bool {
        let mut worked = self.accept(cx, now);
        let mut ended = Vec::new();
        let mut served = 0;
        let count = self.connections.len();
        let first = self.next.min(count);
        let (before, from) = self.connections.split_at_mut(first);
        for (place, connection) in from.iter_mut().chain(before).enumerate() {
            if served == SERVED {
                self.next = (first + place) % count;
                cx.waker().wake_by_ref();
                break;
            }
            match connection.poll(cx, now, engine, sink) {
                Turn::Idle => {}
                Turn::Worked => {
                    worked = true;
                    served += 1;
                }
                Turn::Ended(reason) => {
                    let Connection { local, remote, .. } = connection;
                    log::debug!("TCP connection of {local} and {remote} ended: {reason}");
                    ended.push((*local, *remote));
                }
            }
        }
        for (local, remote) in ended {
            worked = true;
            let pair = |it: &Connection| it.local == local && it.remote == remote;
            if let Some(at) = self.connections.iter().position(pair) {
                let connection = self.connections.swap_remove(at);
                self.ended(now, connection, engine, sink);
            }
        }
        let of_the_peer = |it: &Connection| it.accepted && it.is_proven();
        while let Some(oldest) = self.make_room(MAX_ACCEPTED + 1, of_the_peer) {
            self.ended(now, oldest, engine, sink);
        }
        worked
    }

    fn accept(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut accepted = Vec::new();
        for listener in &mut self.listeners {
            for taken in 1..=ACCEPTS {
                let Some((stream, remote)) = listener.poll_accept(cx, now) else {
                    break;
                };
                let local = TransportAddress::tcp(listener.address);
                let opened = Opened {
                    local: listener.address,
                    io: Box::new(stream),
                };
                accepted.push(Connection::accepted(now, local, remote, opened));
                if taken == ACCEPTS {
                    // There may be more.
                    cx.waker().wake_by_ref();
                }
            }
        }
        let worked = !accepted.is_empty();
        for connection in accepted {
            drop(self.make_room(MAX_STRANGERS, |it| it.accepted && !it.is_proven()));
            self.connections.push(connection);
        }
        worked
    }

    /// Takes out the one that was silent for longest, where there are `many` of a kind.
    fn make_room(&mut self, many: usize, kind: impl Fn(&Connection) -> bool) -> Option<Connection> {
        let of_kind = self.connections.iter().enumerate();
        let of_kind = of_kind.filter(|(_, connection)| kind(connection));
        if of_kind.clone().count() < many {
            return None;
        }
        let (at, _) = of_kind.min_by_key(|(_, connection)| connection.heard)?;
        Some(self.connections.swap_remove(at))
    }

    fn ended(
        &mut self,
        now: Instant,
        mut connection: Connection,
        engine: &mut Engine,
        sink: &mut dyn Sink,
    ) {
        let (local, remote) = (connection.local, connection.remote);
        connection.abandon();
        let given_up = connection.take_given_up();
        self.discard(local, remote, given_up);
        // One that was of use may be made again at once, but not again and again.
        let of_use =
            connection.is_proven() && now.saturating_duration_since(connection.since) > FIRST_PAUSE;
        if of_use {
            self.failures
                .retain(|it| it.local != local || it.remote != remote);
        } else if !connection.accepted {
            self.note_failure(now, local, remote);
        }
        if connection.is_proven() {
            engine.connection_lost(now, local, remote, sink);
        }
    }

    fn note_failure(&mut self, now: Instant, local: TransportAddress, remote: SocketAddr) {
        let known = |it: &Failure| it.local == local && it.remote == remote;
        let pause = match self.failures.iter().position(known) {
            Some(at) => (self.failures.remove(at).pause * 2).min(MAX_PAUSE),
            None => FIRST_PAUSE,
        };
        if self.failures.len() >= MAX_REMEMBERED {
            self.failures.remove(0);
        }
        self.failures.push(Failure {
            local,
            remote,
            pause,
            until: now + pause,
        });
    }

    fn discard(&mut self, local: TransportAddress, remote: SocketAddr, lost: GivenUp) {
        if lost.messages > 0 {
            self.discarded.push(Discarded {
                local,
                remote,
                packets: lost.messages,
                bytes: lost.bytes,
            });
        }
    }

    /// Takes what was given up so far, which the peer never got.
    pub fn take_discarded(&mut self) -> Vec<Discarded> {
        std::mem::take(&mut self.discarded)
    }

    /// When [`Self::poll`] has work that no connection tells of.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.connections.iter().map(Connection::deadline);
        let listeners = self.listeners.iter().filter_map(Listener::poll_timeout);
        connections.chain(listeners).min()
    }

    /// Writes what can be written at once, and closes everything.
    pub fn close(&mut self, now: Instant, engine: &mut Engine, sink: &mut dyn Sink) {
        // Reading first: a connection that is closed with something to read is reset, and with it
        // what was written last.
        let mut nobody = Context::from_waker(Waker::noop());
        for connection in &mut self.connections {
            connection.poll(&mut nobody, now, engine, sink);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
