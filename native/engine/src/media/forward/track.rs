//! A forwarded track at its source: its streams, and the forwards that take them.

use super::burst::{ForwardedRtp, SourceFormat};
use super::collected::Collected;
use super::keyframe::PayloadFormat;
use super::select::{LayerState, Selector, is_far_over, room_for};
use super::source::Arrived;
use super::stream::{FRAMES_MEANWHILE, Stream};
use super::{ForwardName, ForwardOutput, LayerChoice, ToSink};
use crate::ids::ForwardId;
use crate::w3c::Kind;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often layers are chosen anew.
const CHOICE_INTERVAL: Duration = Duration::from_millis(100);

/// A sink is told what its forward could use when that changes by one part in so many.
const WANTED_CHANGE: u64 = 5;
/// And so much more than that, in percent: the sink looks for no more than it is told, and by the
/// tolerance what is needed may have grown since.
const WANTED_MARGIN: u64 = 100 + 100 / WANTED_CHANGE + 5;

/// What is counted of a forward at its source.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::media) struct SourceCounters {
    pub(in crate::media) packets: u64,
    pub(in crate::media) bytes: u64,
    /// Had no room in the sink's queue.
    pub(in crate::media) dropped: u64,
    pub(in crate::media) switches: u64,
    pub(in crate::media) keyframe_requests: u64,
}

/// One forward of a track.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: ForwardName,
    pub(super) tap: bool,
    pub(super) choice: LayerChoice,
    /// The run it gets now.
    pub(super) current: Option<u64>,
    /// It gets nothing of that run any more: its layer is far over the budget, and what was still
    /// sent of it would be in the way of the keyframe of another one.
    held: bool,
    /// The layer it is to get; `None` until something arrives.
    pub(super) target: Option<Option<usize>>,
    /// The first of the collected packets that is its own, in the current run's stream.
    since: usize,
    budget: Option<u64>,
    /// What the sink was told that this forward could use.
    wanted: Option<u64>,
    selector: Selector,
    pub(super) counters: SourceCounters,
}

impl Link {
    pub(super) fn new(name: ForwardName, choice: LayerChoice, tap: bool) -> Self {
        Self {
            name,
            tap,
            choice,
            current: None,
            held: false,
            target: None,
            since: 0,
            budget: None,
            wanted: None,
            selector: Selector::new(),
            counters: SourceCounters::default(),
        }
    }

    /// Whether it gets the packets of a run.
    fn gets(&self, run: u64) -> bool {
        self.current == Some(run) && !self.held
    }

    /// Whether it is to get a stream and does not yet.
    fn waits_for(&self, layer: Option<usize>, run: u64) -> bool {
        self.target == Some(layer) && !self.gets(run)
    }

    /// Tells the sink what could be used, when it has changed by enough.
    fn want(&mut self, wanted: Option<u64>, outputs: &mut VecDeque<ForwardOutput>) {
        let told = match (self.wanted, wanted) {
            (None, None) => true,
            (Some(before), Some(now)) => before.abs_diff(now) <= before / WANTED_CHANGE,
            _ => false,
        };
        if !told {
            self.wanted = wanted;
            let wanted = wanted.map(|bits| bits.saturating_mul(WANTED_MARGIN) / 100);
            let message = ToSink::Wanted(wanted);
            outputs.push_back(ForwardOutput::ToSink(self.name.id, message));
        }
    }

    /// Gives nothing of a layer that is left because it is far over the budget.
    fn consider_holding(&mut self, streams: &[Stream], layers: &[LayerState]) {
        let current = streams.iter().find(|stream| self.gets(stream.run));
        let Some(layer) = current.map(|stream| stream.layer) else {
            return;
        };
        let rate = layer.and_then(|at| layers.get(at)).map(|layer| layer.rate);
        if let (Some(rate), Some(budget)) = (rate, self.budget)
            && self.target != Some(layer)
            && is_far_over(rate, budget)
        {
            self.held = true;
            self.since = 0;
        }
    }

    fn give(
        &mut self,
        burst: &Arc<super::Burst>,
        range: Range<usize>,
        outputs: &mut VecDeque<ForwardOutput>,
    ) {
        let packets = burst.packets.get(range.clone()).unwrap_or_default();
        if packets.is_empty() {
            return;
        }
        self.counters.packets += packets.len() as u64;
        self.counters.bytes += packets.iter().map(|p| p.payload.len() as u64).sum::<u64>();
        let packets = ToSink::Packets(Arc::clone(burst), range);
        outputs.push_back(ForwardOutput::ToSink(self.name.id, packets));
    }
}

/// A track that is forwarded.
#[derive(Debug)]
pub(super) struct Track {
    /// `None` before it is negotiated.
    pub(super) format: Option<Arc<SourceFormat>>,
    /// By the place of the codec.
    formats: Vec<PayloadFormat>,
    pub(super) links: Vec<Link>,
    pub(super) streams: Vec<Stream>,
    /// Frames that arrived, of all layers.
    frames: u64,
    choose_at: Option<Instant>,
    /// Packets that wait in the streams, at least for the end of the turn.
    pub(super) collected: Collected,
}

impl Track {
    pub(super) fn new(format: Option<Arc<SourceFormat>>) -> Self {
        let mut track = Self {
            format: None,
            formats: Vec::new(),
            links: Vec::new(),
            streams: Vec::new(),
            frames: 0,
            choose_at: None,
            collected: Collected::default(),
        };
        if let Some(format) = format {
            track.follow(format);
        }
        track
    }

    /// Takes another format.
    pub(super) fn follow(&mut self, format: Arc<SourceFormat>) {
        let layers_changed = self
            .format
            .as_ref()
            .is_some_and(|known| known.rids != format.rids);
        if layers_changed {
            // Places of layers mean something else now.
            self.streams.clear();
            for link in &mut self.links {
                link.current = None;
                link.held = false;
                link.target = None;
                link.since = 0;
                link.selector = Selector::new();
            }
        }
        let codecs = format.codecs.iter();
        self.formats = codecs
            .map(|codec| PayloadFormat::of(format.kind, codec))
            .collect();
        self.format = Some(format);
    }

    /// Whether the program wants the packets too.
    pub(super) fn is_tapped(&self) -> bool {
        self.links.iter().any(|link| link.tap)
    }

    /// A packet arrived. Only one that somebody takes, or may, is copied.
    pub(super) fn arrived(
        &mut self,
        now: Instant,
        arrived: &Arrived<'_>,
        runs: &mut u64,
        outputs: &mut VecDeque<ForwardOutput>,
        copy: impl FnOnce(bool) -> ForwardedRtp,
    ) {
        let at = self.stream_of(now, arrived, runs, outputs);
        let payload = arrived.packet.payload;
        let format = self.formats.get(arrived.codec).copied();
        let begins = !payload.is_empty() && format.is_some_and(|format| format.begins(payload));
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if stream.arrived(now, arrived.packet.timestamp, payload.len()) {
            self.frames += 1;
        }
        stream.note_frames(self.frames);
        stream.clock = arrived.clock;
        let (layer, run) = (stream.layer, stream.run);
        if self.choose_at.is_none_or(|due| due <= now) {
            self.choose(now, outputs);
        }
        let waiting = self.links.iter().any(|link| link.waits_for(layer, run));
        let taken = self.links.iter().any(|link| link.gets(run));
        if !waiting && !taken {
            return;
        }
        let packet = copy(begins);
        if waiting && begins {
            self.switch(at, &packet, outputs);
        }
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if begins {
            stream.keyframe_came();
        } else if waiting {
            stream.remember(packet.clone());
            if stream.ask_at.is_none() {
                stream.want_keyframe(now);
            }
        }
        if taken || (waiting && begins) {
            let kind = self.format.as_ref().map(|format| format.kind);
            self.collected
                .add(now, kind.unwrap_or(Kind::Audio), packet.marker);
            stream.packets.push(packet);
        }
    }

    /// The stream of a packet. One with another SSRC, or one whose sender started over, is not a
    /// continuation: whoever took it waits for its next keyframe.
    fn stream_of(
        &mut self,
        now: Instant,
        arrived: &Arrived<'_>,
        runs: &mut u64,
        outputs: &mut VecDeque<ForwardOutput>,
    ) -> usize {
        let ssrc = arrived.packet.ssrc;
        let known = self
            .streams
            .iter()
            .position(|stream| stream.layer == arrived.layer);
        let same = known
            .and_then(|at| self.streams.get(at))
            .is_some_and(|stream| stream.ssrc == ssrc && stream.epoch == arrived.epoch);
        if let Some(at) = known.filter(|_| same) {
            return at;
        }
        *runs += 1;
        let fresh = Stream::new(now, arrived.layer, ssrc, arrived.epoch, *runs);
        let Some(at) = known else {
            self.streams.push(fresh);
            // Somebody may wait for this layer.
            self.choose_at = None;
            return self.streams.len() - 1;
        };
        self.hand_out(at, outputs);
        if let Some(stream) = self.streams.get_mut(at) {
            let before = std::mem::replace(stream, fresh);
            for link in &mut self.links {
                if link.current == Some(before.run) {
                    link.current = None;
                    link.held = false;
                }
            }
        }
        at
    }

    /// Everyone who waits for this stream begins with this packet, which is the next to be
    /// collected.
    fn switch(&mut self, at: usize, packet: &ForwardedRtp, outputs: &mut VecDeque<ForwardOutput>) {
        let Some(format) = &self.format else { return };
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let (layer, run) = (stream.layer, stream.run);
        let collected = stream.packets.len();
        let overtaken = stream.overtaken(packet);
        let early = (!overtaken.is_empty()).then(|| {
            let first = std::iter::once(packet.clone());
            stream.burst(format, first.chain(overtaken).collect())
        });
        for link in &mut self.links {
            if !link.waits_for(layer, run) {
                continue;
            }
            let left = self.streams.iter().find(|stream| link.gets(stream.run));
            if let Some(rest) = left.and_then(|left| left.packets.get(link.since..))
                && let Some(left) = left
                && !rest.is_empty()
            {
                let burst = left.burst(format, rest.to_vec());
                link.give(&burst, 0..rest.len(), outputs);
            }
            link.counters.switches += 1;
            link.current = Some(run);
            link.held = false;
            link.since = collected;
            if let Some(early) = &early {
                link.give(early, 0..early.packets.len(), outputs);
                link.since += 1;
            }
        }
    }

    /// Gives what was collected of a stream to those who take it.
    fn hand_out(&mut self, at: usize, outputs: &mut VecDeque<ForwardOutput>) {
        let (Some(format), Some(stream)) = (&self.format, self.streams.get_mut(at)) else {
            return;
        };
        if stream.packets.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut stream.packets);
        let run = stream.run;
        let count = packets.len();
        let burst = stream.burst(format, packets);
        for link in &mut self.links {
            if link.gets(run) {
                let since = std::mem::take(&mut link.since);
                link.give(&burst, since..count, outputs);
            }
        }
    }

    /// Ends a turn: gives what was collected, or says until when it waits for more.
    pub(super) fn end_turn(
        &mut self,
        now: Instant,
        outputs: &mut VecDeque<ForwardOutput>,
    ) -> Option<Instant> {
        let until = self.collected.waits_until(now, self.links.len());
        if until.is_none() {
            self.hand_out_all(outputs);
        }
        until
    }

    /// Gives everything that was collected.
    pub(super) fn hand_out_all(&mut self, outputs: &mut VecDeque<ForwardOutput>) {
        self.collected = Collected::default();
        for at in 0..self.streams.len() {
            self.hand_out(at, outputs);
        }
    }

    /// Decides which layer each forward is to get, and asks for what it needs to begin.
    pub(super) fn choose(&mut self, now: Instant, outputs: &mut VecDeque<ForwardOutput>) {
        let Some(format) = &self.format else { return };
        self.choose_at = Some(now + CHOICE_INTERVAL);
        let find = |layer: Option<usize>| self.streams.iter().find(|s| s.layer == layer);
        let layers: Vec<LayerState> = (0..format.rids.len())
            .map(|at| {
                let stream = find(Some(at));
                LayerState {
                    rate: stream.map_or(0, |stream| stream.rate.bits_per_second(now)),
                    alive: stream.is_some_and(|stream| stream.is_alive(now, self.frames)),
                }
            })
            .collect();
        // A sender that does not name its layers sends one.
        let plain = layers.is_empty() || (find(None).is_some() && self.streams.len() == 1);
        let best = layers.iter().map(|layer| layer.rate).max();
        let room = best.filter(|best| *best > 0).map(room_for);
        for link in &mut self.links {
            let follows = !plain && link.choice == LayerChoice::Auto;
            link.want(room.filter(|_| follows), outputs);
            link.target = if plain {
                Some(None)
            } else {
                let wanted = match &link.choice {
                    LayerChoice::Rid(rid) => format.rids.iter().position(|known| known == rid),
                    LayerChoice::Auto => None,
                };
                // Layers begin one after the other: the one that was asked for may be next.
                let early = self.frames < FRAMES_MEANWHILE;
                let to_come = wanted.filter(|at| early && find(Some(*at)).is_none());
                if to_come.is_some() {
                    link.target = Some(to_come);
                    continue;
                }
                let chosen = link.selector.choose(now, &layers, wanted, link.budget);
                chosen.or(wanted).map(Some)
            };
            if follows {
                link.consider_holding(&self.streams, &layers);
            }
        }
        for stream in &mut self.streams {
            let waits = |link: &Link| link.waits_for(stream.layer, stream.run);
            if !self.links.iter().any(waits) {
                stream.forget_recent();
            } else if stream.ask_at.is_none() {
                stream.want_keyframe(now);
            }
        }
    }

    /// The streams to ask for a keyframe now.
    pub(super) fn asks(&mut self, now: Instant, asked: &mut Vec<u32>) {
        for stream in &mut self.streams {
            if stream.ask_at.is_some_and(|due| due <= now) {
                let waits = |link: &Link| link.waits_for(stream.layer, stream.run);
                stream.asks(now, self.links.iter().any(waits));
                asked.push(stream.ssrc);
            }
        }
    }

    /// When [`Self::asks`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.ask_at).min()
    }

    /// A sink's network has this much for a forward. A layer that does not fit is left at once.
    pub(super) fn set_budget(&mut self, id: ForwardId, bits_per_second: u64) {
        let Some(link) = self.links.iter_mut().find(|link| link.name.id == id) else {
            return;
        };
        let before = link.budget.replace(bits_per_second);
        if before.is_none_or(|before| bits_per_second < before) {
            self.choose_at = None;
        }
    }

    /// A viewer of this forward needs a keyframe of what it gets, or is about to get.
    pub(super) fn keyframe_wanted(&mut self, now: Instant, id: ForwardId) {
        let Some(link) = self.links.iter_mut().find(|link| link.name.id == id) else {
            return;
        };
        link.counters.keyframe_requests += 1;
        let target = link.target;
        let mut wanted = self.streams.iter_mut();
        if let Some(stream) = wanted.find(|stream| Some(stream.layer) == target) {
            stream.want_keyframe(now);
        }
    }

    /// Packets of this forward were lost on their way to the sink.
    pub(super) fn refused(&mut self, now: Instant, id: ForwardId, count: usize) {
        let Some(link) = self.links.iter_mut().find(|link| link.name.id == id) else {
            return;
        };
        link.counters.dropped += count as u64;
        let run = link.current;
        let mut current = self.streams.iter_mut();
        if let Some(stream) = current.find(|stream| Some(stream.run) == run) {
            stream.want_keyframe(now);
        }
    }

    /// The layer that a forward gets now: a place in the format's rids.
    pub(super) fn layer_of(&self, link: &Link) -> Option<usize> {
        let mut streams = self.streams.iter();
        let current = streams.find(|stream| link.current == Some(stream.run));
        current?.layer
    }
}
