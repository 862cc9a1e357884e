//! How much the path to the peer carries, from the peer's transport-wide feedback: Google
//! congestion control (draft-ietf-rmcat-gcc-02).
//!
//! `sent` remembers what left, `transport_feedback` reads what the peer tells of it; `delay`,
//! `acknowledged` and `loss` are what is seen, `rate` is what is made of it. Nothing here reads a
//! clock or sends. A peer that lies in its feedback lowers or raises what *it* is sent: only bytes
//! that really left count, and no faster than they left.

mod acknowledged;
mod delay;
mod loss;
mod rate;
mod sent;
mod transport_feedback;

use self::acknowledged::AcknowledgedRate;
use self::delay::{DelayTrend, Usage};
use self::loss::LossWindow;
use self::rate::{Observation, RateControl};
use self::sent::SentPackets;
use self::transport_feedback::{ReferenceClock, Told, TransportFeedback};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often the rate of sending is sampled, and over which time it is taken, in microseconds.
const SAMPLE_SPACING: i64 = 50_000;
const SAMPLE_WINDOW: i64 = 1_000_000;
/// The round trip before one was measured, in microseconds.
const DEFAULT_ROUND_TRIP: i64 = 200_000;
/// Looks that find packets sent and no feedback before it counts as missed. Looks are a report's
/// interval apart, a second; browsers send feedback at least every 250 ms.
const MISSED_LOOKS: u32 = 2;

/// What was sent in the last second.
#[derive(Debug, Default)]
struct SentRate {
    total: u64,
    /// Time in microseconds and the total then; at most one each [`SAMPLE_SPACING`].
    samples: VecDeque<(i64, u64)>,
}

impl SentRate {
    /// Bits per second; `None` until a second's half was seen.
    fn sample(&mut self, now: i64) -> Option<f64> {
        if self
            .samples
            .back()
            .is_none_or(|(at, _)| now - at >= SAMPLE_SPACING)
        {
            self.samples.push_back((now, self.total));
        }
        while self
            .samples
            .front()
            .is_some_and(|(at, _)| now - at > SAMPLE_WINDOW)
            && self.samples.len() > 1
        {
            self.samples.pop_front();
        }
        let (at, total) = *self.samples.front()?;
        let elapsed = now - at;
        (elapsed >= SAMPLE_WINDOW / 2).then(|| (self.total - total) as f64 * 8e6 / elapsed as f64)
    }
}

/// The parts that only a connection with feedback needs.
#[derive(Debug)]
struct Estimator {
    clock: ReferenceClock,
    delay: DelayTrend,
    acknowledged: AcknowledgedRate,
    loss: LossWindow,
    rate: RateControl,
    sent: SentRate,
    /// Enough was seen for the rate to mean something.
    known: bool,
    /// Numbered packets and feedback packets when they were last looked at.
    checked: (u64, u64),
    /// Looks in a row that found packets and no feedback.
    unheard: u32,
}

impl Estimator {
    fn new() -> Self {
        Self {
            clock: ReferenceClock::default(),
            delay: DelayTrend::new(),
            acknowledged: AcknowledgedRate::default(),
            loss: LossWindow::default(),
            rate: RateControl::new(),
            sent: SentRate::default(),
            known: false,
            checked: (0, 0),
            unheard: 0,
        }
    }
}

/// Numbers what is sent, and estimates what could be.
#[derive(Debug)]
pub(super) struct Bandwidth {
    epoch: Instant,
    packets: SentPackets,
    /// Made with the first feedback: an idle connection has none.
    estimator: Option<Box<Estimator>>,
    /// Bytes sent, numbered or not.
    bytes: u64,
    /// What the peer allows (REMB).
    allowed: Option<u64>,
    /// The worst share of loss in the peer's reports since it was last looked at.
    reported: Option<f64>,
    /// Feedback packets that came.
    pub(super) feedbacks: u64,
}

impl Bandwidth {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            packets: SentPackets::default(),
            estimator: None,
            bytes: 0,
            allowed: None,
            reported: None,
            feedbacks: 0,
        }
    }

    /// The transport-wide number that the next packet gets.
    pub(super) fn next_number(&self) -> u16 {
        self.packets.next_number()
    }

    /// A packet was sent, with that number if `numbered`.
    pub(super) fn sent(&mut self, now: Instant, numbered: bool, size: usize) {
        self.bytes += size as u64;
        if numbered {
            let at = self.micros(now) as u64;
            self.packets.push(at, size, 0);
        }
    }

    /// What the path carries, in bits per second of RTP packets, headers included; `None` until
    /// the peer has told enough.
    pub(super) fn estimate(&self) -> Option<u64> {
        let own = self
            .estimator
            .as_ref()
            .filter(|estimator| estimator.known)
            .map(|estimator| estimator.rate.rate() as u64);
        match (own, self.allowed) {
            (Some(own), Some(allowed)) => Some(own.min(allowed)),
            (own, allowed) => own.or(allowed),
        }
    }

    /// Transport-wide feedback came: the body behind the RTCP header. `None` where it is malformed.
    pub(super) fn feedback(
        &mut self,
        now: Instant,
        body: &[u8],
        round_trip: Option<Duration>,
    ) -> Option<()> {
        let feedback = TransportFeedback::parse(body)?;
        self.feedbacks += 1;
        let at = self.micros(now);
        let estimator = self
            .estimator
            .get_or_insert_with(|| Box::new(Estimator::new()));
        let packets = &mut self.packets;
        let mut newest: Option<i64> = None;
        feedback.walk(&mut estimator.clock, |told| match told {
            Told::Arrived {
                number,
                at: arrival,
            } => {
                let Some(packet) = packets.acknowledge(at as u64, number) else {
                    return;
                };
                newest = newest.max(Some(packet.sent));
                estimator.loss.arrived(packet.was_lost);
                estimator.acknowledged.arrived(arrival, packet.size);
                estimator.delay.arrived(packet.sent, arrival);
            }
            Told::Missing { first, count } => {
                for number in packets.remembered(first, count) {
                    if packets.lose(number) {
                        estimator.loss.lost();
                    }
                }
            }
        });
        let own = newest.map(|sent| at - sent);
        let round_trip = round_trip.map(|time| time.as_micros() as i64).or(own);
        estimator.sent.total = self.bytes;
        let sent = estimator.sent.sample(at);
        let acknowledged = estimator.acknowledged.bits_per_second();
        estimator.known |= acknowledged.is_some();
        if let Some(share) = estimator.loss.take(at) {
            estimator.rate.lost(at, share, acknowledged);
        }
        estimator.rate.observe(
            at,
            &Observation {
                usage: estimator.delay.usage(),
                acknowledged,
                sent,
                round_trip: round_trip.unwrap_or(DEFAULT_ROUND_TRIP),
            },
        );
        Some(())
    }

    /// The peer sets an upper bound (REMB), in bits per second.
    pub(super) fn allow(&mut self, bits_per_second: u64) {
        let bounds = (rate::MIN_RATE as u64, rate::MAX_RATE as u64);
        self.allowed = Some(bits_per_second.clamp(bounds.0, bounds.1));
    }

    /// A receiver report tells of this share of loss, 0 to 1, on one of our streams.
    pub(super) fn reported(&mut self, share: f64) {
        self.reported = Some(self.reported.map_or(share, |worst| worst.max(share)));
    }

    /// What is due once a second while packets are sent: lowers the estimate when feedback stays
    /// away; where there never was any, goes by the loss in receiver reports (section 6).
    pub(super) fn look(&mut self, now: Instant, round_trip: Option<Duration>) {
        let at = self.micros(now);
        let reported = self.reported.take();
        if self.feedbacks == 0 {
            if let Some(share) = reported {
                self.go_by_reports(at, share, round_trip);
            }
            return;
        }
        let Some(estimator) = &mut self.estimator else {
            return;
        };
        let seen = (self.packets.count(), self.feedbacks);
        let before = std::mem::replace(&mut estimator.checked, seen);
        estimator.unheard = if seen.0 != before.0 && seen.1 == before.1 {
            estimator.unheard.saturating_add(1)
        } else {
            0
        };
        if estimator.unheard >= MISSED_LOOKS {
            estimator.rate.unheard(at);
        }
    }

    fn go_by_reports(&mut self, at: i64, share: f64, round_trip: Option<Duration>) {
        let estimator = self
            .estimator
            .get_or_insert_with(|| Box::new(Estimator::new()));
        estimator.sent.total = self.bytes;
        let sent = estimator.sent.sample(at);
        // What was sent and not lost has arrived; what else would tell is not there.
        let acknowledged = sent.map(|sent| sent * (1.0 - share));
        estimator.known |= acknowledged.is_some();
        estimator.rate.lost(at, share, acknowledged);
        estimator.rate.observe(
            at,
            &Observation {
                usage: Usage::Normal,
                acknowledged,
                sent: acknowledged,
                round_trip: round_trip.map_or(DEFAULT_ROUND_TRIP, |time| time.as_micros() as i64),
            },
        );
    }

    fn micros(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_micros() as i64
    }
}

#[cfg(test)]
mod tests;
