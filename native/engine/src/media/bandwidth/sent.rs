//! The packets that carry a transport-wide number, from when they leave until the peer has told of
//! them.

/// Slots that the log starts with, and the most it grows to; 8 bytes each. Powers of two, and far
/// below 2¹⁵, so that sixteen bits tell which packet is meant.
const FIRST_SLOTS: usize = 512;
const MAX_SLOTS: usize = 8192;
/// The log grows rather than forget a packet that is younger than this: feedback comes every
/// 50 to 250 ms, and a round trip late.
const YOUNG: u32 = 10_000;
/// What times are counted in: two bytes less a packet than microseconds would need, and still
/// finer than the 250 µs of the feedback.
const TICK_MICROS: u64 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unused,
    UnderWay,
    Lost,
    Arrived,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// In ticks, modulo 2³².
    sent: u32,
    size: u16,
    probe: u8,
    state: State,
}

/// A packet that the peer told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// When it was sent, in microseconds.
    pub(super) sent: i64,
    /// Its bytes.
    pub(super) size: usize,
    /// The probe it belongs to; 0 for none.
    pub(super) probe: u8,
    /// It was said to be lost before.
    pub(super) was_lost: bool,
}

/// Numbers packets and remembers when and how large they were sent.
#[derive(Debug, Default)]
pub(super) struct SentPackets {
    slots: Vec<Slot>,
    /// How many were sent; the low bits are the next one's number.
    count: u64,
}

impl SentPackets {
    /// The number that the next packet gets.
    pub(super) fn next_number(&self) -> u16 {
        self.count as u16
    }

    /// The packet with [`Self::next_number`] was sent.
    pub(super) fn push(&mut self, now: u64, size: usize, probe: u8) {
        let sent = (now / TICK_MICROS) as u32;
        if self.slots.is_empty() {
            self.slots.resize(FIRST_SLOTS, Slot::default());
        }
        while self.slots.len() < MAX_SLOTS && self.displaces_young(sent) {
            self.grow();
        }
        let at = self.place(self.count);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot {
                sent,
                size: u16::try_from(size).unwrap_or(u16::MAX),
                probe,
                state: State::UnderWay,
            };
        }
        self.count += 1;
    }

    /// How many packets were sent since the one with this number, itself included; `None` for one
    /// that is not remembered, or was never sent.
    fn age(&self, number: u16) -> Option<u16> {
        let behind = (self.count as u16).wrapping_sub(number);
        let known = self.count.min(self.slots.len() as u64);
        (behind != 0 && u64::from(behind) <= known).then_some(behind)
    }

    /// The numbers among `count` from `first` on that are remembered.
    pub(super) fn remembered(&self, first: u16, count: u16) -> impl Iterator<Item = u16> + use<> {
        let next = self.count as u16;
        let behind = next.wrapping_sub(first);
        let known = self.count.min(self.slots.len() as u64) as u16;
        let oldest = behind.min(known);
        let forgotten = behind - oldest;
        let newest = oldest - count.saturating_sub(forgotten).min(oldest);
        (newest + 1..=oldest)
            .rev()
            .map(move |behind| next.wrapping_sub(behind))
    }

    /// How many were sent.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The peer says that this packet arrived. Only the first time counts.
    pub(super) fn acknowledge(&mut self, now: u64, number: u16) -> Option<Acknowledged> {
        let slot = self.slot_mut(number)?;
        let was_lost = match slot.state {
            State::UnderWay => false,
            State::Lost => true,
            State::Unused | State::Arrived => return None,
        };
        slot.state = State::Arrived;
        let ticks = now / TICK_MICROS;
        let age = u64::from((ticks as u32).wrapping_sub(slot.sent));
        Some(Acknowledged {
            sent: (ticks.saturating_sub(age) * TICK_MICROS) as i64,
            size: usize::from(slot.size),
            probe: slot.probe,
            was_lost,
        })
    }

    /// The peer says that this packet did not arrive; true the first time.
    pub(super) fn lose(&mut self, number: u16) -> bool {
        match self.slot_mut(number) {
            Some(slot) if slot.state == State::UnderWay => {
                slot.state = State::Lost;
                true
            }
            _ => false,
        }
    }

    fn slot_mut(&mut self, number: u16) -> Option<&mut Slot> {
        let index = self.count.checked_sub(u64::from(self.age(number)?))?;
        let at = self.place(index);
        self.slots.get_mut(at)
    }

    fn place(&self, index: u64) -> usize {
        index as usize & self.slots.len().wrapping_sub(1)
    }

    fn displaces_young(&self, now: u32) -> bool {
        let slot = self.slots.get(self.place(self.count));
        slot.is_some_and(|slot| {
            slot.state == State::UnderWay && now.wrapping_sub(slot.sent) < YOUNG
        })
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots.resize(old.len() * 2, Slot::default());
        let first = self.count.saturating_sub(old.len() as u64);
        for index in first..self.count {
            let kept = old.get(index as usize & (old.len() - 1)).copied();
            let at = self.place(index);
            if let (Some(kept), Some(slot)) = (kept, self.slots.get_mut(at)) {
                *slot = kept;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_acknowledged_once_with_its_time_and_size() {
        let mut sent = SentPackets::default();
        sent.push(1_000_000, 1200, 0);
        let packet = sent.acknowledge(1_050_000, 0).unwrap();
        assert_eq!((packet.sent, packet.size), (1_000_000, 1200));
        assert_eq!(sent.acknowledge(1_050_000, 0), None);
        assert_eq!(sent.acknowledge(1_050_000, 1), None, "never sent");
        assert_eq!(sent.acknowledge(1_050_000, 65_535), None, "never sent");
    }

    #[test]
    fn a_packet_that_was_called_lost_may_arrive_after_all() {
        let mut sent = SentPackets::default();
        sent.push(0, 100, 0);
        assert!(sent.lose(0));
        assert!(!sent.lose(0), "lost once");
        assert!(sent.acknowledge(0, 0).unwrap().was_lost);
        assert!(!sent.lose(0), "it arrived");
    }

    #[test]
    fn of_a_run_only_what_was_sent_and_is_remembered_is_looked_at() {
        let mut sent = SentPackets::default();
        for _ in 0..10 {
            sent.push(0, 100, 0);
        }
        let remembered = |first, count| sent.remembered(first, count).collect::<Vec<u16>>();
        assert_eq!(remembered(3, 4), [3, 4, 5, 6]);
        assert_eq!(remembered(8, 100), [8, 9]);
        assert_eq!(remembered(65_534, 4), [0, 1]);
        assert_eq!(remembered(10, 50), [0; 0]);
        assert_eq!(remembered(11, 65_535).len(), 10, "all the way round");
        for _ in 0..100_000 {
            sent.push(0, 100, 0);
        }
        assert_eq!(sent.remembered(0, 65_535).count(), MAX_SLOTS);
    }

    #[test]
    fn every_young_packet_is_remembered_over_the_wrap_of_numbers() {
        let mut sent = SentPackets::default();
        for index in 0..70_000u64 {
            assert_eq!(sent.next_number(), index as u16);
            // 5,000 a second, told of 400 ms later.
            sent.push(index * 200, 1000 + (index % 7) as usize, 0);
            if let Some(old) = index.checked_sub(2000) {
                let packet = sent.acknowledge(index * 200, old as u16).unwrap();
                assert_eq!(packet.sent, old as i64 * 200);
                assert_eq!(packet.size, 1000 + (old % 7) as usize);
            }
        }
        assert!(sent.slots.len() < MAX_SLOTS);
    }

    #[test]
    fn the_log_does_not_grow_past_its_bound() {
        let mut sent = SentPackets::default();
        for _ in 0..100_000 {
            sent.push(0, 1200, 0);
        }
        assert_eq!(sent.slots.len(), MAX_SLOTS);
        assert!(sent.lose((100_000u64 - MAX_SLOTS as u64) as u16));
        assert!(!sent.lose((100_000u64 - MAX_SLOTS as u64 - 1) as u16));
    }

    #[test]
    fn times_are_right_after_the_ticks_have_wrapped() {
        let mut sent = SentPackets::default();
        let late = (1u64 << 32) * TICK_MICROS + 7 * TICK_MICROS;
        sent.push(late - 20 * TICK_MICROS, 10, 0);
        let packet = sent.acknowledge(late, 0).unwrap();
        assert_eq!(packet.sent, (late - 20 * TICK_MICROS) as i64);
    }
}
