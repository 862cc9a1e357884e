//! How much of what is sent may be repairs. A path that is too narrow loses packets; answering every
//! request at once would fill what is left of it with repairs, of which some are lost again.

use std::time::Instant;

/// The share of the estimate that repairs may take: they are worth more than what is new, up to
/// the point where nothing new arrives.
const SHARE: f64 = 0.5;
/// What they may take however low the estimate is, in bits per second: an audio stream's worth.
const LEAST: f64 = 100_000.0;
/// What was not used before is kept for so long, in seconds.
const KEPT: f64 = 0.3;
/// Some packets may be repaired at any time.
const LEAST_KEPT: f64 = 10.0 * 1200.0;

/// A token bucket.
#[derive(Debug, Default)]
pub(super) struct RepairBudget {
    bytes: f64,
    filled: Option<Instant>,
}

impl RepairBudget {
    /// Whether there is something left, at this estimate in bits per second.
    pub(super) fn is_left(&mut self, now: Instant, estimate: f64) -> bool {
        let rate = (SHARE * estimate).max(LEAST) / 8.0;
        let most = (rate * KEPT).max(LEAST_KEPT);
        let elapsed = match self.filled.replace(now) {
            Some(then) => now.saturating_duration_since(then).as_secs_f64(),
            None => KEPT.max(most / rate),
        };
        self.bytes = (self.bytes + rate * elapsed).min(most);
        self.bytes > 0.0
    }

    /// A repair was sent.
    pub(super) fn spend(&mut self, size: usize) {
        self.bytes -= size as f64;
    }
}
