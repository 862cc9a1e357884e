//! What was sent lately, for retransmission (RFC 4588, RFC 4585 section 6.2.1).

use bytes::Bytes;
use std::time::{Duration, Instant};

/// Packets that are kept of one stream. A power of two: slots are found by masking.
const MAX_PACKETS: usize = 1024;
/// Slots that a stream starts with.
const FIRST_PACKETS: usize = 64;
/// Packets older than this are of no use to the receiver; browsers keep one second as well.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Larger payloads do not fit a datagram of any network; with the slots this bounds the memory.
const MAX_PAYLOAD: usize = 2048;
/// Header bytes that are kept in place: a header with mid, rid and twcc is 30 to 40 long.
const INLINE_HEADER: usize = 46;
/// Retransmissions of one stream in [`BUDGET_INTERVAL`]: 5 % of 100,000 packets a second, and
/// the most a storm of NACKs can make us send.
const BUDGET: u32 = 256;
const BUDGET_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
enum StoredHeader {
    Inline {
        bytes: [u8; INLINE_HEADER],
        length: u8,
    },
    Boxed(Box<[u8]>),
}

/// One sent packet, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct SentPacket {
    pub(super) sequence_number: u16,
    pub(super) payload_type: u8,
    header: StoredHeader,
    /// The payload and its padding.
    pub(super) payload: Bytes,
    pub(super) padding_size: u8,
    sent: Instant,
    resent: Option<Instant>,
}

impl SentPacket {
    pub(super) fn header(&self) -> &[u8] {
        match &self.header {
            StoredHeader::Inline { bytes, length } => {
                bytes.get(..usize::from(*length)).unwrap_or_default()
            }
            StoredHeader::Boxed(bytes) => bytes,
        }
    }
}

/// The last packets of one sent stream. Grows with the rate, up to a bound.
#[derive(Debug, Default)]
pub(super) struct SentHistory {
    slots: Vec<Option<SentPacket>>,
    budget_began: Option<Instant>,
    budget_used: u32,
}

impl SentHistory {
    /// Remembers a packet.
    pub(super) fn push(
        &mut self,
        now: Instant,
        sequence_number: u16,
        payload_type: u8,
        header: &[u8],
        payload: &Bytes,
        padding_size: u8,
    ) {
        if payload.len() > MAX_PAYLOAD {
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize(FIRST_PACKETS, None);
        }
        while self.slots.len() < MAX_PACKETS && self.displaces_recent(now, sequence_number) {
            self.grow();
        }
        let mut inline = [0; INLINE_HEADER];
        let header = match inline.get_mut(..header.len()) {
            Some(room) => {
                room.copy_from_slice(header);
                StoredHeader::Inline {
                    bytes: inline,
                    length: header.len() as u8,
                }
            }
            None => StoredHeader::Boxed(header.into()),
        };
        let packet = SentPacket {
            sequence_number,
            payload_type,
            header,
            payload: payload.clone(),
            padding_size,
            sent: now,
            resent: None,
        };
        let slot = self.slot(sequence_number);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Some(packet);
        }
    }

    /// A packet that is to be sent again; `None` if it is not known, too old, was sent again less
    /// than `spacing` ago, or if this stream has sent enough again for now.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        sequence_number: u16,
        spacing: Duration,
    ) -> Option<&SentPacket> {
        let slot = self.slot(sequence_number);
        let packet = self.slots.get_mut(slot)?.as_mut()?;
        let since = |then: Instant| now.saturating_duration_since(then);
        if packet.sequence_number != sequence_number
            || since(packet.sent) > MAX_AGE
            || packet.resent.is_some_and(|then| since(then) < spacing)
        {
            return None;
        }
        if self
            .budget_began
            .is_none_or(|then| since(then) >= BUDGET_INTERVAL)
        {
            self.budget_began = Some(now);
            self.budget_used = 0;
        }
        if self.budget_used == BUDGET {
            return None;
        }
        self.budget_used += 1;
        packet.resent = Some(now);
        Some(packet)
    }

    /// Forgets everything if nothing was sent for long, and the memory with it.
    pub(super) fn prune(&mut self, now: Instant) {
        let recent = |packet: &SentPacket| now.saturating_duration_since(packet.sent) <= MAX_AGE;
        if !self.slots.iter().flatten().any(recent) {
            self.slots = Vec::new();
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(super) fn clear(&mut self) {
        self.slots = Vec::new();
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn slot(&self, sequence_number: u16) -> usize {
        usize::from(sequence_number) & self.slots.len().wrapping_sub(1)
    }

    fn displaces_recent(&self, now: Instant, sequence_number: u16) -> bool {
        let slot = self.slot(sequence_number);
        self.slots
            .get(slot)
            .and_then(Option::as_ref)
            .is_some_and(|old| now.saturating_duration_since(old.sent) <= MAX_AGE)
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots.resize(old.len() * 2, None);
        for packet in old.into_iter().flatten() {
            let slot = self.slot(packet.sequence_number);
            if let Some(slot) = self.slots.get_mut(slot) {
                *slot = Some(packet);
            }
        }
    }
}
