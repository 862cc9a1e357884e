//! One received RTP stream: what arrived, what is missing, what its sender reported.

use super::ReceivedRtp;
use super::nack::NackGenerator;
use super::rtcp_in::SenderInfo;
use super::section::{PayloadKind, Section, has_feedback};
use super::sequence::{Arrival, SequenceWindow};
use super::sources::Sources;
use std::time::{Duration, Instant};

/// A jump this far is a sender that started over (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: u64 = 3000;
/// Changes of the transit time beyond this many seconds are a clock that was set, not jitter.
const MAX_JITTER_SECONDS: u32 = 5;

/// What a received stream's packets are encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodecInUse {
    pub(super) payload_type: u8,
    /// Its place in the section's list.
    pub(super) index: usize,
    pub(super) clock_rate: u32,
    nack: bool,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Deliver it.
    Fresh,
    /// Nothing but padding: counted, not delivered.
    Padding,
    /// Seen before.
    Duplicate,
    /// Too old, or of a payload type that was not negotiated.
    Discarded,
}

/// The peer's last sender report on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderReported {
    /// The middle 32 bits of its NTP time (RFC 3550 section 6.4.1, LSR).
    pub(super) ntp_middle: u32,
    pub(super) ntp: u64,
    /// The same moment in the timestamps of the stream.
    pub(super) rtp: u32,
    pub(super) arrived: Instant,
    pub(super) packets: u32,
    pub(super) octets: u32,
    pub(super) reports: u64,
}

/// What `inbound_rtp` counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReceivedCounters {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) header_bytes: u64,
    pub(super) markers: u64,
    pub(super) duplicates: u64,
    pub(super) discarded: u64,
    pub(super) repaired_packets: u64,
    pub(super) repaired_bytes: u64,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
}

/// A block of a receiver report on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceptionState {
    pub(super) fraction_lost: u8,
    pub(super) total_lost: u32,
    pub(super) highest: u32,
    pub(super) jitter: u32,
}

/// One received stream.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Its m-line: a place in the list of sections.
    pub(super) section: usize,
    /// Its layer: a place in the section's rids.
    pub(super) layer: Option<usize>,
    pub(super) codec: Option<CodecInUse>,
    pub(super) counters: ReceivedCounters,
    pub(super) last_arrival: Instant,
    pub(super) nack: NackGenerator,
    pub(super) reported: Option<SenderReported>,
    pub(super) sources: Sources,
    /// Sequence number of the last FIR (RFC 5104 section 4.3.1.1).
    pub(super) fir_sequence: u8,
    /// How often its sender has started over.
    pub(super) epoch: u32,
    window: SequenceWindow,
    /// Packets that came as themselves, not as repairs: what loss is counted from.
    original_packets: u64,
    /// Expected packets of runs before the sender started over.
    expected_before: u64,
    expected_at_report: u64,
    originals_at_report: u64,
    jitter: f64,
    last_transit: Option<u32>,
}

impl Receiver {
    pub(super) fn new(now: Instant, section: usize) -> Self {
        Self {
            section,
            layer: None,
            codec: None,
            counters: ReceivedCounters::default(),
            last_arrival: now,
            nack: NackGenerator::default(),
            reported: None,
            sources: Sources::default(),
            fir_sequence: 0,
            epoch: 0,
            window: SequenceWindow::new(),
            original_packets: 0,
            expected_before: 0,
            expected_at_report: 0,
            originals_at_report: 0,
            jitter: 0.0,
            last_transit: None,
        }
    }

    /// A packet of the stream itself. `epoch` is when media time began, `repair` whether missing
    /// packets will be asked for.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        epoch: Instant,
        packet: &ReceivedRtp<'_>,
        section: &Section,
        repair: bool,
    ) -> Verdict {
        let Some(codec) = self.codec_of(packet.payload_type, section) else {
            self.counters.discarded += 1;
            return Verdict::Discarded;
        };
        if let Arrival::Ahead { gap, .. } = self.window.judge(packet.sequence_number)
            && gap > MAX_DROPOUT
        {
            self.start_over();
        }
        match self.window.insert(packet.sequence_number) {
            Arrival::First(_) => {}
            Arrival::Ahead { index, gap } => {
                if gap > 0 && repair && codec.nack {
                    self.nack.skipped(now, index - gap, index);
                }
            }
            Arrival::Late(index) => {
                self.nack.arrived(now, index);
            }
            Arrival::Duplicate => {
                self.counters.duplicates += 1;
                return Verdict::Duplicate;
            }
            Arrival::TooOld => {
                self.counters.discarded += 1;
                return Verdict::Discarded;
            }
        }
        self.original_packets += 1;
        self.measure_jitter(now, epoch, packet.timestamp, codec.clock_rate);
        self.count(now, packet)
    }

    /// A packet of the stream that came as a repair, already in its original form. Also returns
    /// the round trip, where it was asked for exactly once.
    pub(super) fn accept_repair(
        &mut self,
        now: Instant,
        packet: &ReceivedRtp<'_>,
        section: &Section,
    ) -> (Verdict, Option<Duration>) {
        if self.codec_of(packet.payload_type, section).is_none() {
            self.counters.discarded += 1;
            return (Verdict::Discarded, None);
        }
        // A repair cannot be news: one ahead of the stream, or before its first packet, is a
        // probe that repeats what we are about to get, or a number made up.
        let judged = self.window.judge(packet.sequence_number);
        match judged {
            Arrival::Late(_) | Arrival::Duplicate => {
                self.counters.repaired_packets += 1;
                self.counters.repaired_bytes += packet.payload.len() as u64;
            }
            Arrival::First(_) | Arrival::Ahead { .. } | Arrival::TooOld => {
                self.counters.discarded += 1;
                return (Verdict::Discarded, None);
            }
        }
        let Arrival::Late(index) = self.window.insert(packet.sequence_number) else {
            self.counters.duplicates += 1;
            return (Verdict::Duplicate, None);
        };
        let round_trip = self.nack.arrived(now, index);
        (self.count(now, packet), round_trip)
    }

    /// The codec of a payload type; looked up again only when it changes.
    fn codec_of(&mut self, payload_type: u8, section: &Section) -> Option<CodecInUse> {
        if let Some(codec) = self.codec
            && codec.payload_type == payload_type
        {
            return Some(codec);
        }
        let Some(PayloadKind::Codec(index)) = section.payload_kind(payload_type) else {
            return None;
        };
        let codec = section.receive()?.codecs.get(index)?;
        if self
            .codec
            .is_some_and(|old| old.clock_rate != codec.clock_rate)
        {
            self.last_transit = None;
        }
        self.codec = Some(CodecInUse {
            payload_type,
            index,
            clock_rate: codec.clock_rate.max(1),
            nack: has_feedback(codec, "nack"),
        });
        self.codec
    }

    fn count(&mut self, now: Instant, packet: &ReceivedRtp<'_>) -> Verdict {
        self.last_arrival = now;
        let counters = &mut self.counters;
        counters.packets += 1;
        counters.bytes += packet.payload.len() as u64;
        counters.header_bytes += (packet.header_length() + usize::from(packet.padding_size)) as u64;
        counters.markers += u64::from(packet.marker);
        if packet.payload.is_empty() {
            Verdict::Padding
        } else {
            Verdict::Fresh
        }
    }

    /// RFC 3550 section 6.4.1 and appendix A.8, in timestamp units.
    fn measure_jitter(&mut self, now: Instant, epoch: Instant, timestamp: u32, clock_rate: u32) {
        let elapsed = now.saturating_duration_since(epoch);
        let arrival = elapsed.as_micros() * u128::from(clock_rate) / 1_000_000;
        let transit = (arrival as u32).wrapping_sub(timestamp);
        if let Some(last) = self.last_transit {
            let change = (transit.wrapping_sub(last) as i32).unsigned_abs();
            if change < clock_rate.saturating_mul(MAX_JITTER_SECONDS) {
                self.jitter += (f64::from(change) - self.jitter) / 16.0;
            }
        }
        self.last_transit = Some(transit);
    }

    /// The sender said goodbye, or jumped: its numbers begin anew, its counters go on.
    pub(super) fn start_over(&mut self) {
        self.expected_before += self.window.expected();
        self.epoch = self.epoch.wrapping_add(1);
        self.window = SequenceWindow::new();
        self.nack.clear();
        self.last_transit = None;
    }

    /// The sender's report on this stream.
    pub(super) fn sender_reported(&mut self, now: Instant, info: &SenderInfo) {
        self.reported = Some(SenderReported {
            ntp_middle: (info.ntp >> 16) as u32,
            ntp: info.ntp,
            rtp: info.rtp,
            arrived: now,
            packets: info.packets,
            octets: info.octets,
            reports: self.reported.map_or(0, |before| before.reports) + 1,
        });
    }

    /// Forgets what was looked up in a plan that is replaced.
    pub(super) fn plan_changed(&mut self) {
        self.codec = None;
    }

    fn expected(&self) -> u64 {
        self.expected_before + self.window.expected()
    }

    /// Packets lost for good or repaired; negative where duplicates outnumber them.
    pub(super) fn lost(&self) -> i64 {
        self.expected() as i64 - self.original_packets as i64
    }

    /// Interarrival jitter in seconds; `None` before the first packet.
    pub(super) fn jitter_seconds(&self) -> Option<f64> {
        Some(self.jitter / f64::from(self.codec?.clock_rate))
    }

    /// Whether anything arrived since the last report.
    pub(super) fn has_news(&self) -> bool {
        self.original_packets != self.originals_at_report
    }

    /// What a report says now (RFC 3550 appendix A.3); begins the next interval.
    pub(super) fn report(&mut self) -> ReceptionState {
        let expected = self.expected() - self.expected_at_report.min(self.expected());
        let originals = self.original_packets - self.originals_at_report;
        self.expected_at_report = self.expected();
        self.originals_at_report = self.original_packets;
        let fraction_lost = if expected > originals {
            ((expected - originals) * 256 / expected).min(255) as u8
        } else {
            0
        };
        ReceptionState {
            fraction_lost,
            // 24 bits, signed on the wire: clamped to the positive half.
            total_lost: self.lost().clamp(0, 0x7f_ffff) as u32,
            highest: self.window.highest(),
            jitter: self.jitter as u32,
        }
    }
}
