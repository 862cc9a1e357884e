//! Data channels (RFC 8831, RFC 8832) over SCTP (RFC 8841, RFC 9260).
//!
//! | file | what it does |
//! |---|---|
//! | `account.rs` | the unsent bytes of a channel, shared with the sending process |
//! | `association.rs` | one SCTP association: who connects, resets that get through |
//! | `clock.rs` | the time the SCTP crate is told, so that its timers fit the path |
//! | `guard.rs`, `wire.rs` | what a packet must pass before the crate sees it |
//! | `dcep.rs` | the messages that open a channel |
//! | `channel.rs` | one channel: options, outgoing queue, counters |
//! | `flow.rs` | messages that the program does not take yet |
//! | `sending.rs`, `receiving.rs` | between the queues of the channels, SCTP and the events |
//! | `streams.rs` | which SCTP stream belongs to whom |
//!
//! A message goes: account (charged by the caller) → queue of its channel → SCTP, fed round robin
//! and only a little ahead of the congestion window → acknowledged, account released.

mod account;
mod association;
mod channel;
mod clock;
mod dcep;
mod flow;
mod guard;
mod receiving;
mod sending;
mod streams;
#[cfg(test)]
mod tests;
mod wire;

pub use account::SendAccount;

use crate::command::{ChannelHandle, ChannelInfo, ChannelOptions, OutgoingData};
use crate::config::Config;
use crate::error::Error;
use crate::ids::{ChannelId, RequestId};
use crate::plan::DataPlan;
use crate::stats::{StatsEntry, StatsReport};
use crate::w3c::{ChannelState, DataKind, DtlsRole};
use association::{Association, Happening};
use bytes::Bytes;
use channel::{Channel, Closing};
use flow::Receiving;
use rtc_sctp::PayloadProtocolIdentifier as Ppid;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use streams::Streams;

/// How long a channel waits for the peer to reset its half; peers that never knew a negotiated
/// channel never will.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// What changed in the channels.
#[derive(Clone, Debug)]
pub enum ChannelEvent {
    /// The peer opened a channel.
    Opened(ChannelInfo),
    /// A channel opened or closed.
    StateChange(ChannelHandle, ChannelState),
    /// A message arrived.
    Data(ChannelHandle, DataKind, Bytes),
    /// The buffered amount fell to the threshold.
    BufferedAmountLow(ChannelHandle),
    /// A `send_data_sync` may go on.
    Sent(RequestId, Result<(), Error>),
}

/// The data channels of one connection.
///
/// A channel of ours opens as soon as the association is up and its OPEN is written, without
/// waiting for the ACK: RFC 8832 section 6 allows data from then on, and browsers do the same.
pub struct Channels {
    largest_received: u32,
    buffer_limit: u64,
    /// Boxed: many connections have no data.
    association: Option<Box<Association>>,
    /// The last packet that came before the association started; the peer's INIT, likely.
    early_packet: Option<Bytes>,
    role: Option<DtlsRole>,
    remote_largest: u64,
    channels: BTreeMap<ChannelId, Channel>,
    streams: Streams,
    receiving: Receiving,
    /// Channels that have something to send, next one first.
    turn: VecDeque<ChannelId>,
    next_id: u32,
    events: VecDeque<ChannelEvent>,
    any: bool,
    closed: bool,
    /// What there was when the connection closed, for [`Self::get`]; nothing is added afterwards.
    closed_with: BTreeMap<ChannelId, ChannelInfo>,
    opened_count: u32,
    closed_count: u32,
}

impl Channels {
    /// No channels, no association.
    pub fn new(config: &Config) -> Self {
        Self {
            largest_received: config.sctp_max_message_size,
            buffer_limit: config.data_buffer_limit,
            association: None,
            early_packet: None,
            role: None,
            remote_largest: u64::MAX,
            channels: BTreeMap::new(),
            streams: Streams::default(),
            receiving: Receiving::default(),
            turn: VecDeque::new(),
            next_id: 0,
            events: VecDeque::new(),
            any: false,
            closed: false,
            closed_with: BTreeMap::new(),
            opened_count: 0,
            closed_count: 0,
        }
    }

    /// Reconciles: the association starts when the m-line is agreed on and DTLS is up
    /// (`dtls_role` is then set), also long after the handshake.
    pub fn apply(&mut self, now: Instant, plan: Option<&DataPlan>, dtls_role: Option<DtlsRole>) {
        if self.closed {
            return;
        }
        self.role = dtls_role.or(self.role);
        let Some(plan) = plan else {
            if self.association.is_some() {
                // The m-line was rejected or recycled: its channels are gone (RFC 8829 5.8).
                self.lose();
                self.association = None;
            }
            return;
        };
        self.any = true;
        self.remote_largest = plan.remote_max_message_size.unwrap_or(u64::MAX);
        for channel in self.channels.values() {
            channel
                .handle
                .account
                .set_max_message_size(self.remote_largest);
        }
        let (Some(role), None) = (dtls_role, &self.association) else {
            return;
        };
        let association = Association::new(now, plan, role, self.largest_received);
        self.association = Some(Box::new(association));
        self.assign_streams();
        if let Some(packet) = self.early_packet.take() {
            self.handle_packet(now, packet);
        }
    }

    /// `createDataChannel`. Opens at once when the association is up.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for options that W3C refuses or an id in use,
    /// [`Error::InvalidState`] when the connection is closed or no stream is left. One that is made
    /// when the association has ended waits for another, as the W3C has it.
    pub fn create(&mut self, now: Instant, options: ChannelOptions) -> Result<ChannelInfo, Error> {
        if self.closed {
            return Err(Error::InvalidState);
        }
        let negotiated = options.negotiated;
        // W3C: the id counts only where both sides negotiate it themselves.
        let wanted = options.id.filter(|_| negotiated);
        let open = channel::checked(options)?;
        let max = self.max_streams();
        if wanted.is_some_and(|id| id >= max || !self.is_free(id)) {
            return Err(Error::InvalidOption);
        }
        let stream = match (wanted, self.role) {
            (Some(id), _) => Some(id),
            (None, Some(role)) => Some(self.free_stream(role).ok_or(Error::InvalidState)?),
            (None, None) => None,
        };
        let id = self.insert(stream, open, negotiated);
        self.open(now, id);
        self.channels
            .get(&id)
            .map(Channel::info)
            .ok_or(Error::Internal)
    }

    /// Whether there is, or was, any channel: the m-line is wanted.
    pub fn any(&self) -> bool {
        self.any
    }

    /// A channel as it is now; None once it is closed, unless the connection closed it.
    pub fn get(&self, id: ChannelId) -> Option<ChannelInfo> {
        let live = self.channels.get(&id).map(Channel::info);
        live.or_else(|| self.closed_with.get(&id).cloned())
    }

    /// `close()` of a channel; its id may be used again when both sides have reset the stream.
    pub fn close_channel(&mut self, now: Instant, id: ChannelId) {
        self.discard_held(now, id);
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        match channel.state {
            ChannelState::Open => {
                channel.state = ChannelState::Closing;
                channel.closing = Closing::Flushing;
                self.flush_closing(now, id);
            }
            ChannelState::Connecting => self.finish(id),
            // Only what it held was in the way.
            ChannelState::Closing if channel.ended => self.finish(id),
            ChannelState::Closing | ChannelState::Closed => {}
        }
    }

    /// Sends a message whose bytes are charged already. On a channel that is not open, and past
    /// the peer's maximum message size, it is dropped and the charge released.
    pub fn send(&mut self, now: Instant, data: OutgoingData) {
        let largest = self.remote_largest;
        let Some(channel) = self.channels.get_mut(&data.channel) else {
            return self.refuse(data.notify, Error::Closed);
        };
        let bytes = data.payload.len() as u64;
        let refusal = match channel.state {
            ChannelState::Open if bytes <= largest => None,
            ChannelState::Open => Some(Error::InvalidOption),
            _ => Some(Error::Closed),
        };
        if let Some(error) = refusal {
            channel.handle.account.release(bytes);
            return self.refuse(data.notify, error);
        }
        if channel.queue.is_empty() {
            self.turn.push_back(data.channel);
        }
        if let Some(request) = channel.enqueue(data.kind, data.payload, data.notify) {
            self.events.push_back(ChannelEvent::Sent(request, Ok(())));
        }
        self.feed(now);
    }

    /// Sets the threshold of `BufferedAmountLow`, which is not told of before: W3C starts with a
    /// threshold of 0, but a message for every burst would be news to nobody who did not ask.
    /// Of a channel that is closed nothing waits any more, so there it means nothing.
    pub fn set_low_threshold(&mut self, id: ChannelId, bytes: u64) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.low_threshold = Some(bytes);
        }
    }

    /// An SCTP packet from the peer.
    pub fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        let Some(association) = &mut self.association else {
            self.early_packet = Some(packet).filter(|_| !self.closed);
            return;
        };
        let streams = &self.streams;
        association.handle_packet(now, packet, |id, dcep| streams.route(id, dcep));
        self.settle(now);
    }

    /// The next SCTP packet for the peer.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Bytes> {
        loop {
            if let Some(packet) = self.association.as_mut()?.poll_packet(now) {
                return Some(packet);
            }
            if !self.feed(now) {
                return None;
            }
        }
    }

    /// What changed, in order.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = self
            .channels
            .values()
            .filter_map(|channel| match channel.closing {
                Closing::Reset(since) => Some(since + CLOSE_PATIENCE),
                _ => None,
            });
        let association = self
            .association
            .as_deref()
            .and_then(Association::poll_timeout);
        patience.chain(association).min()
    }

    /// Retransmissions that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(association) = &mut self.association {
            association.handle_timeout(now);
        }
        let tired = |channel: &Channel| matches!(channel.closing, Closing::Reset(since) if since + CLOSE_PATIENCE <= now);
        let left: Vec<_> = self
            .channels
            .iter()
            .filter(|(_, own)| tired(own))
            .map(|(id, _)| *id)
            .collect();
        for id in left {
            // The stream itself stays taken until the peer resets it.
            if let Some(stream) = self.channels.get(&id).and_then(|channel| channel.id) {
                self.streams.retire(stream);
            }
            self.finish(id);
        }
        self.settle(now);
    }

    /// The connection closes: every channel closes, of which nothing is told. An ABORT is left for
    /// [`Self::poll_packet`].
    pub fn close(&mut self) {
        self.discard_all_held();
        if let Some(association) = &mut self.association {
            association.abort();
        }
        if !self.closed {
            let closed = |(id, channel): (&ChannelId, &Channel)| {
                let ready_state = ChannelState::Closed;
                let info = channel.info();
                (
                    *id,
                    ChannelInfo {
                        ready_state,
                        ..info
                    },
                )
            };
            self.closed_with = self.channels.iter().map(closed).collect();
        }
        self.lose();
        self.closed = true;
        self.early_packet = None;
        // Requests that wait are still answered.
        self.events
            .retain(|event| matches!(event, ChannelEvent::Sent(..)));
    }

    /// The m-line was refused in the answer, or given up: what was made for it closes. A channel
    /// that is made from now on waits for another m-line.
    pub fn refused(&mut self) {
        self.lose();
    }

    /// DTLS has ended or failed: every channel closes. Those made from now on wait for a DTLS
    /// association that another exchange may begin.
    pub fn transport_ended(&mut self) {
        self.lose();
        self.forget_association();
    }

    /// Another DTLS association takes the place of this one, so another SCTP association begins as
    /// well: what was open closes, what was never open waits on.
    pub fn transport_replaced(&mut self) {
        let waiting = |channel: &Channel| channel.state == ChannelState::Connecting;
        let (kept, open): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.channels)
            .into_iter()
            .partition(|(_, channel)| waiting(channel));
        self.channels = open;
        self.lose();
        self.forget_association();
        for (id, mut channel) in kept {
            // The DTLS role decides on the others anew.
            channel.id = channel.id.filter(|_| channel.negotiated);
            if let Some(stream) = channel.id {
                self.streams.take(stream, id);
            }
            self.channels.insert(id, channel);
        }
    }

    fn forget_association(&mut self) {
        self.association = None;
        self.early_packet = None;
        self.role = None;
    }

    /// Adds `data_channel` entries; returns (opened, closed) counts for `peer_connection`.
    pub fn stats(&self, report: &mut StatsReport) -> (u32, u32) {
        for (id, channel) in &self.channels {
            let mut fields = serde_json::Map::new();
            if let Some(stream) = channel.id {
                fields.insert("data_channel_identifier".into(), stream.into());
            }
            fields.insert("label".into(), channel.open.label.clone().into());
            fields.insert("protocol".into(), channel.open.protocol.clone().into());
            fields.insert("state".into(), channel.state.as_str().into());
            fields.insert("messages_sent".into(), channel.messages_sent.into());
            fields.insert("bytes_sent".into(), channel.bytes_sent.into());
            fields.insert("messages_received".into(), channel.messages_received.into());
            fields.insert("bytes_received".into(), channel.bytes_received.into());
            report.entries.push(StatsEntry {
                id: format!("data_channel_{id}"),
                kind: "data_channel",
                fields,
            });
        }
        (self.opened_count, self.closed_count)
    }

    fn max_streams(&self) -> u16 {
        self.association
            .as_deref()
            .map_or(u16::MAX, Association::max_streams)
    }

    fn is_free(&self, stream: u16) -> bool {
        let resetting = self
            .association
            .as_ref()
            .is_some_and(|association| association.is_resetting(stream));
        self.streams.is_free(stream) && !resetting
    }

    fn free_stream(&mut self, role: DtlsRole) -> Option<u16> {
        let max = self.max_streams();
        let association = self.association.as_ref();
        self.streams.next(role, max, |id| {
            !association.is_some_and(|association| association.is_resetting(id))
        })
    }

    fn insert(&mut self, stream: Option<u16>, open: dcep::Open, negotiated: bool) -> ChannelId {
        let id = ChannelId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let account = SendAccount::new(self.buffer_limit);
        account.set_max_message_size(self.remote_largest);
        self.channels
            .insert(id, Channel::new(id, stream, open, negotiated, account));
        if let Some(stream) = stream {
            self.streams.take(stream, id);
        }
        self.any = true;
        id
    }

    /// Gives ids to the channels that were created before the DTLS role was known (W3C
    /// "RTCSctpTransport connected", step 2).
    fn assign_streams(&mut self) {
        let Some(role) = self.role else { return };
        let waiting: Vec<_> = self
            .channels
            .iter()
            .filter(|(_, own)| own.id.is_none() && !own.ended)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            match self.free_stream(role) {
                Some(stream) => {
                    self.streams.take(stream, id);
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.id = Some(stream);
                    }
                }
                None => self.finish(id),
            }
        }
    }

    /// Opens a channel of ours if the association is up.
    fn open(&mut self, now: Instant, id: ChannelId) {
        let Some(association) = self.association.as_mut().filter(|own| own.is_up()) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let Some(stream) = channel
            .id
            .filter(|_| channel.state == ChannelState::Connecting)
        else {
            return;
        };
        if stream >= association.max_streams() || !association.open_stream(stream) {
            return self.finish(id);
        }
        channel.awaits_ack = !channel.negotiated;
        let ordered = channel.open.ordered || channel.awaits_ack;
        association.set_reliability(stream, ordered, channel.open.reliability);
        if !channel.negotiated {
            let message = dcep::Message::Open(channel.open.clone()).encode();
            association.write(now, stream, Ppid::Dcep, &message);
        }
        self.set_open(id);
        self.deliver_early(now, id, stream);
    }

    fn set_open(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.state = ChannelState::Open;
            self.opened_count += 1;
            let handle = channel.handle.clone();
            self.events
                .push_back(ChannelEvent::StateChange(handle, ChannelState::Open));
        }
    }

    /// Works off what happened in the association.
    fn settle(&mut self, now: Instant) {
        while let Some(happening) = self
            .association
            .as_deref_mut()
            .and_then(Association::next_happening)
        {
            match happening {
                Happening::Connected => {
                    let ids: Vec<_> = self.channels.keys().copied().collect();
                    for id in ids {
                        self.open(now, id);
                    }
                }
                Happening::Readable(guard::TRASH) => {
                    if let Some(association) = &mut self.association {
                        association.empty_trash();
                    }
                }
                Happening::Readable(stream) => self.read(now, stream),
                Happening::Reset(stream) => {
                    self.streams.release(stream);
                    if let Some(id) = self.streams.owner(stream) {
                        self.finish(id);
                    }
                }
                Happening::ResetAsked(stream) => self.stop_sending(stream),
                Happening::Released(stream) => self.released(now, stream),
                Happening::Lost => self.lose(),
            }
        }
        self.feed(now);
    }

    /// A channel is closed: tells, answers who waits, forgets it.
    fn finish(&mut self, id: ChannelId) {
        if self.ends_later(id) {
            return;
        }
        let Some(mut channel) = self.channels.remove(&id) else {
            return;
        };
        let requests = channel.discard();
        self.fail(requests);
        if let Some(stream) = channel.id {
            self.streams.forget(stream);
        }
        self.closed_count += u32::from(channel.state != ChannelState::Connecting);
        let handle = channel.handle;
        handle.account.close();
        self.events
            .push_back(ChannelEvent::StateChange(handle, ChannelState::Closed));
    }

    fn lose(&mut self) {
        let ids: Vec<_> = self.channels.keys().copied().collect();
        for id in ids {
            self.finish(id);
        }
        self.turn.clear();
        self.streams = Streams::default();
    }

    fn refuse(&mut self, request: Option<RequestId>, error: Error) {
        self.events
            .extend(request.map(|id| ChannelEvent::Sent(id, Err(error))));
    }

    fn fail(&mut self, requests: Vec<RequestId>) {
        let closed = |id| ChannelEvent::Sent(id, Err(Error::Closed));
        self.events.extend(requests.into_iter().map(closed));
    }
}
