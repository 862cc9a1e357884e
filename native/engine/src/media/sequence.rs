//! RTP sequence numbers without the wrap-around, and which of the last ones were seen.

/// Sequence numbers that are remembered one by one. SRTP drops what is more than 1,024 behind;
/// repairs may be older: at 2,000 packets a second this is a second.
pub(super) const WINDOW: u64 = 2048;
const WORDS: usize = (WINDOW / 64) as usize;

/// Where the first number of a stream is put, so that numbers before it have a place too.
const ORIGIN: u64 = 1 << 16;

/// What a sequence number is to the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first of the stream.
    First(u64),
    /// Ahead of all others; `gap` numbers before it were skipped.
    Ahead {
        /// The extended number.
        index: u64,
        /// How many were skipped.
        gap: u64,
    },
    /// Behind the highest, and new.
    Late(u64),
    /// Seen before.
    Duplicate,
    /// So far behind that nothing is known about it.
    TooOld,
}

/// The extended sequence numbers of one stream.
#[derive(Clone, Debug)]
pub(super) struct SequenceWindow {
    started: bool,
    base: u64,
    highest: u64,
    seen: [u64; WORDS],
}

impl SequenceWindow {
    pub(super) fn new() -> Self {
        Self {
            started: false,
            base: 0,
            highest: 0,
            seen: [0; WORDS],
        }
    }

    /// The extended number nearest to the highest one.
    fn extend(&self, sequence_number: u16) -> u64 {
        let distance = sequence_number.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(i64::from(distance))
    }

    /// What `sequence_number` would be; changes nothing.
    pub(super) fn judge(&self, sequence_number: u16) -> Arrival {
        if !self.started {
            return Arrival::First(ORIGIN + u64::from(sequence_number));
        }
        let index = self.extend(sequence_number);
        if index > self.highest {
            Arrival::Ahead {
                index,
                gap: index - self.highest - 1,
            }
        } else if self.highest - index >= WINDOW {
            Arrival::TooOld
        } else if self.is_seen(index) {
            Arrival::Duplicate
        } else {
            Arrival::Late(index)
        }
    }

    /// Takes note of `sequence_number`.
    pub(super) fn insert(&mut self, sequence_number: u16) -> Arrival {
        let arrival = self.judge(sequence_number);
        match arrival {
            Arrival::First(index) => {
                self.started = true;
                self.base = index;
                self.highest = index;
                self.mark(index, true);
            }
            Arrival::Ahead { index, gap } => {
                if gap >= WINDOW {
                    self.seen = [0; WORDS];
                } else {
                    for skipped in self.highest + 1..index {
                        self.mark(skipped, false);
                    }
                }
                self.highest = index;
                self.mark(index, true);
            }
            Arrival::Late(index) => {
                self.base = self.base.min(index);
                self.mark(index, true);
            }
            Arrival::Duplicate | Arrival::TooOld => {}
        }
        arrival
    }

    /// The highest extended number, with the count of wraps in its upper half (RFC 3550 section
    /// 6.4.1, "extended highest sequence number received").
    pub(super) fn highest(&self) -> u32 {
        self.highest.wrapping_sub(ORIGIN) as u32
    }

    /// The highest number as sent; `None` before the first.
    pub(super) fn last(&self) -> Option<u16> {
        self.started.then_some(self.highest as u16)
    }

    /// How many packets there must have been.
    pub(super) fn expected(&self) -> u64 {
        if self.started {
            self.highest - self.base + 1
        } else {
            0
        }
    }

    fn is_seen(&self, index: u64) -> bool {
        let bit = index % WINDOW;
        self.seen
            .get((bit / 64) as usize)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn mark(&mut self, index: u64, seen: bool) {
        let bit = index % WINDOW;
        if let Some(word) = self.seen.get_mut((bit / 64) as usize) {
            let mask = 1 << (bit % 64);
            *word = if seen { *word | mask } else { *word & !mask };
        }
    }
}
