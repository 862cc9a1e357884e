//! Candidates: host addresses, what STUN servers see, what TURN servers relay, and the `.local`
//! names of peers.

pub mod dns;
mod hosts;
pub mod interfaces;
mod mappings;
pub mod mdns;
mod outcomes;
mod servers;
mod stun;
mod turn;

use crate::queue::{Queue, Submission};
use crate::shard::sockets::Sockets;
use dns::Dns;
use engine::Engine;
use engine::event::Sink;
use engine::outbox::Outbox;
use engine::w3c::IceTransportPolicy;
use hosts::Hosts;
use interfaces::can_reach;
use mappings::{Mappings, StunServer};
use mdns::Resolver;
use outcomes::failed;
use servers::{Protocol, Server, servers};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use stun::{Outcome, Transactions};
use turn::{Relayed, Relays, Security};

/// A round of gathering ends after this long, whoever has not answered. `disconnected` peers and
/// applications that wait for `complete` should not wait for a dead server.
const MAX_ROUND: Duration = Duration::from_secs(5);

/// `.local` names of one connection that are looked up at a time. A browser sends one for each of
/// its addresses.
const MAX_MDNS_QUESTIONS: usize = 32;

/// What gathering works on.
pub struct Round<'a> {
    /// Is told what is found.
    pub engine: &'a mut Engine,
    /// Opened as host addresses are found.
    pub sockets: &'a mut Sockets,
    /// Passed on to the engine.
    pub sink: &'a mut dyn Sink,
}

/// The gathering of one connection.
#[derive(Default)]
pub struct Gatherer {
    round: Option<Gathering>,
    relays: Relays,
    mappings: Mappings,
    mdns_waiting: usize,
}

/// Whose a datagram is.
pub enum Destination {
    /// The engine's.
    Engine,
    /// A STUN server's answer, for [`Gatherer::answered`].
    Answer(Outcome),
    /// A TURN server's, and taken.
    Taken,
    /// The engine's, relayed: it came to the relayed address, from the peer, and is this part.
    Relayed {
        /// Its local address.
        relayed: SocketAddr,
        /// Its remote address.
        peer: SocketAddr,
        /// Its place in the datagram.
        range: std::ops::Range<usize>,
    },
}

/// A round that waits for servers.
struct Gathering {
    generation: u32,
    deadline: Instant,
    hosts: Hosts,
    servers: Vec<Server>,
    transactions: Transactions,
}

impl Gatherer {
    /// Starts a round: host candidates at once, then what the servers say. A round that was
    /// going on is forgotten.
    pub fn start<M: Send + 'static>(
        &mut self,
        now: Instant,
        generation: u32,
        dns: &Dns,
        queue: &Arc<Queue<M>>,
        round: &mut Round<'_>,
    ) {
        let config = round.engine.config();
        let relay_only = matches!(config.ice_transport_policy, IceTransportPolicy::Relay);
        let (mut servers, unusable) = servers(&config.ice_servers, config.ice_tcp.passive);
        if relay_only || config.ice_lite {
            // A lite side has host candidates only (RFC 8445 section 5.2).
            servers.retain(|server| !server.protocol.is_stun());
        }
        // Where only relayed candidates are wanted, TURN over UDP still needs the sockets.
        let hosts = hosts::gather(now, generation, !relay_only, round);
        for (url, reason) in unusable {
            failed(generation, url, None, None, reason, round);
        }
        self.relays.announce();
        let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
        self.mappings.announce(now, &hosts.tcp, &urls);
        let gathering = Gathering {
            generation,
            deadline: now + MAX_ROUND,
            hosts,
            servers,
            transactions: Transactions::default(),
        };
        for (index, server) in gathering.servers.iter().enumerate() {
            let queue = Arc::clone(queue);
            dns.lookup(&server.host, server.port, move |addresses| {
                // The connection may be gone.
                let _ = queue.push(Submission::ServerResolved {
                    generation,
                    server: index,
                    addresses,
                });
            });
        }
        self.round = Some(gathering);
        self.finish(now, round);
    }

    /// The name of a server was looked up: ask it from every host address of its kind.
    pub fn server_resolved(
        &mut self,
        now: Instant,
        generation: u32,
        server: usize,
        addresses: Result<Vec<SocketAddr>, String>,
        round: &mut Round<'_>,
    ) {
        let Some(gathering) = self.round.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        let Some(entry) = gathering.servers.get_mut(server) else {
            return;
        };
        entry.resolved = true;
        match addresses {
            Ok(addresses) => {
                if !self.ask(now, server, &addresses, round) {
                    let url = self.url(server);
                    let reason = "no address of ours reaches the server".to_owned();
                    failed(generation, url, None, None, reason, round);
                }
            }
            Err(reason) => {
                let url = entry.url.clone();
                failed(generation, url, None, None, reason, round);
            }
        }
        self.finish(now, round);
    }

    /// Asks a server for its kind of candidate; false where that cannot be done from here.
    fn ask(
        &mut self,
        now: Instant,
        server: usize,
        addresses: &[SocketAddr],
        round: &mut Round<'_>,
    ) -> bool {
        let Some(gathering) = self.round.as_mut() else {
            return true;
        };
        let Some(entry) = gathering.servers.get(server) else {
            return true;
        };
        let relays = &mut self.relays;
        let tls = || Security::Tls {
            server_name: entry.host.clone(),
            ca_pem: round.engine.config().ice_tls_ca_pem.clone(),
        };
        let security = match &entry.protocol {
            Protocol::StunTcp | Protocol::StunTls => {
                let security = match entry.protocol {
                    Protocol::StunTls => tls(),
                    _ => Security::None,
                };
                let mut asked = false;
                for base in &gathering.hosts.tcp {
                    let reachable = |remote: &&SocketAddr| can_reach(base.ip(), remote.ip());
                    let server = StunServer {
                        url: entry.url.clone(),
                        remotes: addresses.iter().filter(reachable).copied().collect(),
                        security: security.clone(),
                    };
                    if !server.remotes.is_empty() {
                        self.mappings.ask(now, *base, server, &round.sockets.tcp);
                        asked = true;
                    }
                }
                return asked;
            }
            Protocol::Stun | Protocol::TurnUdp(_) => {
                let mut asked = false;
                for local in &gathering.hosts.udp {
                    let reachable = |remote: &&SocketAddr| can_reach(local.ip(), remote.ip());
                    let Some(remote) = addresses.iter().find(reachable) else {
                        continue;
                    };
                    match &entry.protocol {
                        Protocol::TurnUdp(turn) => {
                            let ports = &round.engine.config().ice_ports;
                            let base = round.sockets.ensure_own(local.ip(), ports);
                            let Ok(base) = base.inspect_err(|error| {
                                log::warn!("no socket for {}: {error}", entry.url);
                            }) else {
                                continue;
                            };
                            relays.allocate_udp(now, turn, base, *remote);
                        }
                        _ => gathering.transactions.begin(now, server, *local, *remote),
                    }
                    asked = true;
                }
                transmit(gathering, round);
                return asked;
            }
            Protocol::TurnTcp(_) => Security::None,
            Protocol::TurnTls(_) => tls(),
        };
        let (Protocol::TurnTcp(turn) | Protocol::TurnTls(turn)) = &entry.protocol else {
            return true;
        };
        // Without a filter the system picks the address that the server is best reached from.
        let locals: Option<Vec<IpAddr>> = round
            .engine
            .config()
            .host_addresses
            .as_ref()
            .map(|allowed| allowed.iter().map(|(ip, _)| *ip).collect());
        if locals.as_ref().is_some_and(Vec::is_empty) {
            return false;
        }
        let locals = locals.unwrap_or_default();
        relays.allocate_stream(now, turn, locals, addresses.to_vec(), security);
        true
    }

    fn url(&self, server: usize) -> String {
        let gathering = self.round.as_ref();
        gathering
            .and_then(|gathering| gathering.servers.get(server))
            .map(|server| server.url.clone())
            .unwrap_or_default()
    }

    /// Whose a datagram is: the engine's, but for answers of servers.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> Destination {
        let answer = self.round.as_mut().and_then(|round| {
            round
                .transactions
                .handle_datagram(now, local, remote, datagram)
        });
        if let Some(answer) = answer {
            return Destination::Answer(answer);
        }
        if self.relays.is_empty() {
            return Destination::Engine;
        }
        match self.relays.handle_datagram(now, local, remote, datagram) {
            Relayed::NotOurs => Destination::Engine,
            Relayed::Consumed => Destination::Taken,
            Relayed::Data {
                relayed,
                peer,
                range,
            } => Destination::Relayed {
                relayed,
                peer,
                range,
            },
        }
    }

    /// Serves the connections to servers; what came through those of TURN is handed to `each` with
    /// its local and its remote address. True where something happened.
    pub fn poll_streams(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        each: impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> bool {
        let mapped = self.mappings.poll(cx, now);
        mapped | self.relays.poll_streams(cx, now, each)
    }

    /// Lets requests out and tells what became of allocations and mappings; after every step.
    pub fn serve_servers(&mut self, now: Instant, round: &mut Round<'_>) {
        if self.relays.is_empty() && self.mappings.is_empty() && self.round.is_none() {
            return;
        }
        self.finish(now, round);
    }

    /// Whether [`Self::wrap`] may have something to do.
    pub fn relays(&self) -> bool {
        !self.relays.is_empty()
    }

    /// Gives datagrams of relayed candidates to their servers.
    pub fn wrap(&mut self, now: Instant, outbox: &mut Outbox) {
        self.relays.wrap(now, outbox);
        self.relays.flush(now, outbox);
    }

    /// Ends everything; the last messages to servers leave with the outbox.
    pub fn release(&mut self, now: Instant, outbox: &mut Outbox) {
        // Whoever writes last to a stream wants it written.
        let mut nobody = Context::from_waker(Waker::noop());
        self.relays.poll_streams(&mut nobody, now, |_, _, _| {});
        self.relays.release(outbox);
        *self = Self::default();
    }

    /// Carries out what [`Self::handle_datagram`] found.
    pub fn answered(&mut self, now: Instant, outcome: Outcome, round: &mut Round<'_>) {
        let Some(gathering) = self.round.as_mut() else {
            return;
        };
        outcomes::answered(now, gathering, outcome, round);
        self.finish(now, round);
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gathering = self.round.as_ref();
        let transactions = gathering.and_then(|it| it.transactions.poll_timeout());
        let deadline = gathering.map(|gathering| gathering.deadline);
        let servers = [self.relays.poll_timeout(), self.mappings.poll_timeout()];
        let all = [transactions, deadline].into_iter().chain(servers);
        all.flatten().min()
    }

    /// Asks again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant, round: &mut Round<'_>) {
        self.relays.handle_timeout(now);
        let selected = round.engine.selected_base();
        self.mappings
            .handle_timeout(now, selected, &round.sockets.tcp);
        let Some(gathering) = self.round.as_mut() else {
            return;
        };
        gathering.transactions.handle_timeout(now);
        while let Some(outcome) = gathering.transactions.poll_expired() {
            outcomes::answered(now, gathering, outcome, round);
        }
        transmit(gathering, round);
        if gathering.deadline <= now {
            give_up(gathering, round);
            self.relays.give_up();
            self.mappings.give_up(now);
        }
        self.serve_servers(now, round);
    }

    /// Has a `.local` name looked up; the answer comes through the queue.
    pub fn ask_mdns<M: Send + 'static>(
        &mut self,
        name: String,
        resolver: &Resolver,
        queue: &Arc<Queue<M>>,
    ) {
        self.mdns_waiting += 1;
        let queue = Arc::clone(queue);
        let asked = name.clone();
        let answer = move |address: Option<IpAddr>| {
            // The connection may be gone.
            let _ = queue.push(Submission::MdnsResolved(name, address));
        };
        if self.mdns_waiting > MAX_MDNS_QUESTIONS {
            log::debug!("too many .local candidates at a time: {asked} is not looked up");
            answer(None);
        } else {
            resolver.ask(asked, answer);
        }
    }

    /// An answer to [`Self::ask_mdns`] was taken from the queue.
    pub fn mdns_answered(&mut self) {
        self.mdns_waiting = self.mdns_waiting.saturating_sub(1);
    }

    /// Tells what became of allocations and mappings, and that the round is complete once nobody is waited for.
    fn finish(&mut self, now: Instant, round: &mut Round<'_>) {
        self.relays.flush(now, round.engine.outbox());
        while let Some(event) = self.relays.poll_event() {
            if let Some(gathering) = &self.round {
                outcomes::relay(now, gathering, event, round);
            }
        }
        self.mappings.flush(now);
        while let Some(event) = self.mappings.poll_event() {
            if let Some(gathering) = &self.round {
                outcomes::mapping(now, gathering.generation, event, round);
            }
        }
        let asking = self.relays.is_asking() || self.mappings.is_asking();
        let done = |gathering: &mut Gathering| {
            !asking
                && gathering.transactions.is_empty()
                && gathering.servers.iter().all(|server| server.resolved)
        };
        if let Some(gathering) = self.round.take_if(done) {
            round
                .engine
                .gathering_complete(now, gathering.generation, round.sink);
        }
    }
}

/// Lets the requests leave with the engine's datagrams.
fn transmit(gathering: &mut Gathering, round: &mut Round<'_>) {
    while let Some(request) = gathering.transactions.poll_transmit() {
        round
            .engine
            .outbox()
            .push(request.local, request.remote, &request.bytes);
    }
}

/// The round's time is over: names that were not looked up by now are errors.
fn give_up(gathering: &mut Gathering, round: &mut Round<'_>) {
    for server in gathering
        .servers
        .iter_mut()
        .filter(|server| !server.resolved)
    {
        server.resolved = true;
        let reason = "the name of the server could not be looked up in time".to_owned();
        let url = server.url.clone();
        failed(gathering.generation, url, None, None, reason, round);
    }
}
