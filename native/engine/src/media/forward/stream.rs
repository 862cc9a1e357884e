//! One stream of a forwarded track at its source: a layer as it arrives now.

use super::burst::{Burst, ForwardedRtp, SourceClock, SourceFormat};
use super::rate::Rate;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least time between two keyframe requests on one stream: a keyframe is several times as large as
/// another frame, and is on its way already. Browsers limit themselves to about as many.
pub(super) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// Someone still waits: the request, or the keyframe, was lost.
const KEYFRAME_AGAIN: Duration = Duration::from_millis(500);
/// Packets that overtook the first one of a keyframe. A keyframe has some dozens of packets.
const MAX_RECENT: usize = 64;
/// How long a layer may be silent before it counts as gone, if another one goes on meanwhile.
const SILENCE: Duration = Duration::from_millis(300);
/// So many frames of other layers are "goes on": slow video is silent between its frames as well.
pub(super) const FRAMES_MEANWHILE: u64 = 5;

/// What arrives of one layer.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its layer: a place in the format's rids.
    pub(super) layer: Option<usize>,
    pub(super) ssrc: u32,
    /// Counts how often its sender started over.
    pub(super) epoch: u32,
    pub(super) run: u64,
    pub(super) rate: Rate,
    pub(super) clock: Option<SourceClock>,
    /// What arrived in this turn and somebody takes.
    pub(super) packets: Vec<ForwardedRtp>,
    /// What arrived while somebody waits for a keyframe.
    recent: VecDeque<ForwardedRtp>,
    last_arrival: Instant,
    last_timestamp: Option<u32>,
    /// Frames of the whole track when the last packet came.
    frames_seen: u64,
    asked: Option<Instant>,
    /// When to ask for a keyframe.
    pub(super) ask_at: Option<Instant>,
}

impl Stream {
    pub(super) fn new(now: Instant, layer: Option<usize>, ssrc: u32, epoch: u32, run: u64) -> Self {
        Self {
            layer,
            ssrc,
            epoch,
            run,
            rate: Rate::new(now),
            clock: None,
            packets: Vec::new(),
            recent: VecDeque::new(),
            last_arrival: now,
            last_timestamp: None,
            frames_seen: 0,
            asked: None,
            ask_at: None,
        }
    }

    /// Takes note of a packet; whether it is of another frame than the last one.
    pub(super) fn arrived(&mut self, now: Instant, timestamp: u32, bytes: usize) -> bool {
        self.rate.add(now, bytes);
        self.last_arrival = now;
        self.last_timestamp.replace(timestamp) != Some(timestamp)
    }

    pub(super) fn note_frames(&mut self, frames: u64) {
        self.frames_seen = frames;
    }

    /// Whether it still arrives, as far as one can tell: `frames` is the track's count.
    pub(super) fn is_alive(&self, now: Instant, frames: u64) -> bool {
        now.saturating_duration_since(self.last_arrival) < SILENCE
            || frames.saturating_sub(self.frames_seen) < FRAMES_MEANWHILE
    }

    /// A keyframe is wanted: now, or as soon as the last request is old enough.
    pub(super) fn want_keyframe(&mut self, now: Instant) {
        let earliest = self
            .asked
            .map_or(now, |asked| (asked + KEYFRAME_INTERVAL).max(now));
        self.ask_at = Some(self.ask_at.map_or(earliest, |at| at.min(earliest)));
    }

    /// A request goes out; another one follows where `waiting` says that one is still needed.
    pub(super) fn asks(&mut self, now: Instant, waiting: bool) {
        self.asked = Some(now);
        let silent = now.saturating_duration_since(self.last_arrival) > KEYFRAME_AGAIN;
        // No timer while nothing flows; the next packet asks again.
        self.ask_at = (waiting && !silent).then(|| now + KEYFRAME_AGAIN);
    }

    /// A keyframe came: who asked for one is served.
    pub(super) fn keyframe_came(&mut self) {
        self.ask_at = None;
        self.recent.clear();
    }

    /// Remembers a packet for those who wait: the first of the keyframe may come behind it.
    pub(super) fn remember(&mut self, packet: ForwardedRtp) {
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(packet);
    }

    pub(super) fn forget_recent(&mut self) {
        self.recent = VecDeque::new();
    }

    /// What overtook this packet, in order.
    pub(super) fn overtaken(&self, first: &ForwardedRtp) -> Vec<ForwardedRtp> {
        let distance =
            |packet: &ForwardedRtp| packet.sequence_number.wrapping_sub(first.sequence_number);
        let ahead = self
            .recent
            .iter()
            .filter(|packet| (1..0x8000).contains(&distance(packet)));
        let mut ahead: Vec<ForwardedRtp> = ahead.cloned().collect();
        ahead.sort_by_key(distance);
        ahead
    }

    /// These packets as a burst.
    pub(super) fn burst(
        &self,
        format: &Arc<SourceFormat>,
        packets: Vec<ForwardedRtp>,
    ) -> Arc<Burst> {
        Arc::new(Burst {
            format: Arc::clone(format),
            run: self.run,
            clock: self.clock,
            packets,
        })
    }
}
