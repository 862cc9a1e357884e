//! One data channel: what it was created with, what waits to be sent, what was counted.

use super::account::SendAccount;
use super::dcep::{Open, Reliability};
use crate::command::{ChannelHandle, ChannelInfo, ChannelOptions};
use crate::error::Error;
use crate::ids::{ChannelId, RequestId};
use crate::w3c::{ChannelState, DataKind};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// `send_data_sync` returns while at most this much waits before SCTP.
pub(super) const HIGH_WATER: u64 = 1 << 20;

/// A message that waits for room in SCTP.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) kind: DataKind,
    pub(super) payload: Bytes,
}

/// How far closing has come (RFC 8831 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Not closing.
    No,
    /// What was sent before goes out first.
    Flushing,
    /// Our half is reset since; the peer's is awaited.
    Reset(Instant),
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) handle: ChannelHandle,
    pub(super) id: Option<u16>,
    pub(super) open: Open,
    pub(super) negotiated: bool,
    pub(super) state: ChannelState,
    pub(super) closing: Closing,
    /// We sent the OPEN and its ACK is missing: everything is sent in order (RFC 8832 section 6).
    pub(super) awaits_ack: bool,
    pub(super) queue: VecDeque<Waiting>,
    /// Bytes ever put into `queue`, and taken out of it.
    queued: u64,
    taken: u64,
    /// Requests to answer once `taken` has reached their mark.
    notify: VecDeque<(u64, RequestId)>,
    /// Bytes in SCTP of the messages that the account was charged for.
    charged_in_sctp: u64,
    pub(super) low_threshold: Option<u64>,
    /// Messages that arrived and that the program does not take yet.
    pub(super) held: VecDeque<(DataKind, Bytes)>,
    /// Nothing arrives any more: closed as soon as what is held was told.
    pub(super) ended: bool,
    pub(super) messages_sent: u32,
    pub(super) bytes_sent: u64,
    pub(super) messages_received: u32,
    pub(super) bytes_received: u64,
}

impl Channel {
    pub(super) fn new(
        id: ChannelId,
        stream: Option<u16>,
        open: Open,
        negotiated: bool,
        account: SendAccount,
    ) -> Self {
        Self {
            handle: ChannelHandle {
                id,
                account: Arc::new(account),
            },
            id: stream,
            open,
            negotiated,
            state: ChannelState::Connecting,
            closing: Closing::No,
            awaits_ack: false,
            queue: VecDeque::new(),
            queued: 0,
            taken: 0,
            notify: VecDeque::new(),
            charged_in_sctp: 0,
            low_threshold: None,
            held: VecDeque::new(),
            ended: false,
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
        }
    }

    pub(super) fn info(&self) -> ChannelInfo {
        let (max_packet_life_time, max_retransmits) = match self.open.reliability {
            Reliability::Full => (None, None),
            Reliability::Lifetime(millis) => (Some(millis), None),
            Reliability::Retransmits(count) => (None, Some(count)),
        };
        ChannelInfo {
            handle: self.handle.clone(),
            id: self.id,
            label: self.open.label.clone(),
            ordered: self.open.ordered,
            protocol: self.open.protocol.clone(),
            negotiated: self.negotiated,
            max_packet_life_time,
            max_retransmits,
            ready_state: self.state,
        }
    }

    /// Puts a message behind the others. The request is answered later when it returns None.
    pub(super) fn enqueue(
        &mut self,
        kind: DataKind,
        payload: Bytes,
        notify: Option<RequestId>,
    ) -> Option<RequestId> {
        self.queued += payload.len() as u64;
        self.queue.push_back(Waiting { kind, payload });
        let request = notify?;
        // Below the mark when all but the last HIGH_WATER bytes are taken.
        let mark = self.queued.saturating_sub(HIGH_WATER);
        if self.taken >= mark {
            return Some(request);
        }
        self.notify.push_back((mark, request));
        None
    }

    /// Notes that the front message went to SCTP; requests that may be answered now.
    pub(super) fn took(&mut self, bytes: usize) -> Vec<RequestId> {
        self.taken += bytes as u64;
        self.charged_in_sctp += bytes as u64;
        self.messages_sent = self.messages_sent.wrapping_add(1);
        self.bytes_sent += bytes as u64;
        let ready = self
            .notify
            .iter()
            .take_while(|(mark, _)| *mark <= self.taken)
            .count();
        self.notify
            .drain(..ready)
            .map(|(_, request)| request)
            .collect()
    }

    /// SCTP still holds so many bytes of the stream: gives back what is gone. True when the
    /// buffered amount fell to the threshold, once one was set.
    pub(super) fn settle(&mut self, buffered: u64) -> bool {
        let gone = self.charged_in_sctp.saturating_sub(buffered);
        self.charged_in_sctp -= gone;
        if gone == 0 {
            return false;
        }
        // `u64::MAX` is a threshold that nothing falls to.
        let threshold = self.low_threshold.unwrap_or(u64::MAX);
        self.handle.account.release_past(gone, threshold)
    }

    /// Discards what waits and gives it all back; the requests that wait for it.
    pub(super) fn discard(&mut self) -> Vec<RequestId> {
        let queued: u64 = self
            .queue
            .drain(..)
            .map(|waiting| waiting.payload.len() as u64)
            .sum();
        self.taken = self.queued;
        self.handle
            .account
            .release(queued + std::mem::take(&mut self.charged_in_sctp));
        self.notify.drain(..).map(|(_, request)| request).collect()
    }
}

/// The checks of W3C `createDataChannel` (steps 4 to 18) that need no connection.
pub(super) fn checked(options: ChannelOptions) -> Result<Open, Error> {
    let reliability = match (options.max_packet_life_time, options.max_retransmits) {
        (Some(_), Some(_)) => return Err(Error::InvalidOption),
        (Some(millis), None) => Reliability::Lifetime(millis),
        (None, Some(count)) => Reliability::Retransmits(count),
        (None, None) => Reliability::Full,
    };
    let too_long = |text: &str| text.len() > usize::from(u16::MAX);
    if too_long(&options.label) || too_long(&options.protocol) {
        return Err(Error::InvalidOption);
    }
    if options.negotiated && options.id.is_none() {
        return Err(Error::InvalidOption);
    }
    Ok(Open {
        ordered: options.ordered,
        reliability,
        label: options.label,
        protocol: options.protocol,
    })
}
