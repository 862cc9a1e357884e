//! ICE (RFC 8445): sessions over restarts, candidates of both sides, the selected path.
//!
//! The agent of `rtc-ice` runs the checks. Around it: every message is authenticated before the
//! agent sees it, candidates are bounded, checks that come too early are kept, a restart runs
//! beside the session it replaces, and timers sleep when nothing is due.

mod aliases;
mod asked;
mod convert;
mod session;
mod trickle;
mod view;

use super::candidate::{self, CandidateKind};
use super::proof::Proof;
use super::stun::{Class, StunMessage};
use super::{LocalCandidate, LocalCandidateKind};
use crate::address::TransportAddress;
use crate::config::{Config, IceTcp};
use crate::outbox::Outbox;
use crate::plan::{IceCredentials, TransportPlan};
use crate::w3c::{IceConnectionState, IceRole, IceTransportPolicy, TcpType};
use rtc_crypto::RTCCryptoProvider;
use session::{Base, Progress, Session, Settings};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use trickle::Waiting;

/// Candidates that came before the credentials they belong to, or whose name is being resolved.
/// Browsers send some ten; a peer that sends thousands gets no more memory than this.
const MAX_WAITING_CANDIDATES: usize = 100;

/// Local candidates in one generation. A machine with more addresses has these.
const MAX_LOCAL_CANDIDATES: usize = 64;

/// Where datagrams go: the local socket, which says the protocol, and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub local: TransportAddress,
    pub remote: SocketAddr,
}

impl Path {
    /// The other end.
    pub(super) const fn remote(self) -> TransportAddress {
        TransportAddress {
            protocol: self.local.protocol,
            address: self.remote,
        }
    }
}

/// A candidate of ours and what was told about it.
#[derive(Clone)]
pub(super) struct Announced {
    pub candidate: LocalCandidate,
    pub foundation: String,
    pub priority: u32,
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
                tcp: IceTcp {
                    // RFC 6544 section 4.1: a lite agent does not connect.
                    active: config.ice_tcp.active && !config.ice_lite,
                    passive: config.ice_tcp.passive,
                },
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

    /// Adds a candidate of ours and returns its attribute, unless it is not to be told.
    pub(super) fn add_local(
        &mut self,
        now: Instant,
        local: &LocalCandidate,
        out: &mut Outbox,
    ) -> Option<String> {
        let relay = matches!(local.kind, LocalCandidateKind::Relay(_));
        let hidden = (self.relay_only && !relay)
            || (self.settings.lite
                && (local.kind != LocalCandidateKind::Host
                    || local.tcp_type == Some(TcpType::Active)));
        let session = self.current.as_mut()?;
        let known = session.announced.iter().any(|other| {
            other.candidate.address == local.address && other.candidate.tcp_type == local.tcp_type
        });
        let full = session.announced.len() >= MAX_LOCAL_CANDIDATES;
        if hidden || known || full || !candidate::is_usable(local.address.ip()) {
            return None;
        }
        // RFC 8445 section 6.1.2.4: checks go out from the base, so a reflexive candidate adds
        // no pair that its base has not got. A relayed candidate is its own base.
        let address = local.local();
        let alike: Vec<_> = session
            .bases()
            .iter()
            .filter(|known| known.relay == relay && known.tcp_type == local.tcp_type)
            .map(|known| known.address)
            .collect();
        let interface = alike
            .iter()
            .position(|known| *known == address)
            .unwrap_or(alike.len());
        let kind = CandidateKind::from(local.kind);
        let priority = candidate::priority(kind, local.tcp_type, interface);
        let base_kind = if relay {
            CandidateKind::Relay
        } else {
            CandidateKind::Host
        };
        session.add_base(
            now,
            Base {
                address,
                relay,
                tcp_type: local.tcp_type,
                priority: candidate::priority(base_kind, local.tcp_type, interface),
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

    /// A STUN datagram.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        local: TransportAddress,
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
                session.handle(now, Path { local, remote }, &message, datagram);
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

    /// Whether the peer has proved itself from the other end of this path.
    pub(super) fn is_validated(&self, path: Path) -> bool {
        [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .any(|session| session.is_validated(path.remote()))
    }

    /// A TCP connection is gone: where it was the selected pair, another one is looked for.
    pub(super) fn connection_lost(&mut self, now: Instant, path: Path, out: &mut Outbox) {
        for session in [&mut self.current, &mut self.previous]
            .into_iter()
            .flatten()
        {
            session.connection_lost(now, path);
        }
        self.drive(now, out);
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
            while let Some((path, bytes)) = session.poll_transmit(now) {
                out.push(path.local, path.remote, &bytes);
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
}
