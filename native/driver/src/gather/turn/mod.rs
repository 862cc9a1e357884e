//! Relayed candidates: the allocations of one connection, and the datagrams that go through them.
//!
//! The engine's convention is that a datagram of a relayed candidate has the relayed address as
//! its local one, in both directions. Here it is put into the server's framing and taken out.
//!
//! Allocations outlive rounds of gathering: a server gives one to an address of ours once, and
//! the same relayed candidate serves the generation after an ICE restart as well.

mod channels;
mod client;
mod wire;

pub use crate::stream::Security;

use crate::stream::{Stream, Turn, Worth, connect};
use client::{Client, Event, Incoming};
use engine::address::TransportAddress;
use engine::outbox::Outbox;
use engine::w3c::RelayProtocol;
use rtc_crypto::RTCCryptoProvider;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

/// Allocations of one connection: servers times addresses. Each is a resource of a server.
const MAX_ALLOCATIONS: usize = 16;

/// A TURN server of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnServer {
    /// As configured.
    pub url: String,
    /// As configured.
    pub username: String,
    /// As configured.
    pub credential: String,
}

/// How the server is reached.
enum Route {
    /// Over a socket that also serves host candidates.
    Udp {
        base: SocketAddr,
        server: SocketAddr,
    },
    /// Over a connection of its own: TCP or TLS.
    Stream(RelayProtocol, Box<Stream>),
}

struct Relay {
    server: TurnServer,
    route: Route,
    client: Client,
    relayed: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
}

/// What became of an allocation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEvent {
    /// There is a relayed address.
    Allocated {
        /// The server.
        url: String,
        /// How the server is reached.
        protocol: RelayProtocol,
        /// The candidate's address, and its base.
        relayed: SocketAddr,
        /// Over UDP: how the server sees our socket.
        reflexive: Option<(SocketAddr, SocketAddr)>,
    },
    /// There is none.
    Failed {
        /// The server.
        url: String,
        /// Our socket, where it is known.
        local: Option<SocketAddr>,
        /// The STUN error code, if the server gave one.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

/// The allocations of one connection.
#[derive(Default)]
pub struct Relays {
    relays: Vec<Relay>,
    events: VecDeque<RelayEvent>,
}

impl Relays {
    /// Whether there is none, which is the rule.
    pub fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }

    /// Whether an allocation is still asked for.
    pub fn is_asking(&self) -> bool {
        self.relays.iter().any(|relay| relay.client.is_asking())
    }

    /// Tells a new round of gathering what is there already.
    pub fn announce(&mut self) {
        self.relays.retain(|relay| !relay.client.is_over());
        for relay in &self.relays {
            self.events.extend(relay.allocated());
        }
    }

    /// Asks for an allocation over a socket of ours, unless there is one.
    pub fn allocate_udp(
        &mut self,
        now: Instant,
        server: &TurnServer,
        base: SocketAddr,
        remote: SocketAddr,
    ) {
        let same = |relay: &Relay| matches!(&relay.route, Route::Udp { base: known, server } if *known == base && *server == remote);
        if !self.relays.iter().any(same) {
            let route = Route::Udp {
                base,
                server: remote,
            };
            self.add(now, server, route, remote.is_ipv6());
        }
    }

    /// Asks for an allocation over a connection of its own, unless there is one.
    pub fn allocate_stream(
        &mut self,
        now: Instant,
        server: &TurnServer,
        locals: Vec<IpAddr>,
        remotes: Vec<SocketAddr>,
        security: Security,
    ) {
        let same = |relay: &Relay| {
            matches!(relay.route, Route::Stream(..)) && relay.server.url == server.url
        };
        if !self.relays.iter().any(same) {
            let protocol = match security {
                Security::None => RelayProtocol::Tcp,
                Security::Tls { .. } => RelayProtocol::Tls,
            };
            let stream = Stream::opening(connect(locals, remotes, security), wire::framed_length);
            self.add(
                now,
                server,
                Route::Stream(protocol, Box::new(stream)),
                false,
            );
        }
    }

    fn add(&mut self, now: Instant, server: &TurnServer, route: Route, ipv6: bool) {
        let refused = |reason: &str| RelayEvent::Failed {
            url: server.url.clone(),
            local: None,
            code: None,
            reason: reason.to_owned(),
        };
        if self.relays.len() >= MAX_ALLOCATIONS {
            return self.events.push_back(refused("too many allocations"));
        }
        let provider: Arc<dyn RTCCryptoProvider> = match rtc_crypto::default_provider() {
            Ok(provider) => provider,
            Err(error) => return self.events.push_back(refused(&error.to_string())),
        };
        let stream = matches!(route, Route::Stream(..));
        self.relays.push(Relay {
            server: server.clone(),
            route,
            client: Client::new(
                now,
                provider,
                server.username.clone(),
                server.credential.clone(),
                stream,
                ipv6,
            ),
            relayed: None,
            mapped: None,
        });
    }

    /// A datagram that may be a server's: where it is a peer's, relayed, its relayed address, the
    /// peer, and its place in the datagram.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> Relayed {
        let relay = self.relays.iter_mut().find(|relay| {
            matches!(&relay.route, Route::Udp { base, server } if *base == local && *server == remote)
        });
        match relay {
            Some(relay) => relay.handle(now, datagram),
            None => Relayed::NotOurs,
        }
    }

    /// Serves the connections to servers; what peers sent through them is handed to `each`, with
    /// the relayed address and the peer. True where something happened.
    pub fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        mut each: impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> bool {
        let mut worked = false;
        for relay in &mut self.relays {
            let Route::Stream(_, stream) = &mut relay.route else {
                continue;
            };
            let (client, relayed) = (&mut relay.client, relay.relayed);
            let turn = stream.poll(cx, |message| {
                if let Incoming::Data(peer, range) = client.handle(now, message)
                    && let (Some(relayed), Some(data)) = (relayed, message.get_mut(range))
                {
                    each(relayed, peer, data);
                }
            });
            match turn {
                Turn::Idle => {}
                Turn::Worked => worked = true,
                Turn::Ended(reason) => {
                    worked = true;
                    relay.client.disconnected(reason);
                }
            }
        }
        worked
    }

    /// Puts datagrams from relayed addresses into their server's framing. Every other one stays
    /// as it is; the order stays.
    pub fn wrap(&mut self, now: Instant, outbox: &mut Outbox) {
        if !outbox
            .segments
            .iter()
            .any(|it| self.relay_at(it.local).is_some())
        {
            return;
        }
        let mut wrapped = Outbox::default();
        let mut framed = Vec::new();
        for segment in &outbox.segments {
            let end = segment.offset + segment.length;
            let Some(bytes) = outbox.bytes.get(segment.offset..end) else {
                continue;
            };
            let index = self.relay_at(segment.local);
            match index.and_then(|index| self.relays.get_mut(index)) {
                None => wrapped.push(segment.local, segment.remote, bytes),
                Some(relay) => {
                    framed.clear();
                    if relay.client.send(now, segment.remote, bytes, &mut framed) {
                        relay.transmit(now, &framed, &mut wrapped);
                    }
                }
            }
        }
        *outbox = wrapped;
    }

    fn relay_at(&self, local: TransportAddress) -> Option<usize> {
        let mut relays = self.relays.iter();
        relays.position(|relay| relay.relayed.map(TransportAddress::udp) == Some(local))
    }

    /// Lets out what the clients have to send, and takes in what became of them.
    pub fn flush(&mut self, now: Instant, outbox: &mut Outbox) {
        for relay in &mut self.relays {
            while let Some(message) = relay.client.poll_transmit() {
                relay.transmit(now, &message, outbox);
            }
            while let Some(event) = relay.client.poll_event() {
                match event {
                    Event::Allocated { relayed, mapped } => {
                        relay.relayed = Some(relayed);
                        relay.mapped = mapped;
                        self.events.extend(relay.allocated());
                    }
                    Event::Failed { code, reason } => self.events.push_back(RelayEvent::Failed {
                        url: relay.server.url.clone(),
                        local: relay.local(),
                        code,
                        reason,
                    }),
                    Event::Lost(reason) => {
                        // ICE notices by the silence, as with every path that breaks.
                        log::warn!("allocation on {} lost: {reason}", relay.server.url);
                        relay.relayed = None;
                    }
                }
            }
        }
    }

    /// What became of allocations.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = self.relays.iter();
        timeouts
            .filter_map(|relay| relay.client.poll_timeout())
            .min()
    }

    /// Requests again, renews, gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        for relay in &mut self.relays {
            relay.client.handle_timeout(now);
        }
    }

    /// Ends what is still asked for: the round is over.
    pub fn give_up(&mut self) {
        for relay in &mut self.relays {
            if relay.client.is_asking() {
                let reason = "no answer from the TURN server in time";
                relay.client.disconnected(reason.to_owned());
            }
        }
    }

    /// Gives the allocations back. A closed connection to a server does that by itself.
    pub fn release(&mut self, outbox: &mut Outbox) {
        for mut relay in self.relays.drain(..) {
            if let (Route::Udp { base, server }, Some(message)) =
                (&relay.route, relay.client.release())
            {
                outbox.push(*base, *server, &message);
            }
        }
    }
}

/// Whose a datagram is.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// Not a relay's.
    NotOurs,
    /// The server's, for the client.
    Consumed,
    /// A peer's.
    Data {
        /// Where the peer sent it.
        relayed: SocketAddr,
        /// The peer.
        peer: SocketAddr,
        /// Its place in the datagram.
        range: Range<usize>,
    },
}

impl Relay {
    fn handle(&mut self, now: Instant, message: &[u8]) -> Relayed {
        match (self.client.handle(now, message), self.relayed) {
            (Incoming::NotOurs, _) => Relayed::NotOurs,
            (Incoming::Data(peer, range), Some(relayed)) => Relayed::Data {
                relayed,
                peer,
                range,
            },
            (Incoming::Consumed | Incoming::Data(..), _) => Relayed::Consumed,
        }
    }

    fn transmit(&mut self, now: Instant, message: &[u8], outbox: &mut Outbox) {
        match &mut self.route {
            Route::Udp { base, server } => outbox.push(*base, *server, message),
            Route::Stream(_, stream) => {
                // A full stream drops, as a full socket would.
                stream.write(now, &[message], Worth::Kept);
            }
        }
    }

    fn local(&self) -> Option<SocketAddr> {
        match &self.route {
            Route::Udp { base, .. } => Some(*base),
            Route::Stream(_, stream) => stream.local(),
        }
    }

    fn allocated(&self) -> Option<RelayEvent> {
        let reflexive = match (&self.route, self.mapped) {
            (Route::Udp { base, .. }, Some(mapped)) => Some((mapped, *base)),
            _ => None,
        };
        self.relayed.map(|relayed| RelayEvent::Allocated {
            url: self.server.url.clone(),
            protocol: match &self.route {
                Route::Udp { .. } => RelayProtocol::Udp,
                Route::Stream(protocol, _) => *protocol,
            },
            relayed,
            reflexive,
        })
    }
}
