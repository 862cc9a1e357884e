//! The clock that SCTP is told.
//!
//! The SCTP crate has RFC 9260's wide-area timers built in: RTO.Initial and RTO.Min of one second,
//! a delayed SACK of 200 ms. On a path of a few milliseconds a lost tail would then stall a
//! channel for a second. The crate reads no clock, so it is given one that runs faster than real
//! time by a factor that the measured path allows: every one of its timers shrinks by it, and
//! what it measures stays consistent with what it waits for.

use std::time::{Duration, Instant};

/// Least retransmission time-out on a path without delay. Above the 200 ms that a peer may delay
/// a SACK (RFC 9260 section 6.2), so that a lone packet is not sent twice.
const LEAST_RTO: Duration = Duration::from_millis(250);
/// RTO.Min of the crate, in its own time (RFC 9260 section 16).
const CRATE_RTO: Duration = Duration::from_secs(1);
/// Rate while nothing is measured yet: INIT is repeated after 500 ms.
const HANDSHAKE_RATE: u64 = 2_000;

/// Maps real instants to the crate's and back. Both are monotone and change of rate is seamless.
#[derive(Debug)]
pub(super) struct Clock {
    real: Instant,
    told: Instant,
    /// Thousandths: 1,000 is real time.
    rate: u64,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            real: now,
            told: now,
            rate: HANDSHAKE_RATE,
        }
    }

    /// What the crate is told when it is `now`.
    pub(super) fn told(&self, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(self.real);
        self.told + scale(passed, self.rate, 1_000)
    }

    /// When it will really be `told`; rounded up, so that the crate finds its timer due.
    pub(super) fn real(&self, told: Instant) -> Instant {
        let ahead = told.saturating_duration_since(self.told);
        self.real + scale(ahead, 1_000, self.rate) + Duration::from_nanos(1)
    }

    /// Settles the rate for a path with this round trip.
    pub(super) fn measured(&mut self, now: Instant, round_trip: Duration) {
        let rto = (LEAST_RTO + round_trip * 2).min(CRATE_RTO);
        self.told = self.told(now);
        self.real = now;
        self.rate = (CRATE_RTO.as_micros() * 1_000 / rto.as_micros().max(1)) as u64;
    }

    /// Real milliseconds in the crate's.
    pub(super) fn told_millis(&self, millis: u16) -> u32 {
        (u64::from(millis) * self.rate / 1_000) as u32
    }
}

fn scale(duration: Duration, by: u64, over: u64) -> Duration {
    let nanos = duration.as_nanos() * u128::from(by) / u128::from(over.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_of_the_crate_is_due_when_its_real_instant_comes() {
        let base = Instant::now();
        let mut clock = Clock::new(base);
        for (step, round_trip) in [(0, 0), (777, 30), (1_234, 75), (5_000, 2_000)] {
            let now = base + Duration::from_millis(step);
            clock.measured(now, Duration::from_millis(round_trip));
            let due = clock.told(now) + Duration::from_nanos(1_000_000_007);
            let real = clock.real(due);
            assert!(clock.told(real) >= due);
            assert!(clock.told(real) < due + Duration::from_micros(1));
        }
    }

    #[test]
    fn the_least_time_out_follows_the_round_trip() {
        let base = Instant::now();
        for (round_trip, least) in [(0, 250), (75, 400), (1_000, 1_000)] {
            let mut clock = Clock::new(base);
            clock.measured(base, Duration::from_millis(round_trip));
            let real = clock.real(clock.told(base) + CRATE_RTO) - base;
            assert_eq!(real.as_millis(), least);
        }
    }
}
