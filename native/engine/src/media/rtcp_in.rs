//! RTCP as it arrives (RFC 3550 section 6, RFC 4585 section 6), read without a copy. Written here,
//! because what a peer sends must not reach length arithmetic that can overflow.

use std::ops::Range;

pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const GOODBYE: u8 = 203;
pub(super) const APPLICATION: u8 = 204;
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
pub(super) const EXTENDED_REPORT: u8 = 207;

/// Formats of [`TRANSPORT_FEEDBACK`].
pub(super) const FORMAT_NACK: u8 = 1;
pub(super) const FORMAT_TWCC: u8 = 15;
/// Formats of [`PAYLOAD_FEEDBACK`].
pub(super) const FORMAT_PLI: u8 = 1;
pub(super) const FORMAT_FIR: u8 = 4;
/// Application layer feedback; REMB is one.
pub(super) const FORMAT_ALFB: u8 = 15;

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RtcpPacket<'a> {
    /// The packet type.
    pub(super) kind: u8,
    /// The count or format field.
    pub(super) count: u8,
    /// What is behind the four bytes of the header, padding removed.
    pub(super) body: &'a [u8],
    /// Where the whole packet stands in the compound.
    pub(super) range: Range<usize>,
}

/// Walks a compound, or a reduced-size packet (RFC 5506). Ends early where it is malformed.
#[derive(Clone, Debug)]
pub(super) struct RtcpPackets<'a> {
    compound: &'a [u8],
    at: usize,
}

impl<'a> RtcpPackets<'a> {
    pub(super) fn new(compound: &'a [u8]) -> Self {
        Self { compound, at: 0 }
    }

    /// Whether every length in the compound is right, and there is at least one packet.
    pub(super) fn is_well_formed(&self) -> bool {
        let mut walk = self.clone();
        let mut packets = 0;
        while walk.next().is_some() {
            packets += 1;
        }
        packets > 0 && walk.at == walk.compound.len()
    }
}

impl<'a> Iterator for RtcpPackets<'a> {
    type Item = RtcpPacket<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.compound.get(self.at..)?;
        let &[b0, kind, length_high, length_low] = rest.first_chunk()?;
        let length = 4 + 4 * usize::from(u16::from_be_bytes([length_high, length_low]));
        let packet = rest.get(..length)?;
        if b0 >> 6 != 2 || !(192..=223).contains(&kind) {
            return None;
        }
        let mut body = packet.get(4..)?;
        if b0 & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding).filter(|_| padding != 0)?)?;
        }
        let range = self.at..self.at + length;
        self.at += length;
        Some(RtcpPacket {
            kind,
            count: b0 & 0x1f,
            body,
            range,
        })
    }
}

/// The big-endian number at `at`.
pub(super) fn number(body: &[u8], at: usize) -> Option<u32> {
    let four = body.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SenderInfo {
    pub(super) ssrc: u32,
    pub(super) ntp: u64,
    /// The same moment on the stream's own clock.
    pub(super) rtp: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// One block of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportBlock {
    pub(super) ssrc: u32,
    pub(super) fraction_lost: u8,
    /// 24 bits, signed.
    pub(super) total_lost: i32,
    pub(super) jitter: u32,
    pub(super) last_sender_report: u32,
    pub(super) delay: u32,
}

impl<'a> RtcpPacket<'a> {
    /// The SSRC of the packet's sender, or a feedback's.
    pub(super) fn sender_ssrc(&self) -> Option<u32> {
        number(self.body, 0)
    }

    /// The sender's part, of a sender report.
    pub(super) fn sender_info(&self) -> Option<SenderInfo> {
        Some(SenderInfo {
            ssrc: number(self.body, 0)?,
            ntp: u64::from(number(self.body, 4)?) << 32 | u64::from(number(self.body, 8)?),
            rtp: number(self.body, 12)?,
            packets: number(self.body, 16)?,
            octets: number(self.body, 20)?,
        })
    }

    /// The blocks of a sender or receiver report; fewer than counted if it is too short.
    pub(super) fn report_blocks(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        let start = if self.kind == SENDER_REPORT { 24 } else { 4 };
        let blocks = self.body.get(start..).unwrap_or_default();
        blocks
            .as_chunks::<24>()
            .0
            .iter()
            .take(usize::from(self.count))
            .filter_map(|block| {
                let lost = number(block, 4)?;
                Some(ReportBlock {
                    ssrc: number(block, 0)?,
                    fraction_lost: (lost >> 24) as u8,
                    // Shifted up and down again: the sign is in bit 23.
                    total_lost: ((lost << 8) as i32) >> 8,
                    jitter: number(block, 12)?,
                    last_sender_report: number(block, 16)?,
                    delay: number(block, 20)?,
                })
            })
    }

    /// The stream that a feedback packet is about (RFC 4585 section 6.1).
    pub(super) fn media_ssrc(&self) -> Option<u32> {
        number(self.body, 4)
    }

    /// The sequence numbers of a NACK (RFC 4585 section 6.2.1).
    pub(super) fn requested(&self) -> impl Iterator<Item = u16> + 'a {
        let pairs = self.body.get(8..).unwrap_or_default();
        pairs
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|&[p0, p1, b0, b1]| {
                let first = u16::from_be_bytes([p0, p1]);
                let following = u16::from_be_bytes([b0, b1]);
                let more = (0..16u16)
                    .filter(move |bit| following >> bit & 1 == 1)
                    .map(move |bit| first.wrapping_add(bit + 1));
                std::iter::once(first).chain(more)
            })
    }

    /// The SSRCs of a FIR (RFC 5104 section 4.3.1.1), with their command numbers.
    pub(super) fn full_intra_requests(&self) -> impl Iterator<Item = (u32, u8)> + 'a {
        let entries = self.body.get(8..).unwrap_or_default();
        entries
            .as_chunks::<8>()
            .0
            .iter()
            .filter_map(|entry| Some((number(entry, 0)?, *entry.get(4)?)))
    }

    /// The first SSRC of a REMB (draft-alvestrand-rmcat-remb-03); `None` for another kind.
    pub(super) fn remb_ssrc(&self) -> Option<u32> {
        (self.body.get(8..12)? == b"REMB").then(|| number(self.body, 16))?
    }

    /// What a REMB allows, in bits per second (section 2.2: 18 bits of mantissa, 6 of exponent);
    /// `None` for another kind.
    pub(super) fn remb_bitrate(&self) -> Option<u64> {
        self.remb_ssrc()?;
        let word = number(self.body, 12)?;
        let exponent = word >> 18 & 0x3f;
        let mantissa = u64::from(word & 0x3_ffff);
        Some(mantissa.saturating_mul(1 << exponent))
    }

    /// The sources of a goodbye.
    pub(super) fn goodbyes(&self) -> impl Iterator<Item = u32> + 'a {
        let sources = self
            .body
            .as_chunks::<4>()
            .0
            .iter()
            .take(usize::from(self.count));
        sources.map(|source| u32::from_be_bytes(*source))
    }
}
