//! Datagrams on their way out: one contiguous arena, so that runs of equal size leave with GSO
//! without being copied again.

use crate::address::TransportAddress;
use std::net::SocketAddr;

/// One datagram inside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts in [`Outbox::bytes`].
    pub offset: usize,
    /// Its length.
    pub length: usize,
    /// The local socket to send from (the base address of the candidate).
    pub local: TransportAddress,
    /// Where it goes.
    pub remote: SocketAddr,
}

/// The datagrams of one step, in the order they must leave.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The arena.
    pub bytes: Vec<u8>,
    /// The datagrams in it.
    pub segments: Vec<Segment>,
}

impl Outbox {
    /// Appends a finished datagram.
    pub fn push(
        &mut self,
        local: impl Into<TransportAddress>,
        remote: SocketAddr,
        datagram: &[u8],
    ) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.segments.push(Segment {
            offset,
            length: datagram.len(),
            local: local.into(),
            remote,
        });
    }

    /// Forgets everything, keeping at most `keep` bytes of memory.
    pub fn clear(&mut self, keep: usize) {
        self.segments.clear();
        self.bytes.clear();
        self.bytes.shrink_to(keep);
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}
