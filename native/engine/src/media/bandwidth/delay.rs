//! Whether the way to the peer is getting longer: the delay-based half of Google congestion
//! control (draft-ietf-rmcat-gcc-02 section 5). Packets that left together are one group
//! (section 5.2); what each group was later than the one before it, summed up and smoothed, is
//! fitted with a straight line, as browsers do in the place of the draft's Kalman filter; its
//! slope is compared with a threshold that adapts itself (section 5.4), so that a flow is not
//! starved by ones that fill the queue.

use std::collections::VecDeque;

/// Packets that were sent within this are one group (`burst_time` of section 5.2).
const BURST: i64 = 5_000;
/// A burst that a queue let go at once counts as one group for so long.
const MAX_BURST: i64 = 100_000;
/// Groups that the line is fitted through.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// A slope is scaled by the number of groups it rests on, up to this, and by this gain, so that
/// it compares with a threshold in milliseconds.
const MAX_GROUPS: u32 = 60;
const GAIN: f64 = 4.0;
/// How fast the threshold follows a slope above and below it, per millisecond.
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
/// Where the threshold starts, and its bounds (section 5.4), in milliseconds.
const FIRST_THRESHOLD: f64 = 12.5;
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
/// A slope so far above the threshold is a change of route and not taken into it (section 5.4).
const MAX_ADAPTATION: f64 = 15.0;
/// How long the slope must be too steep (`overuse_time_th`, section 5.4), in microseconds.
const OVERUSE_TIME: i64 = 10_000;
/// A queue that grows by so much, in milliseconds, over so many groups in a row is too much at once.
/// Of frames of video there are thirty a second: the line would need half a second to rise, in which
/// the queue overflows. A packet that was held up on the way is followed by others that were not, and
/// what a keyframe or a probe adds to a queue is less.
const STEEP_RISE: f64 = 100.0;
const STEEP_GROUPS: u32 = 3;
/// A jump of the peer's clock, or of ours, in microseconds: everything starts anew.
const MAX_JUMP: i64 = 3_000_000;
/// Groups in a row that seem to have arrived before their predecessor: the peer's clock moved.
const MAX_REORDERED: u32 = 3;

/// What the queue on the way does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// It keeps its length.
    #[default]
    Normal,
    /// It grows: more is sent than the path takes.
    Over,
    /// It drains.
    Under,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
    bytes: usize,
}

/// The filter and the detector.
#[derive(Debug)]
pub(super) struct DelayTrend {
    current: Option<Group>,
    previous: Option<Group>,
    reordered: u32,
    groups: u32,
    accumulated: f64,
    /// What the last groups, each of them later than the one before it, add up to.
    rise: f64,
    rising: u32,
    /// What they brought, and in which time, in microseconds.
    rise_bytes: usize,
    rise_time: i64,
    smoothed: f64,
    first_arrival: i64,
    /// Arrival and smoothed delay, in milliseconds.
    window: VecDeque<(f64, f64)>,
    slope: f64,
    last_slope: f64,
    threshold: f64,
    adapted: Option<i64>,
    over_for: i64,
    over_count: u32,
    usage: Usage,
}

impl DelayTrend {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            previous: None,
            reordered: 0,
            groups: 0,
            accumulated: 0.0,
            rise: 0.0,
            rising: 0,
            rise_bytes: 0,
            rise_time: 0,
            smoothed: 0.0,
            first_arrival: 0,
            window: VecDeque::with_capacity(WINDOW),
            slope: 0.0,
            last_slope: 0.0,
            threshold: FIRST_THRESHOLD,
            adapted: None,
            over_for: 0,
            over_count: 0,
            usage: Usage::Normal,
        }
    }

    /// What is known so far.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// What a queue that grows fast lets through, in bits per second: nothing that arrives was late
    /// for any other reason. Known sooner than what arrives on average.
    pub(super) fn steep(&self) -> Option<f64> {
        let steep = self.rising >= STEEP_GROUPS && self.rise >= STEEP_RISE;
        steep.then(|| self.rise_bytes as f64 * 8e6 / self.rise_time.max(1) as f64)
    }

    /// A packet arrived; times in microseconds, each of its own clock.
    pub(super) fn arrived(&mut self, sent: i64, arrival: i64, size: usize) {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::new(sent, arrival, size));
            return;
        };
        if sent < group.first_sent {
            // Reordered on the way: its group is closed.
            return;
        }
        if group.takes(sent, arrival) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            group.bytes += size;
            return;
        }
        let complete = std::mem::replace(group, Group::new(sent, arrival, size));
        if let Some(previous) = self.previous.replace(complete) {
            self.compare(&previous, &complete);
        }
    }

    fn compare(&mut self, before: &Group, after: &Group) {
        let sent = after.last_sent - before.last_sent;
        let arrived = after.last_arrival - before.last_arrival;
        if arrived - sent > MAX_JUMP || sent - arrived > MAX_JUMP {
            *self = Self::new();
            return;
        }
        if arrived < 0 {
            self.reordered += 1;
            if self.reordered >= MAX_REORDERED {
                *self = Self::new();
            }
            return;
        }
        self.reordered = 0;
        self.groups = self.groups.saturating_add(1);
        if self.groups == 1 {
            self.first_arrival = after.last_arrival;
        }
        let later = (arrived - sent) as f64 / 1000.0;
        if later > 0.0 {
            self.rise += later;
            self.rising += 1;
            self.rise_bytes += after.bytes;
            self.rise_time += arrived;
        } else {
            (self.rise, self.rising) = (0.0, 0);
            (self.rise_bytes, self.rise_time) = (0, 0);
        }
        self.accumulated += later;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        let at = (after.last_arrival - self.first_arrival) as f64 / 1000.0;
        self.window.push_back((at, self.smoothed));
        if self.window.len() == WINDOW
            && let Some(slope) = fitted_slope(&self.window)
        {
            self.slope = slope;
        }
        self.detect(sent, after.last_arrival);
    }

    fn detect(&mut self, since: i64, arrival: i64) {
        if self.groups < 2 {
            return;
        }
        let slope = self.slope * f64::from(self.groups.min(MAX_GROUPS)) * GAIN;
        if slope > self.threshold {
            // The first time it may have become too steep anywhere between the two groups.
            self.over_for += if self.over_count == 0 {
                since / 2
            } else {
                since
            };
            self.over_count += 1;
            if self.over_for > OVERUSE_TIME && self.over_count > 1 && slope >= self.last_slope {
                self.over_for = 0;
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for = 0;
            self.over_count = 0;
            self.usage = if slope < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        if self.steep().is_some() {
            self.usage = Usage::Over;
        }
        self.last_slope = slope;
        self.adapt(slope.abs(), arrival);
    }

    fn adapt(&mut self, slope: f64, arrival: i64) {
        let since = self.adapted.map_or(0, |then| arrival - then);
        self.adapted = Some(arrival);
        if slope > self.threshold + MAX_ADAPTATION {
            return;
        }
        let gain = if slope < self.threshold { FALL } else { RISE };
        // Section 5.4: a pause must not move the threshold far.
        let millis = since.clamp(0, 100_000) as f64 / 1000.0;
        let moved = self.threshold + gain * (slope - self.threshold) * millis;
        self.threshold = moved.clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }
}

impl Group {
    fn new(sent: i64, arrival: i64, bytes: usize) -> Self {
        Self {
            bytes,
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        }
    }

    /// Whether a packet belongs to the group: it was sent with it, or arrived with it, sooner
    /// behind it than it was sent: a queue let both go at once (section 5.2).
    fn takes(&self, sent: i64, arrival: i64) -> bool {
        if sent - self.first_sent <= BURST {
            return true;
        }
        let behind = arrival - self.last_arrival;
        behind <= BURST
            && behind < sent - self.last_sent
            && arrival - self.first_arrival < MAX_BURST
    }
}

/// Least squares; `None` where all arrived at once.
fn fitted_slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points
        .iter()
        .fold((0.0, 0.0), |(sum_x, sum_y), (x, y)| (sum_x + x, sum_y + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut numerator, mut denominator) = (0.0, 0.0);
    for (x, y) in points {
        numerator += (x - mean_x) * (y - mean_y);
        denominator += (x - mean_x) * (x - mean_x);
    }
    (denominator > 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    /// A packet every 33 ms, each later than it was sent by so many milliseconds.
    fn told(late: &[i64]) -> Vec<(Usage, Option<f64>)> {
        let mut trend = DelayTrend::new();
        let steady = std::iter::repeat_n(&0, 60).chain(late);
        let each = steady.enumerate().map(|(at, late)| {
            let sent = at as i64 * 33_000;
            trend.arrived(sent, sent + late * 1_000, 7_500);
            (trend.usage(), trend.steep())
        });
        each.collect::<Vec<_>>().split_off(60)
    }

    #[test]
    fn a_queue_that_grows_by_a_frame_with_each_frame_is_overuse_after_four() {
        // What a megabit makes of frames of 7,500 bytes.
        let told = told(&[27, 54, 81, 108, 135]);
        let over = told.iter().position(|(usage, _)| *usage == Usage::Over);
        assert_eq!(over, Some(4), "the fifth closes the group of the fourth");
        let (_, Some(carried)) = told[4] else {
            panic!("what the path carries");
        };
        assert!((0.95e6..1.05e6).contains(&carried), "{carried}");
    }

    #[test]
    fn packets_that_are_held_up_together_are_none() {
        // One stall of 150 ms, and what caught up behind it.
        let told = told(&[0, 150, 117, 84, 51, 18, 0, 0]);
        let over = |told: &(Usage, _)| told.0 == Usage::Over;
        assert!(!told.iter().any(over), "{told:?}");
    }
}
