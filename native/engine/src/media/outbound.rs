//! Senders: from a track to the streams it leaves in, and from a stream's SSRC back to its track.

use super::PacketWriter;
use super::bandwidth::{Bandwidth, Class};
use super::dtmf::TonePacket;
use super::encoding::{Encoding, Envelope, LastSent};
use super::section::{ExtensionIds, Section, has_feedback};
use crate::command::OutgoingRtp;
use crate::ids::{SenderId, TrackId};
use crate::plan::SendPlan;
use crate::w3c::Kind;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A codec of a sender, with what packets need of it.
#[derive(Clone, Copy, Debug)]
struct SentCodec {
    payload_type: u8,
    clock_rate: u32,
    rtx_payload_type: Option<u8>,
    nack: bool,
}

/// One sender.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) id: SenderId,
    /// Its m-line: a place in the list of sections.
    pub(super) section: usize,
    pub(super) plan: SendPlan,
    /// Whether the negotiated direction lets it send.
    pub(super) active: bool,
    pub(super) encodings: Vec<Encoding>,
    /// Packets that came while it may not send.
    pub(super) dropped: u64,
    codec: SentCodec,
    codecs: Vec<SentCodec>,
}

impl Sender {
    fn new(section: usize, plan: &SendPlan, mut old: Vec<Encoding>) -> Self {
        let describe = |codec: &crate::w3c::Codec| SentCodec {
            payload_type: codec.payload_type,
            clock_rate: codec.clock_rate.max(1),
            rtx_payload_type: plan.rtx_of(codec.payload_type),
            nack: has_feedback(codec, "nack"),
        };
        let encodings = plan
            .encodings
            .iter()
            .map(
                |wanted| match old.iter().position(|had| had.plan.ssrc == wanted.ssrc) {
                    Some(at) => {
                        let mut kept = old.swap_remove(at);
                        kept.plan = wanted.clone();
                        kept
                    }
                    None => Encoding::new(wanted),
                },
            )
            .collect();
        Self {
            id: plan.sender,
            section,
            plan: plan.clone(),
            active: true,
            encodings,
            dropped: 0,
            codec: describe(&plan.codec),
            codecs: plan.codecs.iter().map(describe).collect(),
        }
    }

    fn codec_for(&self, payload_type: u8) -> SentCodec {
        self.codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
            .copied()
            .unwrap_or(self.codec)
    }

    /// The layer of a packet: by its SSRC, by its RID element, else the first.
    fn encoding_for(&self, packet: &OutgoingRtp, section: &Section) -> usize {
        if self.encodings.len() < 2 {
            return 0;
        }
        if let Some(at) = self
            .encodings
            .iter()
            .position(|e| e.plan.ssrc == packet.ssrc)
        {
            return at;
        }
        let named = packet
            .extensions
            .iter()
            .find(|(id, _)| *id != 0 && *id == section.ids.rid);
        named
            .and_then(|(_, rid)| {
                self.encodings.iter().position(|encoding| {
                    encoding
                        .plan
                        .rid
                        .as_ref()
                        .is_some_and(|own| own.as_str().as_bytes() == rid)
                })
            })
            .unwrap_or(0)
    }
}

fn envelope<'a>(
    section: &'a Section,
    codec: SentCodec,
    keep: bool,
    send_time: [u8; 3],
) -> Envelope<'a> {
    Envelope {
        ids: &section.ids,
        negotiated: &section.plan.extensions,
        mid: section.plan.mid.as_str().as_bytes(),
        payload_type: codec.payload_type,
        clock_rate: codec.clock_rate,
        rtx_payload_type: codec.rtx_payload_type,
        keep: keep && (codec.nack || codec.rtx_payload_type.is_some()),
        send_time,
    }
}

/// Audio is little, and late at once.
fn class_of(section: &Section) -> Class {
    match section.plan.kind {
        Kind::Audio => Class::Urgent,
        Kind::Video => Class::Media,
    }
}

/// The extensions to write when a packet leaves. None in one that leaves again as it was: SRTP must
/// not protect two packets under one number (RFC 7714 section 8.1).
fn marks(section: &Section, as_it_was: bool) -> ExtensionIds {
    if as_it_was {
        ExtensionIds::default()
    } else {
        section.ids
    }
}

/// What tones of a sender are sent as (RFC 4733).
#[derive(Clone, Copy, Debug)]
pub(super) struct TelephoneEvent {
    /// What durations are counted in.
    pub(super) clock_rate: u32,
    sender: usize,
    codec: SentCodec,
}

/// Where a sent SSRC belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentStream {
    pub(super) sender: usize,
    pub(super) encoding: usize,
}

/// Every sender.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pub(super) senders: Vec<Sender>,
    /// Packets of tracks that no sender has.
    pub(super) unknown_tracks: u64,
    by_track: BTreeMap<TrackId, usize>,
}

impl Outbound {
    /// Follows a new plan. A sender whose m-line is only on hold keeps its streams.
    pub(super) fn reconcile(&mut self, old: &[Section], new: &[Section]) {
        let mut before = std::mem::take(&mut self.senders);
        for (at, section) in new.iter().enumerate() {
            let Some(plan) = &section.plan.send else {
                let held = before.iter().position(|sender| {
                    old.get(sender.section).is_some_and(|was| {
                        was.plan.transceiver == section.plan.transceiver
                            && was.plan.mid == section.plan.mid
                    })
                });
                if let Some(held) = held {
                    let mut sender = before.swap_remove(held);
                    sender.active = false;
                    sender.section = at;
                    self.senders.push(sender);
                }
                continue;
            };
            let had = before.iter().position(|sender| sender.id == plan.sender);
            let (encodings, dropped) = match had.map(|had| before.swap_remove(had)) {
                Some(sender) => (sender.encodings, sender.dropped),
                None => (Vec::new(), 0),
            };
            let mut sender = Sender::new(at, plan, encodings);
            sender.dropped = dropped;
            self.senders.push(sender);
        }
        self.by_track = self
            .senders
            .iter()
            .enumerate()
            .filter_map(|(at, sender)| Some((sender.plan.track?, at)))
            .collect();
    }

    /// Sends a packet of a track; false for a track that no sender has.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn send(
        &mut self,
        now: Instant,
        sections: &[Section],
        track: TrackId,
        packet: &OutgoingRtp,
        keep: bool,
        send_time: [u8; 3],
        lost: bool,
        bandwidth: &mut Bandwidth,
        out: &mut dyn PacketWriter,
    ) -> bool {
        let sender = self
            .by_track
            .get(&track)
            .and_then(|&at| self.senders.get_mut(at));
        let Some(sender) = sender else {
            self.unknown_tracks += 1;
            return false;
        };
        let Some(section) = sections.get(sender.section).filter(|_| sender.active) else {
            sender.dropped += 1;
            return true;
        };
        let codec = sender.codec_for(packet.payload_type);
        let at = sender.encoding_for(packet, section);
        let encoding = sender.encodings.get_mut(at);
        let Some(encoding) = encoding.filter(|encoding| encoding.plan.active) else {
            sender.dropped += 1;
            return true;
        };
        let over_rtx = codec.rtx_payload_type.is_some() && encoding.plan.rtx_ssrc.is_some();
        let ids = marks(section, packet.rtx && !over_rtx);
        let envelope = envelope(section, codec, keep, send_time);
        bandwidth.pass(now, class_of(section), ids, out, |twcc, out| {
            encoding.send(now, packet, &envelope, twcc, lost, out)
        });
        true
    }

    /// A sender's place, once it is negotiated.
    pub(super) fn position(&self, id: SenderId) -> Option<usize> {
        self.senders.iter().position(|sender| sender.id == id)
    }

    fn sender(&self, id: SenderId) -> Option<&Sender> {
        self.senders.get(self.position(id)?)
    }

    /// The sender that has a track.
    pub(super) fn sender_of(&self, track: TrackId) -> Option<SenderId> {
        let at = self.by_track.get(&track)?;
        self.senders.get(*at).map(|sender| sender.id)
    }

    /// What a sender may send, and its m-line.
    pub(super) fn plan_of<'a>(
        &'a self,
        id: SenderId,
        sections: &'a [Section],
    ) -> Option<(&'a SendPlan, &'a Section)> {
        let sender = self.sender(id)?;
        Some((&sender.plan, sections.get(sender.section)?))
    }

    /// Whether direction and settings let a sender send.
    pub(super) fn may_send(&self, id: SenderId) -> bool {
        self.sender(id).is_some_and(|sender| {
            sender.active && sender.encodings.first().is_some_and(|e| e.plan.active)
        })
    }

    /// Where a sender's stream has got to: the number that follows, and its last packet.
    pub(super) fn place_of(&self, id: SenderId) -> (Option<u16>, Option<LastSent>) {
        let encoding = self.sender(id).and_then(|sender| sender.encodings.first());
        encoding.map_or((None, None), |encoding| {
            (encoding.next_number(), encoding.last)
        })
    }

    /// Nothing that a sender has sent so far is to be sent, or sent again, any more.
    pub(super) fn forget_sent(&mut self, id: SenderId, bandwidth: &mut Bandwidth) {
        let at = self.position(id);
        let sender = at.and_then(|at| self.senders.get_mut(at));
        let Some(encoding) = sender.and_then(|sender| sender.encodings.first_mut()) else {
            return;
        };
        encoding.history.clear();
        bandwidth.forget_waiting(encoding.plan.ssrc);
        if let Some(rtx) = encoding.plan.rtx_ssrc {
            bandwidth.forget_waiting(rtx);
        }
    }

    /// Sends a packet that was forwarded to a sender; false if it is not sent.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn forward(
        &mut self,
        now: Instant,
        sections: &[Section],
        id: SenderId,
        packet: &OutgoingRtp,
        keep: bool,
        send_time: [u8; 3],
        lost: bool,
        bandwidth: &mut Bandwidth,
        out: &mut dyn PacketWriter,
    ) -> bool {
        let at = self.position(id);
        let Some(sender) = at.and_then(|at| self.senders.get_mut(at)) else {
            return false;
        };
        let codec = sender.codec_for(packet.payload_type);
        let (Some(section), Some(encoding)) =
            (sections.get(sender.section), sender.encodings.first_mut())
        else {
            return false;
        };
        let envelope = envelope(section, codec, keep, send_time);
        let (class, ids) = (class_of(section), marks(section, false));
        let sent = bandwidth.pass(now, class, ids, out, |twcc, out| {
            encoding.forward(now, packet, &envelope, twcc, lost, out)
        });
        sent.is_some()
    }

    /// How a sender sends tones now; `None` while it may not. Among several formats the one with
    /// the clock of the codec in use (RFC 4733 section 2.1) is taken.
    pub(super) fn telephone_event(&self, id: SenderId) -> Option<TelephoneEvent> {
        let at = self.senders.iter().position(|sender| sender.id == id)?;
        let sender = self.senders.get(at).filter(|sender| sender.active)?;
        sender.encodings.first().filter(|e| e.plan.active)?;
        let is_event = |codec: &&crate::w3c::Codec| {
            codec
                .mime_type
                .eq_ignore_ascii_case("audio/telephone-event")
        };
        let same_clock =
            |codec: &&crate::w3c::Codec| codec.clock_rate == sender.plan.codec.clock_rate;
        let events = || sender.plan.codecs.iter().filter(is_event);
        let found = events().find(same_clock).or_else(|| events().next())?;
        Some(TelephoneEvent {
            clock_rate: found.clock_rate.max(1),
            sender: at,
            codec: sender.codec_for(found.payload_type),
        })
    }

    /// A tone begins now: all its packets carry this moment's timestamp.
    pub(super) fn begin_tone(&mut self, now: Instant, event: &TelephoneEvent) {
        let sender = self.senders.get_mut(event.sender);
        if let Some(encoding) = sender.and_then(|sender| sender.encodings.first_mut()) {
            encoding.begin_tone(now);
        }
    }

    /// Sends a packet of a tone, between those of the program.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn send_tone(
        &mut self,
        now: Instant,
        sections: &[Section],
        event: &TelephoneEvent,
        packet: &TonePacket,
        send_time: [u8; 3],
        lost: bool,
        bandwidth: &mut Bandwidth,
        out: &mut dyn PacketWriter,
    ) {
        let Some(sender) = self.senders.get_mut(event.sender) else {
            return;
        };
        let (Some(section), Some(encoding)) =
            (sections.get(sender.section), sender.encodings.first_mut())
        else {
            return;
        };
        let envelope = envelope(section, event.codec, false, send_time);
        bandwidth.pass(now, Class::Urgent, section.ids, out, |twcc, out| {
            encoding.send_tone(now, packet, &envelope, twcc, lost, out)
        });
    }

    /// Answers a request for one packet; false if it is not sent again.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn resend(
        &mut self,
        now: Instant,
        sections: &[Section],
        stream: SentStream,
        sequence_number: u16,
        spacing: Duration,
        send_time: [u8; 3],
        lost: bool,
        bandwidth: &mut Bandwidth,
        out: &mut dyn PacketWriter,
    ) -> bool {
        let Some(sender) = self
            .senders
            .get_mut(stream.sender)
            .filter(|sender| sender.active)
        else {
            return false;
        };
        let Some(section) = sections.get(sender.section) else {
            return false;
        };
        let Some(encoding) = sender.encodings.get_mut(stream.encoding) else {
            return false;
        };
        let history = &mut encoding.history;
        let Some(sent) = history.resend(now, sequence_number, spacing).cloned() else {
            return false;
        };
        let codec = sender.codec_for(sent.payload_type);
        let Some(encoding) = sender.encodings.get_mut(stream.encoding) else {
            return false;
        };
        let envelope = envelope(section, codec, true, send_time);
        // Over RTX it is a packet of its own; repeated as it was, it keeps its old number.
        let over_rtx = codec.rtx_payload_type.is_some()
            && encoding.plan.rtx_ssrc.is_some()
            && codec.payload_type == sent.payload_type;
        let class = match class_of(section) {
            Class::Urgent => Class::Urgent,
            Class::Repair | Class::Media => Class::Repair,
        };
        bandwidth.pass(now, class, marks(section, !over_rtx), out, |twcc, out| {
            encoding.resend(&sent, &envelope, twcc, lost, out)
        });
        true
    }

    /// Sends padding on the first stream that can carry it; false if none can.
    pub(super) fn pad(
        &mut self,
        now: Instant,
        sections: &[Section],
        send_time: [u8; 3],
        lost: bool,
        bandwidth: &mut Bandwidth,
        out: &mut dyn PacketWriter,
    ) -> bool {
        for sender in self.senders.iter_mut().filter(|sender| sender.active) {
            let codec = sender.codec;
            let section = sections.get(sender.section);
            let Some(section) = section.filter(|section| section.ids.twcc != 0) else {
                continue;
            };
            let envelope = envelope(section, codec, false, send_time);
            for encoding in sender.encodings.iter_mut().filter(|e| e.plan.active) {
                let passed = bandwidth.pass(now, Class::Urgent, section.ids, out, |twcc, out| {
                    encoding.pad(&envelope, twcc, lost, out)
                });
                if passed.is_some() {
                    return true;
                }
            }
        }
        false
    }

    /// The stream that feedback on this SSRC is about; feedback on a repair stream is about the
    /// stream it repairs.
    pub(super) fn stream(&self, ssrc: u32) -> Option<SentStream> {
        self.senders
            .iter()
            .enumerate()
            .find_map(|(sender, candidate)| {
                let encoding = candidate.encodings.iter().position(|encoding| {
                    encoding.plan.ssrc == ssrc || encoding.plan.rtx_ssrc == Some(ssrc)
                })?;
                Some(SentStream { sender, encoding })
            })
    }

    /// The encoding of a stream.
    pub(super) fn encoding_mut(&mut self, stream: SentStream) -> Option<&mut Encoding> {
        self.senders
            .get_mut(stream.sender)?
            .encodings
            .get_mut(stream.encoding)
    }

    /// The track of a stream.
    pub(super) fn track(&self, stream: SentStream) -> Option<TrackId> {
        self.senders.get(stream.sender)?.plan.track
    }

    /// An SSRC of ours to sign feedback with.
    pub(super) fn any_ssrc(&self) -> Option<u32> {
        self.senders
            .iter()
            .flat_map(|sender| &sender.encodings)
            .map(|e| e.plan.ssrc)
            .next()
    }
}
