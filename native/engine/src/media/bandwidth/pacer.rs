//! Spreads bursts, such as a keyframe's packets, over time, so that they fit the queues on the way:
//! a token bucket in front of the cipher. Audio passes it by; order within a stream stays.
//!
//! Overflow: what waits longer than [`MAX_WAIT`] is prevented by sending faster; a packet that
//! comes when [`MAX_BYTES`] or [`MAX_PACKETS`] wait is dropped and counted (`paced_out_packets` of
//! `media_drops`), and so is what waits of a layer that is left because it does not fit.

use crate::media::ReceivedRtp;
use crate::media::section::ExtensionIds;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much faster than the estimate a burst may leave, as in browsers: an encoder's keyframe is
/// several times the size of its other frames.
const FACTOR: f64 = 2.5;
/// The longest that a packet waits; half of what a viewer's jitter buffer may grow to.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// The rate is not raised beyond emptying the queue within this.
const SHORTEST_DRAIN: Duration = Duration::from_millis(5);
/// What may wait: half a second at 32 Mbit/s.
const MAX_BYTES: usize = 2 << 20;
const MAX_PACKETS: usize = 4096;
/// What may leave at once after a pause, as time at the rate. Timers come about every millisecond.
const BURST: f64 = 0.005;
/// What passed by the bucket, audio and probes, holds up the rest for no longer than this.
const MAX_DEBT: f64 = 0.05;

/// What kind of packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) enum Class {
    /// Passes the queue by: audio.
    Urgent,
    /// A repair: in front of what is new.
    Repair,
    /// All else.
    Media,
}

/// A packet that waits, numbers already written but for the transport-wide one.
#[derive(Debug)]
pub(super) struct WaitingPacket {
    since: Instant,
    bytes: Box<[u8]>,
    header: usize,
    /// Where the transport-wide number and the send time stand in the header.
    number_at: Option<usize>,
    send_time_at: Option<usize>,
}

impl WaitingPacket {
    fn new(now: Instant, header: &[u8], payload: &[u8], ids: &ExtensionIds) -> Self {
        let place = |id: u8| element_place(header, id);
        Self {
            since: now,
            bytes: [header, payload].concat().into_boxed_slice(),
            header: header.len(),
            number_at: place(ids.twcc),
            send_time_at: place(ids.abs_send_time),
        }
    }

    /// RFC 3550 section 5.1.
    fn ssrc(&self) -> Option<u32> {
        let bytes = self.bytes.get(8..12)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    /// Whether it carries a transport-wide number.
    pub(super) fn is_numbered(&self) -> bool {
        self.number_at.is_some()
    }

    /// Writes what is only known when it leaves; header and payload.
    pub(super) fn finish(&mut self, number: u16, send_time: [u8; 3]) -> (&[u8], &[u8]) {
        for (at, value) in [
            (self.number_at, &number.to_be_bytes()[..]),
            (self.send_time_at, &send_time[..]),
        ] {
            let room = at.and_then(|at| self.bytes.get_mut(at..at + value.len()));
            if let Some(room) = room {
                room.copy_from_slice(value);
            }
        }
        self.bytes.split_at_checked(self.header).unwrap_or_default()
    }
}

/// Where the data of an element stands in a header.
fn element_place(header: &[u8], id: u8) -> Option<usize> {
    if id == 0 {
        return None;
    }
    let parsed = ReceivedRtp::parse_header(header)?;
    let (_, data) = parsed.elements().find(|(known, _)| *known == id)?;
    // `data` is a part of `header`.
    (data.as_ptr() as usize).checked_sub(header.as_ptr() as usize)
}

/// The bucket and the queue in front of it.
#[derive(Debug)]
pub(super) struct Pacer {
    repairs: VecDeque<WaitingPacket>,
    media: VecDeque<WaitingPacket>,
    bytes: usize,
    /// Bytes that may leave now; below zero for what left too soon.
    budget: f64,
    filled: Instant,
    /// Bytes per second.
    rate: f64,
    /// Packets that found no room.
    pub(super) dropped: u64,
}

impl Pacer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            repairs: VecDeque::new(),
            media: VecDeque::new(),
            bytes: 0,
            budget: 0.0,
            filled: now,
            rate: 0.0,
            dropped: 0,
        }
    }

    /// Puts into the bucket what came since the last time, at `target` bits per second and
    /// [`FACTOR`], or at `probe` bits per second.
    pub(super) fn fill(&mut self, now: Instant, target: f64, probe: Option<f64>) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        let paced = FACTOR * target / 8.0;
        let left = MAX_WAIT.saturating_sub(self.oldest_wait(now));
        let drain = self.bytes as f64 / left.max(SHORTEST_DRAIN).as_secs_f64();
        self.rate = match probe {
            Some(probe) => probe / 8.0,
            None => paced.max(drain),
        };
        let filled = self.budget + self.rate * elapsed;
        self.budget = filled.clamp(-self.rate * MAX_DEBT, self.rate * BURST);
    }

    /// A packet has left.
    pub(super) fn spend(&mut self, size: usize) {
        self.budget -= size as f64;
    }

    /// Whether a packet may leave now.
    pub(super) fn is_open(&self) -> bool {
        self.budget >= 0.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.repairs.is_empty() && self.media.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// When the bucket opens, if it is waited for.
    pub(super) fn opens(&self) -> Instant {
        if self.is_open() {
            return self.filled;
        }
        // Never at the very moment of the last filling: there would be no more in it then.
        let wait = Duration::from_secs_f64(-self.budget / self.rate.max(1.0));
        self.filled + wait.max(Duration::from_micros(1))
    }

    /// Puts a packet at its end of the queue; false where there is no room.
    pub(super) fn push(
        &mut self,
        now: Instant,
        class: Class,
        header: &[u8],
        payload: &[u8],
        ids: &ExtensionIds,
    ) -> bool {
        let size = header.len() + payload.len();
        let packets = self.repairs.len() + self.media.len();
        if self.bytes + size > MAX_BYTES || packets >= MAX_PACKETS {
            self.dropped += 1;
            return false;
        }
        self.bytes += size;
        let packet = WaitingPacket::new(now, header, payload, ids);
        match class {
            Class::Repair => self.repairs.push_back(packet),
            Class::Media | Class::Urgent => self.media.push_back(packet),
        }
        true
    }

    /// Takes the packet whose turn it is.
    pub(super) fn pop(&mut self) -> Option<WaitingPacket> {
        let packet = self
            .repairs
            .pop_front()
            .or_else(|| self.media.pop_front())?;
        self.bytes = self.bytes.saturating_sub(packet.bytes.len());
        if self.is_empty() {
            // A keyframe's worth of memory is not kept for the next one.
            self.repairs = VecDeque::new();
            self.media = VecDeque::new();
        }
        Some(packet)
    }

    /// Drops what waits of a stream.
    pub(super) fn forget(&mut self, ssrc: u32) {
        for queue in [&mut self.repairs, &mut self.media] {
            queue.retain(|packet| {
                let stays = packet.ssrc() != Some(ssrc);
                if !stays {
                    self.bytes = self.bytes.saturating_sub(packet.bytes.len());
                    self.dropped += 1;
                }
                stays
            });
        }
    }

    fn oldest_wait(&self, now: Instant) -> Duration {
        let fronts = [self.repairs.front(), self.media.front()];
        let oldest = fronts.into_iter().flatten().map(|packet| packet.since);
        oldest
            .min()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
