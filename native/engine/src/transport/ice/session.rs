//! One ICE session: an agent with one pair of credentials. A restart makes a second one beside it.

mod consent;

use super::aliases::Aliases;
use super::asked::Asked;
use super::convert::{add_local, add_remote, local_address};
use super::{Announced, Path};
use crate::address::TransportAddress;
use crate::config::IceTcp;
use crate::plan::IceCredentials;
use crate::transport::candidate::RemoteCandidate;
use crate::transport::proof::{Proof, Proofs};
use crate::transport::stun::{Class, StunMessage, write_success};
use crate::w3c::TcpType;
use bytes::BytesMut;
use consent::{CONSENT, LITE_DISCONNECTED_AFTER, RETRY_INTERVAL};
use rtc_crypto::RTCCryptoProvider;
use rtc_ice::agent::agent_config::AgentConfig;
use rtc_ice::agent::{Agent, Event};
use rtc_ice::candidate::{Candidate, CandidateType};
use rtc_ice::state::ConnectionState;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use sansio::Protocol;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first gap between rounds of checks. RFC 8445 section 14.2 lets a lower value than 50 ms be
/// used where the traffic is small; it is, and set-up on one machine then takes milliseconds.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The agent's own lower bound between two of its steps.
const AGENT_INTERVAL: Duration = Duration::from_millis(1);

/// Rounds without an answer get rarer up to this.
const MAX_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Checks a second, in rounds over every pair: candidates of a hostile description can't be used
/// to flood a third party (RFC 8445 section 19.5.1).
const CHECKS_PER_SECOND: u32 = 400;

/// How long reflexive and relayed candidates of the peer wait for a better one to answer. Host
/// candidates, and peer-reflexive ones (a browser's hosts, hidden by mDNS names), don't wait.
const REFLEXIVE_WAIT: Duration = Duration::from_millis(100);
const RELAY_WAIT: Duration = Duration::from_millis(300);

/// Candidates of the peer in one session. RFC 8445 section 6.1.2.5 suggests 100 pairs.
pub(super) const MAX_REMOTE_CANDIDATES: usize = 100;

/// Addresses from which the peer has proved itself. Each needed its password.
const MAX_VALIDATED: usize = 256;

/// Addresses of the peer that an agent knows, from signalling and from checks. Each check from
/// another address makes a candidate and a pair, and a peer that knows the password can write any
/// address into its datagrams; one behind a NAT is seen from a handful.
const MAX_KNOWN_ADDRESSES: usize = 2 * MAX_REMOTE_CANDIDATES;

/// Messages taken in [`TAKEN_INTERVAL`]. A check causes up to two datagrams of ours, and the agent
/// searches what it sent in the last four seconds for each message. The most that is honest is
/// several hundred a second, see [`CHECKS_PER_SECOND`], while many pairs are tried.
const MAX_TAKEN: u32 = 200;
const TAKEN_INTERVAL: Duration = Duration::from_millis(100);

/// Checks kept until we know the peer's credentials: a few per candidate of ours.
const MAX_EARLY_CHECKS: usize = 32;

/// What stays the same over restarts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub lite: bool,
    pub aggressive: bool,
    pub tcp: IceTcp,
}

/// A local address that checks are sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub address: TransportAddress,
    pub relay: bool,
    pub tcp_type: Option<TcpType>,
    pub priority: u32,
}

/// A check of the peer, kept to be looked at later.
#[derive(Clone)]
struct Check {
    path: Path,
    bytes: Vec<u8>,
}

/// See the module.
pub(super) struct Session {
    agent: Agent,
    provider: Arc<dyn RTCCryptoProvider>,
    pub local: IceCredentials,
    pub remote: Option<IceCredentials>,
    controlling: bool,
    lite: bool,
    started: bool,
    bases: Vec<Base>,
    /// Our candidates that the peer was told of under these credentials.
    pub announced: Vec<Announced>,
    remotes: Vec<RemoteCandidate>,
    early: Vec<Check>,
    pub asked: Asked,
    pub proofs: Proofs,
    aliases: Aliases,
    validated: VecDeque<TransportAddress>,
    /// The selected pair, kept while another one is looked for.
    pub path: Option<Path>,
    /// Looking again for a pair after the selected one fell silent, under the same credentials.
    renewing: bool,
    /// The controlling peer's last nomination of a pair other than the selected one. The agent
    /// keeps to its pair; when that falls silent this is where the peer has gone.
    nomination: Option<Check>,
    /// When the selected pair last answered a check of ours: that is consent. The agent goes by
    /// the peer's address, which other pairs share, and by its requests, which prove one direction.
    last_answer: Option<Instant>,
    /// When the first check went out that the selected pair has not answered.
    unanswered: Option<Instant>,
    /// The TCP connection of the selected pair is gone.
    broken: bool,
    /// No answer for long enough to tell.
    silent: bool,
    /// No answer for so long that nothing more may be sent.
    expired: bool,
    next_contact: Option<Instant>,
    last_contact: Option<Instant>,
    round: u32,
    /// Since when messages are counted, and how many came.
    taken_since: Instant,
    taken: u32,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Idle,
    Checking,
    Connected,
    Disconnected,
    Failed,
}

impl Session {
    pub(super) fn new(
        now: Instant,
        provider: Arc<dyn RTCCryptoProvider>,
        settings: Settings,
        local: IceCredentials,
        controlling: bool,
    ) -> Option<Self> {
        let wait = |wait| {
            Some(if settings.aggressive {
                Duration::ZERO
            } else {
                wait
            })
        };
        let config = AgentConfig {
            local_ufrag: local.ufrag.clone(),
            local_pwd: local.pwd.clone(),
            // The agent counts what comes from the peer's address, this session the answers of the
            // pair; both end at the same time.
            disconnected_timeout: Some(LITE_DISCONNECTED_AFTER),
            failed_timeout: Some(CONSENT - LITE_DISCONNECTED_AFTER),
            // The agent's own timer is only a lower bound: this session decides when it runs.
            keepalive_interval: Some(RETRY_INTERVAL / 2),
            check_interval: AGENT_INTERVAL,
            // How long a pair is tried is bounded by time, not by a count.
            max_binding_requests: Some(u16::MAX),
            candidate_types: if settings.lite {
                vec![CandidateType::Host]
            } else {
                vec![CandidateType::Host, CandidateType::Relay]
            },
            is_controlling: controlling,
            lite: settings.lite,
            host_acceptance_min_wait: Some(Duration::ZERO),
            prflx_acceptance_min_wait: Some(Duration::ZERO),
            srflx_acceptance_min_wait: wait(REFLEXIVE_WAIT),
            relay_acceptance_min_wait: wait(RELAY_WAIT),
            ..AgentConfig::default()
        };
        let agent = Agent::new(now, Arc::new(config), provider.clone())
            .inspect_err(|error| log::warn!("no ICE agent: {error}"))
            .ok()?;
        Some(Self {
            agent,
            provider,
            local,
            remote: None,
            controlling,
            lite: settings.lite,
            started: false,
            bases: Vec::new(),
            announced: Vec::new(),
            remotes: Vec::new(),
            early: Vec::new(),
            asked: Asked::default(),
            proofs: Proofs::default(),
            aliases: Aliases::default(),
            validated: VecDeque::new(),
            path: None,
            renewing: false,
            nomination: None,
            last_answer: None,
            unanswered: None,
            broken: false,
            silent: false,
            expired: false,
            next_contact: None,
            last_contact: None,
            round: 0,
            taken_since: now,
            taken: 0,
        })
    }

    pub(super) fn set_remote(&mut self, now: Instant, remote: IceCredentials) {
        self.remote = Some(remote);
        self.start_if_ready(now);
    }

    /// Checks start with the first candidate or the first check of the peer: until there is one,
    /// nothing can fail.
    fn start_if_ready(&mut self, now: Instant) {
        let Some(remote) = self.remote.clone() else {
            return;
        };
        if self.started || (self.remotes.is_empty() && self.early.is_empty()) {
            return;
        }
        let begun = self.agent.start_connectivity_checks(
            now,
            self.controlling,
            remote.ufrag.clone(),
            remote.pwd.clone(),
        );
        if let Err(error) = begun {
            log::warn!("ICE credentials refused: {error}");
            return;
        }
        self.started = true;
        for candidate in &self.remotes {
            add_remote(&mut self.agent, &mut self.aliases, candidate);
        }
        self.hasten(now);
        let username = format!("{}:{}", self.local.ufrag, remote.ufrag);
        for check in std::mem::take(&mut self.early) {
            let ours = StunMessage::parse(&check.bytes)
                .is_some_and(|message| message.username == Some(username.as_str()));
            if ours {
                self.prove(check.path, false);
                self.deliver(now, check.path, false, &check.bytes);
            }
        }
    }

    pub(super) fn add_base(&mut self, now: Instant, base: Base) {
        if self.bases.iter().any(|known| known.address == base.address) {
            return;
        }
        self.bases.push(base);
        add_local(&mut self.agent, base);
        if self.started {
            self.hasten(now);
        }
    }

    pub(super) fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// Takes a candidate of the peer; false where it was a duplicate or one too many.
    pub(super) fn add_remote(&mut self, now: Instant, candidate: RemoteCandidate) -> bool {
        let known = self.remotes.iter().any(|other| {
            other.host == candidate.host
                && other.port == candidate.port
                && other.transport == candidate.transport
        });
        if known || self.remotes.len() >= MAX_REMOTE_CANDIDATES {
            return false;
        }
        if self.started {
            add_remote(&mut self.agent, &mut self.aliases, &candidate);
            self.hasten(now);
        }
        self.remotes.push(candidate);
        self.start_if_ready(now);
        true
    }

    pub(super) fn remotes(&self) -> &[RemoteCandidate] {
        &self.remotes
    }

    /// Something new to check: the pauses get short again. Rounds stay as far apart as their size
    /// asks for, however many candidates are added one by one.
    fn hasten(&mut self, now: Instant) {
        self.round = 0;
        let paced = self
            .last_contact
            .map_or(now, |last| (last + self.pace()).max(now));
        self.next_contact = Some(self.next_contact.map_or(paced, |at| at.min(paced)));
    }

    /// The least time between two rounds over all pairs.
    fn pace(&self) -> Duration {
        let pairs = |tcp: bool| {
            let bases = self.bases.iter().filter(|it| it.address.is_tcp() == tcp);
            let told = self.remotes.iter().filter(|it| {
                it.transport.tcp_type() != Some(TcpType::Active)
                    && it.transport.tcp_type().is_some() == tcp
            });
            let known = self.agent.get_remote_candidates().iter();
            let known = known.filter(|it| it.network_type().is_tcp() == tcp);
            bases.count() * told.count().max(known.count())
        };
        let pairs = (pairs(false) + pairs(true)).max(self.bases.len());
        let pairs = u32::try_from(pairs).unwrap_or(u32::MAX);
        (Duration::from_secs(1) / CHECKS_PER_SECOND * pairs).max(CHECK_INTERVAL)
    }

    pub(super) fn is_validated(&self, remote: TransportAddress) -> bool {
        self.validated.contains(&remote)
    }

    /// Whether this message was made by our peer, for this session.
    pub(super) fn owns(&self, message: &StunMessage<'_>) -> bool {
        let crypto = self.provider.crypto();
        match message.class {
            Class::Request => {
                let ours = message
                    .username
                    .and_then(|name| name.split_once(':'))
                    .is_some_and(|(local, remote)| {
                        local == self.local.ufrag
                            && self
                                .remote
                                .as_ref()
                                .is_none_or(|known| known.ufrag == remote)
                    });
                ours && message.is_authentic(&self.local.pwd, crypto)
            }
            Class::Success | Class::Error => {
                self.started
                    && self
                        .remote
                        .as_ref()
                        .is_some_and(|remote| message.is_authentic(&remote.pwd, crypto))
            }
            Class::Indication => false,
        }
    }

    /// Takes a message that [`Self::owns`] said is the peer's.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        path: Path,
        message: &StunMessage<'_>,
        bytes: &[u8],
    ) {
        if !self.started {
            if self.early.len() < MAX_EARLY_CHECKS {
                self.early.push(Check {
                    path,
                    bytes: bytes.to_vec(),
                });
            }
            self.start_if_ready(now);
            return;
        }
        if !self.has_room(now, path) {
            return;
        }
        let elsewhere = self.path.is_some_and(|selected| selected != path);
        if message.use_candidate && elsewhere && !self.agent.role() {
            self.nomination = Some(Check {
                path,
                bytes: bytes.to_vec(),
            });
            if self.silent && !self.renewing {
                self.renew(now);
            }
        }
        let answer = message.class == Class::Success;
        let reached = answer
            && message
                .transaction_id()
                .is_some_and(|id| self.asked.answered(id, path));
        self.prove(path, reached);
        if answer && self.path == Some(path) {
            self.answered(now);
        }
        self.deliver(now, path, answer, bytes);
    }

    /// Whether the agent can be given one more message, from this address.
    fn has_room(&mut self, now: Instant, path: Path) -> bool {
        if now.saturating_duration_since(self.taken_since) >= TAKEN_INTERVAL {
            self.taken_since = now;
            self.taken = 0;
        }
        self.taken = self.taken.saturating_add(1);
        let known = self.agent.get_remote_candidates();
        let remote = self.aliases.find(path.remote());
        self.taken <= MAX_TAKEN
            && (known.len() < MAX_KNOWN_ADDRESSES
                || known
                    .iter()
                    .any(|candidate| Some(candidate.addr()) == remote))
    }

    /// What comes over a TCP connection is its owner's anyway.
    fn prove(&mut self, path: Path, reached: bool) {
        if !path.local.is_tcp() {
            self.proofs.add(Proof {
                local: path.local.address,
                remote: path.remote,
                reached,
            });
        }
    }

    fn deliver(&mut self, now: Instant, path: Path, answer: bool, bytes: &[u8]) {
        let remote = path.remote();
        if !self.validated.contains(&remote) {
            if self.validated.len() >= MAX_VALIDATED {
                self.validated.pop_front();
            }
            self.validated.push_back(remote);
        }
        let Some(alias) = self.aliases.get(remote, &self.agent) else {
            return;
        };
        let outcome = self.agent.handle_read(TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: path.local.address,
                peer_addr: alias,
                ecn: None,
                transport_protocol: if path.local.is_tcp() {
                    TransportProtocol::TCP
                } else {
                    TransportProtocol::UDP
                },
            },
            message: BytesMut::from(bytes),
        });
        if let Err(error) = outcome {
            log::debug!("check from {remote} not taken: {error}");
        }
        if self.agent.state() == ConnectionState::Checking {
            self.hasten(now);
            if answer && self.agent.role() {
                // Nomination waits for nothing else, and is one datagram, not a round.
                self.next_contact = Some(now);
            }
        }
    }

    /// Runs what is due. True when the selected pair changed.
    pub(super) fn drive(&mut self, now: Instant) -> bool {
        if self.next_contact.is_some_and(|at| at <= now) {
            if let Err(error) = self.agent.handle_timeout(now) {
                log::debug!("ICE timer: {error}");
            }
            self.round = self.round.saturating_add(1);
            self.last_contact = Some(now);
            self.follow_nomination(now);
            self.next_contact = self.following_contact(now);
        }
        let mut changed = false;
        while let Some(tagged) = self.agent.poll_event() {
            match tagged.event {
                Event::SelectedCandidatePairChange(local, remote) => {
                    self.path = Some(Path {
                        local: local_address(&local),
                        remote: self.remote_address(&remote).address,
                    });
                    self.renewing = false;
                    self.broken = false;
                    self.nomination = None;
                    self.last_answer = Some(now);
                    self.unanswered = None;
                    self.silent = false;
                    self.next_contact = self.following_contact(now);
                    changed = true;
                }
                Event::ConnectionStateChange(ConnectionState::Failed) => {
                    // RFC 7675 section 5.1: without consent nothing more is sent.
                    changed |= self.path.take().is_some();
                    self.renewing = false;
                    self.next_contact = None;
                }
                _ => {}
            }
        }
        changed | self.watch_consent(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next_contact.filter(|_| self.started)
    }

    /// The next STUN datagram, and where it goes.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(Path, BytesMut)> {
        let mut sent = self.agent.poll_write()?;
        let (local, alias) = (sent.transport.local_addr, sent.transport.peer_addr);
        let tcp = sent.transport.transport_protocol == TransportProtocol::TCP;
        let path = if tcp {
            Path {
                local: TransportAddress::tcp(local),
                remote: self.aliases.real(alias),
            }
        } else {
            Path {
                local: TransportAddress::udp(local),
                remote: alias,
            }
        };
        let message = StunMessage::parse(&sent.message);
        let id = message.and_then(|message| message.transaction_id());
        match message.map(|message| message.class) {
            Some(Class::Request) => {
                if let Some(id) = id {
                    self.asked.sent(id, path);
                    self.checking(now, path);
                }
            }
            // It says where the check came from, and the agent knows only the alias.
            Some(Class::Success) if tcp => {
                let written = id.and_then(|id| {
                    write_success(id, path.remote, &self.local.pwd, self.provider.crypto())
                });
                match written {
                    Some(answer) => sent.message = answer,
                    None => log::warn!("no answer could be written to {}", path.remote),
                }
            }
            _ => {}
        }
        Some((path, sent.message))
    }

    /// Where a candidate of the peer is.
    pub(super) fn remote_address(&self, candidate: &Candidate) -> TransportAddress {
        if candidate.network_type().is_tcp() {
            TransportAddress::tcp(self.aliases.real(candidate.addr()))
        } else {
            TransportAddress::udp(candidate.addr())
        }
    }

    pub(super) fn progress(&self) -> Progress {
        if !self.started {
            return Progress::Idle;
        }
        if self.expired {
            return Progress::Failed;
        }
        match self.agent.state() {
            ConnectionState::Connected | ConnectionState::Disconnected if self.silent => {
                Progress::Disconnected
            }
            ConnectionState::Connected | ConnectionState::Disconnected => Progress::Connected,
            ConnectionState::Failed | ConnectionState::Closed => Progress::Failed,
            _ if self.renewing => Progress::Disconnected,
            _ => Progress::Checking,
        }
    }

    pub(super) fn is_controlling(&self) -> bool {
        self.agent.role()
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }
}
