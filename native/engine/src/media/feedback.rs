//! RTCP from the peer, and keyframe requests to it.

use super::encoding::RemoteReception;
use super::reports;
use super::rtcp_in::{self, ReportBlock, RtcpPacket, RtcpPackets};
use super::section::has_feedback;
use super::{Media, PacketWriter};

use crate::event::{Event, Sink};
use crate::ids::{Rid, TrackId};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Requests of one NACK packet that are looked at: as many as a stream's history holds. A packet
/// can name 6,000; what is behind is asked for again.
const MAX_REQUESTS: usize = 1024;
/// A round trip beyond this is a forged or broken report.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(60);
/// Least time between two retransmissions of a packet, and the most.
const MIN_SPACING: Duration = Duration::from_millis(10);
const MAX_SPACING: Duration = Duration::from_millis(500);

impl Media {
    /// A decrypted RTCP packet, compound or reduced-size. A compound whose lengths are wrong is
    /// dropped whole. Every packet in it is told to the program, with the track it is about: one
    /// of ours for feedback and receiver reports, a received one for what its sender says.
    pub fn handle_rtcp(
        &mut self,
        now: Instant,
        packet: &[u8],
        sink: &mut dyn Sink,
        out: &mut dyn PacketWriter,
    ) {
        if self.closed {
            return;
        }
        let packets = RtcpPackets::new(packet);
        if !packets.is_well_formed() {
            self.dropped.malformed_rtcp += 1;
            return;
        }
        let whole = Bytes::copy_from_slice(packet);
        let mut told = Vec::new();
        for packet in packets {
            let track = self.subject(&packet);
            if self.take_rtcp(now, &packet, out).is_none() {
                self.dropped.malformed_rtcp += 1;
                continue;
            }
            told.push((track, whole.slice(packet.range)));
        }
        if !told.is_empty() {
            sink.event(Event::Rtcp(told));
        }
    }

    /// Sends RTCP of the control plane's making. What is not RTCP is dropped and counted.
    pub fn send_rtcp(&mut self, _now: Instant, packet: &[u8], out: &mut dyn PacketWriter) {
        if self.closed {
            return;
        }
        if RtcpPackets::new(packet).is_well_formed() {
            out.write_rtcp(packet);
        } else {
            self.dropped.refused_rtcp += 1;
        }
    }

    /// The track that a packet is about.
    fn subject(&self, packet: &RtcpPacket<'_>) -> Option<TrackId> {
        let sent = |ssrc: u32| {
            let stream = self.outbound.stream(ssrc)?;
            self.outbound.track(stream)
        };
        match (packet.kind, packet.count) {
            (rtcp_in::RECEIVER_REPORT, _) => sent(packet.report_blocks().next()?.ssrc),
            (rtcp_in::PAYLOAD_FEEDBACK, rtcp_in::FORMAT_FIR) => {
                sent(packet.full_intra_requests().next()?.0)
            }
            (rtcp_in::PAYLOAD_FEEDBACK, rtcp_in::FORMAT_ALFB) => sent(packet.remb_ssrc()?),
            (rtcp_in::TRANSPORT_FEEDBACK | rtcp_in::PAYLOAD_FEEDBACK, _) => {
                sent(packet.media_ssrc()?)
            }
            _ => {
                let receiver = self.inbound.receivers.get(&packet.sender_ssrc()?)?;
                Some(self.sections.get(receiver.section)?.receive()?.track)
            }
        }
    }

    /// `None` for a packet that is too short for what it says it is.
    fn take_rtcp(
        &mut self,
        now: Instant,
        packet: &RtcpPacket<'_>,
        out: &mut dyn PacketWriter,
    ) -> Option<()> {
        match (packet.kind, packet.count) {
            (rtcp_in::SENDER_REPORT, _) => {
                let info = packet.sender_info()?;
                if let Some(receiver) = self.inbound.receivers.get_mut(&info.ssrc) {
                    receiver.sender_reported(now, &info);
                }
                self.take_blocks(now, packet)?;
            }
            (rtcp_in::RECEIVER_REPORT, _) => {
                packet.sender_ssrc()?;
                self.take_blocks(now, packet)?;
            }
            (rtcp_in::GOODBYE, count) => {
                if packet.goodbyes().count() < usize::from(count) {
                    return None;
                }
                // Not the end of the track (W3C mutes it): the SSRC may come back, numbered anew.
                for ssrc in packet.goodbyes() {
                    if let Some(receiver) = self.inbound.receivers.get_mut(&ssrc) {
                        receiver.start_over();
                    }
                }
            }
            (rtcp_in::TRANSPORT_FEEDBACK, rtcp_in::FORMAT_NACK) => {
                let ssrc = packet.media_ssrc()?;
                packet.requested().next()?;
                self.answer_nack(now, ssrc, packet, out);
            }
            (rtcp_in::TRANSPORT_FEEDBACK, rtcp_in::FORMAT_TWCC) => {
                let round_trip = self.round_trip.get();
                self.bandwidth.feedback(now, packet.body, round_trip)?;
            }
            (rtcp_in::PAYLOAD_FEEDBACK, rtcp_in::FORMAT_PLI) => {
                let stream = self.outbound.stream(packet.media_ssrc()?);
                if let Some(encoding) = stream.and_then(|at| self.outbound.encoding_mut(at)) {
                    encoding.counters.plis += 1;
                }
                self.viewer_wants_keyframe(stream);
            }
            (rtcp_in::PAYLOAD_FEEDBACK, rtcp_in::FORMAT_FIR) => {
                packet.full_intra_requests().next()?;
                for (ssrc, _) in packet.full_intra_requests() {
                    let stream = self.outbound.stream(ssrc);
                    if let Some(encoding) = stream.and_then(|at| self.outbound.encoding_mut(at)) {
                        encoding.counters.firs += 1;
                    }
                    self.viewer_wants_keyframe(stream);
                }
            }
            (rtcp_in::PAYLOAD_FEEDBACK, rtcp_in::FORMAT_ALFB) => {
                packet.media_ssrc()?;
                if let Some(bits_per_second) = packet.remb_bitrate() {
                    self.bandwidth.allow(bits_per_second);
                }
            }
            (rtcp_in::TRANSPORT_FEEDBACK | rtcp_in::PAYLOAD_FEEDBACK, _) => {
                packet.media_ssrc()?;
            }
            (rtcp_in::SOURCE_DESCRIPTION, 0) => {}
            (rtcp_in::SOURCE_DESCRIPTION | rtcp_in::APPLICATION | rtcp_in::EXTENDED_REPORT, _) => {
                packet.sender_ssrc()?;
            }
            _ => {}
        }
        Some(())
    }

    fn take_blocks(&mut self, now: Instant, packet: &RtcpPacket<'_>) -> Option<()> {
        if packet.report_blocks().count() < usize::from(packet.count) {
            return None;
        }
        for block in packet.report_blocks() {
            let round_trip = self.round_trip_of(now, &block);
            let Some(stream) = self.outbound.stream(block.ssrc) else {
                continue;
            };
            let Some(encoding) = self.outbound.encoding_mut(stream) else {
                continue;
            };
            // A report on the repair stream is not one on the media.
            if encoding.plan.ssrc != block.ssrc {
                continue;
            }
            if let Some(sample) = round_trip {
                self.round_trip.measured(sample);
            }
            self.bandwidth
                .reported(f64::from(block.fraction_lost) / 256.0);
            let remote = encoding.remote.get_or_insert(RemoteReception::default());
            remote.fraction_lost = block.fraction_lost;
            remote.total_lost = block.total_lost;
            remote.jitter = block.jitter;
            if let Some(sample) = round_trip {
                remote.round_trip = Some(sample);
                remote.total_round_trip += sample;
                remote.round_trips += 1;
            }
        }
        Some(())
    }

    /// RFC 3550 section 6.4.1: now, less when our report was sent, less how long it was held.
    fn round_trip_of(&self, now: Instant, block: &ReportBlock) -> Option<Duration> {
        if block.last_sender_report == 0 {
            return None;
        }
        let middle = (self.clock.ntp(now) >> 16) as u32;
        let ticks = middle
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        // Clocks that tick coarsely may make it slightly negative.
        let ticks = u64::from(u32::try_from(ticks as i32).unwrap_or(0));
        let round_trip = Duration::from_micros(ticks * 1_000_000 / 65_536);
        (round_trip <= MAX_ROUND_TRIP).then_some(round_trip)
    }

    fn answer_nack(
        &mut self,
        now: Instant,
        ssrc: u32,
        packet: &RtcpPacket<'_>,
        out: &mut dyn PacketWriter,
    ) {
        let Some(stream) = self.outbound.stream(ssrc) else {
            return;
        };
        let Some(encoding) = self.outbound.encoding_mut(stream) else {
            return;
        };
        if encoding.plan.ssrc != ssrc {
            return;
        }
        encoding.counters.nacks += 1;
        if !self.features.outbound_rtx {
            return;
        }
        // A second request within a round trip was sent before the repair could arrive.
        let round_trip = self.round_trip.get().max(self.bandwidth.round_trip());
        let round_trip = round_trip.unwrap_or(MIN_SPACING);
        let spacing = round_trip.mul_f32(0.75).clamp(MIN_SPACING, MAX_SPACING);
        let send_time = self.send_time(now);
        for number in packet.requested().take(MAX_REQUESTS) {
            if !self.bandwidth.may_repair(now) {
                // What is still missing is asked for again.
                return;
            }
            let lost = self.loss.drops();
            let sections = &self.sections;
            let bandwidth = &mut self.bandwidth;
            self.outbound.resend(
                now, sections, stream, number, spacing, send_time, lost, bandwidth, out,
            );
        }
    }

    /// Asks for a keyframe of a received track (PLI, or FIR where only that was negotiated). Of
    /// one layer, or of all that are arriving. Where nothing arrived yet, the first packet will
    /// be answered with the request.
    pub fn send_pli(
        &mut self,
        now: Instant,
        track: TrackId,
        rid: Option<&Rid>,
        out: &mut dyn PacketWriter,
    ) {
        let found = self.sections.iter().position(|section| {
            section
                .receive()
                .is_some_and(|receive| receive.track == track)
        });
        let Some(at) = found else { return };
        let Some(section) = self.sections.get_mut(at) else {
            return;
        };
        let layer = match rid {
            None => None,
            Some(rid) => match section.layer(rid.as_str().as_bytes()) {
                Some(layer) => Some(layer),
                None => return,
            },
        };
        let targets = self.inbound.current_streams(at, layer);
        if targets.is_empty() {
            match layer {
                None => section.wanted_keyframes.any = true,
                Some(layer) if !section.wanted_keyframes.layers.contains(&layer) => {
                    section.wanted_keyframes.layers.push(layer);
                }
                Some(_) => {}
            }
        }
        for ssrc in targets {
            self.request_keyframe(now, at, ssrc, out);
        }
    }

    /// The first packet of a stream that a keyframe was wanted of.
    pub(super) fn request_wanted_keyframe(
        &mut self,
        now: Instant,
        at: usize,
        ssrc: u32,
        out: &mut dyn PacketWriter,
    ) {
        let layer = self
            .inbound
            .receivers
            .get(&ssrc)
            .and_then(|receiver| receiver.layer);
        let Some(section) = self.sections.get_mut(at) else {
            return;
        };
        let wanted = &mut section.wanted_keyframes;
        let of_layer = wanted
            .layers
            .iter()
            .position(|wanted| Some(*wanted) == layer);
        if let Some(of_layer) = of_layer {
            wanted.layers.swap_remove(of_layer);
        } else if !std::mem::take(&mut wanted.any) {
            return;
        }
        self.request_keyframe(now, at, ssrc, out);
    }

    pub(super) fn request_keyframe(
        &mut self,
        _now: Instant,
        at: usize,
        ssrc: u32,
        out: &mut dyn PacketWriter,
    ) {
        let reporter = self.reporter();
        let Some(receive) = self.sections.get(at).and_then(|section| section.receive()) else {
            return;
        };
        let Some(receiver) = self.inbound.receivers.get_mut(&ssrc) else {
            return;
        };
        let codec = receiver
            .codec
            .and_then(|codec| receive.codecs.get(codec.index));
        let Some(codec) = codec else { return };
        if has_feedback(codec, "nack pli") {
            receiver.counters.plis += u64::from(reports::send_pli(&reporter, ssrc, out));
        } else if has_feedback(codec, "ccm fir") {
            // RFC 5104 section 4.3.1.1: every new command has the next number.
            receiver.fir_sequence = receiver.fir_sequence.wrapping_add(1);
            let sequence = receiver.fir_sequence;
            receiver.counters.firs += u64::from(reports::send_fir(&reporter, ssrc, sequence, out));
        }
    }
}
