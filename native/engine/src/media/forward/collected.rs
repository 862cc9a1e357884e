//! When what arrived of a forwarded track goes on to those who take it.
//!
//! At the end of the turn; but each hand-out is a system call for each taker, and so with many of
//! them the packets of a picture wait for each other. A picture is shown when its last packet is
//! there, so nobody sees it later.

use crate::w3c::Kind;
use std::time::{Duration, Instant};

/// From so many takers on, packets wait. Fewer are a call, where an early first packet costs little.
const MANY: usize = 8;

/// How long for a last packet that does not come: as long as senders wait between two groups of
/// packets (draft-ietf-rmcat-gcc: 5 ms), so that receivers see no other groups.
const PATIENCE: Duration = Duration::from_millis(5);

/// Packets that wait at most: what leaves in one call.
const MOST_WAITING: usize = 32;

/// The packets of a track that were not handed out yet.
#[derive(Debug, Default)]
pub(super) struct Collected {
    since: Option<Instant>,
    packets: usize,
    /// Whether there is one that nothing belongs to that has not come.
    complete: bool,
}

impl Collected {
    pub(super) fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// One more packet; `last` as its marker says.
    pub(super) fn add(&mut self, now: Instant, kind: Kind, last: bool) {
        self.since.get_or_insert(now);
        self.packets += 1;
        self.complete |= last || kind == Kind::Audio;
    }

    /// Until when they wait for others; `None` when they go now.
    pub(super) fn waits_until(&self, now: Instant, takers: usize) -> Option<Instant> {
        if takers < MANY || self.complete || self.packets >= MOST_WAITING {
            return None;
        }
        let until = self.since? + PATIENCE;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_packets_of_a_picture_wait_for_its_last_one() {
        let now = Instant::now();
        let mut collected = Collected::default();
        assert!(collected.is_empty());
        collected.add(now, Kind::Video, false);
        collected.add(now + MS, Kind::Video, false);
        assert!(!collected.is_empty());
        assert_eq!(
            collected.waits_until(now + 2 * MS, MANY),
            Some(now + PATIENCE)
        );
        collected.add(now + 2 * MS, Kind::Video, true);
        assert_eq!(collected.waits_until(now + 2 * MS, MANY), None);
    }

    #[test]
    fn a_last_packet_that_does_not_come_is_not_waited_for_long() {
        let now = Instant::now();
        let mut collected = Collected::default();
        collected.add(now, Kind::Video, false);
        assert!(collected.waits_until(now + 4 * MS, MANY).is_some());
        assert_eq!(collected.waits_until(now + PATIENCE, MANY), None);
    }

    #[test]
    fn no_more_wait_than_leave_at_once() {
        let now = Instant::now();
        let mut collected = Collected::default();
        for packets in 1..=MOST_WAITING {
            collected.add(now, Kind::Video, false);
            let waits = collected.waits_until(now, MANY).is_some();
            assert_eq!(waits, packets < MOST_WAITING);
        }
    }

    #[test]
    fn neither_sound_nor_a_call_of_few_waits() {
        let now = Instant::now();
        let mut sound = Collected::default();
        sound.add(now, Kind::Audio, false);
        assert_eq!(sound.waits_until(now, 50), None);
        let mut video = Collected::default();
        video.add(now, Kind::Video, false);
        assert_eq!(video.waits_until(now, MANY - 1), None);
    }
}
