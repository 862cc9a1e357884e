//! Messages that wait to be written to a stream, in order and bounded. A message that has left in
//! part leaves whole: the other side could not find the next one otherwise.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that may wait.
pub const MAX_WAITING: usize = 1 << 20;

/// How long media may wait, as for a UDP socket that is not writable. Later it is useless, and
/// SCTP and DTLS have started their retransmissions.
const MAX_AGE: Duration = Duration::from_millis(200);

/// Once something is too old, so is what will be in this time: the bytes are moved rarely.
const SLACK: Duration = Duration::from_millis(50);

/// What an idle queue keeps, in bytes.
const KEPT: usize = 16 << 10;

/// What becomes of a message where the queue is full or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It waits for as long as it takes; new ones are refused.
    Kept,
    /// The oldest are given up for the newest.
    Fresh,
}

/// Messages that were given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// How many.
    pub messages: u64,
    /// How much, with their framing.
    pub bytes: u64,
}

struct Waiting {
    length: usize,
    worth: Worth,
    since: Instant,
}

/// See the module.
#[derive(Default)]
pub struct SendQueue {
    /// What waits is behind the first [`Self::written`] bytes.
    bytes: Vec<u8>,
    written: usize,
    messages: VecDeque<Waiting>,
    /// How much of the first message has left.
    begun: usize,
    given_up: GivenUp,
}

impl SendQueue {
    /// Takes a message, which is in parts; false where it was refused.
    pub fn push(&mut self, now: Instant, parts: &[&[u8]], worth: Worth) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.len() + length > MAX_WAITING {
            let enough = MAX_WAITING / 4;
            self.give_up(|_, given_up| given_up < enough.max(length));
        } else if self.is_stale(now) {
            self.give_up(|message, _| {
                now.saturating_duration_since(message.since) > MAX_AGE - SLACK
            });
        }
        if self.len() + length > MAX_WAITING {
            if worth == Worth::Fresh {
                self.count(length);
            }
            return false;
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.messages.push_back(Waiting {
            length,
            worth,
            since: now,
        });
        true
    }

    /// What is to be written next.
    pub fn front(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// So many bytes of [`Self::front`] have left.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        self.begun += count;
        while let Some(first) = self.messages.front()
            && first.length <= self.begun
        {
            self.begun -= first.length;
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.written = 0;
        } else if self.written > MAX_WAITING {
            // A peer that is always a little behind.
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Gives up everything.
    pub fn clear(&mut self) {
        let fresh = |message: &&Waiting| message.worth == Worth::Fresh;
        for length in self
            .messages
            .iter()
            .filter(fresh)
            .map(|it| it.length)
            .collect::<Vec<_>>()
        {
            self.count(length);
        }
        *self = Self {
            given_up: self.given_up,
            ..Self::default()
        };
    }

    /// The fresh messages that were given up since the last call.
    pub fn take_given_up(&mut self) -> GivenUp {
        std::mem::take(&mut self.given_up)
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn is_stale(&self, now: Instant) -> bool {
        let whole = self.messages.iter().skip(usize::from(self.begun > 0));
        let mut fresh = whole.filter(|message| message.worth == Worth::Fresh);
        fresh
            .next()
            .is_some_and(|oldest| now.saturating_duration_since(oldest.since) > MAX_AGE)
    }

    fn count(&mut self, length: usize) {
        self.given_up.messages += 1;
        self.given_up.bytes += length as u64;
    }

    /// Forgets fresh messages that have not begun to leave, from the oldest on, as long as `which`
    /// says so of the next one and the bytes given up before it.
    fn give_up(&mut self, which: impl Fn(&Waiting, usize) -> bool) {
        let mut kept = Vec::new();
        let mut messages = VecDeque::new();
        let (mut at, mut given_up) = (self.written, 0);
        for (index, message) in std::mem::take(&mut self.messages).into_iter().enumerate() {
            let begun = if index == 0 { self.begun } else { 0 };
            let end = at + message.length - begun;
            if begun == 0 && message.worth == Worth::Fresh && which(&message, given_up) {
                given_up += message.length;
                self.count(message.length);
            } else {
                kept.extend_from_slice(self.bytes.get(at..end).unwrap_or_default());
                messages.push_back(message);
            }
            at = end;
        }
        self.bytes = kept;
        self.written = 0;
        self.messages = messages;
    }
}

#[cfg(test)]
mod tests;
