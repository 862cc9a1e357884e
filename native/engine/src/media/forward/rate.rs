//! How much a stream carries, over the last second.

use std::time::{Duration, Instant};

/// The second is counted in parts, of which the oldest is forgotten as a new one begins.
const PARTS: usize = 8;
const PART: Duration = Duration::from_millis(125);

/// A rate is not told from less than this: the first frames of a stream are its largest.
const LEAST: Duration = Duration::from_millis(250);

/// Bytes of the last second.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    bytes: [u64; PARTS],
    began: Instant,
    /// The part that is being counted, since `began`.
    part: u64,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: [0; PARTS],
            began: now,
            part: 0,
        }
    }

    fn part_of(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.began).as_nanos() / PART.as_nanos()) as u64
    }

    pub(super) fn add(&mut self, now: Instant, bytes: usize) {
        let part = self.part_of(now);
        let skipped = part.saturating_sub(self.part).min(PARTS as u64);
        for ahead in 0..skipped {
            if let Some(slot) = self.bytes.get_mut(((part - ahead) % PARTS as u64) as usize) {
                *slot = 0;
            }
        }
        self.part = self.part.max(part);
        if let Some(slot) = self.bytes.get_mut((part % PARTS as u64) as usize) {
            *slot += bytes as u64;
        }
    }

    /// Bits per second.
    pub(super) fn bits_per_second(&self, now: Instant) -> u64 {
        let part = self.part_of(now);
        let fresh = (self.part + 1).saturating_sub(PARTS as u64)..=self.part;
        let counted: u64 = fresh
            .filter(|counted| counted + (PARTS as u64) > part)
            .filter_map(|counted| self.bytes.get((counted % PARTS as u64) as usize))
            .sum();
        let window = PART * (PARTS as u32 - 1) + PART / 2;
        let age = now.saturating_duration_since(self.began);
        let over = age.clamp(LEAST, window);
        counted.saturating_mul(8_000_000) / over.as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_a_silent_one_loses_it() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let mut now = start;
        for _ in 0..300 {
            rate.add(now, 1250);
            now += Duration::from_millis(10);
        }
        let bits = rate.bits_per_second(now);
        assert!((900_000..1_100_000).contains(&bits), "{bits}");
        assert_eq!(rate.bits_per_second(now + Duration::from_secs(2)), 0);
        rate.add(now + Duration::from_secs(20), 1250);
        let bits = rate.bits_per_second(now + Duration::from_secs(20));
        assert!(bits < 15_000, "{bits}: what was before is forgotten");
    }
}
