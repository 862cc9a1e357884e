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

    /// A packet from the peer, without the data that there is no room for, and the answer to that
    /// data, so that the peer does not take us for gone. What fills a gap has room, as in the crate:
    /// else messages behind it could never be read.
    pub(super) fn admit(&mut self, packet: Bytes) -> (Option<Bytes>, Option<Bytes>) {
        let Some(last) = self.sack.as_ref().filter(|_| self.is_full()) else {
            return (Some(packet), None);
        };
        let Some(highest) = wire::acknowledged(last) else {
            return (Some(packet), None);
        };
        let (rest, refused) = wire::without_data_beyond(&packet, highest);
        let Some(refused) = refused else {
            return (rest, None);
        };
        self.refused = Some(refused);
        (rest, wire::sack_with_window(last, self.told))
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
            self.feed(now, refused);
            self.collect(now);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const LARGEST: u32 = 1_000;

    fn packet(kind: u8, value: &[u8]) -> Bytes {
        let mut packet = vec![0; 12];
        packet.extend([kind, 3, 0, value.len() as u8 + 4]);
        packet.extend(value);
        wire::sealed(packet)
    }

    /// Acknowledges TSN 9, with room for all.
    fn sack() -> Bytes {
        packet(wire::SACK, &[0, 0, 0, 9, 0, 0, 3, 232, 0, 0, 0, 0])
    }

    fn data(tsn: u8) -> Bytes {
        packet(
            wire::DATA,
            &[0, 0, 0, tsn, 0, 0, 0, 0, 0, 0, 0, 53, 1, 2, 3, 4],
        )
    }

    fn told(packet: &Bytes) -> (Option<u32>, Option<u32>) {
        let chunks = wire::chunks(packet).unwrap();
        (chunks[0].u32_at(0), chunks[0].u32_at(4))
    }

    #[test]
    fn data_beyond_a_full_window_is_refused_and_answered() {
        let mut window = Window::new(LARGEST);
        assert_eq!(window.acknowledging(&sack(), LARGEST), None);
        assert_eq!(window.admit(data(10)), (Some(data(10)), None));

        window.held = LARGEST;
        let shrunk = window.acknowledging(&sack(), LARGEST).unwrap();
        assert_eq!(told(&shrunk), (Some(9), Some(0)));
        let (admitted, answer) = window.admit(data(10));
        assert_eq!(admitted, None);
        assert_eq!(told(&answer.unwrap()), (Some(9), Some(0)));
        assert_eq!(told(window.refused.as_ref().unwrap()).0, Some(10));
    }

    #[test]
    fn what_fills_a_gap_is_admitted_by_a_full_window() {
        let mut window = Window::new(LARGEST);
        window.acknowledging(&sack(), LARGEST);
        window.held = LARGEST;
        assert_eq!(window.admit(data(8)), (Some(data(8)), None));
        assert_eq!(window.admit(sack()), (Some(sack()), None));
    }
}
