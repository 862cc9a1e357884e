//! SCTP packets as bytes (RFC 9260 section 3): the little that is read and rewritten around the
//! SCTP crate.

use bytes::Bytes;

pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
pub(super) const RECONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;
/// Chunk types the crate acts on. The rest it would drop the whole packet for, or, for ERROR
/// (a mere report, RFC 9260 section 3.3.10), end the association.
const KNOWN: &[u8] = &[
    DATA,
    INIT,
    INIT_ACK,
    SACK,
    4,
    6,
    7,
    8,
    10,
    11,
    14,
    RECONFIG,
    FORWARD_TSN,
];

/// DATA flags (RFC 9260 section 3.3.1).
pub(super) const LAST: u8 = 1;
pub(super) const FIRST: u8 = 2;
pub(super) const UNORDERED: u8 = 4;

const COMMON_HEADER: usize = 12;
const CHECKSUM: std::ops::Range<usize> = 8..12;
/// RE-CONFIG parameters (RFC 6525 section 4).
const OUTGOING_RESET: u16 = 13;
const RESPONSE: u16 = 16;

/// One chunk of a packet that is known to lie inside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// Where it starts in the packet.
    pub(super) offset: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// What follows the four bytes of chunk header.
    pub(super) value: &'a [u8],
}

impl Chunk<'_> {
    pub(super) fn u32_at(&self, at: usize) -> Option<u32> {
        u32_at(self.value, at)
    }

    pub(super) fn u16_at(&self, at: usize) -> Option<u16> {
        u16_at(self.value, at)
    }
}

pub(super) fn is_known(kind: u8) -> bool {
    KNOWN.contains(&kind)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    pair.try_into().ok().map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

/// The chunks of a packet; None when any is cut short.
pub(super) fn chunks(packet: &[u8]) -> Option<Vec<Chunk<'_>>> {
    let mut found = Vec::with_capacity(2);
    let mut offset = COMMON_HEADER;
    while offset < packet.len() {
        let &[kind, flags, l0, l1] = packet.get(offset..offset + 4)? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let value = packet.get(offset + 4..offset.checked_add(length)?)?;
        found.push(Chunk {
            offset,
            kind,
            flags,
            value,
        });
        offset += length.next_multiple_of(4);
    }
    (!found.is_empty()).then_some(found)
}

/// A parameter of a RE-CONFIG chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reconfig {
    /// Outgoing SSN Reset Request.
    Reset {
        sequence: u32,
        last_tsn: u32,
        streams: Vec<u16>,
    },
    /// Re-configuration Response.
    Response { sequence: u32, result: u32 },
}

/// The parameters of a RE-CONFIG chunk that stream resets use.
pub(super) fn reconfigs(chunk: &Chunk<'_>) -> Vec<Reconfig> {
    let mut found = Vec::new();
    let mut rest = chunk.value;
    while let (Some(kind), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let Some(body) = rest.get(4..length) else {
            break;
        };
        match kind {
            OUTGOING_RESET => {
                if let (Some(sequence), Some(last_tsn)) = (u32_at(body, 0), u32_at(body, 8)) {
                    let ids = body.get(12..).unwrap_or_default();
                    let streams = ids.chunks_exact(2).filter_map(|id| u16_at(id, 0)).collect();
                    found.push(Reconfig::Reset {
                        sequence,
                        last_tsn,
                        streams,
                    });
                }
            }
            RESPONSE => {
                if let (Some(sequence), Some(result)) = (u32_at(body, 0), u32_at(body, 4)) {
                    found.push(Reconfig::Response { sequence, result });
                }
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The packet with other ports.
pub(super) fn with_ports(packet: &Bytes, source: u16, destination: u16) -> Bytes {
    if u16_at(packet, 0) == Some(source) && u16_at(packet, 2) == Some(destination) {
        return packet.clone();
    }
    let mut copy = packet.to_vec();
    if let Some(ports) = copy.get_mut(..4) {
        ports[..2].copy_from_slice(&source.to_be_bytes());
        ports[2..].copy_from_slice(&destination.to_be_bytes());
    }
    sealed(copy)
}

/// The packet with the chunks of these kinds alone; None when there are none.
pub(super) fn only(packet: &[u8], keep: impl Fn(u8) -> bool) -> Option<Bytes> {
    let mut chunks = chunks(packet)?;
    chunks.retain(|chunk| keep(chunk.kind));
    if chunks.is_empty() {
        return None;
    }
    let mut copy = packet.get(..COMMON_HEADER).unwrap_or_default().to_vec();
    for chunk in &chunks {
        let length = chunk.value.len() + 4;
        copy.extend(packet.iter().skip(chunk.offset).take(length));
        copy.resize(copy.len().next_multiple_of(4), 0);
    }
    Some(sealed(copy))
}

/// Makes a packet of bytes whose checksum is stale.
pub(super) fn sealed(mut packet: Vec<u8>) -> Bytes {
    if let Some(checksum) = packet.get_mut(CHECKSUM) {
        checksum.fill(0);
        let sum = crc32c(&packet);
        if let Some(checksum) = packet.get_mut(CHECKSUM) {
            // RFC 9260 appendix A: the CRC's own byte order is little endian.
            checksum.copy_from_slice(&sum.to_le_bytes());
        }
    }
    Bytes::from(packet)
}

/// CRC32c (RFC 9260 appendix A), reflected, a byte at a time: only rare packets are rewritten.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        (crc >> 8) ^ CRC_TABLE.get(index as usize).copied().unwrap_or_default()
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard_vector() {
        // RFC 3720 appendix B.4: 32 bytes of zeroes, and of ones.
        assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(crc32c(&[0xff; 32]).to_le_bytes(), [0x43, 0xab, 0xa8, 0x62]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = chunks(&bytes) {
                for chunk in &found {
                    let _ = reconfigs(chunk);
                }
                let _ = only(&bytes, |kind| kind > 100);
            }
        }
    }
}
