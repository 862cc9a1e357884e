//! What goes from a source to its sinks: the packets of a turn, copied once.

use crate::ids::Rid;
use crate::w3c::{Codec, Kind};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What the packets of a track are made of. The same `Arc` for as long as it does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFormat {
    /// Audio or video.
    pub kind: Kind,
    /// Codecs by payload type, as the source negotiated them.
    pub codecs: Vec<Codec>,
    /// Ids of header extensions, those that each hop writes itself left out.
    pub extensions: BTreeMap<u8, String>,
    /// Simulcast layers, in SDP's order.
    pub rids: Vec<Rid>,
}

/// A packet on its way to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRtp {
    /// The marker bit.
    pub marker: bool,
    /// Whether a receiver that has nothing yet can begin with it.
    pub begins: bool,
    /// Payload type, of the source's numbering.
    pub payload_type: u8,
    /// Sequence number of the source.
    pub sequence_number: u16,
    /// Timestamp of the source.
    pub timestamp: u32,
    /// Contributing sources, four bytes each.
    pub csrc: Bytes,
    /// Elements of the header extension: id, length, data.
    pub elements: Bytes,
    /// The payload. Empty for a packet of padding only, which goes on to keep its number.
    pub payload: Bytes,
}

impl ForwardedRtp {
    /// Ids of the elements, and where their data is in `elements`.
    pub(super) fn elements(&self) -> impl Iterator<Item = (u8, Range<usize>)> + '_ {
        let bytes = &self.elements;
        let mut at = 0;
        std::iter::from_fn(move || {
            let [id, length] = *bytes.get(at..)?.first_chunk()?;
            let data = at + 2..at + 2 + usize::from(length);
            at = data.end;
            (at <= bytes.len()).then_some((id, data))
        })
    }

    /// The contributing sources.
    pub(super) fn csrc(&self) -> Vec<u32> {
        let sources = self.csrc.as_chunks::<4>().0.iter();
        sources.map(|source| u32::from_be_bytes(*source)).collect()
    }
}

/// A moment on the wall clock of a source's sender and on a stream's (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceClock {
    /// NTP time, 32.32 fixed point.
    pub ntp: u64,
    /// The stream's timestamp at that time.
    pub rtp: u32,
}

impl SourceClock {
    /// When a packet was captured, in NTP time.
    pub fn captured(self, timestamp: u32, clock_rate: u32) -> u64 {
        let ticks = i64::from(timestamp.wrapping_sub(self.rtp) as i32);
        // At most 2^31 ticks times 2^32: within 64 bits.
        let distance = (ticks << 32) / i64::from(clock_rate.max(1));
        self.ntp.wrapping_add_signed(distance)
    }

    /// The time from `earlier` to `later`; `None` where it went backwards.
    pub fn between(earlier: u64, later: u64) -> Option<Duration> {
        let distance = u64::try_from(later.wrapping_sub(earlier) as i64).ok()?;
        Some(Duration::from_micros(
            ((u128::from(distance) * 1_000_000) >> 32) as u64,
        ))
    }
}

/// Packets of one stream, in the order they arrived.
#[derive(Clone, Debug)]
pub struct Burst {
    /// What they are made of.
    pub format: std::sync::Arc<SourceFormat>,
    /// One stream without a break has one number: another layer, another SSRC or a sender that
    /// started over has another. Unique in a connection.
    pub run: u64,
    /// The last sender report on the stream.
    pub clock: Option<SourceClock>,
    /// The packets.
    pub packets: Vec<ForwardedRtp>,
}
