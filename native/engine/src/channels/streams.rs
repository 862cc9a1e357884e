//! Which SCTP stream belongs to whom (RFC 8832 section 6).

use super::guard::{Route, TRASH};
use crate::ids::ChannelId;
use crate::w3c::{DataKind, DtlsRole};
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};

/// Streams that may be in use at a time, ours and the peer's. The crate looks at every stream for
/// every packet, so a peer that opens 65,535 of them must not make each packet cost as much;
/// browsers stop at 1,024 channels of their own.
const MOST_STREAMS: usize = 4_096;
/// Streams on which data may arrive before the OPEN that an unordered message overtook.
const EARLY_STREAMS: usize = 64;
/// Bytes that may wait so, and messages.
const EARLY_BYTES: usize = 1 << 20;
const EARLY_MESSAGES: usize = 4_096;
/// Streams that were closed last: late data there belongs to the closed channel, not to one that
/// is about to be opened.
const CLOSED_LATELY: usize = 256;

/// The streams of one association.
#[derive(Debug, Default)]
pub(super) struct Streams {
    owners: HashMap<u16, ChannelId>,
    /// Reset by us, not by the peer yet.
    closing: HashSet<u16>,
    /// Like `closing`, but nobody owns them any more.
    retired: HashSet<u16>,
    closed: VecDeque<u16>,
    early: HashMap<u16, Vec<(DataKind, Bytes)>>,
    early_bytes: usize,
    early_messages: usize,
    /// Ids are handed out in a circle, so that a closed one rests as long as possible.
    next: u16,
}

impl Streams {
    /// What becomes of data that arrives on a stream.
    pub(super) fn route(&self, id: u16, dcep: bool) -> Route {
        let known = self.owners.contains_key(&id);
        let in_use = self.owners.len() + self.retired.len() + self.early.len();
        let deliver = if self.closing.contains(&id) || self.retired.contains(&id) || id == TRASH {
            false
        } else if known || self.early.contains_key(&id) {
            true
        } else if dcep {
            in_use < MOST_STREAMS
        } else {
            in_use < MOST_STREAMS && self.early.len() < EARLY_STREAMS && !self.closed.contains(&id)
        };
        if deliver {
            Route::Deliver
        } else {
            Route::Discard
        }
    }

    pub(super) fn owner(&self, id: u16) -> Option<ChannelId> {
        self.owners.get(&id).copied()
    }

    pub(super) fn is_free(&self, id: u16) -> bool {
        id != TRASH && !self.owners.contains_key(&id) && !self.retired.contains(&id)
    }

    /// The next free id for the DTLS role: even for the client, odd for the server.
    pub(super) fn next(
        &mut self,
        role: DtlsRole,
        max: u16,
        usable: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let parity = match role {
            DtlsRole::Client => 0,
            DtlsRole::Server => 1,
        };
        let mut candidate = (self.next & !1) | parity;
        for _ in 0..=u16::MAX / 2 {
            if candidate >= max || candidate == TRASH {
                candidate = parity;
                if candidate >= max {
                    return None;
                }
            }
            if self.is_free(candidate) && usable(candidate) {
                self.next = candidate.saturating_add(2);
                return Some(candidate);
            }
            candidate = candidate.saturating_add(2);
        }
        None
    }

    pub(super) fn take(&mut self, id: u16, owner: ChannelId) {
        self.owners.insert(id, owner);
    }

    /// Our half was reset: what still arrives is nobody's.
    pub(super) fn closing(&mut self, id: u16) {
        self.closing.insert(id);
    }

    /// Nobody owns the stream, and the peer has not reset it.
    pub(super) fn retire(&mut self, id: u16) {
        self.retired.insert(id);
        self.take_early(id);
    }

    /// The peer reset the stream.
    pub(super) fn release(&mut self, id: u16) {
        self.retired.remove(&id);
        self.take_early(id);
    }

    /// Its channel is closed.
    pub(super) fn forget(&mut self, id: u16) {
        self.owners.remove(&id);
        self.closing.remove(&id);
        self.closed.push_back(id);
        if self.closed.len() > CLOSED_LATELY {
            self.closed.pop_front();
        }
    }

    /// Keeps a message for a channel that is not open yet; drops it when too much waits.
    pub(super) fn keep_early(&mut self, id: u16, kind: DataKind, payload: Bytes) {
        let room = (self.early.contains_key(&id) || self.early.len() < EARLY_STREAMS)
            && self.early_messages < EARLY_MESSAGES
            && self.early_bytes + payload.len() <= EARLY_BYTES;
        if room {
            self.early_bytes += payload.len();
            self.early_messages += 1;
            self.early.entry(id).or_default().push((kind, payload));
        }
    }

    pub(super) fn take_early(&mut self, id: u16) -> Vec<(DataKind, Bytes)> {
        let taken = self.early.remove(&id).unwrap_or_default();
        self.early_messages -= taken.len();
        self.early_bytes -= taken
            .iter()
            .map(|(_, payload)| payload.len())
            .sum::<usize>();
        taken
    }
}
