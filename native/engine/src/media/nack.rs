//! Which packets are missing, and when to ask for them (RFC 4585 section 6.2.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets that may be asked for at one time. A longer outage is a matter for a keyframe.
const MAX_MISSING: usize = 512;
/// A packet may be overtaken by this much before it counts as lost.
const REORDERING: Duration = Duration::from_millis(10);
/// Requests that are due this soon go with the ones that are due now.
const SLACK: Duration = Duration::from_millis(3);
/// Requests for one packet; browsers give up after ten as well.
const MAX_REQUESTS: u8 = 10;
/// A packet this late is of no use to anyone who watches.
const MAX_AGE: Duration = Duration::from_secs(2);
/// The round trip until one was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct Missing {
    index: u64,
    requests: u8,
    noticed: Instant,
    requested: Instant,
    due: Instant,
}

/// The missing packets of one stream, by extended sequence number.
#[derive(Debug, Default)]
pub(super) struct NackGenerator {
    missing: VecDeque<Missing>,
}

impl NackGenerator {
    /// Packets `from..to` were skipped.
    pub(super) fn skipped(&mut self, now: Instant, from: u64, to: u64) {
        let from = from.max(to.saturating_sub(MAX_MISSING as u64));
        for index in from..to {
            if self.missing.len() == MAX_MISSING {
                self.missing.pop_front();
            }
            let due = now + REORDERING;
            self.missing.push_back(Missing {
                index,
                requests: 0,
                noticed: now,
                requested: now,
                due,
            });
        }
    }

    /// A packet came after all. If it was asked for exactly once: the time since then, which is
    /// one round trip.
    pub(super) fn arrived(&mut self, now: Instant, index: u64) -> Option<Duration> {
        let at = self
            .missing
            .binary_search_by_key(&index, |missing| missing.index)
            .ok()?;
        let missing = self.missing.remove(at)?;
        (missing.requests == 1).then(|| now.saturating_duration_since(missing.requested))
    }

    /// Whether this sequence number is missing.
    pub(super) fn wants(&self, sequence_number: u16) -> bool {
        self.missing
            .iter()
            .any(|missing| missing.index as u16 == sequence_number)
    }

    /// Forgets everything: the stream is started over, or nobody repairs it any more.
    pub(super) fn clear(&mut self) {
        self.missing = VecDeque::new();
    }

    /// When the newest missing packet will be asked for first; cheap enough for every packet.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.missing
            .back()
            .filter(|newest| newest.requests == 0)
            .map(|newest| newest.due)
    }

    /// When [`Self::take_due`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.due).min()
    }

    /// What to ask for now, in order. Each is due again after one and a half round trips, so a
    /// repair that is under way is not asked for twice.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        requests: &mut Vec<u16>,
    ) {
        let round_trip = round_trip
            .unwrap_or(UNKNOWN_ROUND_TRIP)
            .clamp(Duration::from_millis(15), Duration::from_millis(600));
        let again = now + round_trip.mul_f32(1.5) + Duration::from_millis(5);
        self.missing.retain_mut(|missing| {
            if missing.due > now + SLACK {
                return true;
            }
            let too_old = now.saturating_duration_since(missing.noticed) > MAX_AGE;
            if missing.requests == MAX_REQUESTS || too_old {
                return false;
            }
            missing.requests += 1;
            missing.requested = now;
            missing.due = again;
            requests.push(missing.index as u16);
            true
        });
        if self.missing.is_empty() {
            self.missing = VecDeque::new();
        }
    }
}
