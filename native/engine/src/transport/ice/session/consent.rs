//! Consent (RFC 7675): when the selected pair counts as silent, when it may no longer be used, and
//! how another one is found under the same credentials.

use super::{CHECK_INTERVAL, Check, MAX_CHECK_INTERVAL, Session};
use crate::transport::ice::Path;
use crate::transport::ice::convert::add_remote;
use rtc_ice::state::ConnectionState;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Consent ends 30 s after the last answer (RFC 7675 section 5.1).
pub(super) const CONSENT: Duration = Duration::from_secs(30);

/// The time between consent checks: 5 s, varied by a fifth (RFC 7675 section 5.1), from and to
/// in milliseconds. A controlled agent answers a check with one of its own (RFC 8445 section
/// 7.3.1.4). So where both wait for different times, one timer makes the checks of both sides, and
/// each is woken twice for them instead of three times.
const CONTROLLING_INTERVAL: Range<u64> = 4_000..5_400;
const CONTROLLED_INTERVAL: Range<u64> = 5_500..6_000;

/// A check without an answer is repeated this often, and the pair counts as disconnected when the
/// answer is missing for so long: the silence is then one of 6 to 8 s.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const DISCONNECTED_UNANSWERED: Duration = Duration::from_secs(2);

/// A lite agent sends no checks (RFC 8445 section 2.5): it counts as disconnected without the
/// peer's, which come as far apart as ours, and one may be lost.
pub(super) const LITE_DISCONNECTED_AFTER: Duration = Duration::from_secs(8);

/// How often an agent whose pair is disconnected looks whether it is back.
const DISCONNECTED_INTERVAL: Duration = Duration::from_secs(2);

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
        let Some(heard) = self.heard().filter(|_| self.is_selected()) else {
            return false;
        };
        self.silent = self.broken || self.disconnected_at().is_some_and(|at| at <= now);
        if heard + CONSENT < now {
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

    /// Whether the agent has a pair to send on.
    fn is_selected(&self) -> bool {
        matches!(
            self.agent.state(),
            ConnectionState::Connected | ConnectionState::Disconnected
        )
    }

    /// When the pair counts as disconnected, if nothing is heard until then.
    fn disconnected_at(&self) -> Option<Instant> {
        if self.lite {
            return self.heard().map(|heard| heard + LITE_DISCONNECTED_AFTER);
        }
        self.unanswered.map(|since| since + DISCONNECTED_UNANSWERED)
    }

    /// A check leaves on the selected pair.
    pub(super) fn checking(&mut self, now: Instant, path: Path) {
        if self.path == Some(path) && self.is_selected() {
            self.last_contact = Some(now);
            if self.unanswered.is_none() {
                self.unanswered = Some(now);
                self.next_contact = self.following_contact(now);
            }
        }
    }

    /// The selected pair has answered a check: that is consent.
    pub(super) fn answered(&mut self, now: Instant) {
        self.last_answer = Some(now);
        self.silent = false;
        self.broken = false;
        if self.unanswered.take().is_some() && self.is_selected() {
            self.next_contact = self.following_contact(now);
        }
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
                let next = if self.silent {
                    DISCONNECTED_INTERVAL
                } else if self.unanswered.is_some() {
                    RETRY_INTERVAL
                } else {
                    let range = if self.agent.role() {
                        CONTROLLING_INTERVAL
                    } else {
                        CONTROLLED_INTERVAL
                    };
                    let spread = rand::random::<u64>() % (range.end - range.start);
                    Duration::from_millis(range.start + spread)
                };
                // The moment silence turns into a state is not left to the next check.
                let failed = self.heard().map(|heard| heard + CONSENT);
                let verdict = [self.disconnected_at(), failed]
                    .into_iter()
                    .flatten()
                    .map(|at| at + Duration::from_millis(1))
                    .filter(|at| *at > now)
                    .min();
                Some(verdict.map_or(now + next, |at| at.min(now + next)))
            }
            _ => None,
        }
    }
}
