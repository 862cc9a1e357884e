//! SCTP packets as bytes (RFC 9260 section 3): the little that is read and rewritten around the
//! SCTP crate.

use bytes::Bytes;

pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
pub(super) const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
pub(super) const RECONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;
/// Chunk types the crate acts on. The rest it would drop the whole packet for, or, for ERROR
/// (a mere report, RFC 9260 section 3.3.10), end the association.
pub(super) const KNOWN: &[u8] = &[
    DATA,
    INIT,
    INIT_ACK,
    SACK,
    HEARTBEAT,
    ABORT,
    SHUTDOWN,
    SHUTDOWN_ACK,
    COOKIE_ECHO,
    COOKIE_ACK,
    SHUTDOWN_COMPLETE,
    RECONFIG,
    FORWARD_TSN,
];

/// DATA flags (RFC 9260 section 3.3.1).
pub(super) const LAST: u8 = 1;
pub(super) const FIRST: u8 = 2;
pub(super) const UNORDERED: u8 = 4;
/// RFC 7053: to be acknowledged at once.
const IMMEDIATELY: u8 = 8;

const COMMON_HEADER: usize = 12;
const CHECKSUM: std::ops::Range<usize> = 8..12;
/// What an INIT has before its parameters (RFC 9260 section 3.3.2).
const INIT_FIXED: usize = 16;
/// Parameters of an INIT that the crate knows the length of (RFC 3758 section 3.1, RFC 4895
/// section 3.3).
const FORWARD_TSN_SUPPORTED: u16 = 0xC000;
const REQUESTED_HMAC: u16 = 0x8004;
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

/// Whether the crate sees a chunk end where it ends. It goes by what it has read of a chunk, not by
/// the chunk's length: what is behind that, inside the chunk, would be taken for further chunks,
/// which nobody has judged.
pub(super) fn is_exact(chunk: &Chunk<'_>) -> bool {
    let length = chunk.value.len();
    match chunk.kind {
        INIT | INIT_ACK => INIT_FIXED + parameters(chunk.value, INIT_FIXED, usize::MAX) == length,
        SACK => match (chunk.u16_at(8), chunk.u16_at(10)) {
            (Some(gaps), Some(duplicates)) => {
                length == 12 + 4 * (usize::from(gaps) + usize::from(duplicates))
            }
            _ => false,
        },
        HEARTBEAT => parameters(chunk.value, 0, 1) == length,
        SHUTDOWN => length == 4,
        SHUTDOWN_ACK | COOKIE_ACK | SHUTDOWN_COMPLETE => length == 0,
        RECONFIG => parameters(chunk.value, 0, 2) == length,
        FORWARD_TSN => length >= 4 && length.is_multiple_of(4),
        _ => true,
    }
}

/// How far the crate reads parameters from `start` on: the padding of the last is not counted.
fn parameters(value: &[u8], start: usize, most: usize) -> usize {
    let mut end = 0_usize;
    for _ in 0..most {
        let at = start + end.next_multiple_of(4);
        let (Some(kind), Some(length)) = (u16_at(value, at), u16_at(value, at + 2)) else {
            break;
        };
        let length = usize::from(length);
        let sound = match kind {
            FORWARD_TSN_SUPPORTED => length == 4,
            REQUESTED_HMAC => length.is_multiple_of(2),
            OUTGOING_RESET => length >= 16 && length.is_multiple_of(2),
            RESPONSE => length == 12,
            _ => true,
        };
        if !sound || length < 4 || value.len() < at + length {
            break;
        }
        end = at - start + length;
    }
    end
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
    select(packet, |chunk| keep(chunk.kind))
}

fn select(packet: &[u8], keep: impl Fn(&Chunk<'_>) -> bool) -> Option<Bytes> {
    let mut chunks = chunks(packet)?;
    chunks.retain(|chunk| keep(chunk));
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

/// The packet with nothing but an ABORT without causes (RFC 9260 section 3.3.7). The crate takes the
/// lengths of causes at their word, and nobody reads them.
pub(super) fn bare_abort(packet: &[u8], flags: u8) -> Bytes {
    let mut bare = packet.get(..COMMON_HEADER).unwrap_or_default().to_vec();
    bare.extend([ABORT, flags, 0, 4]);
    sealed(bare)
}

/// The first SACK of a packet, as a packet of its own without its list of duplicates (RFC 9260
/// section 3.3.4), and with another window.
pub(super) fn sack_with_window(packet: &[u8], window: u32) -> Option<Bytes> {
    let chunk = chunks(packet)?
        .into_iter()
        .find(|chunk| chunk.kind == SACK)?;
    let gaps = usize::from(chunk.u16_at(8)?);
    let value = chunk.value.get(..12 + 4 * gaps)?;
    let mut copy = packet.get(..COMMON_HEADER)?.to_vec();
    copy.extend([SACK, chunk.flags]);
    copy.extend(u16::try_from(value.len() + 4).ok()?.to_be_bytes());
    copy.extend(value);
    copy.get_mut(COMMON_HEADER + 8..COMMON_HEADER + 12)?
        .copy_from_slice(&window.to_be_bytes());
    copy.get_mut(COMMON_HEADER + 14..COMMON_HEADER + 16)?
        .fill(0);
    Some(sealed(copy))
}

/// The highest TSN that the first SACK of a packet acknowledges, behind gaps or not.
pub(super) fn acknowledged(packet: &[u8]) -> Option<u32> {
    let chunk = chunks(packet)?
        .into_iter()
        .find(|chunk| chunk.kind == SACK)?;
    let gaps = usize::from(chunk.u16_at(8)?);
    let end = match gaps.checked_sub(1) {
        Some(last) => chunk.u16_at(14 + 4 * last)?,
        None => 0,
    };
    Some(chunk.u32_at(0)?.wrapping_add(u32::from(end)))
}

/// The packet without its DATA beyond `highest`, and what was taken out, to be acknowledged at once
/// when it is taken after all (RFC 7053).
pub(super) fn without_data_beyond(packet: &[u8], highest: u32) -> (Option<Bytes>, Option<Bytes>) {
    let beyond = |chunk: &Chunk<'_>| {
        chunk.kind == DATA
            && chunk
                .u32_at(0)
                .is_some_and(|tsn| tsn.wrapping_sub(highest) as i32 > 0)
    };
    let rest = select(packet, |chunk| !beyond(chunk));
    let taken = select(packet, beyond).map(|taken| {
        let mut copy = taken.to_vec();
        for chunk in chunks(&taken).unwrap_or_default() {
            if let Some(flags) = copy.get_mut(chunk.offset + 1) {
                *flags |= IMMEDIATELY;
            }
        }
        sealed(copy)
    });
    (rest, taken)
}

/// The packet with another window in its first SACK.
pub(super) fn with_window(packet: &Bytes, window: u32) -> Bytes {
    let at = chunks(packet)
        .unwrap_or_default()
        .iter()
        .find(|chunk| chunk.kind == SACK)
        .map(|chunk| chunk.offset + 8);
    let mut copy = packet.to_vec();
    if let Some(field) = at.and_then(|at| copy.get_mut(at..at + 4)) {
        field.copy_from_slice(&window.to_be_bytes());
    }
    sealed(copy)
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

    #[test]
    fn a_chunk_that_is_longer_than_what_it_says_is_not_exact() {
        let exact = |kind, value: &[u8]| {
            is_exact(&Chunk {
                offset: 0,
                kind,
                flags: 0,
                value,
            })
        };
        let init = [&[0; 16][..], &[0xC0, 0, 0, 4], &[0x80, 8, 0, 6, 130, 192]].concat();
        let reset = [&[0, 13, 0, 18][..], &[0; 14]].concat();
        let both = [&[0, 16, 0, 12][..], &[0; 8], &reset].concat();
        let sack = [&[0; 8][..], &[0, 1, 0, 1], &[0; 8]].concat();
        for (kind, value) in [
            (INIT, &init[..]),
            (INIT, &[0; 16]),
            (SACK, &sack),
            (HEARTBEAT, &[0, 1, 0, 7, 1, 2, 3]),
            (SHUTDOWN, &[0; 4]),
            (COOKIE_ACK, &[]),
            (RECONFIG, &reset),
            (RECONFIG, &both),
            (FORWARD_TSN, &[0; 8]),
        ] {
            assert!(exact(kind, value), "{kind} {value:?}");
            let longer = [value, &[6, 0, 0, 8]].concat();
            assert_eq!(exact(kind, &longer), kind == FORWARD_TSN, "{kind}");
        }
        assert!(!exact(
            RECONFIG,
            &[0, 16, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 8, 0, 0, 0, 0]
        ));
        assert!(!exact(SHUTDOWN_ACK, &[6, 0, 0, 8, 0, 0, 0, 0]));
        assert!(
            exact(ABORT, &[0, 0, 255, 255]) && exact(COOKIE_ECHO, &[1]) && exact(DATA, &[0; 13])
        );
    }

    /// A packet of a SACK with a gap and a duplicate, and two DATA.
    fn sack_and_data() -> Bytes {
        let sack = [0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 2, 0, 3, 0, 0, 0, 9];
        let mut packet = vec![7; COMMON_HEADER];
        packet.extend([SACK, 0, 0, 24]);
        packet.extend(sack);
        for tsn in [12, 13] {
            packet.extend([DATA, FIRST | LAST, 0, 17, 0, 0, 0, tsn]);
            packet.extend([0; 8]);
            packet.extend([1, 0, 0, 0]);
        }
        sealed(packet)
    }

    #[test]
    fn a_window_is_rewritten_and_a_sack_repeated_without_its_duplicates() {
        let packet = sack_and_data();
        let window = |packet: &Bytes| chunks(packet).unwrap()[0].u32_at(4);
        assert_eq!(window(&packet), Some(65_536));
        let other = with_window(&packet, 77);
        assert_eq!((window(&other), other.len()), (Some(77), packet.len()));
        let repeated = sack_with_window(&packet, 78).unwrap();
        let all = chunks(&repeated).unwrap();
        assert_eq!((all.len(), window(&repeated)), (1, Some(78)));
        assert_eq!((all[0].u16_at(8), all[0].u16_at(10)), (Some(1), Some(0)));
        assert!(is_exact(&all[0]));
        assert_eq!(acknowledged(&repeated), Some(12));
    }

    #[test]
    fn data_is_taken_out_by_its_tsn_and_marked_urgent() {
        let (rest, taken) = without_data_beyond(&sack_and_data(), 12);
        let (rest, taken) = (rest.unwrap(), taken.unwrap());
        let rest = chunks(&rest).unwrap();
        assert_eq!((rest[0].kind, rest[1].u32_at(0)), (SACK, Some(12)));
        let taken = chunks(&taken).unwrap();
        assert_eq!((taken.len(), taken[0].u32_at(0)), (1, Some(13)));
        assert_eq!(taken[0].flags, FIRST | LAST | IMMEDIATELY);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (acknowledged(&bytes), without_data_beyond(&bytes, 7));
            let _ = (sack_with_window(&bytes, 7), with_window(&bytes.clone().into(), 7));
            if let Some(found) = chunks(&bytes) {
                for chunk in &found {
                    let _ = (reconfigs(chunk), is_exact(chunk));
                }
                let _ = only(&bytes, |kind| kind > 100);
            }
        }
    }
}
