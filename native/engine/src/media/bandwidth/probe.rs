//! Finds out whether the path carries more than is sent: for a moment packets leave at a higher
//! rate, padded where the program has too few, and how fast they arrive is what the path carries.
//! Without it the estimate of a program that sends little could never rise.

use super::rate::START_RATE;

/// How long a probe lasts, in microseconds: timers come every millisecond, so that its rate is
/// right to a tenth; at twice the capacity it makes a queue of half of this.
const DURATION: f64 = 20_000.0;
/// What it consists of at least.
const MIN_PACKETS: u32 = 5;
/// A probe that could not be sent in this time is given up, in microseconds.
const MAX_SENDING: i64 = 200_000;
/// How long its feedback is waited for, in microseconds.
const MAX_JUDGING: i64 = 1_000_000;
/// A probe whose packets were lost by more than this share says nothing.
const ENOUGH: f64 = 0.8;
/// Between probes, in microseconds, as browsers do while a program sends little.
const INTERVAL: i64 = 3_000_000;
/// The first probe's rate, over the first estimate.
const FIRST: f64 = 3.0;
/// Probes before the first feedback: a peer may take the numbers and never tell of them.
const MAX_UNANSWERED: u8 = 3;
/// The next one's, over the estimate.
const STEP: f64 = 2.0;
/// What must arrive of a probe's rate for a faster one to follow at once.
const GOOD: f64 = 0.7;
/// Arriving at less than this of the rate it left at means that the path was full: then a little
/// less than what arrived is what it carries.
const FULL: f64 = 0.9;
const OF_FULL: f64 = 0.95;
/// Arriving so much faster than it left means that a queue let go.
const ABSURD: f64 = 2.0;
/// A program that sends less than this of the estimate cannot raise it by sending.
const LITTLE: f64 = 0.85;

/// One end of a probe's packets.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: i64,
    last: i64,
    bytes: usize,
    /// Of those at `first`, and of those at `last`: they do not count, since what went before or
    /// came behind them is not known.
    first_bytes: usize,
    last_bytes: usize,
}

impl Span {
    fn new(at: i64, size: usize) -> Self {
        Self {
            first: at,
            last: at,
            bytes: size,
            first_bytes: size,
            last_bytes: size,
        }
    }

    fn add(&mut self, at: i64, size: usize) {
        self.bytes += size;
        if at < self.first {
            (self.first, self.first_bytes) = (at, 0);
        }
        if at > self.last {
            (self.last, self.last_bytes) = (at, 0);
        }
        if at == self.first {
            self.first_bytes += size;
        }
        if at == self.last {
            self.last_bytes += size;
        }
    }

    /// Bits per second over the span, `without` some bytes.
    fn rate(&self, without: usize) -> Option<f64> {
        let time = self.last - self.first;
        (time > 0).then(|| self.bytes.saturating_sub(without) as f64 * 8e6 / time as f64)
    }
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    id: u8,
    rate: f64,
    began: i64,
    /// Since when all of it has left.
    sent_at: Option<i64>,
    packets: u32,
    bytes: usize,
    arrived: u32,
    sent: Option<Span>,
    arrival: Option<Span>,
}

/// Decides when to probe, and judges what came of it.
#[derive(Debug)]
pub(super) struct Prober {
    /// No more than this is of interest, in bits per second.
    pub(super) wanted: f64,
    probe: Option<Probe>,
    next: i64,
    last_id: u8,
    /// The last probe had no padding: the next one is made of a burst of the program's.
    starved: bool,
}

impl Prober {
    pub(super) fn new(wanted: f64) -> Self {
        Self {
            wanted,
            probe: None,
            next: 0,
            last_id: 0,
            starved: false,
        }
    }

    /// The rate to send at now; `None` while no probe is being sent.
    pub(super) fn rate(&self) -> Option<f64> {
        self.sending().map(|probe| probe.rate)
    }

    /// The number of the probe that is being sent; 0 for none.
    pub(super) fn id(&self) -> u8 {
        self.sending().map_or(0, |probe| probe.id)
    }

    fn sending(&self) -> Option<&Probe> {
        self.probe.as_ref().filter(|probe| probe.sent_at.is_none())
    }

    /// Begins a probe if it is time for one. `sent` is what the program sends, in bits per second;
    /// `open`, that the capacity is not known; `waiting`, the bytes that could leave with the probe.
    pub(super) fn begin(
        &mut self,
        now: i64,
        estimate: Option<f64>,
        sent: Option<f64>,
        open: bool,
        waiting: usize,
    ) {
        if let Some(probe) = &self.probe {
            let since = probe.sent_at.unwrap_or(probe.began);
            let most = if probe.sent_at.is_some() {
                MAX_JUDGING
            } else {
                MAX_SENDING
            };
            if now - since > most {
                self.probe = None;
                self.next = now + INTERVAL;
            }
            return;
        }
        if now < self.next {
            return;
        }
        let rate = match estimate {
            None if self.last_id >= MAX_UNANSWERED => return,
            None => FIRST * START_RATE,
            Some(estimate) => {
                let limited = sent.is_some_and(|sent| sent < LITTLE * estimate);
                if estimate >= self.wanted || !(limited || open) {
                    return;
                }
                STEP * estimate
            }
        };
        let rate = rate.min(self.wanted.max(START_RATE));
        if self.starved && (waiting as f64) < rate * DURATION / 8e6 {
            return;
        }
        self.start(now, rate);
    }

    fn start(&mut self, now: i64, rate: f64) {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.probe = Some(Probe {
            id: self.last_id,
            rate,
            began: now,
            sent_at: None,
            packets: 0,
            bytes: 0,
            arrived: 0,
            sent: None,
            arrival: None,
        });
    }

    /// A packet of the probe left.
    pub(super) fn sent(&mut self, now: i64, size: usize) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.sent_at.is_none()) else {
            return;
        };
        probe.packets += 1;
        probe.bytes += size;
        let goal = (probe.rate * DURATION / 8e6) as usize;
        if probe.packets >= MIN_PACKETS && probe.bytes >= goal {
            probe.sent_at = Some(now);
        }
    }

    /// There is nothing to make the probe of: what was sent of it is judged if it is enough.
    pub(super) fn starve(&mut self, now: i64) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.sent_at.is_none()) else {
            return;
        };
        self.starved = true;
        if probe.packets >= MIN_PACKETS {
            probe.sent_at = Some(now);
        } else {
            self.probe = None;
            self.next = now + INTERVAL;
        }
    }

    /// Streams were added or taken away: there may be padding now.
    pub(super) fn streams_changed(&mut self) {
        self.starved = false;
    }

    /// A packet of a probe arrived; times in microseconds, each of its own clock.
    pub(super) fn arrived(&mut self, id: u8, sent: i64, arrival: i64, size: usize) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.id == id) else {
            return;
        };
        probe.arrived += 1;
        match &mut probe.sent {
            None => probe.sent = Some(Span::new(sent, size)),
            Some(span) => span.add(sent, size),
        }
        match &mut probe.arrival {
            None => probe.arrival = Some(Span::new(arrival, size)),
            Some(span) => span.add(arrival, size),
        }
    }

    /// What the path carries, in bits per second, once a probe's packets were told of.
    pub(super) fn judge(&mut self, now: i64) -> Option<f64> {
        let probe = self.probe?;
        let waited = now - probe.sent_at?;
        let enough = f64::from(probe.arrived) >= ENOUGH * f64::from(probe.packets);
        if probe.arrived < probe.packets && !(enough && waited > MAX_JUDGING / 2) {
            return None;
        }
        self.probe = None;
        self.next = now + INTERVAL;
        let sent = probe.sent.and_then(|span| span.rate(span.last_bytes))?;
        let arrived = probe.arrival.and_then(|span| span.rate(span.first_bytes))?;
        if arrived > ABSURD * sent {
            return None;
        }
        let carried = if arrived < FULL * sent {
            OF_FULL * arrived
        } else {
            arrived.min(sent)
        };
        if carried >= GOOD * probe.rate && carried < self.wanted {
            self.next = now;
        }
        Some(carried)
    }
}
