//! What a sender owes: the unsent bytes of one channel, shared between the process that calls
//! `send_data` and the connection that carries them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The bytes of one channel that were accepted by `send_data` and that the peer has not
/// acknowledged: `bufferedAmount`. Charged by the caller's process, released by the connection.
#[derive(Debug)]
pub struct SendAccount {
    waiting: AtomicU64,
    limit: u64,
    max_message_size: AtomicU64,
    closed: AtomicBool,
}

impl Default for SendAccount {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SendAccount {
    /// An empty account that holds at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            waiting: AtomicU64::new(0),
            limit,
            max_message_size: AtomicU64::new(u64::MAX),
            closed: AtomicBool::new(false),
        }
    }

    /// Charges a message. False, and nothing charged, when the limit would be passed.
    ///
    /// A message larger than the whole limit is taken while nothing waits: it could never be
    /// sent otherwise.
    pub fn charge(&self, bytes: u64) -> bool {
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
                let after = waiting.checked_add(bytes)?;
                (after <= self.limit || waiting == 0).then_some(after)
            })
            .is_ok()
    }

    /// Gives back what was sent or discarded.
    pub fn release(&self, bytes: u64) {
        self.release_past(bytes, u64::MAX);
    }

    /// Gives back bytes; true when the amount thereby fell to `threshold` from above it.
    pub(super) fn release_past(&self, bytes: u64, threshold: u64) -> bool {
        let before = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
                Some(waiting.saturating_sub(bytes))
            })
            .unwrap_or_default();
        before > threshold && before.saturating_sub(bytes) <= threshold
    }

    /// `bufferedAmount` now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether the channel has closed, told or not (`close/1` of the connection tells nothing).
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// The largest message the peer takes, in bytes (`RTCSctpTransport.maxMessageSize`);
    /// `u64::MAX` where it set no limit or is not known yet. The caller refuses larger ones.
    pub fn max_message_size(&self) -> u64 {
        self.max_message_size.load(Ordering::Acquire)
    }

    pub(super) fn set_max_message_size(&self, bytes: u64) {
        self.max_message_size.store(bytes, Ordering::Release);
    }
}
