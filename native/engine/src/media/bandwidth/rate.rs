//! From signals to a rate: the controller of draft-ietf-rmcat-gcc-02 sections 5.5 and 6. Additive
//! increase near the rate at which the path was last full, multiplicative increase far from it,
//! decrease to a share of what arrives.
//!
//! Delay and loss move one and the same estimate here; the draft keeps two and takes the lower. A
//! path with a short queue then also is approached gently where loss showed its limit, and random
//! loss below ten percent takes nothing away.

use super::delay::Usage;

/// What an estimate can be, in bits per second. The lower is what libwebrtc allows as well: an
/// audio stream at its lowest; the upper keeps a peer that lies from doing so in absurd numbers.
pub(super) const MIN_RATE: f64 = 5_000.0;
pub(super) const MAX_RATE: f64 = 2e9;
/// The first estimate, before anything is known.
pub(super) const START_RATE: f64 = 300_000.0;
/// What an overused path is left with of what arrives (`beta`, section 5.5).
const DECREASE: f64 = 0.85;
/// Growth in a second while the capacity is not known (`eta`, section 5.5).
const GROWTH: f64 = 1.08;
/// The same near the capacity, on top of half a packet in a response time. The draft has only
/// that, which would take a minute to make up for one decrease at 5 Mbit/s.
const GROWTH_NEAR: f64 = 1.01;
/// What is not sent cannot be known to arrive (section 5.5): so much above what arrives, and no more.
const HEADROOM: f64 = 1.5;
const HEADROOM_BITS: f64 = 10_000.0;
/// A packet, in bits.
const PACKET: f64 = 1200.0 * 8.0;
/// What a response takes beyond the round trip (section 5.5), in seconds.
const RESPONSE: f64 = 0.1;
/// An estimate is raised to what arrives this long after a decrease: what arrives before it was
/// sent before it. In microseconds.
const SETTLING: i64 = 1_000_000;
/// Growth is counted over at most this time, in microseconds: after a pause it starts slowly.
const MAX_STEP: i64 = 500_000;
/// Loss below which the rate may grow again after loss has lowered it, and above which it is
/// lowered (section 6).
const LITTLE_LOSS: f64 = 0.02;
const MUCH_LOSS: f64 = 0.1;
/// Some paths always lose a little: after this time it is tried again. In microseconds.
const LOSS_HOLD: i64 = 5_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hold,
    Increase,
}

/// What is known of the rate at which the path was full: the mean of the rates that arrived when
/// it was overused, and their normalised variance.
#[derive(Clone, Copy, Debug, Default)]
struct Capacity(Option<(f64, f64)>);

impl Capacity {
    const SMOOTHING: f64 = 0.05;
    /// Of the variance over the mean, in kbit/s.
    const BOUNDS: (f64, f64) = (0.4, 2.5);

    /// Three standard deviations.
    fn spread((mean, variance): (f64, f64)) -> f64 {
        3.0 * (variance * mean).sqrt()
    }

    fn full_at(&mut self, rate: f64) {
        let rate = rate / 1000.0;
        let known = self
            .0
            .filter(|known| rate >= known.0 - Self::spread(*known));
        let Some((mean, variance)) = known else {
            self.0 = Some((rate, Self::BOUNDS.0));
            return;
        };
        let weight = Self::SMOOTHING;
        let mean = (1.0 - weight) * mean + weight * rate;
        let deviation = (rate - mean) * (rate - mean) / mean.max(1.0);
        let variance = (1.0 - weight) * variance + weight * deviation;
        self.0 = Some((mean, variance.clamp(Self::BOUNDS.0, Self::BOUNDS.1)));
    }

    /// More arrives than what the path was full with: it is another path now.
    fn forget_below(&mut self, rate: f64) {
        if self
            .0
            .is_some_and(|known| rate / 1000.0 > known.0 + Self::spread(known))
        {
            self.0 = None;
        }
    }

    fn mean(&self) -> Option<f64> {
        self.0.map(|(mean, _)| mean * 1000.0)
    }
}

/// What the controller is told with each feedback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    /// What the queue does.
    pub(super) usage: Usage,
    /// What arrives, in bits per second.
    pub(super) acknowledged: Option<f64>,
    /// What is sent, in bits per second.
    pub(super) sent: Option<f64>,
    /// In microseconds.
    pub(super) round_trip: i64,
}

/// The controller.
#[derive(Debug)]
pub(super) struct RateControl {
    rate: f64,
    phase: Phase,
    capacity: Capacity,
    grown: Option<i64>,
    decreased: Option<i64>,
    /// When loss lowered the rate, until it may grow again.
    lossy: Option<i64>,
}

impl RateControl {
    pub(super) fn new() -> Self {
        Self {
            rate: START_RATE,
            phase: Phase::Increase,
            capacity: Capacity::default(),
            grown: None,
            decreased: None,
            lossy: None,
        }
    }

    /// Bits per second, between [`MIN_RATE`] and [`MAX_RATE`].
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether the rate is far from what the path was full with, as far as is known, and growing.
    pub(super) fn is_open(&self, now: i64) -> bool {
        self.phase == Phase::Increase
            && self.capacity.mean().is_none()
            && self.lossy.is_none()
            && self.decreased.is_none_or(|then| now - then > SETTLING)
    }

    /// Takes what feedback told; `now` in microseconds.
    pub(super) fn observe(&mut self, now: i64, seen: &Observation) {
        match seen.usage {
            Usage::Over => {
                if self.may_decrease(now, seen) {
                    self.overused(now, seen.acknowledged);
                }
                self.phase = Phase::Hold;
            }
            Usage::Under => self.phase = Phase::Hold,
            Usage::Normal if self.phase == Phase::Hold => {
                self.phase = Phase::Increase;
                self.grown = Some(now);
            }
            Usage::Normal => self.grow(now, seen),
        }
    }

    /// Takes the share of packets that was lost in a window.
    pub(super) fn lost(&mut self, now: i64, share: f64, acknowledged: Option<f64>) {
        if share > MUCH_LOSS {
            if let Some(acknowledged) = acknowledged {
                self.capacity.full_at(acknowledged);
            }
            self.set(self.rate * (1.0 - 0.5 * share.min(1.0)));
            self.decreased = Some(now);
            self.lossy = Some(now);
        } else if share < LITTLE_LOSS {
            self.lossy = None;
        }
    }

    /// A probe arrived at this rate: the path takes it.
    pub(super) fn probed(&mut self, now: i64, rate: f64) {
        if rate > self.rate {
            self.set(rate);
            self.capacity.forget_below(rate);
            self.grown = Some(now);
        }
    }

    /// Nothing is heard from the peer although packets are sent.
    pub(super) fn unheard(&mut self, now: i64) {
        self.set(self.rate * DECREASE);
        self.decreased = Some(now);
    }

    /// Whether packets of a decrease can have arrived since the last one.
    fn may_decrease(&self, now: i64, seen: &Observation) -> bool {
        let response = match seen.acknowledged {
            Some(_) => seen.round_trip.clamp(10_000, 200_000),
            None => SETTLING,
        };
        self.decreased.is_none_or(|then| now - then > response)
            || seen
                .acknowledged
                .is_some_and(|acknowledged| acknowledged < 0.5 * self.rate)
    }

    fn overused(&mut self, now: i64, acknowledged: Option<f64>) {
        let Some(arriving) = acknowledged else {
            // Too soon to know more: section 5.5 has nothing to go by either.
            self.set(self.rate * DECREASE);
            self.decreased = Some(now);
            return;
        };
        let lowered = DECREASE * arriving;
        let of_capacity = self.capacity.mean().map(|mean| DECREASE * mean);
        // More may arrive than the estimate, while a queue of before drains.
        let lowered = match of_capacity {
            Some(of_capacity) if lowered > self.rate => of_capacity,
            _ => lowered,
        };
        self.capacity.full_at(arriving);
        self.set(lowered.min(self.rate));
        self.decreased = Some(now);
    }

    fn grow(&mut self, now: i64, seen: &Observation) {
        let since = now - self.grown.unwrap_or(now);
        self.grown = Some(now);
        if let Some(held) = self.lossy {
            if now - held < LOSS_HOLD {
                return;
            }
            self.lossy = None;
        }
        let Some(arriving) = seen.acknowledged else {
            return;
        };
        self.capacity.forget_below(arriving);
        let seconds = since.clamp(0, MAX_STEP) as f64 / 1e6;
        let grown = if self.capacity.mean().is_some() {
            let response = seen.round_trip.max(0) as f64 / 1e6 + RESPONSE;
            self.rate * GROWTH_NEAR.powf(seconds) + 0.5 * PACKET / response * seconds
        } else {
            self.rate * GROWTH.powf(seconds) + 1000.0 * seconds
        };
        let most = HEADROOM * arriving + HEADROOM_BITS;
        let mut rate = self.rate.max(grown.min(most));
        if self.decreased.is_none_or(|then| now - then > SETTLING) {
            // A program that does not keep to the estimate shows that more is there.
            let delivered = seen.sent.map_or(0.0, |sent| sent.min(arriving));
            rate = rate.max(delivered);
        }
        self.set(rate);
    }

    fn set(&mut self, rate: f64) {
        self.rate = rate.clamp(MIN_RATE, MAX_RATE);
    }
}
