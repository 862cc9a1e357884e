//! Flow control: messages that the program does not take yet are held here, and the window that the
//! peer is told shrinks by what they take. Nothing is lost, and the window bounds what is held.
//!
//! They are not left in SCTP: its crate would take ordered messages that are more than 32,767 ahead
//! of what was read for old ones (16-bit sequence numbers), and an ABORT would take them with it.

use super::{ChannelEvent, Channels};
use crate::ids::ChannelId;
use crate::w3c::{ChannelState, DataKind};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Instant;

/// What a message takes beside its bytes, so that many empty ones are bounded as well.
const MESSAGE_OVERHEAD: usize = 64;

/// How many messages may be told, and where others wait.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    /// None: all that come.
    credit: Option<u64>,
    /// Channels with messages that wait.
    waiting: BTreeSet<ChannelId>,
    /// The channel that was told of last.
    last: Option<ChannelId>,
    /// What all that wait take, in bytes.
    held: usize,
}

impl Receiving {
    fn has_credit(&self) -> bool {
        self.credit.is_none_or(|credit| credit > 0)
    }

    /// The channels in a circle: a busy one has no more than its turn.
    fn next(&mut self) -> Option<ChannelId> {
        let behind = self.last.and_then(|last| {
            let range = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.waiting.range(range).next().copied()
        });
        self.last = behind.or_else(|| self.waiting.first().copied());
        self.last
    }
}

fn cost(payload: &Bytes) -> usize {
    payload.len() + MESSAGE_OVERHEAD
}

impl Channels {
    /// Says how many messages may be told until the next call; `None`: all that come. Those that
    /// wait are told first, one of each channel in turn.
    pub fn receive(&mut self, now: Instant, credit: Option<u64>) {
        self.receiving.credit = credit;
        if self.receiving.waiting.is_empty() {
            return;
        }
        while self.receiving.has_credit()
            && let Some(id) = self.receiving.next()
        {
            self.tell_next(id);
        }
        if let Some(association) = &mut self.association {
            association.hold_back(now, self.receiving.held);
            self.settle(now);
        }
    }

    /// Until the next call of [`Self::receive`] nothing may be told, if anything is counted.
    pub fn pause(&mut self) {
        self.receiving.credit = self.receiving.credit.map(|_| 0);
    }

    /// A message of an open channel arrived.
    pub(super) fn deliver(&mut self, now: Instant, id: ChannelId, kind: DataKind, payload: Bytes) {
        let Some(channel) = self
            .channels
            .get_mut(&id)
            .filter(|channel| channel.state == ChannelState::Open)
        else {
            return;
        };
        if self.receiving.has_credit() && channel.held.is_empty() {
            return self.tell(id, kind, payload);
        }
        self.receiving.held += cost(&payload);
        channel.held.push_back((kind, payload));
        self.receiving.waiting.insert(id);
        if let Some(association) = &mut self.association {
            association.hold_back(now, self.receiving.held);
        }
    }

    fn tell(&mut self, id: ChannelId, kind: DataKind, payload: Bytes) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.messages_received = channel.messages_received.wrapping_add(1);
        channel.bytes_received += payload.len() as u64;
        let handle = channel.handle.clone();
        self.receiving.credit = self.receiving.credit.map(|credit| credit.saturating_sub(1));
        self.events
            .push_back(ChannelEvent::Data(handle, kind, payload));
    }

    /// Tells the message that has waited longest in a channel; what ended meanwhile ends with the
    /// last one.
    fn tell_next(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            self.receiving.waiting.remove(&id);
            return;
        };
        if let Some((kind, payload)) = channel.held.pop_front() {
            self.receiving.held = self.receiving.held.saturating_sub(cost(&payload));
            self.tell(id, kind, payload);
        }
        let ended = self
            .channels
            .get(&id)
            .filter(|channel| channel.held.is_empty())
            .map(|channel| channel.ended);
        if let Some(ended) = ended {
            self.receiving.waiting.remove(&id);
            if ended {
                self.finish(id);
            }
        }
    }

    /// Throws away what waits in a channel: the program has closed it.
    pub(super) fn discard_held(&mut self, now: Instant, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            let held: usize = channel.held.drain(..).map(|(_, held)| cost(&held)).sum();
            self.receiving.held = self.receiving.held.saturating_sub(held);
            self.receiving.waiting.remove(&id);
        }
        if let Some(association) = &mut self.association {
            association.hold_back(now, self.receiving.held);
        }
    }

    /// Throws away all that waits: the program has closed the connection.
    pub(super) fn discard_all_held(&mut self) {
        for channel in self.channels.values_mut() {
            channel.held.clear();
        }
        self.receiving = Receiving::default();
    }

    /// Whether a channel that is gone has messages left to be told. It then closes behind them;
    /// until that it has no stream any more, which may be used for another.
    pub(super) fn ends_later(&mut self, id: ChannelId) -> bool {
        let Some(channel) = self
            .channels
            .get_mut(&id)
            .filter(|own| !own.held.is_empty())
        else {
            return false;
        };
        channel.state = ChannelState::Closing;
        channel.ended = true;
        let stream = channel.id.take();
        let requests = channel.discard();
        self.fail(requests);
        if let Some(stream) = stream {
            self.streams.forget(stream);
        }
        true
    }
}
