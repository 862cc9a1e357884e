//! One RTP stream that we send: an encoding of a sender (W3C `RTCRtpEncodingParameters`).

use super::dtmf::TonePacket;
use super::header::{ElementList, Fields, HeaderBuffer};
use super::history::{SentHistory, SentPacket};
use super::section::ExtensionIds;
use super::sequence::{Arrival, SequenceWindow};
use super::{PacketWriter, ReceivedRtp};
use crate::command::OutgoingRtp;
use crate::plan::EncodingPlan;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::{Duration, Instant};

/// Room for an RTX payload on the stack: original sequence number and a datagram's worth.
const RTX_PAYLOAD: usize = 2 + 2048;

/// Bytes of a packet of padding: what one byte can count (RFC 3550 section 5.1).
const PADDING: [u8; 255] = {
    let mut padding = [0; 255];
    padding[254] = 255;
    padding
};

/// What `outbound_rtp` counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentCounters {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) header_bytes: u64,
    pub(super) markers: u64,
    pub(super) repair_packets: u64,
    pub(super) repair_bytes: u64,
    pub(super) padding_packets: u64,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
    /// Packets that were not sent: their number was used for other bytes, or they are too long
    /// for a repair.
    pub(super) refused: u64,
}

/// What the peer's receiver reports say of a stream (`remote_inbound_rtp`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RemoteReception {
    pub(super) fraction_lost: u8,
    pub(super) total_lost: i32,
    /// In timestamp units.
    pub(super) jitter: u32,
    pub(super) round_trip: Option<Duration>,
    pub(super) total_round_trip: Duration,
    pub(super) round_trips: u64,
}

/// The last packet's place on both time lines, for sender reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSent {
    pub(super) timestamp: u32,
    pub(super) clock_rate: u32,
    pub(super) payload_type: u8,
    pub(super) at: Instant,
}

/// What a section and its sender give to each packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) ids: &'a ExtensionIds,
    /// Ids of every extension that was negotiated.
    pub(super) negotiated: &'a std::collections::BTreeMap<u8, String>,
    pub(super) mid: &'a [u8],
    pub(super) payload_type: u8,
    pub(super) clock_rate: u32,
    /// The payload type of RTX for `payload_type`.
    pub(super) rtx_payload_type: Option<u8>,
    /// Keep packets for the peer's NACKs.
    pub(super) keep: bool,
    /// The time in 6.18 fixed-point seconds, for abs-send-time.
    pub(super) send_time: [u8; 3],
}

/// One sent stream.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) plan: EncodingPlan,
    pub(super) counters: SentCounters,
    pub(super) last: Option<LastSent>,
    pub(super) remote: Option<RemoteReception>,
    pub(super) history: SentHistory,
    /// Sender reports sent on this stream.
    pub(super) reports: u64,
    pub(super) packets_at_report: u64,
    sent: SequenceWindow,
    /// Added to the program's sequence numbers, see [`Encoding::number`].
    shift: u16,
    /// The timestamp of the tone that sounds.
    tone_timestamp: u32,
    rtx_sequence: u16,
}

impl Encoding {
    pub(super) fn new(plan: &EncodingPlan) -> Self {
        Self {
            plan: plan.clone(),
            counters: SentCounters::default(),
            last: None,
            remote: None,
            history: SentHistory::default(),
            reports: 0,
            packets_at_report: 0,
            sent: SequenceWindow::new(),
            shift: 0,
            tone_timestamp: 0,
            rtx_sequence: rand::random(),
        }
    }

    /// The number a packet goes out with; `None` if that number was used before.
    ///
    /// It is the program's own, as long as it moves forward: SRTP must never protect two packets
    /// under one number (RFC 7714 section 8.1), and the peer's replay list drops what is far
    /// behind. A source that starts over (it jumps back beyond everything that could be a
    /// reordering) is therefore continued behind what was sent.
    fn number(&mut self, sequence_number: u16) -> Option<u16> {
        let number = sequence_number.wrapping_add(self.shift);
        match self.sent.insert(number) {
            Arrival::First(_) | Arrival::Ahead { .. } | Arrival::Late(_) => Some(number),
            Arrival::Duplicate => None,
            Arrival::TooOld => {
                let next = self.sent.last()?.wrapping_add(1);
                self.shift = next.wrapping_sub(sequence_number);
                self.sent.insert(next);
                Some(next)
            }
        }
    }

    /// Sends a packet of the program; its size if it has left.
    pub(super) fn send(
        &mut self,
        now: Instant,
        packet: &OutgoingRtp,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        if packet.rtx {
            return self.send_again(now, packet, envelope, twcc, lost, out);
        }
        let Some(number) = self.number(packet.sequence_number) else {
            self.counters.refused += 1;
            return None;
        };
        self.send_as(now, packet, number, envelope, twcc, lost, out)
    }

    /// The number behind the last one, as whoever hands packets over counts.
    pub(super) fn next_number(&self) -> Option<u16> {
        let next = self.sent.last()?.wrapping_add(1);
        Some(next.wrapping_sub(self.shift))
    }

    /// Sends a packet of another connection. It keeps its number, or is not sent: the numbers of a
    /// forward never start over.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        packet: &OutgoingRtp,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let number = packet.sequence_number.wrapping_add(self.shift);
        match self.sent.insert(number) {
            Arrival::First(_) | Arrival::Ahead { .. } | Arrival::Late(_) => {
                self.send_as(now, packet, number, envelope, twcc, lost, out)
            }
            Arrival::Duplicate | Arrival::TooOld => {
                self.counters.refused += 1;
                None
            }
        }
    }

    /// Sends a packet under a number that was never used.
    #[allow(clippy::too_many_arguments)]
    fn send_as(
        &mut self,
        now: Instant,
        packet: &OutgoingRtp,
        sequence_number: u16,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let header = self.header_of(packet, envelope, sequence_number, twcc);
        let padded;
        let payload = if packet.padding_size == 0 {
            &packet.payload
        } else {
            padded = pad(&packet.payload, packet.padding_size);
            &padded
        };
        let header = header.as_slice();
        let size = write(header, payload, lost, out)?;
        self.counters.packets += 1;
        self.counters.bytes += packet.payload.len() as u64;
        self.counters.header_bytes += (header.len() + usize::from(packet.padding_size)) as u64;
        self.counters.markers += u64::from(packet.marker);
        self.last = Some(LastSent {
            timestamp: packet.timestamp,
            clock_rate: envelope.clock_rate,
            payload_type: envelope.payload_type,
            at: now,
        });
        if envelope.keep {
            let padding = packet.padding_size;
            let kind = envelope.payload_type;
            self.history
                .push(now, sequence_number, kind, header, payload, padding);
        }
        Some(size)
    }

    /// A tone begins: its time on the line of the program's packets.
    pub(super) fn begin_tone(&mut self, now: Instant) {
        self.tone_timestamp = self.last.map_or_else(rand::random, |last| {
            let elapsed = now.saturating_duration_since(last.at).as_micros();
            let ticks = elapsed * u128::from(last.clock_rate) / 1_000_000;
            last.timestamp.wrapping_add(ticks as u32)
        });
    }

    /// Sends a packet of a tone. It takes the next number; the program's go on behind it.
    pub(super) fn send_tone(
        &mut self,
        now: Instant,
        tone: &TonePacket,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let next = match self.sent.last() {
            Some(last) => {
                self.shift = self.shift.wrapping_add(1);
                last.wrapping_add(1)
            }
            None => rand::random(),
        };
        let packet = OutgoingRtp {
            marker: tone.marker,
            payload_type: envelope.payload_type,
            sequence_number: next.wrapping_sub(self.shift),
            timestamp: self.tone_timestamp.wrapping_add(tone.offset),
            ssrc: self.plan.ssrc,
            csrc: Vec::new(),
            extensions: Vec::new(),
            payload: Bytes::copy_from_slice(&tone.payload),
            padding_size: 0,
            rtx: false,
        };
        let before = self.last;
        let size = self.send(now, &packet, envelope, twcc, lost, out);
        // Packets of a tone stand still in time, which sender reports must not.
        self.last = before.or(self.last);
        size
    }

    /// The program itself repeats a packet (`rtx?: true`).
    fn send_again(
        &mut self,
        now: Instant,
        packet: &OutgoingRtp,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let original = packet.sequence_number.wrapping_add(self.shift);
        let (Some(payload_type), Some(ssrc)) = (envelope.rtx_payload_type, self.plan.rtx_ssrc)
        else {
            // Without RTX only the very same bytes may go out again.
            let sent = self.history.resend(now, original, Duration::ZERO).cloned();
            if sent.is_none() {
                self.counters.refused += 1;
            }
            return self.repeat(&sent?, lost, out);
        };
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        let fields = Fields {
            marker: packet.marker,
            payload_type,
            sequence_number: self.rtx_sequence,
            timestamp: packet.timestamp,
            ssrc,
            padding: false,
        };
        let twcc = twcc.map(u16::to_be_bytes);
        let elements = self.elements(envelope, twcc.as_ref(), true, |list| {
            for (id, data) in &packet.extensions {
                list_foreign(list, envelope, *id, data);
            }
        });
        let header = HeaderBuffer::write(fields, packet.csrc.iter().copied(), &elements);
        self.write_rtx(&header, original, &packet.payload, lost, out)
    }

    /// Sends a kept packet again: over RTX where its payload type has one, else as it was.
    pub(super) fn resend(
        &mut self,
        sent: &SentPacket,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let (Some(payload_type), Some(ssrc), true) = (
            envelope.rtx_payload_type,
            self.plan.rtx_ssrc,
            envelope.payload_type == sent.payload_type,
        ) else {
            return self.repeat(sent, lost, out);
        };
        let original = ReceivedRtp::parse_header(sent.header())?;
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        let fields = Fields {
            marker: original.marker,
            payload_type,
            sequence_number: self.rtx_sequence,
            timestamp: original.timestamp,
            ssrc,
            padding: false,
        };
        let twcc = twcc.map(u16::to_be_bytes);
        let elements = self.elements(envelope, twcc.as_ref(), true, |list| {
            for (id, data) in original.elements() {
                list_foreign(list, envelope, id, data);
            }
        });
        let csrc = original
            .csrc
            .as_chunks::<4>()
            .0
            .iter()
            .map(|source| u32::from_be_bytes(*source));
        let length = sent
            .payload
            .len()
            .saturating_sub(usize::from(sent.padding_size));
        let payload = sent.payload.get(..length).unwrap_or_default();
        let header = HeaderBuffer::write(fields, csrc, &elements);
        self.write_rtx(&header, sent.sequence_number, payload, lost, out)
    }

    /// The very same bytes again.
    fn repeat(
        &mut self,
        sent: &SentPacket,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let size = write(sent.header(), &sent.payload, lost, out)?;
        self.counters.repair_packets += 1;
        self.counters.repair_bytes +=
            sent.payload
                .len()
                .saturating_sub(usize::from(sent.padding_size)) as u64;
        Some(size)
    }

    /// RFC 4588 section 4: the original sequence number, then the original payload.
    fn write_rtx(
        &mut self,
        header: &HeaderBuffer,
        original: u16,
        payload: &[u8],
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let mut buffer = [0; RTX_PAYLOAD];
        let length = payload.len() + 2;
        let Some(wrapped) = buffer.get_mut(..length) else {
            self.counters.refused += 1;
            return None;
        };
        let (number, body) = wrapped.split_at_mut(2);
        number.copy_from_slice(&original.to_be_bytes());
        body.copy_from_slice(payload);
        let size = write(header.as_slice(), wrapped, lost, out)?;
        self.counters.repair_packets += 1;
        self.counters.repair_bytes += payload.len() as u64;
        Some(size)
    }

    /// Sends a packet of padding on the repair stream, where it takes no number of the media's.
    /// `None` where there is none, or nothing was sent on the stream yet.
    pub(super) fn pad(
        &mut self,
        envelope: &Envelope<'_>,
        twcc: Option<u16>,
        lost: bool,
        out: &mut dyn PacketWriter,
    ) -> Option<usize> {
        let last = self.last?;
        let fields = Fields {
            marker: false,
            payload_type: envelope.rtx_payload_type?,
            sequence_number: self.rtx_sequence.wrapping_add(1),
            timestamp: last.timestamp,
            ssrc: self.plan.rtx_ssrc?,
            padding: true,
        };
        self.rtx_sequence = fields.sequence_number;
        let twcc = twcc.map(u16::to_be_bytes);
        let elements = self.elements(envelope, twcc.as_ref(), true, |_| {});
        let header = HeaderBuffer::write(fields, std::iter::empty(), &elements);
        let size = write(header.as_slice(), &PADDING, lost, out)?;
        self.counters.padding_packets += 1;
        Some(size)
    }

    fn header_of(
        &self,
        packet: &OutgoingRtp,
        envelope: &Envelope<'_>,
        sequence_number: u16,
        twcc: Option<u16>,
    ) -> HeaderBuffer {
        let twcc = twcc.map(u16::to_be_bytes);
        let elements = self.elements(envelope, twcc.as_ref(), false, |list| {
            for (id, data) in &packet.extensions {
                list_foreign(list, envelope, *id, data);
            }
        });
        let fields = Fields {
            marker: packet.marker,
            payload_type: envelope.payload_type,
            sequence_number,
            timestamp: packet.timestamp,
            ssrc: self.plan.ssrc,
            padding: packet.padding_size != 0,
        };
        HeaderBuffer::write(fields, packet.csrc.iter().copied(), &elements)
    }

    /// The elements of a packet: ours, then what `more` adds. The MID goes on every packet: it
    /// costs a few bytes and lets a peer that lost its state, or never had it, route the packet.
    fn elements<'a>(
        &'a self,
        envelope: &'a Envelope<'a>,
        twcc: Option<&'a [u8; 2]>,
        repair: bool,
        more: impl FnOnce(&mut ElementList<'a>),
    ) -> ElementList<'a> {
        let mut list = ElementList::new();
        list.push(envelope.ids.mid, envelope.mid);
        if let Some(rid) = &self.plan.rid {
            let id = if repair {
                envelope.ids.repaired_rid
            } else {
                envelope.ids.rid
            };
            list.push(id, rid.as_str().as_bytes());
        }
        if let Some(twcc) = twcc {
            list.push(envelope.ids.twcc, twcc);
        }
        list.push(envelope.ids.abs_send_time, &envelope.send_time);
        more(&mut list);
        list
    }

    /// Whether anything was sent since the last report.
    pub(super) fn has_news(&self) -> bool {
        self.counters.packets != self.packets_at_report
    }
}

/// Takes an element of the program's if it was negotiated and is not ours to write.
fn list_foreign<'a>(list: &mut ElementList<'a>, envelope: &Envelope<'_>, id: u8, data: &'a [u8]) {
    if envelope.negotiated.contains_key(&id) && !envelope.ids.owns(id) {
        list.push(id, data);
    }
}

/// The size of a packet that has left, or was lost in the simulation of loss.
fn write(header: &[u8], payload: &[u8], lost: bool, out: &mut dyn PacketWriter) -> Option<usize> {
    if !lost {
        out.write_rtp(header, payload)?;
    }
    Some(header.len() + payload.len())
}

/// RFC 3550 section 5.1: zeros, then the count.
fn pad(payload: &Bytes, padding_size: u8) -> Bytes {
    let mut padded = BytesMut::with_capacity(payload.len() + usize::from(padding_size));
    padded.extend_from_slice(payload);
    padded.put_bytes(0, usize::from(padding_size).saturating_sub(1));
    padded.put_u8(padding_size);
    padded.freeze()
}
