//! The one stream that a sink's sender sends, whatever it is made of: its sequence numbers,
//! timestamps and the codec's own counters go on over every switch.

use super::burst::{ForwardedRtp, SourceClock};
use super::descriptor::{CounterLine, Counters};
use crate::ids::ForwardId;
use crate::media::encoding::LastSent;
use std::time::{Duration, Instant};

/// Sender reports of two layers may disagree, and may be wrong: beyond this they are not believed
/// against the time that passed here.
const MAX_DISAGREEMENT: Duration = Duration::from_secs(1);

/// When a packet was captured, by its source's clock. Only times of one source compare.
pub(super) type Captured = (ForwardId, u64);

/// What the next run goes on from.
#[derive(Clone, Copy, Debug)]
struct Moment {
    timestamp: u32,
    at: Instant,
    captured: Option<Captured>,
}

/// What a run begins with.
pub(super) struct Beginning<'a> {
    pub(super) packet: &'a ForwardedRtp,
    pub(super) captured: Option<Captured>,
    pub(super) clock_rate: u32,
    /// The number behind the last one that the stream used; `None` for a fresh stream.
    pub(super) next_number: Option<u16>,
    /// The last packet of the stream, forwarded or not.
    pub(super) last_sent: Option<LastSent>,
}

/// The numbering of one outgoing stream.
#[derive(Debug, Default)]
pub(super) struct Line {
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Source numbers without the wrap: the run's first, and its highest so far.
    first: u64,
    highest: u64,
    last: Option<Moment>,
    /// What the payload counts.
    pub(super) pictures: CounterLine,
    /// What the dependency descriptor counts.
    pub(super) frames: CounterLine,
}

impl Line {
    /// A run begins: its first packet takes the place behind what was sent.
    pub(super) fn begin(&mut self, now: Instant, begin: &Beginning<'_>) {
        let packet = begin.packet;
        // A fresh stream keeps the source's numbers, which are as random as any.
        let number = begin.next_number.unwrap_or(packet.sequence_number);
        self.sequence_offset = number.wrapping_sub(packet.sequence_number);
        self.first = 1 << 16 | u64::from(packet.sequence_number);
        self.highest = self.first;
        let from = self.last.or_else(|| {
            begin.last_sent.map(|sent| Moment {
                timestamp: sent.timestamp,
                at: sent.at,
                captured: None,
            })
        });
        self.timestamp_offset = match from {
            None => 0,
            Some(from) => {
                let passed = elapsed(now, &from, begin.captured);
                let ticks = passed.as_micros() * u128::from(begin.clock_rate) / 1_000_000;
                // At least one: two frames of one timestamp would be taken for one frame.
                from.timestamp
                    .wrapping_add((ticks as u32).max(1))
                    .wrapping_sub(packet.timestamp)
            }
        };
    }

    /// Whether a packet of the run is not behind all that have been placed.
    pub(super) fn is_past(&self, packet: &ForwardedRtp) -> bool {
        packet.sequence_number.wrapping_sub(self.highest as u16) as i16 <= 0
    }

    /// The counters of a run's first packet.
    pub(super) fn begin_counters(&mut self, pictures: &Counters, frames: &Counters) {
        self.pictures.begin(pictures);
        self.frames.begin(frames);
    }

    /// The number and timestamp of a packet; `None` for one from before the run began, which comes
    /// late: its number is another packet's.
    pub(super) fn place(
        &mut self,
        now: Instant,
        packet: &ForwardedRtp,
        captured: Option<Captured>,
    ) -> Option<(u16, u32)> {
        let distance = packet.sequence_number.wrapping_sub(self.highest as u16) as i16;
        let index = self.highest.saturating_add_signed(i64::from(distance));
        if index < self.first {
            return None;
        }
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_offset);
        if index > self.highest || index == self.first {
            self.highest = index;
            self.last = Some(Moment {
                timestamp,
                at: now,
                captured,
            });
        }
        let number = packet.sequence_number.wrapping_add(self.sequence_offset);
        Some((number, timestamp))
    }
}

/// From the last packet to the one that begins: between their captures where both are on one
/// clock, else between their arrivals.
fn elapsed(now: Instant, from: &Moment, captured: Option<Captured>) -> Duration {
    let arrivals = now.saturating_duration_since(from.at);
    let captures = from
        .captured
        .zip(captured)
        .filter(|((before, _), (after, _))| before == after)
        .map(|((_, before), (_, after))| SourceClock::between(before, after).unwrap_or_default());
    captures
        .filter(|captures| captures.abs_diff(arrivals) <= MAX_DISAGREEMENT)
        .unwrap_or(arrivals)
}
