//! From the queues of the channels into SCTP, and back into the accounts.

use super::channel::Closing;
use super::{ChannelEvent, Channels};
use crate::ids::ChannelId;
use crate::w3c::{ChannelState, DataKind};
use bytes::Bytes;
use rtc_sctp::PayloadProtocolIdentifier as Ppid;
use std::time::Instant;

/// How far ahead of the congestion window SCTP is fed. Little, so that a message on a quiet
/// channel does not queue behind a busy one's; enough that the window never finds it empty.
const FEED_AHEAD: usize = 64 << 10;

impl Channels {
    /// Moves messages into SCTP, a message of each channel in turn. Whether any moved.
    pub(super) fn feed(&mut self, now: Instant) -> bool {
        let Some(association) = self.association.as_mut().filter(|own| own.is_up()) else {
            return false;
        };
        let mut moved = false;
        while association.unsent() < FEED_AHEAD
            && let Some(id) = self.turn.pop_front()
        {
            let Some(channel) = self.channels.get_mut(&id) else {
                continue;
            };
            let (Some(stream), Some(waiting)) = (channel.id, channel.queue.pop_front()) else {
                continue;
            };
            let bytes = waiting.payload.len();
            let (protocol, payload) = match (waiting.kind, bytes) {
                (DataKind::String, 0) => (Ppid::StringEmpty, Bytes::from_static(&[0])),
                (DataKind::Binary, 0) => (Ppid::BinaryEmpty, Bytes::from_static(&[0])),
                (DataKind::String, _) => (Ppid::String, waiting.payload),
                (DataKind::Binary, _) => (Ppid::Binary, waiting.payload),
            };
            if !association.write(now, stream, protocol, &payload) {
                log::debug!("stream {stream} takes no data any more");
                channel.handle.account.release(bytes as u64);
                continue;
            }
            moved = true;
            let ready = channel.took(bytes);
            self.events
                .extend(ready.into_iter().map(|id| ChannelEvent::Sent(id, Ok(()))));
            if !channel.queue.is_empty() {
                self.turn.push_back(id);
            }
        }
        moved
    }

    /// Resets our half of a closing channel's stream once everything sent on it has arrived.
    ///
    /// Not before: the reset then names a TSN that the peer has, and every peer can perform it
    /// at once instead of answering "in progress" (RFC 6525 section 5.2.2).
    pub(super) fn flush_closing(&mut self, now: Instant, id: ChannelId) {
        let (Some(channel), Some(association)) =
            (self.channels.get_mut(&id), &mut self.association)
        else {
            return;
        };
        let Some(stream) = channel.id.filter(|_| channel.closing == Closing::Flushing) else {
            return;
        };
        if channel.queue.is_empty() && association.buffered(stream) == 0 {
            channel.closing = Closing::Reset(now);
            self.streams.closing(stream);
            association.reset_stream(now, stream);
        }
    }

    /// The peer closes: what is in SCTP already still goes out, the rest has nobody to read it.
    pub(super) fn stop_sending(&mut self, stream: u16) {
        if let Some(channel) = self
            .streams
            .owner(stream)
            .and_then(|id| self.channels.get_mut(&id))
            && channel.state == ChannelState::Open
        {
            channel.state = ChannelState::Closing;
            let buffered: u64 = channel
                .queue
                .drain(..)
                .map(|waiting| waiting.payload.len() as u64)
                .sum();
            channel.handle.account.release(buffered);
        }
    }

    pub(super) fn released(&mut self, now: Instant, stream: u16) {
        let Some(association) = &mut self.association else {
            return;
        };
        let buffered = association.buffered(stream);
        let Some(id) = self.streams.owner(stream) else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(&id)
            && channel.settle(buffered as u64)
        {
            self.events
                .push_back(ChannelEvent::BufferedAmountLow(channel.handle.clone()));
        }
        self.flush_closing(now, id);
    }
}
