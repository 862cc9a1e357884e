//! The media path: what happens to RTP and RTCP between the cipher and the program.
//!
//! A packet in: [`ReceivedRtp::parse`] → loss simulation → `inbound` (which m-line, which stream)
//! → `twcc` (arrival time) → unwrapped if it is a repair → `receiver` (loss, duplicates, jitter)
//! → the sink, once. A packet out: `outbound` (which sender, which layer) → `encoding` (number,
//! header, history) → [`PacketWriter`], remembered in `bandwidth`. RTCP in: `rtcp_in`, then [`Media::handle_rtcp`]; RTCP out:
//! `reports`, `nack`, `twcc`, all from [`Media::handle_timeout`].
//!
//! Receiving and sending a packet allocates nothing, but for a header too long for the history.

mod bandwidth;
mod dtmf;
mod encoding;
mod feedback;
mod forward;
mod forwarding;
mod header;
mod history;
mod inbound;
mod loss;
mod nack;
mod outbound;
mod pacing;
mod receiver;
mod receiving;
mod reports;
mod round_trip;
mod rtcp_in;
mod section;
mod sequence;
mod sources;
mod stats;
mod twcc;

#[cfg(test)]
mod tests;

use self::bandwidth::Bandwidth;
use self::dtmf::{Playout, Step};
use self::forward::{Sinks, Sources};
use self::inbound::Inbound;
use self::loss::LossSimulation;
use self::outbound::Outbound;
use self::pacing::ToldEstimate;
use self::reports::Reporter;
use self::round_trip::RoundTrip;
use self::section::{ExtensionIds, Section};
use self::twcc::ArrivalLog;
use crate::command::{OutgoingRtp, RtpSource};
use crate::config::Features;
use crate::error::Error;
use crate::ids::{ReceiverId, SenderId, TrackId};
use crate::plan::MediaPlan;
use crate::stats::StatsReport;
use rtc_shared::time::SystemInstant;
use std::collections::VecDeque;
use std::time::Instant;

pub use self::dtmf::Tones;
pub use self::forward::{
    Burst, ForwardEnd, ForwardEndpoint, ForwardInfo, ForwardName, ForwardOutput, ForwardedRtp,
    LayerChoice, MAX_FORWARDS, SourceClock, SourceFormat, SourceOptions, ToSink, ToSource,
};
pub use self::header::Elements;

/// A packet as it arrived, decrypted, borrowed from the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedRtp<'a> {
    /// The marker bit.
    pub marker: bool,
    /// RTP payload type (of the media, also where it came as a repair).
    pub payload_type: u8,
    /// RTP sequence number.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Contributing sources, four bytes each.
    pub csrc: &'a [u8],
    /// The profile of the header extension: `0xBEDE` one-byte, `0x100n` two-byte, else opaque.
    pub extension_profile: Option<u16>,
    /// The header extension's body, a multiple of four bytes.
    pub extension: &'a [u8],
    /// The payload without padding.
    pub payload: &'a [u8],
    /// Bytes of padding that were behind it.
    pub padding_size: u8,
}

/// Where the media path writes: implemented by the transport, which encrypts in place.
pub trait PacketWriter {
    /// Sends one RTP packet: its clear header (extensions included) and its payload (padding
    /// included). Returns the bytes on the wire, or `None` when there is no path yet.
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize>;
    /// Whether there is a path now.
    fn is_ready(&self) -> bool;
    /// Sends one RTCP packet, compound or reduced-size.
    fn write_rtcp(&mut self, packet: &[u8]) -> Option<usize>;
}

/// Packets that were dropped before any stream could count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dropped {
    malformed_rtp: u64,
    malformed_rtcp: u64,
    /// Repairs of streams that cannot be told.
    unrepairable: u64,
    /// Repair packets that carry nothing: probes for bandwidth.
    probes: u64,
    /// RTCP of the program that is none.
    refused_rtcp: u64,
    /// Packets of the program for senders that are forwarded to.
    forwarded_to: u64,
    /// Packets of the program that waited in too long a queue to get here.
    refused: u64,
    /// Received packets that the program did not take in time.
    not_taken: u64,
}

/// The media path of one connection.
#[derive(Debug)]
pub struct Media {
    features: Features,
    /// Whether the program gets the packets of tracks that are not forwarded.
    deliver: bool,
    /// Ties the monotonic clock to wall-clock time for NTP; its instant is when media time began.
    clock: SystemInstant,
    epoch: Instant,
    sections: Vec<Section>,
    ids: ExtensionIds,
    inbound: Inbound,
    outbound: Outbound,
    sources: Sources,
    sinks: Sinks,
    wanted_by_forwards: Option<u64>,
    arrivals: ArrivalLog,
    bandwidth: Bandwidth,
    told_estimate: Option<ToldEstimate>,
    wanted_bitrate: Option<u64>,
    round_trip: RoundTrip,
    loss: LossSimulation,
    tones: Vec<Playout>,
    told_tones: VecDeque<(SenderId, String)>,
    dropped: Dropped,
    closed: bool,
    /// Whether a packet went either way since the last reports.
    active: bool,
    reported: bool,
    report_due: Option<Instant>,
    nack_due: Option<Instant>,
}

impl Media {
    /// An empty media path. Wall-clock time is read here, once, for RTCP's NTP times.
    pub fn new(now: Instant, features: Features, deliver: bool) -> Self {
        Self {
            features,
            deliver,
            clock: SystemInstant::now(now),
            epoch: now,
            sections: Vec::new(),
            ids: ExtensionIds::default(),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            sources: Sources::default(),
            sinks: Sinks::default(),
            wanted_by_forwards: None,
            arrivals: ArrivalLog::new(),
            bandwidth: Bandwidth::new(now),
            told_estimate: None,
            wanted_bitrate: None,
            round_trip: RoundTrip::default(),
            loss: LossSimulation::off(),
            tones: Vec::new(),
            told_tones: VecDeque::new(),
            dropped: Dropped::default(),
            closed: false,
            active: false,
            reported: false,
            report_due: None,
            nack_due: None,
        }
    }

    /// Reconciles streams with what negotiation decided. State of streams that stay is kept.
    pub fn apply(&mut self, now: Instant, plan: &MediaPlan) {
        let mut sections: Vec<Section> = plan.sections.iter().map(Section::new).collect();
        for section in &mut sections {
            let before = self.sections.iter().find(|before| {
                before.plan.mid == section.plan.mid
                    && before.plan.transceiver == section.plan.transceiver
                    && before.receive().map(|receive| &receive.rids)
                        == section.receive().map(|receive| &receive.rids)
            });
            if let Some(before) = before {
                section.wanted_keyframes = before.wanted_keyframes.clone();
            }
        }
        self.inbound.reconcile(&self.sections, &sections);
        self.outbound.reconcile(&self.sections, &sections);
        self.ids = ExtensionIds::shared(&sections);
        self.sections = sections;
        self.bandwidth.streams_changed();
        self.sources.reconcile(now, &self.sections);
        self.sinks.plan_changed();
    }

    /// Sends a packet on the sender that has this track. A track that no sender has, or one that
    /// may not send now, is counted and dropped; returns false for a track that no sender of a
    /// plan ever had. A sender on hold still knows its track.
    pub fn send_rtp(
        &mut self,
        now: Instant,
        track: TrackId,
        packet: &OutgoingRtp,
        out: &mut dyn PacketWriter,
    ) -> bool {
        if self.closed {
            return true;
        }
        if !self.sinks.is_empty() && self.is_forwarded_to(track) {
            self.dropped.forwarded_to += 1;
            return true;
        }
        let lost = self.loss.drops();
        let keep = self.features.outbound_rtx;
        let send_time = self.send_time(now);
        self.note_activity(now);
        self.outbound.send(
            now,
            &self.sections,
            track,
            packet,
            keep,
            send_time,
            lost,
            &mut self.bandwidth,
            out,
        )
    }

    /// When [`Self::handle_timeout`] has work; `None` while there is nothing to report or repair.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tones = self.tones.iter().map(Playout::due).min();
        let (report, nack, arrivals) = (self.report_due, self.nack_due, self.arrivals.due());
        let (paced, told) = (self.bandwidth.due(), self.estimate_due());
        let (keyframes, collected) = (self.sources.due(), self.sources.waits_until());
        [
            report, nack, arrivals, tones, paced, told, keyframes, collected,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Reports, NACKs, feedback that are due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        if self.nack_due.is_some_and(|due| due <= now) {
            self.request_missing(now, out);
        }
        if self.arrivals.due().is_some_and(|due| due <= now) {
            let reporter = self.reporter();
            while let Some(feedback) = self.arrivals.feedback(reporter.ssrc) {
                reports::send_feedback(&reporter, Box::new(feedback), out);
            }
        }
        if self.report_due.is_some_and(|due| due <= now) {
            self.report(now, out);
        }
        if self.tones.iter().any(|playout| playout.due() <= now) {
            self.play(now, out);
        }
        if self.sources.due().is_some_and(|due| due <= now) {
            self.ask_for_keyframes(now, out);
        }
        self.pace(now, out);
    }

    /// Plays tones on a sender: those that wait are replaced, the one that sounds goes on.
    ///
    /// # Errors
    /// [`Error::InvalidState`] while the sender may not send, or has no telephone events
    /// negotiated.
    pub fn insert_dtmf(
        &mut self,
        now: Instant,
        sender: SenderId,
        tones: &Tones<'_>,
    ) -> Result<(), Error> {
        if self.closed || self.outbound.telephone_event(sender).is_none() {
            return Err(Error::InvalidState);
        }
        match self.tones.iter_mut().find(|known| known.sender == sender) {
            Some(playout) => playout.replace(tones),
            None if tones.text.is_empty() => {}
            None => {
                let mut playout = Playout::new(now, sender);
                playout.replace(tones);
                self.tones.push(playout);
            }
        }
        Ok(())
    }

    /// The next tone that began, and on which sender; empty text when all were played.
    pub fn poll_tone(&mut self) -> Option<(SenderId, String)> {
        self.told_tones.pop_front()
    }

    fn play(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        let send_time = self.send_time(now);
        let mut playing = std::mem::take(&mut self.tones);
        playing.retain_mut(|playout| {
            let sender = playout.sender;
            loop {
                // A sender that may not send any more ends its tones (webrtc-pc section 7.2).
                let Some(event) = self.outbound.telephone_event(sender) else {
                    return false;
                };
                match playout.step(now, event.clock_rate) {
                    Step::Wait => return true,
                    Step::Begins(tone) => {
                        self.outbound.begin_tone(now, &event);
                        self.told_tones.push_back((sender, tone.to_string()));
                    }
                    Step::Send(packet) => {
                        self.active = true;
                        let lost = self.loss.drops();
                        let sections = &self.sections;
                        let bandwidth = &mut self.bandwidth;
                        self.outbound.send_tone(
                            now, sections, &event, &packet, send_time, lost, bandwidth, out,
                        );
                    }
                    Step::Ended => {
                        self.told_tones.push_back((sender, String::new()));
                        return false;
                    }
                }
            }
        });
        self.tones = playing;
        if self.active {
            self.note_activity(now);
        }
    }

    /// Who was received lately, latest first.
    pub fn synchronization_sources(&self, now: Instant, receiver: ReceiverId) -> Vec<RtpSource> {
        self.sources(receiver, |sources, into| {
            sources.synchronization(now, &self.clock, into);
        })
    }

    /// Who was mixed into what was received lately, latest first.
    pub fn contributing_sources(&self, now: Instant, receiver: ReceiverId) -> Vec<RtpSource> {
        self.sources(receiver, |sources, into| {
            sources.contributing(now, &self.clock, into);
        })
    }

    fn sources(
        &self,
        receiver: ReceiverId,
        tell: impl Fn(&sources::Sources, &mut Vec<RtpSource>),
    ) -> Vec<RtpSource> {
        let at = self.sections.iter().position(|section| {
            section
                .receive()
                .is_some_and(|plan| plan.receiver == receiver)
        });
        let streams = self.inbound.receivers.values();
        let mut told = Vec::new();
        for stream in streams.filter(|stream| Some(stream.section) == at) {
            tell(&stream.sources, &mut told);
        }
        told.sort_by_key(|source| std::cmp::Reverse(source.timestamp));
        told
    }

    /// RFC 8859 wants the same of all m-lines of a BUNDLE group; one that does not take feedback
    /// alone decides for all.
    fn reporter(&self) -> Reporter {
        let sections = &self.sections;
        let reduced_size = sections
            .iter()
            .all(|section| section.plan.reduced_size_rtcp);
        Reporter::new(&self.outbound, reduced_size)
    }

    fn request_missing(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        let reporter = self.reporter();
        let round_trip = self.round_trip.get();
        let mut numbers = Vec::new();
        let mut due: Option<Instant> = None;
        for (&ssrc, receiver) in &mut self.inbound.receivers {
            numbers.clear();
            receiver.nack.take_due(now, round_trip, &mut numbers);
            if !numbers.is_empty() {
                receiver.counters.nacks += reports::send_nack(&reporter, ssrc, &numbers, out);
            }
            due = [due, receiver.nack.due()].into_iter().flatten().min();
        }
        self.nack_due = due;
    }

    fn report(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        if self.features.rtcp_reports {
            let (inbound, outbound) = (&mut self.inbound, &mut self.outbound);
            reports::send_reports(now, &self.clock, inbound, outbound, out);
        }
        self.reported = true;
        self.bandwidth.look(now, self.round_trip.get());
        let mut kept = false;
        for encoding in self
            .outbound
            .senders
            .iter_mut()
            .flat_map(|sender| &mut sender.encodings)
        {
            encoding.history.prune(now);
            kept |= !encoding.history.is_empty();
        }
        // Silence both ways: nothing wakes us until the next packet.
        self.report_due = (self.active || kept).then(|| now + reports::INTERVAL);
        self.active = false;
    }

    /// Says goodbye (BYE) for every stream we sent. Counters stay readable, nothing else does
    /// anything any more.
    pub fn close(&mut self, _now: Instant, out: &mut dyn PacketWriter) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.sources.finish_all(ForwardEnd::Closed);
        self.sinks.finish_all(ForwardEnd::Closed);
        reports::send_goodbye(&self.outbound, out);
        self.report_due = None;
        self.nack_due = None;
        self.tones.clear();
        self.told_tones.clear();
        self.arrivals = ArrivalLog::new();
        self.bandwidth.close();
        self.told_estimate = None;
        self.inbound
            .receivers
            .values_mut()
            .for_each(|receiver| receiver.nack.clear());
        for sender in &mut self.outbound.senders {
            sender.active = false;
            sender
                .encodings
                .iter_mut()
                .for_each(|encoding| encoding.history.clear());
        }
    }

    /// Drops this share of RTP packets, in percent, both ways. What is dropped on its way out
    /// counts as sent: it was lost on the network.
    pub fn set_packet_loss(&mut self, percent: u8) {
        self.loss.set(percent);
    }

    /// Adds `inbound_rtp`, `outbound_rtp`, `remote_inbound_rtp`, `remote_outbound_rtp`, `codec`.
    pub fn stats(&self, _now: Instant, report: &mut StatsReport) {
        let source = stats::Source {
            sections: &self.sections,
            inbound: &self.inbound,
            outbound: &self.outbound,
            clock: &self.clock,
        };
        source.write(report);
        forwarding::write_stats(&self.sources, &self.sinks, report);
        let paced_out = self.bandwidth.paced_out();
        stats::write_dropped(
            &self.dropped,
            &self.inbound,
            &self.outbound,
            paced_out,
            report,
        );
    }

    /// How many packets of the program did not get here, because too many waited, so far.
    pub fn set_refused_packets(&mut self, total: u64) {
        self.dropped.refused = total;
    }

    /// How many received packets the program did not take in time, so far.
    pub fn set_packets_not_taken(&mut self, total: u64) {
        self.dropped.not_taken = total;
    }

    fn note_activity(&mut self, now: Instant) {
        self.active = true;
        if self.report_due.is_none() {
            let wait = if self.reported {
                reports::INTERVAL
            } else {
                reports::FIRST_INTERVAL
            };
            self.report_due = Some(now + wait);
        }
    }

    /// abs-send-time: the middle of NTP time, 6 bits of seconds and 18 of their fraction.
    fn send_time(&self, now: Instant) -> [u8; 3] {
        if self.ids.abs_send_time == 0 {
            return [0; 3];
        }
        let [_, _, _, _, _, a, b, c] = (self.clock.ntp(now) >> 14).to_be_bytes();
        [a, b, c]
    }
}
