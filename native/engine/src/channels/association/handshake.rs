//! Who connects (RFC 9260 section 5, RFC 8841).

use super::{Association, Attempt, Happening, PEER, PeerInit, RECONNECT_AFTER, transmit};
use crate::w3c::DtlsRole;
use bytes::Bytes;
use rtc_sctp::{AssociationHandle, ClientConfig, DatagramEvent};
use std::time::{Duration, Instant};

/// How long the DTLS client lets the peer answer its INIT before it answers the peer's.
const YIELD_AFTER: Duration = Duration::from_millis(250);

impl Attempt {
    fn new(now: Instant, handle: AssociationHandle, inner: rtc_sctp::Association) -> Self {
        Self {
            handle,
            inner,
            since: now,
            tag: None,
            answered: None,
        }
    }
}

impl Association {
    pub(super) fn connect(&mut self, now: Instant) {
        if let Some(attempt) = self.connecting.take() {
            self.forget(attempt.handle);
        }
        let config = ClientConfig::new((*self.transport).clone());
        match self.endpoint.connect(self.clock.told(now), config, PEER) {
            Ok((handle, inner)) => {
                self.connecting = Some(Attempt::new(now, handle, inner));
            }
            Err(error) => log::warn!("no SCTP association: {error}"),
        }
    }

    /// RFC 9260 section 5.2.1 has both INITs answered from one state. The crate makes a second
    /// association of the peer's instead, so one of the two has to go: the DTLS server drops
    /// its own at once, the client answers the peer's only when its own stays unanswered. Once the
    /// client has answered, the server's stays: its COOKIE ECHO makes it the client's association,
    /// for which the server would have none (section 5.2.2: an INIT changes nothing by then).
    pub(super) fn handle_init(&mut self, now: Instant, init: PeerInit) {
        if let Some((_, accepted)) = &self.accepting
            && accepted.tag == init.tag
        {
            self.outgoing.push_back(accepted.packet.clone());
            return;
        }
        match self.role {
            DtlsRole::Client if self.connecting.is_some() => {
                let due = self
                    .yielding
                    .take()
                    .map_or(now + YIELD_AFTER, |(due, _)| due);
                self.yielding = Some((due, init));
            }
            _ => {
                let answered = self.connecting.as_ref().and_then(|own| own.answered);
                if answered.is_some_and(|(at, _)| now < at + RECONNECT_AFTER) {
                    return;
                }
                if let Some(attempt) = self.connecting.take() {
                    self.forget(attempt.handle);
                }
                self.accept(now, init);
            }
        }
    }

    pub(super) fn accept(&mut self, now: Instant, init: PeerInit) {
        if let Some((attempt, _)) = self.accepting.take() {
            self.forget(attempt.handle);
        }
        let told = self.clock.told(now);
        if let Some((handle, DatagramEvent::NewAssociation(mut inner))) =
            self.endpoint.handle(told, PEER, None, init.packet)
        {
            let mut answer = Bytes::new();
            while let Some(packets) = transmit(&mut inner, told) {
                for packet in packets {
                    answer = packet.clone();
                    self.outgoing.push_back(packet);
                }
            }
            let attempt = Attempt::new(now, handle, inner);
            self.accepting = Some((
                attempt,
                PeerInit {
                    tag: init.tag,
                    tsn: init.tsn,
                    packet: answer,
                },
            ));
        }
    }

    pub(super) fn settle_handshake(&mut self, now: Instant) {
        let own = self
            .connecting
            .as_ref()
            .is_some_and(|own| !own.inner.is_handshaking());
        let peers = self
            .accepting
            .as_ref()
            .is_some_and(|(own, _)| !own.inner.is_handshaking());
        if self.active.is_some() || !(own || peers) {
            return;
        }
        let connecting = self.connecting.take();
        let peers_tsn = self.accepting.as_ref().map(|(_, init)| init.tsn);
        let accepting = self.accepting.take().map(|(attempt, _)| attempt);
        self.yielding = None;
        // Our own handshake takes two round trips, the peer's one as seen from here.
        let (chosen, other, trips) = match (own, connecting, accepting) {
            (true, Some(attempt), other) => (attempt, other, 2),
            (_, other, Some(attempt)) => (attempt, other, 1),
            _ => return,
        };
        if let Some(other) = other {
            self.forget(other.handle);
        }
        let taken = now.saturating_duration_since(chosen.since);
        self.clock.measured(now, taken / trips);
        let answered_tsn = chosen.answered.map(|(_, tsn)| tsn);
        if let Some(tsn) = if own { answered_tsn } else { peers_tsn } {
            self.guard.started(tsn);
        }
        self.active = Some(chosen.inner);
        self.happenings.push_back(Happening::Connected);
    }
}
