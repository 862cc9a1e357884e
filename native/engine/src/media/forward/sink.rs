//! The end that sends: one stream for each sender that is forwarded to.

mod network;

use super::burst::{Burst, ForwardedRtp, SourceFormat};
use super::descriptor::{Counters, DEPENDENCY_DESCRIPTOR_URI};
use super::keyframe::PayloadFormat;
use super::line::{Beginning, Captured, Line};
use super::rate::Rate;
use super::{
    ForwardEnd, ForwardEndpoint, ForwardInfo, ForwardName, ForwardOutput, MAX_FORWARDS, Refused,
    ToSource,
};
use crate::command::OutgoingRtp;
use crate::error::Error;
use crate::ids::{ForwardId, SenderId};
use crate::media::PacketWriter;
use crate::media::bandwidth::Bandwidth;
use crate::media::loss::LossSimulation;
use crate::media::outbound::Outbound;
use crate::media::section::Section;
use crate::negotiation::same_codec;
use crate::w3c::Kind;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sink that cannot begin asks its source for a keyframe this often. The source merges and
/// limits what its sinks ask for.
const ASK_INTERVAL: Duration = Duration::from_millis(300);

/// What is counted of a forward at its sink.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::media) struct SinkCounters {
    pub(in crate::media) packets: u64,
    pub(in crate::media) bytes: u64,
    /// Came and could not be sent: too late, no codec, no way yet, no keyframe yet.
    pub(in crate::media) dropped: u64,
    pub(in crate::media) switches: u64,
    pub(in crate::media) keyframe_requests: u64,
}

/// A source of a sender.
#[derive(Debug)]
struct Feed {
    name: ForwardName,
    /// What `types` and `elements` were made for.
    format: Option<Arc<SourceFormat>>,
    /// The source's payload types: ours, the clock, and what is known of the payload.
    types: Vec<(u8, PayloadType)>,
    /// The source's extension ids that we send, and ours.
    elements: Vec<(u8, u8)>,
    /// The dependency descriptor among them, by the source's id.
    descriptor: u8,
    /// The run that goes out; `None` until one has begun.
    run: Option<u64>,
    asked: Option<Instant>,
    /// What it sends; counted from its first packet on.
    rate: Option<Rate>,
    /// What its source could use, where the network decides on its layer.
    wanted: Option<u64>,
    counters: SinkCounters,
}

#[derive(Clone, Copy, Debug)]
struct PayloadType {
    ours: u8,
    clock_rate: u32,
    format: PayloadFormat,
}

/// What a sender's stream is made of.
#[derive(Debug, Default)]
struct Slot {
    feed: Option<Feed>,
    /// Takes over with its first keyframe.
    next: Option<Feed>,
    line: Line,
}

/// The rest of the media path, as a sink needs it to send.
pub(in crate::media) struct Way<'a> {
    pub(in crate::media) sections: &'a [Section],
    pub(in crate::media) outbound: &'a mut Outbound,
    pub(in crate::media) bandwidth: &'a mut Bandwidth,
    pub(in crate::media) loss: &'a mut LossSimulation,
    /// Whether packets are kept for NACKs.
    pub(in crate::media) keep: bool,
    pub(in crate::media) send_time: [u8; 3],
    pub(in crate::media) out: &'a mut dyn PacketWriter,
}

/// Every sender that is forwarded to.
#[derive(Debug, Default)]
pub(in crate::media) struct Sinks {
    /// Kept for as long as the sender is, so that a forward to come goes on where one ended.
    /// Boxed: a node of the map has room for eleven, and most viewers have two.
    slots: BTreeMap<SenderId, Box<Slot>>,
    by_id: BTreeMap<ForwardId, SenderId>,
    budgets_at: Option<Instant>,
    /// The estimate that the budgets were made of.
    shared: u64,
    outputs: VecDeque<ForwardOutput>,
    ended: VecDeque<(ForwardName, ForwardEnd)>,
}

impl Sinks {
    /// A sender takes another source: at once where it has none, else at its first keyframe.
    pub(in crate::media) fn attach(
        &mut self,
        name: ForwardName,
        sender: SenderId,
        format: Option<&Arc<SourceFormat>>,
        outbound: &Outbound,
        sections: &[Section],
    ) -> Refused<()> {
        if self.by_id.len() >= MAX_FORWARDS || self.by_id.contains_key(&name.id) {
            return Err(Error::Busy);
        }
        let mut feed = Feed::new(name);
        if let Some(format) = format {
            feed.follow(format, sender, outbound, sections);
            if outbound.position(sender).is_some() && feed.types.is_empty() {
                return Err(Error::CodecMismatch);
            }
        }
        self.by_id.insert(feed.name.id, sender);
        let slot = self.slots.entry(sender).or_default();
        if slot.feed.is_none() {
            slot.feed = Some(feed);
        } else if let Some(overtaken) = slot.next.replace(feed) {
            self.end(overtaken.name, ForwardEnd::Replaced);
        }
        Ok(())
    }

    /// Whether a sender is forwarded to: the program's own packets stay out then.
    pub(in crate::media) fn has(&self, sender: SenderId) -> bool {
        self.slots
            .get(&sender)
            .is_some_and(|slot| slot.feed.is_some())
    }

    pub(in crate::media) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Packets from a source.
    pub(in crate::media) fn packets(
        &mut self,
        now: Instant,
        id: ForwardId,
        burst: &Burst,
        range: Range<usize>,
        way: &mut Way<'_>,
    ) {
        let mut packets = burst.packets.get(range).unwrap_or_default();
        let Some(sender) = self.by_id.get(&id).copied() else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&sender) else {
            return;
        };
        if slot.next.as_ref().is_some_and(|next| next.name.id == id) {
            let begins = packets.first().is_some_and(|packet| packet.begins);
            if begins && way.may_send(sender) {
                let mut before = std::mem::replace(&mut slot.feed, slot.next.take());
                if let (Some(before), Some(feed)) = (&mut before, &mut slot.feed)
                    && before.is_of_run(burst)
                {
                    feed.go_on(before);
                    // Both were given this burst, and this one is the later.
                    let passed = packets
                        .iter()
                        .take_while(|packet| slot.line.is_past(packet));
                    packets = packets.get(passed.count()..).unwrap_or_default();
                }
                if let Some(before) = before {
                    self.end(before.name, ForwardEnd::Replaced);
                }
            } else if let Some(next) = &mut slot.next {
                next.counters.dropped += packets.len() as u64;
                let ask = way.may_send(sender) && next.wants_to_ask(now);
                if ask {
                    self.outputs
                        .push_back(ForwardOutput::ToSource(id, ToSource::Keyframe));
                }
                return;
            }
        }
        let Some(slot) = self.slots.get_mut(&sender) else {
            return;
        };
        let Some(feed) = slot.feed.as_mut().filter(|feed| feed.name.id == id) else {
            return;
        };
        feed.follow(&burst.format, sender, way.outbound, way.sections);
        if !way.may_send(sender) {
            // Nothing of what is between now and then counts as lost for the viewer.
            feed.run = None;
            feed.counters.dropped += packets.len() as u64;
            return;
        }
        if feed.types.is_empty() {
            self.finish(id, ForwardEnd::CodecMismatch);
            return;
        }
        let mut ask = false;
        for packet in packets {
            if !feed.pass(now, burst, packet, sender, &mut slot.line, way) {
                feed.counters.dropped += 1;
                ask |= feed.run.is_none() && feed.wants_to_ask(now);
            }
        }
        if ask {
            self.outputs
                .push_back(ForwardOutput::ToSource(id, ToSource::Keyframe));
        }
        self.tell_budgets(now, way.bandwidth.estimate());
    }

    /// The viewer asks for a keyframe.
    pub(in crate::media) fn keyframe_wanted(&mut self, sender: SenderId) {
        let feed = self
            .slots
            .get_mut(&sender)
            .and_then(|slot| slot.feed.as_mut());
        let Some(feed) = feed else { return };
        feed.counters.keyframe_requests += 1;
        let request = ForwardOutput::ToSource(feed.name.id, ToSource::Keyframe);
        // Those of one turn are one.
        let told = self.outputs.iter().any(|output| {
            matches!(output, ForwardOutput::ToSource(id, ToSource::Keyframe) if *id == feed.name.id)
        });
        if !told {
            self.outputs.push_back(request);
        }
    }

    /// The plan of the connection is another one: payload types and ids are looked up again.
    pub(in crate::media) fn plan_changed(&mut self) {
        for slot in self.slots.values_mut() {
            for feed in slot.feed.iter_mut().chain(&mut slot.next) {
                feed.format = None;
            }
        }
    }

    /// Ends the forwards of senders that are gone.
    pub(in crate::media) fn retain(&mut self, stays: impl Fn(SenderId) -> bool) {
        let gone: Vec<SenderId> = self
            .slots
            .keys()
            .copied()
            .filter(|at| !stays(*at))
            .collect();
        for sender in gone {
            if let Some(slot) = self.slots.remove(&sender) {
                for feed in slot.feed.into_iter().chain(slot.next) {
                    self.end(feed.name, ForwardEnd::SenderStopped);
                }
            }
        }
    }

    /// Ends a forward and tells both sides; false for one that is not here.
    pub(in crate::media) fn finish(&mut self, id: ForwardId, reason: ForwardEnd) -> bool {
        match self.remove(id) {
            Some(name) => {
                self.end(name, reason);
                true
            }
            None => false,
        }
    }

    /// The source says that a forward has ended.
    pub(in crate::media) fn ended(&mut self, id: ForwardId, reason: ForwardEnd) {
        if let Some(name) = self.remove(id) {
            self.ended.push_back((name, reason));
        }
    }

    pub(in crate::media) fn finish_all(&mut self, reason: ForwardEnd) {
        let ids: Vec<ForwardId> = self.by_id.keys().copied().collect();
        for id in ids {
            self.finish(id, reason);
        }
    }

    fn remove(&mut self, id: ForwardId) -> Option<ForwardName> {
        let sender = self.by_id.remove(&id)?;
        let slot = self.slots.get_mut(&sender)?;
        let is = |feed: &Option<Feed>| feed.as_ref().is_some_and(|feed| feed.name.id == id);
        let removed = if is(&slot.feed) {
            std::mem::replace(&mut slot.feed, slot.next.take())
        } else if is(&slot.next) {
            slot.next.take()
        } else {
            None
        };
        removed.map(|feed| feed.name)
    }

    fn end(&mut self, name: ForwardName, reason: ForwardEnd) {
        self.by_id.remove(&name.id);
        let end = ForwardOutput::ToSource(name.id, ToSource::End(reason));
        self.outputs.push_back(end);
        self.ended.push_back((name, reason));
    }

    pub(in crate::media) fn poll(&mut self) -> Option<ForwardOutput> {
        self.outputs.pop_front()
    }

    pub(in crate::media) fn poll_ended(&mut self) -> Option<(ForwardName, ForwardEnd)> {
        self.ended.pop_front()
    }

    /// Every forward that ends here, with what was counted.
    pub(in crate::media) fn counters(
        &self,
    ) -> impl Iterator<Item = (ForwardId, SenderId, SinkCounters)> + '_ {
        self.slots.iter().flat_map(|(sender, slot)| {
            let feeds = slot.feed.iter().chain(&slot.next);
            feeds.map(|feed| (feed.name.id, *sender, feed.counters))
        })
    }

    pub(in crate::media) fn infos(&self) -> impl Iterator<Item = ForwardInfo> + '_ {
        self.slots.iter().flat_map(|(sender, slot)| {
            let feeds = slot.feed.iter().chain(&slot.next);
            feeds.map(|feed| ForwardInfo {
                name: feed.name.clone(),
                end: ForwardEndpoint::Sink { sender: *sender },
            })
        })
    }
}

impl Way<'_> {
    /// Whether the sender's packets would leave now.
    fn may_send(&self, sender: SenderId) -> bool {
        self.out.is_ready() && self.outbound.may_send(sender)
    }
}

impl Feed {
    fn new(name: ForwardName) -> Self {
        Self {
            name,
            format: None,
            types: Vec::new(),
            elements: Vec::new(),
            descriptor: 0,
            run: None,
            asked: None,
            rate: None,
            wanted: None,
            counters: SinkCounters::default(),
        }
    }

    /// What it sends.
    fn bits_per_second(&self, now: Instant) -> u64 {
        let rate = self.rate.as_ref();
        rate.map_or(0, |rate| rate.bits_per_second(now))
    }

    fn is_video(&self) -> bool {
        let format = self.format.as_deref();
        format.is_some_and(|format| format.kind == Kind::Video)
    }

    /// Whether a burst is of the stream that it sends: runs are unique in a connection, and formats
    /// are those of one of its tracks.
    fn is_of_run(&self, burst: &Burst) -> bool {
        let of_track = |format: &Arc<SourceFormat>| Arc::ptr_eq(format, &burst.format);
        self.run == Some(burst.run) && self.format.as_ref().is_some_and(of_track)
    }

    /// Takes the place of another forward of the same stream, in the middle of it.
    fn go_on(&mut self, before: &mut Self) {
        self.run = before.run;
        self.rate = before.rate.take();
        self.counters.switches += 1;
    }

    fn wants_to_ask(&mut self, now: Instant) -> bool {
        let recently = |asked: Instant| now.saturating_duration_since(asked) < ASK_INTERVAL;
        if self.asked.is_some_and(recently) {
            return false;
        }
        self.asked = Some(now);
        self.counters.keyframe_requests += 1;
        true
    }

    /// Looks up what the source's numbers are here; once for each format and each plan.
    fn follow(
        &mut self,
        format: &Arc<SourceFormat>,
        sender: SenderId,
        outbound: &Outbound,
        sections: &[Section],
    ) {
        if self
            .format
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, format))
        {
            return;
        }
        let Some((plan, section)) = outbound.plan_of(sender, sections) else {
            return;
        };
        self.types = format
            .codecs
            .iter()
            .filter_map(|theirs| {
                let ours = plan.codecs.iter().find(|ours| same_codec(ours, theirs))?;
                let found = PayloadType {
                    ours: ours.payload_type,
                    clock_rate: ours.clock_rate.max(1),
                    format: PayloadFormat::of(format.kind, theirs),
                };
                Some((theirs.payload_type, found))
            })
            .collect();
        self.elements.clear();
        self.descriptor = 0;
        for (theirs, uri) in &format.extensions {
            let negotiated = &section.plan.extensions;
            let found = negotiated.iter().find(|(_, known)| *known == uri);
            if let Some((ours, _)) = found.filter(|(ours, _)| !section.ids.owns(**ours)) {
                self.elements.push((*theirs, *ours));
                if uri == DEPENDENCY_DESCRIPTOR_URI {
                    self.descriptor = *theirs;
                }
            }
        }
        self.format = Some(Arc::clone(format));
    }

    /// Sends one packet; false where it could not go.
    fn pass(
        &mut self,
        now: Instant,
        burst: &Burst,
        packet: &ForwardedRtp,
        sender: SenderId,
        line: &mut Line,
        way: &mut Way<'_>,
    ) -> bool {
        let of = packet.payload_type;
        let Some((_, payload_type)) = self.types.iter().find(|(theirs, _)| *theirs == of) else {
            return false;
        };
        let payload_type = *payload_type;
        let pictures = Counters::read(payload_type.format, &packet.payload);
        let captured: Option<Captured> = burst.clock.map(|clock| {
            let at = clock.captured(packet.timestamp, payload_type.clock_rate);
            (self.name.id, at)
        });
        if self.run != Some(burst.run) {
            if !packet.begins {
                return false;
            }
            // A layer that the network did not carry is left: what came before is of no use to the
            // viewer from here on, and would be in the way.
            let carried = self.wanted.and_then(|_| way.bandwidth.estimate());
            if carried.is_some_and(|carried| self.bits_per_second(now) > carried) {
                way.outbound.forget_sent(sender, way.bandwidth);
            }
            let (next_number, last_sent) = way.outbound.place_of(sender);
            line.begin(
                now,
                &Beginning {
                    packet,
                    captured,
                    clock_rate: payload_type.clock_rate,
                    next_number,
                    last_sent,
                },
            );
            let descriptor = packet
                .elements()
                .find(|(id, _)| *id == self.descriptor)
                .and_then(|(_, range)| packet.elements.get(range));
            let frames = descriptor.map(Counters::of_dependency_descriptor);
            line.begin_counters(&pictures, &frames.unwrap_or_default());
            self.run = Some(burst.run);
            self.counters.switches += 1;
        }
        let Some((sequence_number, timestamp)) = line.place(now, packet, captured) else {
            return false;
        };
        let outgoing = OutgoingRtp {
            marker: packet.marker,
            payload_type: payload_type.ours,
            sequence_number,
            timestamp,
            ssrc: 0,
            csrc: packet.csrc(),
            extensions: self.extensions(packet, line),
            payload: line.pictures.rewrite(&pictures, &packet.payload),
            // Padding alone has no bytes to pass on; one of ours keeps its number.
            padding_size: u8::from(packet.payload.is_empty()),
            rtx: false,
        };
        let lost = way.loss.drops();
        let passed = way.outbound.forward(
            now,
            way.sections,
            sender,
            &outgoing,
            way.keep,
            way.send_time,
            lost,
            way.bandwidth,
            way.out,
        );
        if passed {
            self.counters.packets += 1;
            self.counters.bytes += outgoing.payload.len() as u64;
            let rate = self.rate.get_or_insert_with(|| Rate::new(now));
            rate.add(now, outgoing.payload.len());
        }
        passed
    }

    fn extensions(&self, packet: &ForwardedRtp, line: &mut Line) -> Vec<(u8, Bytes)> {
        let mut extensions = Vec::new();
        for (id, range) in packet.elements() {
            let Some((_, ours)) = self.elements.iter().find(|(theirs, _)| *theirs == id) else {
                continue;
            };
            let data = packet.elements.slice(range);
            let data = if id == self.descriptor {
                let counters = Counters::of_dependency_descriptor(&data);
                line.frames.rewrite(&counters, &data)
            } else {
                data
            };
            extensions.push((*ours, data));
        }
        extensions
    }
}
