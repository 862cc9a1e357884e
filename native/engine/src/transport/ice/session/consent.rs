//! Consent (RFC 7675): when the selected pair counts as silent, when it may no longer be used, and
//! how another one is found under the same credentials.

use super::{CHECK_INTERVAL, Check, MAX_CHECK_INTERVAL, Session};
use crate::transport::ice::Path;
use crate::transport::ice::convert::add_remote;
use rtc_ice::state::ConnectionState;
use std::time::{Duration, Instant};

/// Silence after which the pair counts as disconnected, and how long it may stay so: consent ends
/// 30 s after the last answer (RFC 7675 section 5.1).
pub(super) const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
pub(super) const FAILED_AFTER: Duration = Duration::from_secs(25);

/// Consent checks: RFC 7675 section 5.1 wants at most 5 s between them, varied by a fifth.
pub(super) const KEEPALIVE: Duration = Duration::from_millis(2_000);
pub(super) const KEEPALIVE_SPREAD_MS: u64 = 800;

impl Session {
    /// Looks for a pair again with the candidates at hand. Media stays on the old one meanwhile.
    pub(super) fn renew(&mut self, now: Instant) {
        let Some(remote) = self.remote.clone() else {
            return;
        };
        self.controlling = self.agent.role();
        let restarted = self
            .agent
            .restart(now, self.local.ufrag.clone(), self.local.pwd.clone(), true)
            .and_then(|()| {
                self.agent.start_connectivity_checks(
                    now,
                    self.controlling,
                    remote.ufrag,
                    remote.pwd,
                )
            });
        if let Err(error) = restarted {
            log::warn!("ICE could not look again: {error}");
            return;
        }
        for candidate in &self.remotes {
            add_remote(&mut self.agent, &mut self.aliases, candidate);
        }
        self.renewing = true;
        self.hasten(now);
    }

    /// The peer does not nominate again what it believes selected, so its word is recalled until
    /// our own check of that pair has succeeded. Its answer to us is one the peer drops.
    pub(super) fn follow_nomination(&mut self, now: Instant) {
        if self.renewing
            && !self.agent.role()
            && self.agent.state() == ConnectionState::Checking
            && let Some(Check { path, bytes }) = self.nomination.clone()
        {
            self.deliver(now, path, false, &bytes);
        }
    }

    /// RFC 7675 section 5.1. True when consent was lost.
    pub(super) fn watch_consent(&mut self, now: Instant) -> bool {
        let selected = matches!(
            self.agent.state(),
            ConnectionState::Connected | ConnectionState::Disconnected
        );
        let Some(heard) = self.heard().filter(|_| selected) else {
            return false;
        };
        let silence = now.saturating_duration_since(heard);
        self.silent = self.broken || silence > DISCONNECTED_AFTER;
        if silence > DISCONNECTED_AFTER + FAILED_AFTER {
            self.expired = true;
            self.next_contact = None;
            return self.path.take().is_some();
        }
        // The controlling side chooses again; the controlled one goes where it was led.
        let elsewhere = self.agent.role() || self.nomination.is_some();
        if self.silent && elsewhere && !self.lite {
            self.renew(now);
        }
        false
    }

    /// A TCP connection is gone: where it carried the selected pair, that pair has failed, and
    /// nobody need wait to hear its silence. The connection may come back, as the peer's next one.
    pub(in crate::transport::ice) fn connection_lost(&mut self, now: Instant, path: Path) {
        if self.path == Some(path) {
            self.broken = true;
            self.next_contact = Some(now);
        }
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        let (_, remote) = self.agent.get_selected_candidate_pair()?;
        if self.lite {
            // It sends no checks, so requests are all there is.
            return remote.last_received();
        }
        self.last_answer
    }

    pub(super) fn following_contact(&self, now: Instant) -> Option<Instant> {
        match self.agent.state() {
            ConnectionState::New | ConnectionState::Checking => {
                let gap = CHECK_INTERVAL * 2_u32.saturating_pow(self.round.min(8) / 2);
                Some(
                    now + gap
                        .clamp(CHECK_INTERVAL, MAX_CHECK_INTERVAL)
                        .max(self.pace()),
                )
            }
            ConnectionState::Connected
            | ConnectionState::Disconnected
            | ConnectionState::Completed => {
                let spread = Duration::from_millis(rand::random::<u64>() % KEEPALIVE_SPREAD_MS);
                let keepalive =
                    now + KEEPALIVE - Duration::from_millis(KEEPALIVE_SPREAD_MS / 2) + spread;
                let heard = self.heard();
                // The moment silence turns into a state is not left to the next keepalive.
                let verdict = heard.and_then(|heard| {
                    [DISCONNECTED_AFTER, DISCONNECTED_AFTER + FAILED_AFTER]
                        .into_iter()
                        .map(|limit| heard + limit + Duration::from_millis(1))
                        .find(|at| *at > now)
                });
                Some(verdict.map_or(keepalive, |at| at.min(keepalive)))
            }
            _ => None,
        }
    }
}
