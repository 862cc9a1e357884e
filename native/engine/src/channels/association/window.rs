//! The window that the peer is told, where messages wait for the program.
//!
//! The crate knows nothing of messages that were read and wait: they are taken off the window it
//! tells of, and data beyond a window full of them is refused as the crate would refuse it. The crate
//! tells of room when it acknowledges something, and at no other time: a peer that has filled the
//! window would hear of room when it next probes, which gets rarer up to once a minute. So room is
//! told here, and data that was refused last is taken then: the peer has it under way still, and may
//! not send more before it is acknowledged.

use super::Association;
use crate::channels::wire;
use bytes::Bytes;
use std::time::Instant;

/// Room that is worth telling of, as a share of the window: a program that takes message by message
/// must not cause a packet for each (RFC 9260 section 6.2, RFC 1122 section 4.2.3.3).
const WORTH_TELLING: u32 = 4;

/// What the peer knows of our window.
#[derive(Debug, Default)]
pub(super) struct Window {
    largest: u32,
    /// What messages take that wait for the program.
    held: u32,
    /// The last SACK as it would be without them, the room in it, and what was told.
    sack: Option<Bytes>,
    room: u32,
    told: u32,
    /// Data that was refused last.
    refused: Option<Bytes>,
}

impl Window {
    pub(super) fn new(largest: u32) -> Self {
        Self {
            largest,
            room: largest,
            told: largest,
            ..Self::default()
        }
    }

    fn is_full(&self) -> bool {
        self.held >= self.largest
    }

    /// A packet from the peer, without the data that there is no room for. What fills a gap has
    /// room, as in the crate: else messages behind it could never be read.
    pub(super) fn admit(&mut self, packet: Bytes) -> Option<Bytes> {
        if !self.is_full() {
            return Some(packet);
        }
        let Some(highest) = self.sack.as_ref().and_then(|last| wire::acknowledged(last)) else {
            return Some(packet);
        };
        let (rest, refused) = wire::without_data_beyond(&packet, highest);
        self.refused = refused.or(self.refused.take());
        rest
    }

    /// A packet with a SACK leaves, in which the crate tells of `room`: the one to send instead.
    pub(super) fn acknowledging(&mut self, packet: &Bytes, room: u32) -> Option<Bytes> {
        self.sack = Some(packet.clone());
        self.room = room;
        self.told = room.saturating_sub(self.held);
        (self.told != room).then(|| wire::with_window(packet, self.told))
    }
}

impl Association {
    /// Messages that wait for the program take so many bytes now.
    pub(in crate::channels) fn hold_back(&mut self, now: Instant, held: usize) {
        let window = &mut self.window;
        window.held = u32::try_from(held).unwrap_or(u32::MAX);
        let room = window.room.saturating_sub(window.held);
        if window.is_full() || room.saturating_sub(window.told) < window.largest / WORTH_TELLING {
            return;
        }
        if let Some(refused) = window.refused.take() {
            window.told = room;
            if let Some(packet) = window.admit(refused) {
                self.feed(now, packet);
                self.collect(now);
            }
        } else if let Some(packet) = window
            .sack
            .as_ref()
            .and_then(|last| wire::sack_with_window(last, room))
        {
            window.told = room;
            self.outgoing.push_back(packet);
        }
    }
}
