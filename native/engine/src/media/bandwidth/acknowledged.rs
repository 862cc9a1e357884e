//! How fast packets arrive at the peer, by its own clock: `R_hat` of draft-ietf-rmcat-gcc-02
//! section 5.5. Each window gives one sample; how much it weighs depends on how far it is from
//! what was known (a filter of Bayes): one odd window moves little, three in a row move it all.

/// The first window, and those behind it, in microseconds.
const FIRST_WINDOW: i64 = 500_000;
const WINDOW: i64 = 150_000;
/// A pause after which nothing is known any more.
const MAX_PAUSE: i64 = 2_000_000;
/// How much a deviation makes a sample doubtful.
const DOUBT: f64 = 10.0;
/// What the variance of the estimate grows by in a window, in (kbit/s)², and where it starts.
const DRIFT: f64 = 5.0;
const FIRST_VARIANCE: f64 = 50.0;

/// The rate of arrivals.
#[derive(Debug, Default)]
pub(super) struct AcknowledgedRate {
    began: Option<i64>,
    last: i64,
    bytes: usize,
    /// In kbit/s, with its variance.
    estimate: Option<(f64, f64)>,
}

impl AcknowledgedRate {
    /// Bits per second; `None` until a first window is full.
    pub(super) fn bits_per_second(&self) -> Option<f64> {
        self.estimate.map(|(rate, _)| rate * 1000.0)
    }

    /// A packet arrived, at a time of the peer's clock in microseconds.
    pub(super) fn arrived(&mut self, arrival: i64, size: usize) {
        if self.began.is_some() && (arrival - self.last).abs() > MAX_PAUSE {
            *self = Self::default();
        }
        let began = *self.began.get_or_insert(arrival);
        self.last = self.last.max(arrival);
        let window = if self.estimate.is_some() {
            WINDOW
        } else {
            FIRST_WINDOW
        };
        let elapsed = arrival - began;
        if elapsed >= window {
            // The window ends with this packet, which is the first of the next one. One that is
            // longer, since few packets come, has fewer bytes in the same time.
            let rate = self.bytes as f64 * 8000.0 / elapsed as f64;
            self.take(rate);
            self.began = Some(arrival);
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(size);
    }

    fn take(&mut self, sample: f64) {
        let Some((rate, variance)) = self.estimate else {
            self.estimate = Some((sample, FIRST_VARIANCE));
            return;
        };
        let doubt = DOUBT * (rate - sample).abs() / (rate + sample).max(1.0);
        let doubt = (doubt * doubt).max(f64::MIN_POSITIVE);
        let variance = variance + DRIFT;
        let sum = doubt + variance;
        self.estimate = Some((
            (doubt * rate + variance * sample) / sum,
            doubt * variance / sum,
        ));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(rate: &mut AcknowledgedRate, from: i64, millis: i64, bits_per_second: i64) {
        for at in (0..millis).step_by(10) {
            let bytes = bits_per_second / 8 / 100;
            rate.arrived(from + at * 1000, bytes as usize);
        }
    }

    #[test]
    fn a_steady_stream_is_measured() {
        let mut rate = AcknowledgedRate::default();
        stream(&mut rate, 0, 400, 1_000_000);
        assert_eq!(rate.bits_per_second(), None);
        stream(&mut rate, 400_000, 600, 1_000_000);
        assert!((rate.bits_per_second().unwrap() / 1e6 - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_change_is_followed_within_a_second() {
        let mut rate = AcknowledgedRate::default();
        stream(&mut rate, 0, 3000, 2_000_000);
        stream(&mut rate, 3_000_000, 950, 500_000);
        assert!((rate.bits_per_second().unwrap() / 5e5 - 1.0).abs() < 0.2);
    }

    #[test]
    fn a_pause_leaves_nothing_known() {
        let mut rate = AcknowledgedRate::default();
        stream(&mut rate, 0, 1000, 1_000_000);
        rate.arrived(5_000_000, 100);
        assert_eq!(rate.bits_per_second(), None);
    }
}
