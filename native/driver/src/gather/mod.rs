//! Candidates: host addresses, what STUN servers see, and the `.local` names of peers.

pub mod dns;
pub mod interfaces;
pub mod mdns;
mod stun;

use crate::queue::{Queue, Submission};
use crate::shard::sockets::Sockets;
use dns::Dns;
use engine::Engine;
use engine::event::{IceCandidateError, Sink};
use engine::transport::{LocalCandidate, LocalCandidateKind};
use engine::w3c::{IceServer, IceTransportPolicy};
use interfaces::host_addresses;
use mdns::Resolver;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stun::{Outcome, Transactions};

/// A round of gathering ends after this long, whoever has not answered. `disconnected` peers and
/// applications that wait for `complete` should not wait for a dead server.
const MAX_ROUND: Duration = Duration::from_secs(5);

/// STUN servers that are asked; each costs requests from every host address.
const MAX_SERVERS: usize = 8;

/// `.local` names of one connection that are looked up at a time. A browser sends one for each of
/// its addresses.
const MAX_MDNS_QUESTIONS: usize = 32;

/// `RTCPeerConnectionIceErrorEvent.errorCode` where no answer came.
const NO_ANSWER: u16 = 701;

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
    mdns_waiting: usize,
}

/// A round that waits for servers.
struct Gathering {
    generation: u32,
    deadline: Instant,
    hosts: Vec<SocketAddr>,
    servers: Vec<Server>,
    transactions: Transactions,
}

struct Server {
    url: String,
    host: String,
    port: u16,
    resolved: bool,
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
        let hosts = if relay_only {
            Vec::new()
        } else {
            gather_hosts(now, generation, round)
        };
        let servers = if relay_only {
            Vec::new()
        } else {
            stun_servers(&round.engine.config().ice_servers)
        };
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
                for local in &gathering.hosts {
                    let remote = addresses.iter().find(|remote| can_reach(*local, **remote));
                    if let Some(remote) = remote {
                        gathering.transactions.begin(now, server, *local, *remote);
                    }
                }
                transmit(gathering, round);
            }
            Err(reason) => {
                let error = IceCandidateError {
                    address: None,
                    port: None,
                    url: entry.url.clone(),
                    error_code: NO_ANSWER,
                    error_text: reason,
                };
                round.engine.candidate_error(generation, error, round.sink);
            }
        }
        self.finish(now, round);
    }

    /// A server's answer, or `None` where the datagram is for ICE.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> Option<Outcome> {
        self.round
            .as_mut()?
            .transactions
            .handle_datagram(now, local, remote, datagram)
    }

    /// Carries out what [`Self::handle_datagram`] found.
    pub fn answered(&mut self, now: Instant, outcome: Outcome, round: &mut Round<'_>) {
        let Some(gathering) = self.round.as_mut() else {
            return;
        };
        report(now, gathering, outcome, round);
        self.finish(now, round);
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gathering = self.round.as_ref()?;
        let next = gathering.transactions.poll_timeout();
        Some(next.map_or(gathering.deadline, |next| next.min(gathering.deadline)))
    }

    /// Asks again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant, round: &mut Round<'_>) {
        let Some(gathering) = self.round.as_mut() else {
            return;
        };
        gathering.transactions.handle_timeout(now);
        while let Some(outcome) = gathering.transactions.poll_expired() {
            report(now, gathering, outcome, round);
        }
        transmit(gathering, round);
        if gathering.deadline <= now {
            give_up(gathering, round);
        }
        self.finish(now, round);
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

    /// Says that the round is complete, once nobody is waited for.
    fn finish(&mut self, now: Instant, round: &mut Round<'_>) {
        let done = |gathering: &mut Gathering| {
            gathering.transactions.is_empty()
                && gathering.servers.iter().all(|server| server.resolved)
        };
        if let Some(gathering) = self.round.take_if(done) {
            round
                .engine
                .gathering_complete(now, gathering.generation, round.sink);
        }
    }
}

/// Opens the sockets and reports the host candidates, each with what the mapper made of it.
fn gather_hosts(now: Instant, generation: u32, round: &mut Round<'_>) -> Vec<SocketAddr> {
    let Round {
        engine,
        sockets,
        sink,
    } = round;
    let addresses = match &engine.config().host_addresses {
        Some(addresses) => addresses.clone(),
        None => host_addresses().into_iter().map(|ip| (ip, None)).collect(),
    };
    let current: Vec<IpAddr> = addresses.iter().map(|(ip, _)| *ip).collect();
    sockets.forget_old(&current);
    let mut hosts = Vec::with_capacity(addresses.len());
    for (ip, mapped) in addresses {
        match sockets.ensure(ip, &engine.config().ice_ports) {
            Ok(base) => {
                hosts.push(base);
                let host = LocalCandidate {
                    kind: LocalCandidateKind::Host,
                    address: base,
                    base,
                    url: None,
                };
                engine.local_candidate(now, generation, host, *sink);
                if let Some(mapped) = mapped.filter(|mapped| *mapped != ip) {
                    let reflexive = LocalCandidate {
                        kind: LocalCandidateKind::ServerReflexive,
                        address: SocketAddr::new(mapped, base.port()),
                        base,
                        url: None,
                    };
                    engine.local_candidate(now, generation, reflexive, *sink);
                }
            }
            Err(error) => {
                log::warn!("no host candidate on {ip}: {error}");
                let error = IceCandidateError {
                    address: Some(ip.to_string()),
                    port: None,
                    url: String::new(),
                    error_code: NO_ANSWER,
                    error_text: error.to_string(),
                };
                engine.candidate_error(generation, error, *sink);
            }
        }
    }
    hosts
}

/// The STUN servers of a configuration. TURN, and STUN over TLS, are not gathered from here.
fn stun_servers(servers: &[IceServer]) -> Vec<Server> {
    use rtc_ice::url::{ProtoType, SchemeType};
    let mut found = Vec::new();
    for server in servers {
        let urls = match server.urls() {
            Ok(urls) => urls,
            Err(error) => {
                // The configuration was checked; an entry that still fails is left out.
                log::warn!("ICE server {:?} is not usable: {error}", server.urls);
                continue;
            }
        };
        for (url, text) in urls.into_iter().zip(&server.urls) {
            if url.scheme == SchemeType::Stun && url.proto == ProtoType::Udp {
                found.push(Server {
                    url: text.clone(),
                    host: url.host,
                    port: url.port,
                    resolved: false,
                });
            }
        }
    }
    found.truncate(MAX_SERVERS);
    found
}

/// Whether a request from `local` can get to `remote` at all.
fn can_reach(local: SocketAddr, remote: SocketAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4() && (!local.ip().is_loopback() || remote.ip().is_loopback())
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

fn report(now: Instant, gathering: &Gathering, outcome: Outcome, round: &mut Round<'_>) {
    let url = |server: usize| {
        gathering
            .servers
            .get(server)
            .map(|server| server.url.clone())
    };
    match outcome {
        // Without a NAT in between it is the host candidate again (RFC 8445 section 5.1.3).
        Outcome::Mapped { local, address, .. } if address == local => {}
        Outcome::Mapped {
            server,
            local,
            address,
        } => {
            let candidate = LocalCandidate {
                kind: LocalCandidateKind::ServerReflexive,
                address,
                base: local,
                url: url(server),
            };
            round
                .engine
                .local_candidate(now, gathering.generation, candidate, round.sink);
        }
        Outcome::Failed {
            server,
            local,
            code,
            reason,
        } => {
            let error = IceCandidateError {
                address: Some(local.ip().to_string()),
                port: Some(local.port()),
                url: url(server).unwrap_or_default(),
                error_code: code.unwrap_or(NO_ANSWER),
                error_text: reason,
            };
            round
                .engine
                .candidate_error(gathering.generation, error, round.sink);
        }
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
        let error = IceCandidateError {
            address: None,
            port: None,
            url: server.url.clone(),
            error_code: NO_ANSWER,
            error_text: "the name of the server could not be looked up in time".to_owned(),
        };
        round
            .engine
            .candidate_error(gathering.generation, error, round.sink);
    }
}
