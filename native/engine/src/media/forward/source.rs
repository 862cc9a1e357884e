//! The end that receives: which forward gets what of a track, and when it begins.

use super::burst::{ForwardedRtp, SourceClock, SourceFormat};
use super::track::{Link, SourceCounters, Track};
use super::{
    ForwardEnd, ForwardEndpoint, ForwardInfo, ForwardName, ForwardOutput, LayerChoice,
    MAX_FORWARDS, Refused, SourceOptions, ToSink,
};
use crate::error::Error;
use crate::ids::{ForwardId, Rid, TrackId};
use crate::media::ReceivedRtp;
use crate::media::section::Section;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Packets are copied into blocks of this many bytes, which sinks share. A sink that keeps one
/// packet for its viewer's NACKs keeps its block.
const BLOCK: usize = 64 << 10;

/// A packet of a received stream, as the source needs it.
pub(in crate::media) struct Arrived<'a> {
    pub(in crate::media) packet: &'a ReceivedRtp<'a>,
    /// Its layer: a place in the section's rids.
    pub(in crate::media) layer: Option<usize>,
    /// Its codec: a place in the section's list.
    pub(in crate::media) codec: usize,
    /// Counts how often the stream started over.
    pub(in crate::media) epoch: u32,
    pub(in crate::media) clock: Option<SourceClock>,
}

/// Every received track that is forwarded.
#[derive(Debug, Default)]
pub(in crate::media) struct Sources {
    tracks: BTreeMap<TrackId, Track>,
    by_id: BTreeMap<ForwardId, TrackId>,
    /// Those with packets that wait for the end of the turn, or for others.
    collecting: Vec<TrackId>,
    /// Until when some wait for others.
    waits_until: Option<Instant>,
    buffer: BytesMut,
    runs: u64,
    outputs: VecDeque<ForwardOutput>,
    ended: VecDeque<(ForwardName, ForwardEnd)>,
    /// When to ask for a keyframe.
    due: Option<Instant>,
}

impl Sources {
    pub(in crate::media) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Whether the program gets the packets of a track; those of one that is not forwarded as
    /// `otherwise` says.
    pub(in crate::media) fn is_delivered(&self, track: TrackId, otherwise: bool) -> bool {
        self.tracks.get(&track).map_or(otherwise, Track::is_tapped)
    }

    /// Whether a forward could begin: what its packets would be made of.
    pub(in crate::media) fn check(
        &self,
        options: &SourceOptions,
        sections: &[Section],
    ) -> Refused<Option<Arc<SourceFormat>>> {
        if self.by_id.len() >= MAX_FORWARDS {
            return Err(Error::Busy);
        }
        let known = self.tracks.get(&options.track);
        let format = match known.and_then(|known| known.format.clone()) {
            Some(format) => Some(format),
            None => format_of(options.track, sections).map(Arc::new),
        };
        check_layer(&options.layer, format.as_deref())?;
        Ok(format)
    }

    /// Begins a forward.
    pub(in crate::media) fn open(
        &mut self,
        now: Instant,
        name: ForwardName,
        options: SourceOptions,
        sections: &[Section],
    ) -> Refused<()> {
        let format = self.check(&options, sections)?;
        if self.by_id.contains_key(&name.id) {
            return Err(Error::Busy);
        }
        self.by_id.insert(name.id, options.track);
        let track = self.tracks.entry(options.track);
        let track = track.or_insert_with(|| Track::new(format));
        track
            .links
            .push(Link::new(name, options.layer, options.tap));
        track.choose(now, &mut self.outputs);
        self.note_due();
        Ok(())
    }

    /// A packet that was not seen before.
    pub(in crate::media) fn arrived(&mut self, now: Instant, id: TrackId, arrived: &Arrived<'_>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(format) = track.format.clone() else {
            return;
        };
        let idle = track.collected.is_empty();
        let buffer = &mut self.buffer;
        track.arrived(now, arrived, &mut self.runs, &mut self.outputs, |begins| {
            copy(arrived.packet, begins, &format, buffer)
        });
        if idle && !track.collected.is_empty() {
            self.collecting.push(id);
        }
        // A time that has gone makes one early look, so the others need not be asked.
        self.due = [self.due, track.due()].into_iter().flatten().min();
    }

    /// Ends a turn: what arrived in it goes to those who take it, where it does not wait for more.
    pub(in crate::media) fn finish_turn(&mut self, now: Instant) {
        let Self {
            tracks,
            collecting,
            outputs,
            ..
        } = self;
        let mut until = None;
        collecting.retain(|id| {
            let track = tracks.get_mut(id);
            let waits = track.and_then(|track| track.end_turn(now, outputs));
            until = [until, waits].into_iter().flatten().min();
            waits.is_some()
        });
        self.waits_until = until;
    }

    /// When [`Self::finish_turn`] has something although nothing arrived.
    pub(in crate::media) fn waits_until(&self) -> Option<Instant> {
        self.waits_until
    }

    /// The viewer of a forward needs a keyframe.
    pub(in crate::media) fn keyframe_wanted(&mut self, now: Instant, id: ForwardId) {
        if let Some(track) = self.track_of(id) {
            track.keyframe_wanted(now, id);
            self.note_due();
        }
    }

    /// How much the sink's network has for a forward.
    pub(in crate::media) fn set_budget(&mut self, id: ForwardId, bits_per_second: u64) {
        if let Some(track) = self.track_of(id) {
            track.set_budget(id, bits_per_second);
        }
    }

    /// Packets of a forward did not find room on their way. The viewer misses them; a keyframe
    /// puts it right.
    pub(in crate::media) fn refused(&mut self, now: Instant, id: ForwardId, count: usize) {
        if let Some(track) = self.track_of(id) {
            track.refused(now, id, count);
            self.note_due();
        }
    }

    /// Chooses another layer.
    pub(in crate::media) fn set_layer(
        &mut self,
        now: Instant,
        id: ForwardId,
        choice: LayerChoice,
    ) -> Refused<()> {
        let of = self.by_id.get(&id).ok_or(Error::InvalidForward)?;
        let track = self.tracks.get_mut(of).ok_or(Error::InvalidForward)?;
        check_layer(&choice, track.format.as_deref())?;
        let link = track.links.iter_mut().find(|link| link.name.id == id);
        link.ok_or(Error::InvalidForward)?.choice = choice;
        track.choose(now, &mut self.outputs);
        self.note_due();
        Ok(())
    }

    fn track_of(&mut self, id: ForwardId) -> Option<&mut Track> {
        self.tracks.get_mut(self.by_id.get(&id)?)
    }

    /// When [`Self::asks`] has something.
    pub(in crate::media) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The streams to ask for a keyframe now.
    pub(in crate::media) fn asks(&mut self, now: Instant) -> Vec<u32> {
        let mut asked = Vec::new();
        for track in self.tracks.values_mut() {
            track.asks(now, &mut asked);
        }
        self.note_due();
        asked
    }

    fn note_due(&mut self) {
        self.due = self.tracks.values().filter_map(Track::due).min();
    }

    /// Follows a new plan.
    pub(in crate::media) fn reconcile(&mut self, now: Instant, sections: &[Section]) {
        for (id, track) in &mut self.tracks {
            // On hold nothing comes, and what there was is kept for when it does.
            let Some(format) = format_of(*id, sections) else {
                continue;
            };
            if track.format.as_deref() != Some(&format) {
                track.hand_out_all(&mut self.outputs);
                track.follow(Arc::new(format));
                track.choose(now, &mut self.outputs);
            }
        }
        self.note_due();
    }

    /// Ends the forwards of tracks that are gone.
    pub(in crate::media) fn retain(&mut self, stays: impl Fn(TrackId) -> bool) {
        let by_id = self.by_id.iter();
        let gone: Vec<ForwardId> = by_id
            .filter(|(_, track)| !stays(**track))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.finish(id, ForwardEnd::TrackEnded);
        }
    }

    /// Ends a forward and tells both sides; false for one that is not here.
    pub(in crate::media) fn finish(&mut self, id: ForwardId, reason: ForwardEnd) -> bool {
        let Some(name) = self.remove(id) else {
            return false;
        };
        self.outputs
            .push_back(ForwardOutput::ToSink(id, ToSink::End(reason)));
        self.ended.push_back((name, reason));
        true
    }

    /// The sink says that a forward has ended.
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
        let of = self.by_id.remove(&id)?;
        let track = self.tracks.get_mut(&of)?;
        // What it has of this turn goes out before its end.
        track.hand_out_all(&mut self.outputs);
        let at = track.links.iter().position(|link| link.name.id == id)?;
        let link = track.links.swap_remove(at);
        if track.links.is_empty() {
            self.tracks.remove(&of);
            self.note_due();
        }
        Some(link.name)
    }

    pub(in crate::media) fn poll(&mut self) -> Option<ForwardOutput> {
        self.outputs.pop_front()
    }

    pub(in crate::media) fn poll_ended(&mut self) -> Option<(ForwardName, ForwardEnd)> {
        self.ended.pop_front()
    }

    /// Every forward that begins here.
    fn links(&self) -> impl Iterator<Item = (TrackId, &Link, Option<Rid>)> + '_ {
        self.tracks.iter().flat_map(|(id, track)| {
            track.links.iter().map(|link| {
                let rids = track.format.as_deref().map(|format| &format.rids);
                let layer = track.layer_of(link).zip(rids);
                let rid = layer.and_then(|(at, rids)| rids.get(at)).cloned();
                (*id, link, rid)
            })
        })
    }

    pub(in crate::media) fn counters(
        &self,
    ) -> impl Iterator<Item = (ForwardId, TrackId, Option<Rid>, SourceCounters)> + '_ {
        self.links()
            .map(|(track, link, rid)| (link.name.id, track, rid, link.counters))
    }

    pub(in crate::media) fn infos(&self) -> impl Iterator<Item = ForwardInfo> + '_ {
        self.links().map(|(track, link, layer)| ForwardInfo {
            name: link.name.clone(),
            end: ForwardEndpoint::Source {
                track,
                choice: link.choice.clone(),
                layer,
                tap: link.tap,
            },
        })
    }
}

/// What a received track's packets are made of; `None` while it is not received.
fn format_of(track: TrackId, sections: &[Section]) -> Option<SourceFormat> {
    let section = sections
        .iter()
        .find(|section| section.receive().is_some_and(|plan| plan.track == track))?;
    let plan = section.receive()?;
    let extensions = section.plan.extensions.iter();
    Some(SourceFormat {
        kind: section.plan.kind,
        codecs: plan.codecs.clone(),
        extensions: extensions
            .filter(|(id, _)| !section.ids.owns(**id))
            .map(|(id, uri)| (*id, uri.clone()))
            .collect(),
        rids: plan.rids.clone(),
    })
}

/// Whether a layer can be chosen of a track. Of one that is not negotiated yet, any may come.
fn check_layer(choice: &LayerChoice, format: Option<&SourceFormat>) -> Refused<()> {
    match (choice, format) {
        (LayerChoice::Rid(rid), Some(format)) if !format.rids.contains(rid) => {
            Err(Error::InvalidLayer)
        }
        _ => Ok(()),
    }
}

/// The one copy of a packet on its way to all of its sinks.
fn copy(
    packet: &ReceivedRtp<'_>,
    begins: bool,
    format: &SourceFormat,
    buffer: &mut BytesMut,
) -> ForwardedRtp {
    let mut put = |bytes: &[u8]| {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if buffer.capacity() < bytes.len() {
            buffer.reserve(BLOCK.max(bytes.len()));
        }
        buffer.extend_from_slice(bytes);
        buffer.split().freeze()
    };
    let payload = put(packet.payload);
    let csrc = put(packet.csrc);
    let mut elements = BytesMut::new();
    if !format.extensions.is_empty() {
        for (id, data) in packet.elements() {
            // Elements have a length of one byte.
            if format.extensions.contains_key(&id) {
                elements.put_u8(id);
                elements.put_u8(data.len() as u8);
                elements.put_slice(data);
            }
        }
    }
    ForwardedRtp {
        marker: packet.marker,
        begins,
        payload_type: packet.payload_type,
        sequence_number: packet.sequence_number,
        timestamp: packet.timestamp,
        csrc,
        elements: elements.freeze(),
        payload,
    }
}
