//! The media path's part in forwarding: what of it packets, commands and statistics meet.

use super::forward::{Arrived, SinkCounters, Sinks, Sources, Way};
use super::outbound::SentStream;
use super::receiver::Receiver;
use super::section::Section;
use super::stats::{Fields, push};
use super::{
    Burst, ForwardEnd, ForwardInfo, ForwardName, ForwardOutput, LayerChoice, Media, PacketWriter,
    ReceivedRtp, SourceClock, SourceFormat, SourceOptions, ToSink, ToSource,
};
use crate::error::Error;
use crate::ids::{ForwardId, SenderId, TrackId};
use crate::stats::StatsReport;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

impl Media {
    /// Whether a track can be forwarded so; what its packets are made of, once negotiated.
    ///
    /// # Errors
    /// [`Error::InvalidLayer`], [`Error::Busy`] for more than [`super::MAX_FORWARDS`].
    pub fn check_source(
        &self,
        options: &SourceOptions,
    ) -> Result<Option<Arc<SourceFormat>>, Error> {
        self.sources.check(options, &self.sections)
    }

    /// Begins a forward at its source.
    ///
    /// # Errors
    /// As [`Self::check_source`].
    pub fn open_source(
        &mut self,
        now: Instant,
        name: ForwardName,
        options: SourceOptions,
    ) -> Result<(), Error> {
        self.sources.open(now, name, options, &self.sections)
    }

    /// Begins a forward at its sink; see [`super::forward`].
    ///
    /// # Errors
    /// [`Error::CodecMismatch`] where both ends are negotiated and have no codec in common.
    pub fn open_sink(
        &mut self,
        name: ForwardName,
        sender: SenderId,
        format: Option<&Arc<SourceFormat>>,
    ) -> Result<(), Error> {
        let (outbound, sections) = (&self.outbound, &self.sections);
        self.sinks.attach(name, sender, format, outbound, sections)
    }

    /// What the source of a forward says.
    pub fn source_says(
        &mut self,
        now: Instant,
        id: ForwardId,
        message: &ToSink,
        out: &mut dyn PacketWriter,
    ) {
        match message {
            ToSink::Packets(burst, range) => {
                self.forward(now, id, burst, range.clone(), out);
                return;
            }
            ToSink::Wanted(wanted) => self.sinks.set_wanted(id, *wanted),
            ToSink::End(reason) => self.sinks.ended(id, *reason),
        }
        self.want_for_forwards(now);
    }

    /// What the sink of a forward says.
    pub fn sink_says(&mut self, now: Instant, id: ForwardId, message: ToSource) {
        match message {
            ToSource::Keyframe => self.sources.keyframe_wanted(now, id),
            ToSource::Budget(bits) => self.sources.set_budget(id, bits),
            ToSource::End(reason) => self.sources.ended(id, reason),
        }
    }

    /// Pacing and probes are on for as long as a forward's layer depends on them.
    fn want_for_forwards(&mut self, now: Instant) {
        let wanted = self.sinks.wanted(now);
        if wanted != self.wanted_by_forwards {
            self.wanted_by_forwards = wanted;
            self.want_outgoing_bitrate(now, wanted);
        }
    }

    fn forward(
        &mut self,
        now: Instant,
        id: ForwardId,
        burst: &Burst,
        range: Range<usize>,
        out: &mut dyn PacketWriter,
    ) {
        if self.closed {
            return;
        }
        self.note_activity(now);
        let send_time = self.send_time(now);
        let mut way = Way {
            sections: &self.sections,
            outbound: &mut self.outbound,
            bandwidth: &mut self.bandwidth,
            loss: &mut self.loss,
            keep: self.features.outbound_rtx,
            send_time,
            out,
        };
        self.sinks.packets(now, id, burst, range, &mut way);
    }

    /// Packets of a forward that had no room on their way to the sink.
    pub fn forward_refused(&mut self, now: Instant, id: ForwardId, count: usize) {
        self.sources.refused(now, id, count);
    }

    /// Another layer for a forward.
    ///
    /// # Errors
    /// [`Error::InvalidForward`] for one that does not begin here, [`Error::InvalidLayer`].
    pub fn set_forward_layer(
        &mut self,
        now: Instant,
        id: ForwardId,
        layer: LayerChoice,
    ) -> Result<(), Error> {
        self.sources.set_layer(now, id, layer)
    }

    /// Ends a forward at whichever end is here.
    ///
    /// # Errors
    /// [`Error::InvalidForward`] for one that is not, or not any more.
    pub fn stop_forward(&mut self, now: Instant, id: ForwardId) -> Result<(), Error> {
        let stopped = self.sources.finish(id, ForwardEnd::Stopped)
            || self.sinks.finish(id, ForwardEnd::Stopped);
        self.want_for_forwards(now);
        if stopped {
            Ok(())
        } else {
            Err(Error::InvalidForward)
        }
    }

    /// Ends the forwards of tracks and senders that are gone for good.
    pub fn retain_forwards(
        &mut self,
        now: Instant,
        has_track: impl Fn(TrackId) -> bool,
        has_sender: impl Fn(SenderId) -> bool,
    ) {
        if !self.sources.is_empty() {
            self.sources.retain(has_track);
        }
        self.sinks.retain(has_sender);
        self.want_for_forwards(now);
    }

    /// Every forward with an end here.
    pub fn forwards(&self) -> Vec<ForwardInfo> {
        self.sources.infos().chain(self.sinks.infos()).collect()
    }

    /// Ends a batch of [`Self::handle_rtp`]: what arrived is handed to forwards.
    pub fn finish_turn(&mut self, now: Instant) {
        self.sources.finish_turn(now);
    }

    /// What is for the other end of a forward.
    pub fn poll_forward(&mut self) -> Option<ForwardOutput> {
        self.sources.poll().or_else(|| self.sinks.poll())
    }

    /// A forward that has ended.
    pub fn poll_forward_end(&mut self) -> Option<(ForwardName, ForwardEnd)> {
        self.sources
            .poll_ended()
            .or_else(|| self.sinks.poll_ended())
    }

    /// Whether a track's sender has a source: the program's packets stay out then, or the viewer
    /// would see two streams under one name.
    pub(super) fn is_forwarded_to(&self, track: TrackId) -> bool {
        let sender = self.outbound.sender_of(track);
        sender.is_some_and(|sender| self.sinks.has(sender))
    }

    pub(super) fn viewer_wants_keyframe(&mut self, stream: Option<SentStream>) {
        let sender = stream.and_then(|stream| self.outbound.senders.get(stream.sender));
        if let Some(sender) = sender {
            self.sinks.keyframe_wanted(sender.id);
        }
    }

    /// Asks for the keyframes that forwards need now.
    pub(super) fn ask_for_keyframes(&mut self, now: Instant, out: &mut dyn PacketWriter) {
        for ssrc in self.sources.asks(now) {
            if let Some(receiver) = self.inbound.receivers.get(&ssrc) {
                let at = receiver.section;
                self.request_keyframe(now, at, ssrc, out);
            }
        }
    }
}

/// Shows a received packet to the forwards of its track.
pub(super) fn offer(
    sources: &mut Sources,
    now: Instant,
    section: &Section,
    receiver: &Receiver,
    packet: &ReceivedRtp<'_>,
) {
    let (Some(receive), Some(codec)) = (section.receive(), receiver.codec) else {
        return;
    };
    let arrived = Arrived {
        packet,
        layer: receiver.layer,
        codec: codec.index,
        epoch: receiver.epoch,
        clock: receiver.reported.map(|report| SourceClock {
            ntp: report.ntp,
            rtp: report.rtp,
        }),
    };
    sources.arrived(now, receive.track, &arrived);
}

/// An entry for each end of each forward.
pub(super) fn write_stats(sources: &Sources, sinks: &Sinks, report: &mut StatsReport) {
    for (id, track, layer, counters) in sources.counters() {
        let mut fields = Fields::default();
        fields
            .set("role", "source")
            .set("track_identifier", track.0)
            .set_known("rid", layer.as_ref().map(|rid| rid.as_str()))
            .set("packets_forwarded", counters.packets)
            .set("bytes_forwarded", counters.bytes)
            .set("packets_dropped", counters.dropped)
            .set("switches", counters.switches)
            .set("keyframe_requests", counters.keyframe_requests);
        push(report, format!("forward_source_{id}"), "forward", fields);
    }
    for (id, sender, counters) in sinks.counters() {
        let SinkCounters {
            packets,
            bytes,
            dropped,
            switches,
            keyframe_requests,
        } = counters;
        let mut fields = Fields::default();
        fields
            .set("role", "sink")
            .set("sender_identifier", sender.0)
            .set("packets_forwarded", packets)
            .set("bytes_forwarded", bytes)
            .set("packets_dropped", dropped)
            .set("switches", switches)
            .set("keyframe_requests", keyframe_requests);
        push(report, format!("forward_sink_{id}"), "forward", fields);
    }
}
