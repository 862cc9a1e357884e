//! The round trip to the peer, as repairs are timed by.

use std::time::Duration;

/// Smoothed as in RFC 6298 section 2.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip(Option<Duration>);

impl RoundTrip {
    /// A measurement: a receiver report's, or the time from a NACK to its repair.
    pub(super) fn measured(&mut self, sample: Duration) {
        self.0 = Some(match self.0 {
            None => sample,
            Some(smoothed) => smoothed.mul_f32(0.875) + sample.mul_f32(0.125),
        });
    }

    /// The estimate; `None` before the first measurement.
    pub(super) fn get(&self) -> Option<Duration> {
        self.0
    }
}
