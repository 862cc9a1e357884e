//! A received packet's way: to its stream, to the forwards, to the program.

use super::inbound::{Marks, Route};
use super::receiver::Verdict;
use super::section::Section;
use super::{Media, PacketWriter, ReceivedRtp, Sources, forwarding};
use crate::event::Sink;
use crate::ids::Rid;
use std::time::Instant;

impl Media {
    /// A decrypted RTP packet (header and payload, tag removed). Delivered at most once, late or
    /// repaired ones included; packets of padding only are probes for bandwidth and end here.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        packet: &[u8],
        sink: &mut dyn Sink,
        out: &mut dyn PacketWriter,
    ) {
        if self.closed {
            return;
        }
        let Some(packet) = ReceivedRtp::parse(packet) else {
            self.dropped.malformed_rtp += 1;
            return;
        };
        if self.loss.drops() {
            return;
        }
        let marks = Marks::read(&packet, &self.ids);
        let Some(route) = self.inbound.route(now, &self.sections, &packet, &marks) else {
            return;
        };
        self.note_activity(now);
        let at = match route {
            Route::Media { section } | Route::Repair { section, .. } => section,
        };
        let Some(section) = self.sections.get(at) else {
            return;
        };
        if let Some(number) = marks.twcc
            && section.twcc_feedback
            && self.features.twcc
        {
            self.arrivals.arrived(now, self.epoch, number, packet.ssrc);
        }
        match route {
            Route::Media { .. } => self.handle_media(now, at, &packet, &marks, sink, out),
            Route::Repair { payload_type, .. } => {
                self.handle_repair(now, at, payload_type, &packet, sink);
            }
        }
        if self.sources.due().is_some_and(|due| due <= now) {
            self.ask_for_keyframes(now, out);
        }
    }

    fn handle_media(
        &mut self,
        now: Instant,
        at: usize,
        packet: &ReceivedRtp<'_>,
        marks: &Marks<'_>,
        sink: &mut dyn Sink,
        out: &mut dyn PacketWriter,
    ) {
        let Some(section) = self.sections.get(at) else {
            return;
        };
        let Some(receiver) = self.inbound.receivers.get_mut(&packet.ssrc) else {
            return;
        };
        let repair = self.features.inbound_rtx;
        let verdict = receiver.accept(now, self.epoch, packet, section, repair);
        if let Some(due) = receiver.nack.first_due() {
            self.nack_due = Some(self.nack_due.map_or(due, |earlier| earlier.min(due)));
        }
        if verdict == Verdict::Fresh {
            receiver.sources.heard(now, packet, marks);
        }
        if matches!(verdict, Verdict::Fresh | Verdict::Padding) && !self.sources.is_empty() {
            forwarding::offer(&mut self.sources, now, section, receiver, packet);
        }
        let layer = receiver.layer;
        if verdict == Verdict::Fresh {
            deliver(section, layer, packet, &self.sources, self.deliver, sink);
        }
        if !section.wanted_keyframes.is_empty() {
            self.request_wanted_keyframe(now, at, packet.ssrc, out);
        }
    }

    /// A repair (RFC 4588 section 4): the original sequence number, then the original payload.
    fn handle_repair(
        &mut self,
        now: Instant,
        at: usize,
        payload_type: u8,
        packet: &ReceivedRtp<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some((number, payload)) = packet.payload.split_first_chunk() else {
            self.dropped.probes += 1;
            return;
        };
        let sequence_number = u16::from_be_bytes(*number);
        let repaired = self
            .inbound
            .repaired_stream(&self.sections, packet.ssrc, sequence_number);
        let (Some(ssrc), Some(section)) = (repaired, self.sections.get(at)) else {
            self.dropped.unrepairable += 1;
            return;
        };
        let Some(receiver) = self.inbound.receivers.get_mut(&ssrc) else {
            return;
        };
        let original = ReceivedRtp {
            ssrc,
            sequence_number,
            payload_type,
            payload,
            ..*packet
        };
        let (verdict, round_trip) = receiver.accept_repair(now, &original, section);
        if let Some(sample) = round_trip {
            self.round_trip.measured(sample);
        }
        if matches!(verdict, Verdict::Fresh | Verdict::Padding) && !self.sources.is_empty() {
            forwarding::offer(&mut self.sources, now, section, receiver, &original);
        }
        if verdict == Verdict::Fresh {
            let layer = receiver.layer;
            deliver(section, layer, &original, &self.sources, self.deliver, sink);
        }
    }
}

/// Hands a packet to the sink, under its layer's name where there is simulcast. Those of a track
/// that is forwarded stay here, unless it is tapped.
fn deliver(
    section: &Section,
    layer: Option<usize>,
    packet: &ReceivedRtp<'_>,
    sources: &Sources,
    otherwise: bool,
    sink: &mut dyn Sink,
) {
    if sources.is_empty() && !otherwise {
        return;
    }
    let Some(receive) = section.receive() else {
        return;
    };
    if !sources.is_empty() && !sources.is_delivered(receive.track, otherwise) {
        return;
    }
    let rid: Option<&Rid> = layer.and_then(|layer| receive.rids.get(layer));
    sink.rtp(receive.track, rid, packet);
}
