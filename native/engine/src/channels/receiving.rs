//! What arrives on a stream: DCEP and messages.

use super::channel::Closing;
use super::{ChannelEvent, Channels, dcep};
use crate::ids::ChannelId;
use crate::w3c::{ChannelState, DataKind};
use bytes::Bytes;
use rtc_sctp::PayloadProtocolIdentifier as Ppid;
use std::time::Instant;

impl Channels {
    pub(super) fn read(&mut self, now: Instant, stream: u16) {
        let largest = self.largest_received as usize;
        while let Some(message) = self
            .association
            .as_mut()
            .and_then(|association| association.read(stream, largest))
        {
            let Some(payload) = message.payload else {
                log::warn!("data channel message larger than {largest} bytes: channel closed");
                self.reject(now, stream);
                continue;
            };
            let (kind, payload) = match message.protocol {
                Ppid::Dcep => {
                    self.handle_dcep(now, stream, &payload);
                    continue;
                }
                Ppid::String => (DataKind::String, payload),
                Ppid::Binary => (DataKind::Binary, payload),
                // RFC 8831 section 6.6: one byte stands for none.
                Ppid::StringEmpty => (DataKind::String, Bytes::new()),
                Ppid::BinaryEmpty => (DataKind::Binary, Bytes::new()),
                // No data channel's. So are the two for messages in parts, 52 and 54: RFC 8831
                // section 6.6 deprecates them, no implementation sends them since SCTP has
                // interleaving and end-of-record, and a part is not a message to deliver.
                _ => {
                    log::debug!("a message with an unknown PPID is dropped");
                    continue;
                }
            };
            match self.streams.owner(stream) {
                Some(id) => {
                    let connecting = self
                        .channels
                        .get(&id)
                        .is_some_and(|own| own.state == ChannelState::Connecting);
                    if connecting {
                        self.streams.keep_early(stream, kind, payload);
                    } else {
                        self.deliver(now, id, kind, payload);
                    }
                }
                None => self.streams.keep_early(stream, kind, payload),
            }
        }
    }

    /// A peer that breaks the rules of a stream loses the stream.
    pub(super) fn reject(&mut self, now: Instant, stream: u16) {
        match self.streams.owner(stream) {
            Some(id) => {
                if let Some(channel) = self.channels.get_mut(&id) {
                    let requests = channel.discard();
                    channel.state = ChannelState::Closing;
                    channel.closing = Closing::Flushing;
                    self.fail(requests);
                }
                self.flush_closing(now, id);
            }
            None => {
                self.streams.retire(stream);
                if let Some(association) = &mut self.association {
                    association.reset_stream(now, stream);
                }
            }
        }
    }

    pub(super) fn handle_dcep(&mut self, now: Instant, stream: u16, bytes: &[u8]) {
        let owner = self.streams.owner(stream);
        match (dcep::Message::parse(bytes), owner) {
            (Some(dcep::Message::Open(open)), None) => self.opened_by_peer(now, stream, open),
            (Some(dcep::Message::Ack), Some(id)) => {
                if let (Some(channel), Some(association)) =
                    (self.channels.get_mut(&id), &mut self.association)
                    && std::mem::take(&mut channel.awaits_ack)
                {
                    let open = &channel.open;
                    association.set_reliability(stream, open.ordered, open.reliability);
                }
            }
            // An OPEN on a stream in use: ours stays (both sides may have created it).
            (Some(dcep::Message::Open(_)), Some(_)) => {}
            (_, None) => self.reject(now, stream),
            (None, Some(_)) => log::debug!("unknown DCEP message ignored"),
        }
    }

    pub(super) fn opened_by_peer(&mut self, now: Instant, stream: u16, open: dcep::Open) {
        let id = self.insert(Some(stream), open.clone(), false);
        if let Some(association) = &mut self.association {
            association.set_reliability(stream, open.ordered, open.reliability);
            association.write(now, stream, Ppid::Dcep, &dcep::Message::Ack.encode());
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.state = ChannelState::Open;
            self.events.push_back(ChannelEvent::Opened(channel.info()));
        }
        self.set_open(id);
        self.deliver_early(now, id, stream);
    }

    pub(super) fn deliver_early(&mut self, now: Instant, id: ChannelId, stream: u16) {
        for (kind, payload) in self.streams.take_early(stream) {
            self.deliver(now, id, kind, payload);
        }
    }
}
