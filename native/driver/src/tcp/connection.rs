//! One TCP connection of a candidate pair, from its opening to its end.

use super::framing::{HEADER, check_length, header, is_check, message_length};
use crate::stream::{GivenUp, Opened, Opening, Stream, Turn, Worth};
use engine::Engine;
use engine::address::TransportAddress;
use engine::event::Sink;
use std::net::SocketAddr;
use std::task::Context;
use std::time::{Duration, Instant};

/// How long whoever is at the other end may take to prove that it is the peer. Its checks may
/// come before the answer that has its password; a peer that is too early connects again.
const PROOF_WITHIN: Duration = Duration::from_secs(15);

/// What may come until then: a hundred checks, a few times over. It is read and not kept.
const MAX_UNPROVEN: usize = 64 << 10;

/// Silence after which a connection is one that nobody uses: that of the selected pair carries
/// consent checks, and the others have served when ICE has decided (RFC 6544 section 8).
const IDLE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Connection {
    /// The base of our candidate.
    pub local: TransportAddress,
    /// The peer, or who pretends to be.
    pub remote: SocketAddr,
    /// The peer connected to us.
    pub accepted: bool,
    stream: Stream,
    /// It is the peer: ICE has validated it.
    proven: bool,
    unproven_bytes: usize,
    /// When it was made.
    pub since: Instant,
    /// When it last sent something.
    pub heard: Instant,
}

impl Connection {
    /// One that the peer opened.
    pub fn accepted(
        now: Instant,
        local: TransportAddress,
        remote: SocketAddr,
        opened: Opened,
    ) -> Self {
        let stream = Stream::open(opened, check_length);
        Self::new(now, local, remote, stream, true)
    }

    /// One that we open.
    pub fn opening(
        now: Instant,
        local: TransportAddress,
        remote: SocketAddr,
        opening: Opening,
    ) -> Self {
        let stream = Stream::opening(opening, check_length);
        Self::new(now, local, remote, stream, false)
    }

    fn new(
        now: Instant,
        local: TransportAddress,
        remote: SocketAddr,
        stream: Stream,
        accepted: bool,
    ) -> Self {
        Self {
            local,
            remote,
            accepted,
            stream,
            proven: false,
            unproven_bytes: 0,
            since: now,
            heard: now,
        }
    }

    /// Whether it is the peer's for sure.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Until when it may stay as it is.
    pub fn deadline(&self) -> Instant {
        if self.proven {
            self.heard + IDLE
        } else {
            self.since + PROOF_WITHIN
        }
    }

    /// Why it may not stay any longer.
    fn overdue(&self, now: Instant) -> Option<&'static str> {
        let late = self.deadline() <= now;
        match self.proven {
            true if late => Some("nobody uses it"),
            false if late => Some("it has not proved to be the peer in time"),
            false if self.unproven_bytes > MAX_UNPROVEN => {
                Some("it sends without proving to be the peer")
            }
            _ => None,
        }
    }

    /// Gives up what was not sent.
    pub fn abandon(&mut self) {
        self.stream.abandon();
    }

    /// Sends a datagram of the engine; what cannot leave in time is given up, oldest first, but
    /// for checks.
    pub fn send(&mut self, now: Instant, datagram: &[u8]) {
        let worth = match datagram.first() {
            Some(first) if is_check(*first) => Worth::Kept,
            _ => Worth::Fresh,
        };
        if let Some(header) = header(datagram.len()) {
            self.stream.write(now, &[&header, datagram], worth);
        }
    }

    /// What was given up since the last call, framing included.
    pub fn take_given_up(&mut self) -> GivenUp {
        let given_up = self.stream.take_given_up();
        GivenUp {
            bytes: given_up.bytes - given_up.messages * HEADER as u64,
            ..given_up
        }
    }

    /// Writes and reads what can be.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        engine: &mut Engine,
        sink: &mut dyn Sink,
    ) -> Turn {
        // Of this very connection: its addresses may have been another's before. A check that came
        // before the peer's password was known proves it later.
        if !self.proven && self.unproven_bytes > 0 && engine.is_validated(self.local, self.remote) {
            self.proven = true;
            self.stream.set_framing(message_length);
        }
        if let Some(reason) = self.overdue(now) {
            return Turn::Ended(reason.to_owned());
        }
        let (local, remote) = (self.local, self.remote);
        let mut came = 0;
        let most = if self.proven {
            usize::MAX
        } else {
            MAX_UNPROVEN - self.unproven_bytes
        };
        let turn = self.stream.poll(cx, |message| {
            came += message.len();
            if let Some(datagram) = message.get_mut(HEADER..)
                && !datagram.is_empty()
                && came <= most
            {
                engine.handle_datagram(now, local, remote, datagram, sink);
            }
        });
        if came > 0 {
            self.heard = now;
        }
        if !self.proven {
            self.unproven_bytes += came;
        }
        turn
    }
}

#[cfg(test)]
mod tests;
