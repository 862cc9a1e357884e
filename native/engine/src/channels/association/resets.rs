//! Stream resets (RFC 6525) that get through a lossy path and past data under way.

use super::{Association, Happening, UnansweredReset};
use crate::channels::wire::{self, Reconfig};
use bytes::Bytes;
use rtc_sctp::Stream;
use std::time::{Duration, Instant};

/// Bounds of the interval at which an unanswered reset request is repeated.
pub(super) const RESET_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(8));
/// Peer's reset requests held back until our data on the stream is through.
const HELD_RESETS: usize = 16;

impl Association {
    /// Keeps the peer's reset back while data of ours is under way on the stream: the crate
    /// would answer at once and send that data behind its own reset. What is left of the packet.
    pub(super) fn hold(&mut self, packet: Bytes) -> Option<Bytes> {
        let Some(active) = &mut self.active else {
            return Some(packet);
        };
        let mut busy = Vec::new();
        for chunk in wire::chunks(&packet)? {
            if chunk.kind != wire::RECONFIG {
                continue;
            }
            for parameter in wire::reconfigs(&chunk) {
                if let Reconfig::Reset { streams, .. } = parameter {
                    busy.extend(streams.into_iter().filter(|id| {
                        let stream = active.stream(*id).ok().filter(Stream::is_writable);
                        stream.is_some_and(|own| own.buffered_amount().unwrap_or(0) > 0)
                    }));
                }
            }
        }
        if busy.is_empty() {
            return Some(packet);
        }
        let asked = busy.iter().map(|id| Happening::ResetAsked(*id));
        self.happenings.extend(asked);
        if let Some(reset) = wire::only(&packet, |kind| kind == wire::RECONFIG)
            && self.held.len() < HELD_RESETS
            && !self.held.iter().any(|(_, held)| *held == reset)
        {
            self.held.push_back((busy, reset));
        }
        wire::only(&packet, |kind| kind != wire::RECONFIG)
    }

    pub(super) fn release_held(&mut self, now: Instant) {
        let Some(active) = &mut self.active else {
            return;
        };
        let through = self.held.front().is_some_and(|(streams, _)| {
            streams.iter().all(|id| {
                active
                    .stream(*id)
                    .map_or(0, |stream| stream.buffered_amount().unwrap_or(0))
                    == 0
            })
        });
        if through && let Some((_, packet)) = self.held.pop_front() {
            self.feed(now, packet);
            self.collect(now);
        }
    }

    /// Takes the peer's answers to our reset requests out of the guard. Only a definite answer
    /// counts (RFC 6525 section 4.4): "in progress" and the two that complain of the order of
    /// requests ask to be asked again.
    pub(super) fn answered(&mut self) {
        for (sequence, result) in self.guard.responses.drain(..) {
            if !matches!(result, 4..=6) {
                self.resets.retain(|reset| reset.sequence != sequence);
            }
        }
    }

    /// Whether a reset request that names the stream is unanswered.
    pub(in crate::channels) fn is_resetting(&self, stream: u16) -> bool {
        self.resets
            .iter()
            .any(|reset| reset.streams.contains(&stream))
    }

    /// Asks the peer to see the end of our half of a stream (RFC 8831 section 6.7). False when
    /// there is no such stream.
    pub(in crate::channels) fn reset_stream(&mut self, now: Instant, id: u16) -> bool {
        let told = self.clock.told(now);
        match self.active.as_mut().map(|active| active.stream(id)) {
            Some(Ok(mut stream)) => stream.close(told).is_ok(),
            _ => false,
        }
    }

    /// The crate repeats some of its reset requests and loses others (those it makes in answer to
    /// the peer's, and those answered "in progress"); so each is repeated from here.
    pub(super) fn remember_reset(
        &mut self,
        now: Instant,
        sequence: u32,
        streams: Vec<u16>,
        packet: &Bytes,
    ) {
        if self.resets.iter().all(|reset| reset.sequence != sequence) {
            let interval = RESET_INTERVAL.0;
            let due = now + interval;
            self.resets.push(UnansweredReset {
                sequence,
                streams,
                packet: packet.clone(),
                due,
                interval,
            });
        }
    }
}
