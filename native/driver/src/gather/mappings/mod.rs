//! How NATs map the ports that we listen on over TCP (RFC 6544 section 5.2): a connection from such a
//! port to each STUN server over TCP or TLS, which tells the mapped address and, being kept open,
//! keeps the mapping.
//!
//! The connections outlive rounds of gathering, as TURN's allocations do: there is one between two
//! ports, and what it has told is good for the generation after an ICE restart as well.

mod client;

use crate::gather::Security;
use crate::stream::{Stream, Turn, Worth, connect_over};
use crate::tcp::TcpTransports;
use client::{Client, Due, Event, message_length};
use engine::address::TransportAddress;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Context;
use std::time::Instant;

/// Mappings of one connection: servers times addresses. Each is a connection to a server.
const MAX_MAPPINGS: usize = 16;

/// Addresses of a server that are tried, one after the other: as many as fit into the five seconds
/// of a gathering round.
const MAX_ATTEMPTS: usize = 3;

/// A STUN server.
#[derive(Clone, Debug)]
pub struct StunServer {
    /// As configured.
    pub url: String,
    /// Where it is, of one family.
    pub remotes: Vec<SocketAddr>,
    /// TCP or TLS.
    pub security: Security,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// The server sees the base elsewhere.
    Mapped {
        /// The server.
        url: String,
        /// Where we listen.
        base: SocketAddr,
        /// Where the server sees it.
        address: SocketAddr,
    },
    /// It told nothing.
    Failed {
        /// The server.
        url: String,
        /// Where we listen.
        base: SocketAddr,
        /// The STUN error code, if the server gave one.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

struct Mapping {
    base: SocketAddr,
    server: StunServer,
    client: Client,
    stream: Option<Box<Stream>>,
}

/// The mappings of one connection.
#[derive(Default)]
pub struct Mappings {
    mappings: Vec<Mapping>,
    events: VecDeque<MappingEvent>,
}

impl Mappings {
    /// Whether there is none, which is the rule.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty() && self.events.is_empty()
    }

    /// Whether a first answer is waited for.
    pub fn is_asking(&self) -> bool {
        self.mappings.iter().any(|it| it.client.is_asking())
    }

    /// Tells a new round of gathering what is known. Forgets what has broken, which is then asked for
    /// anew, and what is of no use any more: other `bases` are listened on, or other servers asked.
    pub fn announce(&mut self, now: Instant, bases: &[SocketAddr], urls: &[&str]) {
        self.mappings.retain(|it| {
            it.client.is_connected()
                && bases.contains(&it.base)
                && urls.contains(&it.server.url.as_str())
        });
        self.events.clear();
        for mapping in &mut self.mappings {
            if let Some(address) = mapping.client.renew(now) {
                self.events.push_back(mapping.mapped(address));
            }
        }
    }

    /// Asks a server how it sees `base`, unless it was asked already.
    pub fn ask(&mut self, now: Instant, base: SocketAddr, server: StunServer, tcp: &TcpTransports) {
        let same = |it: &Mapping| {
            it.base == base
                && (it.server.url == server.url
                    || it.server.remotes.first() == server.remotes.first())
        };
        if self.mappings.iter().any(same) {
            return;
        }
        if self.mappings.len() >= MAX_MAPPINGS {
            return self.events.push_back(MappingEvent::Failed {
                url: server.url,
                base,
                code: None,
                reason: "too many connections to STUN servers".to_owned(),
            });
        }
        let mut mapping = Mapping {
            base,
            server,
            client: Client::new(now),
            stream: None,
        };
        mapping.connect(now, tcp);
        self.mappings.push(mapping);
    }

    /// Serves the connections. True where something happened.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut worked = false;
        for mapping in &mut self.mappings {
            worked |= mapping.poll(cx, now);
        }
        worked
    }

    /// Lets out what the clients have to send, and takes in what became of them.
    pub fn flush(&mut self, now: Instant) {
        let Self { mappings, events } = self;
        mappings.retain_mut(|mapping| {
            mapping.flush(now, events);
            !mapping.client.is_over()
        });
    }

    /// What became of questions.
    pub fn poll_event(&mut self) -> Option<MappingEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = self.mappings.iter();
        timeouts.filter_map(|it| it.client.poll_timeout()).min()
    }

    /// Asks again, connects again, gives up. A mapping that ICE has no use for, because `selected` is
    /// our side of another pair, is not kept any longer (RFC 8445 section 8.3).
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        selected: Option<TransportAddress>,
        tcp: &TcpTransports,
    ) {
        for mapping in &mut self.mappings {
            let base = TransportAddress::tcp(mapping.base);
            match mapping.client.handle_timeout(now) {
                Due::Nothing => {}
                Due::Ask | Due::Connect if selected.is_some_and(|it| it != base) => {
                    mapping.client.end();
                }
                Due::Ask => mapping.client.ask(now),
                Due::Connect => {
                    mapping.client.ask(now);
                    mapping.connect(now, tcp);
                }
            }
        }
    }

    /// Ends what is still asked for: the round is over.
    pub fn give_up(&mut self, now: Instant) {
        for mapping in self.mappings.iter_mut().filter(|it| it.client.is_asking()) {
            let reason = "no answer from the STUN server in time";
            mapping.client.disconnected(now, reason.to_owned());
        }
    }
}

impl Mapping {
    fn connect(&mut self, now: Instant, tcp: &TcpTransports) {
        match self.open(tcp) {
            Ok(stream) => self.stream = Some(Box::new(stream)),
            Err(error) => self.client.disconnected(now, error.to_string()),
        }
    }

    fn open(&self, tcp: &TcpTransports) -> io::Result<Stream> {
        let remotes = self.server.remotes.iter().take(MAX_ATTEMPTS);
        let sockets = remotes.map(|remote| Ok((tcp.socket_to_connect(self.base)?, *remote)));
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        let opening = connect_over(sockets, self.server.security.clone());
        Ok(Stream::opening(opening, message_length))
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let client = &mut self.client;
        match stream.poll(cx, |message| client.handle(now, message)) {
            Turn::Idle => false,
            Turn::Worked => true,
            Turn::Ended(reason) => {
                client.disconnected(now, reason);
                true
            }
        }
    }

    fn flush(&mut self, now: Instant, events: &mut VecDeque<MappingEvent>) {
        while let Some(event) = self.client.poll_event() {
            let (url, base) = (self.server.url.clone(), self.base);
            match event {
                // Nothing is between us and the server that would have to be kept.
                Event::Mapped(address) if address == base => self.client.end(),
                Event::Mapped(address) => events.push_back(self.mapped(address)),
                Event::Failed { code, reason } => events.push_back(MappingEvent::Failed {
                    url,
                    base,
                    code,
                    reason,
                }),
                Event::Moved(address) => log::warn!(
                    "{url} sees tcp:{base} at {address} now: peers do not reach it where they were \
                     told to, before an ICE restart"
                ),
                Event::Lost(reason) => {
                    log::debug!("connection of tcp:{base} and {url} ended: {reason}");
                }
            }
        }
        if !self.client.is_connected() {
            self.stream = None;
        }
        if let (Some(stream), Some(request)) = (&mut self.stream, self.client.poll_transmit()) {
            stream.write(now, &[&request], Worth::Kept);
        }
    }

    fn mapped(&self, address: SocketAddr) -> MappingEvent {
        MappingEvent::Mapped {
            url: self.server.url.clone(),
            base: self.base,
            address,
        }
    }
}

#[cfg(test)]
mod tests;
