//! How much the path to the peer carries, from the peer's transport-wide feedback: Google
//! congestion control (draft-ietf-rmcat-gcc-02).
//!
//! `sent` remembers what left, `transport_feedback` reads what the peer tells of it; `delay`,
//! `acknowledged` and `loss` are what is seen, `rate` is what is made of it. Where somebody wants to
//! know, `pacer` spreads bursts and `probe` looks for more. Nothing here reads a clock. A peer that lies in its feedback lowers or raises what *it* is sent: only bytes
//! that really left count, and no faster than they left.

mod acknowledged;
mod delay;
mod loss;
mod pacer;
mod probe;
mod rate;
mod repairs;
mod sent;
mod transport_feedback;

pub(super) use self::pacer::Class;

use self::acknowledged::AcknowledgedRate;
use self::delay::{DelayTrend, Usage};
use self::loss::LossWindow;
use self::pacer::Pacer;
use self::probe::Prober;
use self::rate::{Observation, RateControl};
use self::repairs::RepairBudget;
use self::sent::SentPackets;
use self::transport_feedback::{ReferenceClock, Told, TransportFeedback};
use super::PacketWriter;
use super::section::ExtensionIds;
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
    /// Bits per second when it was last asked for.
    last: Option<f64>,
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
        self.last = (elapsed >= SAMPLE_WINDOW / 2)
            .then(|| (self.total - total) as f64 * 8e6 / elapsed as f64);
        self.last
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

/// The parts that only a connection needs whose estimate somebody wants to know.
#[derive(Debug)]
struct Pacing {
    pacer: Pacer,
    prober: Prober,
    /// Nobody wants to know any more: it ends when nothing waits.
    ending: bool,
}

/// Where packets are written that have to wait.
struct Queue<'a> {
    now: Instant,
    class: Class,
    ids: ExtensionIds,
    pacer: &'a mut Pacer,
}

impl PacketWriter for Queue<'_> {
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize> {
        self.pacer
            .push(self.now, self.class, header, payload, &self.ids)
            .then_some(header.len() + payload.len())
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn write_rtcp(&mut self, _packet: &[u8]) -> Option<usize> {
        None
    }
}

/// What there is to do for the pacer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A packet that waited may leave: [`Bandwidth::release`].
    Release,
    /// A probe needs padding.
    Pad,
    /// Nothing now.
    Rest,
}

/// Numbers what is sent, and estimates what could be.
#[derive(Debug)]
pub(super) struct Bandwidth {
    epoch: Instant,
    packets: SentPackets,
    /// Made with the first feedback: an idle connection has none.
    estimator: Option<Box<Estimator>>,
    pacing: Option<Box<Pacing>>,
    /// Bytes sent, numbered or not.
    bytes: u64,
    /// What the peer allows (REMB).
    allowed: Option<u64>,
    repairs: RepairBudget,
    /// From a packet to the feedback that told of it first.
    round_trip: Option<Duration>,
    /// The worst share of loss in the peer's reports since it was last looked at.
    reported: Option<f64>,
    /// Feedback packets that came.
    pub(super) feedbacks: u64,
    /// What earlier pacers had no room for.
    paced_out: u64,
}

impl Bandwidth {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            packets: SentPackets::default(),
            estimator: None,
            pacing: None,
            bytes: 0,
            allowed: None,
            repairs: RepairBudget::default(),
            round_trip: None,
            reported: None,
            feedbacks: 0,
            paced_out: 0,
        }
    }

    /// Turns pacing and probes on, up to this many bits per second, or off.
    pub(super) fn want(&mut self, now: Instant, wanted: Option<u64>) {
        match (&mut self.pacing, wanted) {
            (None, None) => {}
            (Some(pacing), None) => {
                pacing.ending = true;
                pacing.prober.wanted = 0.0;
            }
            (Some(pacing), Some(wanted)) => {
                pacing.ending = false;
                pacing.prober.wanted = wanted as f64;
            }
            (None, Some(wanted)) => {
                self.pacing = Some(Box::new(Pacing {
                    pacer: Pacer::new(now),
                    prober: Prober::new(wanted as f64),
                    ending: false,
                }));
            }
        }
    }

    /// Streams were added or taken away.
    pub(super) fn streams_changed(&mut self) {
        if let Some(pacing) = &mut self.pacing {
            pacing.prober.streams_changed();
        }
    }

    /// Drops what waits: the connection is closed.
    pub(super) fn close(&mut self) {
        self.paced_out = self.paced_out();
        self.pacing = None;
    }

    /// Lets a packet out, now or when its turn comes. `write` makes it, with this transport-wide
    /// number, and puts it where it is told; a number is given where `ids` have one for it.
    pub(super) fn pass<W>(
        &mut self,
        now: Instant,
        class: Class,
        ids: ExtensionIds,
        out: &mut dyn PacketWriter,
        write: W,
    ) -> Option<usize>
    where
        W: FnOnce(Option<u16>, &mut dyn PacketWriter) -> Option<usize>,
    {
        let numbered = ids.twcc != 0;
        let number = numbered.then(|| self.packets.next_number());
        if let Some(pacing) = self.waiting_room(now, class) {
            let pacer = &mut pacing.pacer;
            let mut queue = Queue {
                now,
                class,
                ids,
                pacer,
            };
            let size = write(number, &mut queue)?;
            self.note_repair(class, size);
            self.consider_probe(now, numbered);
            return Some(size);
        }
        let size = write(number, out)?;
        self.note_repair(class, size);
        self.sent(now, numbered, size);
        self.consider_probe(now, numbered && class != Class::Urgent);
        Some(size)
    }

    /// The latest round trip as feedback shows it, with the time that packets wait on their way.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether another repair fits what the path carries.
    pub(super) fn may_repair(&mut self, now: Instant) -> bool {
        match self.estimate() {
            Some(estimate) => self.repairs.is_left(now, estimate as f64),
            None => true,
        }
    }

    /// The pacer, if a packet must wait.
    fn waiting_room(&mut self, now: Instant, class: Class) -> Option<&mut Pacing> {
        let target = self.target();
        let pacing = self.pacing.as_mut()?;
        if class == Class::Urgent {
            return None;
        }
        if pacing.ending && pacing.pacer.is_empty() {
            self.close();
            return None;
        }
        let pacing = self.pacing.as_deref_mut()?;
        let pacer = &mut pacing.pacer;
        pacer.fill(now, target, pacing.prober.rate());
        (!pacer.is_open() || !pacer.is_empty()).then_some(pacing)
    }

    fn note_repair(&mut self, class: Class, size: usize) {
        if class == Class::Repair {
            self.repairs.spend(size);
        }
    }

    fn consider_probe(&mut self, now: Instant, numbered: bool) {
        if !numbered || self.pacing.is_none() {
            return;
        }
        let at = self.micros(now);
        let estimate = self.estimate().map(|bits| bits as f64);
        let estimator = self.estimator.as_ref();
        let sent = estimator.and_then(|estimator| estimator.sent.last);
        let open = estimator.is_some_and(|estimator| estimator.rate.is_open(at));
        if let Some(pacing) = &mut self.pacing {
            let waiting = pacing.pacer.waiting_bytes();
            pacing.prober.begin(at, estimate, sent, open, waiting);
        }
    }

    /// What still waits of a stream is not to be sent any more.
    pub(super) fn forget_waiting(&mut self, ssrc: u32) {
        if let Some(pacing) = &mut self.pacing {
            pacing.pacer.forget(ssrc);
        }
    }

    /// What there is to do for the pacer now.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let target = self.target();
        let Some(pacing) = &mut self.pacing else {
            return Turn::Rest;
        };
        pacing.pacer.fill(now, target, pacing.prober.rate());
        if !pacing.pacer.is_open() {
            Turn::Rest
        } else if !pacing.pacer.is_empty() {
            Turn::Release
        } else if pacing.prober.rate().is_some() {
            Turn::Pad
        } else {
            Turn::Rest
        }
    }

    /// Sends the packet whose turn it is.
    pub(super) fn release(&mut self, now: Instant, send_time: [u8; 3], out: &mut dyn PacketWriter) {
        let number = self.packets.next_number();
        let packet = self.pacing.as_mut().and_then(|pacing| pacing.pacer.pop());
        let Some(mut packet) = packet else { return };
        let (header, payload) = packet.finish(number, send_time);
        let size = header.len() + payload.len();
        if out.write_rtp(header, payload).is_some() {
            self.sent(now, packet.is_numbered(), size);
        }
    }

    /// There is nothing to pad with.
    pub(super) fn starve(&mut self, now: Instant) {
        let at = self.micros(now);
        if let Some(pacing) = &mut self.pacing {
            pacing.prober.starve(at);
        }
    }

    /// When [`Self::turn`] has work.
    pub(super) fn due(&self) -> Option<Instant> {
        let pacing = self.pacing.as_ref()?;
        let busy = !pacing.pacer.is_empty() || pacing.prober.rate().is_some();
        busy.then(|| pacing.pacer.opens())
    }

    /// Packets that found no room to wait in.
    pub(super) fn paced_out(&self) -> u64 {
        self.paced_out
            + self
                .pacing
                .as_ref()
                .map_or(0, |pacing| pacing.pacer.dropped)
    }

    /// What bursts are spread by, in bits per second.
    fn target(&self) -> f64 {
        self.estimate().map_or(rate::START_RATE, |bits| bits as f64)
    }

    /// A packet was sent, with the next number if `numbered`.
    fn sent(&mut self, now: Instant, numbered: bool, size: usize) {
        self.bytes += size as u64;
        let at = self.micros(now);
        let mut probe = 0;
        if let Some(pacing) = &mut self.pacing {
            pacing.pacer.spend(size);
            if numbered {
                probe = pacing.prober.id();
                pacing.prober.sent(at, size);
            }
        }
        if numbered {
            self.packets.push(at as u64, size, probe);
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
        let mut prober = self.pacing.as_mut().map(|pacing| &mut pacing.prober);
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
                estimator.delay.arrived(packet.sent, arrival, packet.size);
                if packet.probe != 0
                    && let Some(prober) = &mut prober
                {
                    prober.arrived(packet.probe, packet.sent, arrival, packet.size);
                }
            }
            Told::Missing { first, count } => {
                for number in packets.remembered(first, count) {
                    if packets.lose(number) {
                        estimator.loss.lost();
                    }
                }
            }
        });
        let own = newest.map(|sent| Duration::from_micros((at - sent).max(0) as u64));
        self.round_trip = own.or(self.round_trip);
        // Reports come once a second; a queue grows faster.
        let round_trip = round_trip.max(own);
        estimator.sent.total = self.bytes;
        let sent = estimator.sent.sample(at);
        let acknowledged = estimator.acknowledged.bits_per_second();
        estimator.known |= acknowledged.is_some();
        if let Some(share) = estimator.loss.take(at) {
            estimator.rate.lost(at, share, acknowledged);
        }
        let arriving = match (acknowledged, estimator.delay.steep()) {
            (Some(known), Some(carried)) => Some(known.min(carried)),
            (known, _) => known,
        };
        estimator.rate.observe(
            at,
            &Observation {
                usage: estimator.delay.usage(),
                acknowledged: arriving,
                sent,
                round_trip: round_trip.map_or(DEFAULT_ROUND_TRIP, |time| time.as_micros() as i64),
            },
        );
        let carried = prober.and_then(|prober| prober.judge(at));
        if let Some(carried) = carried.filter(|_| estimator.delay.usage() != Usage::Over) {
            estimator.known = true;
            estimator.rate.probed(at, carried);
        }
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
