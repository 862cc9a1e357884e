//! ICE (RFC 8445): sessions over restarts, candidates of both sides, the selected path.
//!
//! The agent of `rtc-ice` runs the checks. Around it: every message is authenticated before the
//! agent sees it, candidates are bounded, checks that come too early are kept, a restart runs
//! beside the session it replaces, and timers sleep when nothing is due.

mod asked;
mod convert;
mod session;

use super::candidate::{self, CandidateKind, Host, RemoteCandidate};
use super::proof::Proof;
use super::stun::{Class, StunMessage};
use super::{LocalCandidate, LocalCandidateKind};
use crate::config::Config;
use crate::error::Error;
use crate::outbox::Outbox;
use crate::plan::{IceCredentials, TransportPlan};
use crate::w3c::{IceConnectionState, IceRole, IceTransportPolicy};
use rtc_crypto::RTCCryptoProvider;
use rtc_ice::agent::agent_stats::CandidatePairStats;
use rtc_ice::candidate::Candidate;
use session::{Base, Progress, Session, Settings};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Candidates that came before the credentials they belong to, or whose name is being resolved.
/// Browsers send some ten; a peer that sends thousands gets no more memory than this.
const MAX_WAITING_CANDIDATES: usize = 100;

/// Local candidates in one generation. A machine with more addresses has these.
const MAX_LOCAL_CANDIDATES: usize = 64;

/// Where datagrams go: the local socket and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

struct Waiting {
    candidate: RemoteCandidate,
    ufrag: Option<String>,
}

/// A candidate of ours and what was told about it.
#[derive(Clone)]
pub(super) struct Announced {
    pub candidate: LocalCandidate,
    pub foundation: String,
    pub priority: u32,
}

/// What statistics say of one pair of the current session.
pub(super) struct Pair {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// RFC 8445 section 6.1.2.3.
    pub priority: u64,
    pub stats: CandidatePairStats,
    pub last_seen: Option<Instant>,
    /// Answers to its checks that came from, or to, another address than the check's.
    pub non_symmetric_responses: u64,
}

/// ICE of one connection.
pub(super) struct Ice {
    provider: Arc<dyn RTCCryptoProvider>,
    settings: Settings,
    relay_only: bool,
    /// What `relay_only` becomes with the next session: a policy that is changed does not touch
    /// the candidates of the current one.
    next_relay_only: bool,
    planned_role: Option<IceRole>,
    current: Option<Session>,
    /// The session before a restart, while it still carries the path.
    previous: Option<Session>,
    waiting: Vec<Waiting>,
    state: IceConnectionState,
    /// No candidate of either side is to come.
    candidates_known: bool,
    changes: VecDeque<IceConnectionState>,
    pub selected_pair_changes: u32,
    pub unmatched_requests: u64,
    pub dropped_candidates: u64,
}

impl Ice {
    pub(super) fn new(provider: Arc<dyn RTCCryptoProvider>, config: &Config) -> Self {
        Self {
            provider,
            settings: Settings {
                lite: config.ice_lite,
                aggressive: config.ice_aggressive_nomination,
            },
            relay_only: config.ice_transport_policy == IceTransportPolicy::Relay,
            next_relay_only: config.ice_transport_policy == IceTransportPolicy::Relay,
            planned_role: None,
            current: None,
            previous: None,
            waiting: Vec::new(),
            state: IceConnectionState::New,
            candidates_known: false,
            changes: VecDeque::new(),
            selected_pair_changes: 0,
            unmatched_requests: 0,
            dropped_candidates: 0,
        }
    }

    /// Which candidates the next session uses.
    pub(super) fn set_policy(&mut self, policy: IceTransportPolicy) {
        self.next_relay_only = policy == IceTransportPolicy::Relay;
    }

    /// Reconciles with the plan: new credentials of either side make a new session.
    pub(super) fn apply(&mut self, now: Instant, plan: &TransportPlan, out: &mut Outbox) {
        if self.state == IceConnectionState::Closed {
            return;
        }
        let fits = |session: &Session| {
            session.local == plan.local
                && (session.remote.is_none()
                    || plan.remote.is_none()
                    || session.remote == plan.remote)
        };
        if !self.current.as_ref().is_some_and(fits) {
            if self.previous.as_ref().is_some_and(fits) {
                // A rollback: what ran before the restart runs on.
                self.current = self.previous.take();
            } else {
                self.begin_session(now, plan);
            }
        }
        self.planned_role = Some(plan.ice_role);
        let current_lacks_remote = self
            .current
            .as_ref()
            .is_some_and(|session| session.remote.is_none());
        if let (Some(session), Some(remote), true) =
            (&mut self.current, &plan.remote, current_lacks_remote)
        {
            session.set_remote(now, remote.clone());
            self.release_waiting(now, &remote.ufrag);
        }
        self.drive(now, out);
    }

    fn begin_session(&mut self, now: Instant, plan: &TransportPlan) {
        // RFC 8445 section 9: a restart keeps the role, and with it the outcome of a conflict.
        let controlling = match &self.current {
            Some(session) if self.planned_role == Some(plan.ice_role) => session.is_controlling(),
            _ => plan.ice_role == IceRole::Controlling,
        };
        let Some(mut fresh) = Session::new(
            now,
            self.provider.clone(),
            self.settings,
            plan.local.clone(),
            controlling,
        ) else {
            return;
        };
        let gathers_anew = self
            .current
            .as_ref()
            .is_none_or(|old| old.local != plan.local);
        if gathers_anew {
            self.relay_only = self.next_relay_only;
        }
        if let Some(old) = self.current.take() {
            if old.local == plan.local {
                // Only the peer's half changed: what we gathered stays valid.
                for base in old.bases() {
                    fresh.add_base(now, *base);
                }
                fresh.announced.clone_from(&old.announced);
            }
            if old.path.is_some() || self.previous.is_none() {
                self.previous = Some(old).filter(|session| session.path.is_some());
            }
            // webrtc-pc section 5.6.3: a restart forgets that connectivity was lost.
            if matches!(
                self.state,
                IceConnectionState::Disconnected | IceConnectionState::Failed
            ) {
                self.change(IceConnectionState::Checking);
            }
        }
        self.current = Some(fresh);
    }

    /// Hands candidates that came early to the session they belong to, forgets those of no one.
    fn release_waiting(&mut self, now: Instant, ufrag: &str) {
        let Some(session) = &mut self.current else {
            return;
        };
        for waiting in std::mem::take(&mut self.waiting) {
            let named = matches!(waiting.candidate.host, Host::Name(_));
            if waiting.ufrag.as_deref().is_some_and(|other| other != ufrag) {
                self.dropped_candidates += 1;
            } else if named {
                self.waiting.push(waiting);
            } else if !session.add_remote(now, waiting.candidate) {
                self.dropped_candidates += 1;
            }
        }
    }

    /// Adds a candidate of ours and returns its attribute, unless it is not to be told.
    pub(super) fn add_local(
        &mut self,
        now: Instant,
        local: &LocalCandidate,
        out: &mut Outbox,
    ) -> Option<String> {
        let relay = local.kind == LocalCandidateKind::Relay;
        let hidden = (self.relay_only && !relay)
            || (self.settings.lite && local.kind != LocalCandidateKind::Host);
        let session = self.current.as_mut()?;
        let known = session
            .announced
            .iter()
            .any(|other| other.candidate.address == local.address);
        let full = session.announced.len() >= MAX_LOCAL_CANDIDATES;
        if hidden || known || full || !candidate::is_usable(local.address.ip()) {
            return None;
        }
        // RFC 8445 section 6.1.2.4: checks go out from the base, so a reflexive candidate adds
        // no pair that its base has not got. A relayed candidate is its own base.
        let base = if relay { local.address } else { local.base };
        let interface = session
            .bases()
            .iter()
            .filter(|known| known.relay == relay)
            .position(|known| known.address == base)
            .unwrap_or_else(|| {
                session
                    .bases()
                    .iter()
                    .filter(|known| known.relay == relay)
                    .count()
            });
        let kind = CandidateKind::from(local.kind);
        let priority = candidate::priority(kind, interface);
        let base_kind = if relay {
            CandidateKind::Relay
        } else {
            CandidateKind::Host
        };
        session.add_base(
            now,
            Base {
                address: base,
                relay,
                priority: candidate::priority(base_kind, interface),
            },
        );
        let foundation = candidate::foundation(local);
        let attribute = candidate::format(local, &foundation, priority);
        session.announced.push(Announced {
            candidate: local.clone(),
            foundation,
            priority,
        });
        self.drive(now, out);
        Some(attribute)
    }

    /// Adds a candidate of the peer, or says which name must be resolved first.
    pub(super) fn add_remote(
        &mut self,
        now: Instant,
        attribute: &str,
        ufrag: Option<&str>,
        out: &mut Outbox,
    ) -> Result<Option<String>, Error> {
        let candidate = candidate::parse(attribute)?;
        // Only component 1 exists with rtcp-mux; TCP candidates are understood, not used.
        if !candidate.udp || candidate.component != 1 {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let ufrag = ufrag.map(str::to_owned).or_else(|| candidate.ufrag.clone());
        if let Host::Address(ip) = candidate.host
            && !candidate::is_usable(ip)
        {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let remote = self
            .current
            .as_ref()
            .and_then(|session| session.remote.as_ref());
        let for_current =
            remote.is_some_and(|remote| ufrag.as_deref().is_none_or(|ufrag| ufrag == remote.ufrag));
        let stale = self
            .previous
            .as_ref()
            .and_then(|session| session.remote.as_ref())
            .is_some_and(|remote| ufrag.as_deref() == Some(remote.ufrag.as_str()));
        if stale && !for_current {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        let name = match &candidate.host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        };
        if for_current && name.is_none() {
            if let Some(session) = &mut self.current
                && !session.add_remote(now, candidate)
            {
                self.dropped_candidates += 1;
            }
            self.drive(now, out);
            return Ok(None);
        }
        let known = self
            .waiting
            .iter()
            .any(|waiting| waiting.candidate == candidate && waiting.ufrag == ufrag);
        if known || self.waiting.len() >= MAX_WAITING_CANDIDATES {
            self.dropped_candidates += 1;
            return Ok(None);
        }
        self.waiting.push(Waiting { candidate, ufrag });
        Ok(name)
    }

    pub(super) fn mdns_resolved(
        &mut self,
        now: Instant,
        name: &str,
        address: Option<IpAddr>,
        out: &mut Outbox,
    ) {
        let address = address.filter(|ip| candidate::is_usable(*ip));
        let (mut resolved, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| matches!(&waiting.candidate.host, Host::Name(known) if known.eq_ignore_ascii_case(name)));
        self.waiting = rest;
        let Some(ip) = address else {
            self.dropped_candidates += resolved.len() as u64;
            return;
        };
        for waiting in &mut resolved {
            waiting.candidate.host = Host::Address(ip);
        }
        self.waiting.append(&mut resolved);
        let ufrag = self
            .current
            .as_ref()
            .and_then(|session| session.remote.as_ref())
            .map(|remote| remote.ufrag.clone());
        if let Some(ufrag) = ufrag {
            self.release_waiting(now, &ufrag);
        }
        self.drive(now, out);
    }

    /// A STUN datagram.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) {
        let Some(message) = StunMessage::parse(datagram) else {
            return;
        };
        // Answers name no session: where a restart has left the peer's password as it was, both
        // may have asked, and the agent of the one that did not drops the answer.
        let mut owned = false;
        for session in [&mut self.current, &mut self.previous]
            .into_iter()
            .flatten()
        {
            if session.owns(&message) {
                owned = true;
                session.handle(now, local, remote, &message, datagram);
                if message.class == Class::Request {
                    break;
                }
            }
        }
        if owned {
            self.drive(now, out);
        } else if message.class == Class::Request {
            self.unmatched_requests += 1;
        }
    }

    /// Whether the peer has proved itself from this address.
    pub(super) fn is_validated(&self, remote: SocketAddr) -> bool {
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .any(|session| session.is_validated(remote))
    }

    /// From where the peer has proved itself since the last call.
    pub(super) fn take_proofs(&mut self) -> Vec<Proof> {
        let mut sessions = [&mut self.current, &mut self.previous]
            .into_iter()
            .flatten();
        let mut proofs = sessions
            .next()
            .map_or_else(Vec::new, |session| session.proofs.take());
        for session in sessions {
            proofs.append(&mut session.proofs.take());
        }
        proofs
    }

    /// Where to send now.
    pub(super) fn path(&self) -> Option<Path> {
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .find_map(|session| session.path)
    }

    pub(super) fn drive(&mut self, now: Instant, out: &mut Outbox) {
        for session in [&mut self.current, &mut self.previous]
            .into_iter()
            .flatten()
        {
            if session.drive(now) {
                self.selected_pair_changes = self.selected_pair_changes.saturating_add(1);
            }
            // A renewal that an event asked for is due at once.
            if session.poll_timeout().is_some_and(|at| at <= now) {
                session.drive(now);
            }
            while let Some((local, remote, bytes)) = session.poll_transmit() {
                out.push(local, remote, &bytes);
            }
        }
        if self
            .current
            .as_ref()
            .is_some_and(|session| session.path.is_some())
            || self
                .previous
                .as_ref()
                .is_some_and(|session| session.path.is_none())
        {
            self.previous = None;
        }
        self.derive_state();
    }

    pub(super) fn set_candidates_known(&mut self, known: bool) {
        self.candidates_known = known;
        self.derive_state();
    }

    fn derive_state(&mut self) {
        let progress = self
            .current
            .as_ref()
            .map_or(Progress::Idle, Session::progress);
        let before = self.previous.as_ref().map(Session::progress);
        let was_connected = matches!(
            self.state,
            IceConnectionState::Connected | IceConnectionState::Completed
        );
        let state = match (progress, before) {
            (Progress::Connected, _) if self.candidates_known => IceConnectionState::Completed,
            (Progress::Connected, _) | (_, Some(Progress::Connected)) => {
                IceConnectionState::Connected
            }
            (Progress::Disconnected, _) => IceConnectionState::Disconnected,
            (Progress::Checking, _) | (Progress::Idle, Some(_)) => IceConnectionState::Checking,
            (Progress::Failed, _) => IceConnectionState::Failed,
            // The old path died before the restart got anywhere.
            (Progress::Idle, None) if was_connected => IceConnectionState::Failed,
            // Nothing to check with yet: as it was.
            (Progress::Idle, None) => self.state,
        };
        self.change(state);
    }

    fn change(&mut self, state: IceConnectionState) {
        if self.state != state && self.state != IceConnectionState::Closed {
            // The states between are part of the story (webrtc-pc section 5.6.3).
            let skips_checking = self.state == IceConnectionState::New
                && state != IceConnectionState::Checking
                && state != IceConnectionState::Closed;
            if skips_checking {
                self.changes.push_back(IceConnectionState::Checking);
            }
            let skips_connected = state == IceConnectionState::Completed
                && self.state != IceConnectionState::Connected;
            if skips_connected {
                self.changes.push_back(IceConnectionState::Connected);
            }
            self.state = state;
            self.changes.push_back(state);
        }
    }

    pub(super) fn state(&self) -> IceConnectionState {
        self.state
    }

    pub(super) fn poll_change(&mut self) -> Option<IceConnectionState> {
        self.changes.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .filter_map(Session::poll_timeout)
            .min()
    }

    pub(super) fn close(&mut self) {
        self.current = None;
        self.previous = None;
        self.waiting.clear();
        self.changes.clear();
        self.state = IceConnectionState::Closed;
    }

    pub(super) fn local_credentials(&self) -> Option<&IceCredentials> {
        self.current.as_ref().map(|session| &session.local)
    }

    pub(super) fn is_controlling(&self) -> Option<bool> {
        self.current.as_ref().map(Session::is_controlling)
    }

    pub(super) fn announced(&self) -> &[Announced] {
        self.current
            .as_ref()
            .map_or(&[], |session| &session.announced)
    }

    pub(super) fn remotes(&self) -> Vec<RemoteCandidate> {
        let Some(session) = &self.current else {
            return Vec::new();
        };
        let mut all = session.remotes().to_vec();
        let told: HashSet<(IpAddr, u16)> = all
            .iter()
            .filter_map(|candidate| match candidate.host {
                Host::Address(ip) => Some((ip, candidate.port)),
                Host::Name(_) => None,
            })
            .collect();
        // Those that only the agent has learnt of, from checks.
        for known in session.agent().get_remote_candidates() {
            let address = known.addr();
            if !told.contains(&(address.ip(), address.port())) {
                all.push(RemoteCandidate {
                    foundation: known.foundation(),
                    component: 1,
                    udp: true,
                    priority: known.priority(),
                    host: Host::Address(address.ip()),
                    port: address.port(),
                    kind: CandidateKind::PeerReflexive,
                    related: None,
                    ufrag: None,
                });
            }
        }
        // Those whose name is not resolved yet.
        let waiting = self.waiting.iter().map(|waiting| &waiting.candidate);
        let unresolved = waiting.filter(|candidate| matches!(candidate.host, Host::Name(_)));
        all.extend(unresolved.cloned());
        all
    }

    pub(super) fn pairs(&self, now: Instant) -> Vec<Pair> {
        let Some(session) = &self.current else {
            return Vec::new();
        };
        let agent = session.agent();
        let by_id = |candidates: &'_ [Candidate]| -> HashMap<String, usize> {
            let ids = candidates.iter().map(|candidate| candidate.id().to_owned());
            ids.zip(0..).collect()
        };
        let (locals, remotes) = (agent.get_local_candidates(), agent.get_remote_candidates());
        let (local_ids, remote_ids) = (by_id(locals), by_id(remotes));
        // What the peer said of a candidate, which the agent may know from its checks only.
        let signalled: HashMap<SocketAddr, u32> = session
            .remotes()
            .iter()
            .filter_map(|told| match told.host {
                Host::Address(ip) => Some((SocketAddr::new(ip, told.port), told.priority)),
                Host::Name(_) => None,
            })
            .collect();
        agent
            .get_candidate_pairs_stats(now)
            .into_iter()
            .filter_map(|stats| {
                let local = locals.get(*local_ids.get(&stats.local_candidate_id)?)?;
                let remote = remotes.get(*remote_ids.get(&stats.remote_candidate_id)?)?;
                let at = remote.addr();
                let told = signalled.get(&at);
                Some(Pair {
                    local: local.base_addr(),
                    remote: at,
                    last_seen: remote.last_received(),
                    non_symmetric_responses: session.asked.non_symmetric(Path {
                        local: local.base_addr(),
                        remote: at,
                    }),
                    priority: pair_priority(
                        session.is_controlling(),
                        local.priority(),
                        told.copied().unwrap_or_else(|| remote.priority()),
                    ),
                    stats,
                })
            })
            .collect()
    }
}

/// RFC 8445 section 6.1.2.3.
fn pair_priority(controlling: bool, local: u32, remote: u32) -> u64 {
    let (g, d) = if controlling {
        (local, remote)
    } else {
        (remote, local)
    };
    (u64::from(g.min(d)) << 32) + 2 * u64::from(g.max(d)) + u64::from(g > d)
}
