//! The RTP header (RFC 3550 section 5.1) and its extensions (RFC 8285), read without a copy and
//! written on the stack.

use super::ReceivedRtp;

/// The fixed part of the header.
const FIXED_LENGTH: usize = 12;
/// RFC 8285 section 4.2.
const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// RFC 8285 section 4.3; the low four bits are "appbits".
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// Elements of one packet we write. More than a dozen negotiated extensions on one packet is
/// unheard of; the rest is left out.
const MAX_ELEMENTS: usize = 16;
/// Room for the header we write: 12 fixed, 60 CSRC, 4 profile, and extensions that still leave
/// most of a 1,200-byte packet to the payload.
const HEADER_CAPACITY: usize = 400;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

impl<'a> ReceivedRtp<'a> {
    /// Reads a clear packet; `None` if its lengths contradict each other.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let mut parsed = Self::parse_header(packet)?;
        if packet.first()? & 0x20 != 0 {
            // The last byte counts the padding, itself included: zero contradicts the bit.
            let padding = parsed.payload.last().copied().filter(|&count| count != 0)?;
            let length = parsed.payload.len().checked_sub(usize::from(padding))?;
            parsed.payload = parsed.payload.get(..length)?;
            parsed.padding_size = padding;
        }
        Some(parsed)
    }

    /// Reads the header only: the payload is all that is behind it, padding or not.
    pub(super) fn parse_header(packet: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; FIXED_LENGTH] = packet.first_chunk()?;
        let [b0, b1, ..] = *fixed;
        if b0 >> 6 != 2 {
            return None;
        }
        let rest = packet.get(FIXED_LENGTH..)?;
        let (csrc, mut rest) = rest.split_at_checked(4 * usize::from(b0 & 0x0f))?;
        let mut extension_profile = None;
        let mut extension: &[u8] = &[];
        if b0 & 0x10 != 0 {
            extension_profile = Some(u16_at(rest, 0)?);
            let length = 4 * usize::from(u16_at(rest, 2)?);
            (extension, rest) = rest.get(4..)?.split_at_checked(length)?;
        }
        Some(Self {
            marker: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence_number: u16_at(fixed, 2)?,
            timestamp: u32_at(fixed, 4)?,
            ssrc: u32_at(fixed, 8)?,
            csrc,
            extension_profile,
            extension,
            payload: rest,
            padding_size: 0,
        })
    }

    /// The elements of the header extension, in order. Empty for an opaque profile.
    pub fn elements(&self) -> Elements<'a> {
        let form = match self.extension_profile {
            Some(ONE_BYTE_PROFILE) => Form::OneByte,
            Some(profile) if profile & 0xfff0 == TWO_BYTE_PROFILE => Form::TwoByte,
            _ => Form::None,
        };
        Elements {
            form,
            rest: self.extension,
        }
    }

    /// The bytes of the header on the wire, CSRC and extension included.
    pub fn header_length(&self) -> usize {
        let extension = if self.extension_profile.is_some() {
            4 + self.extension.len()
        } else {
            0
        };
        FIXED_LENGTH + self.csrc.len() + extension
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    None,
    OneByte,
    TwoByte,
}

/// Walks the elements of a header extension: id and data.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, behind) = self.rest.split_first()?;
            let (id, length, data) = match self.form {
                Form::None => return None,
                // Identifier 0 is one byte of padding in either form.
                Form::OneByte if first >> 4 == 0 => {
                    self.rest = behind;
                    continue;
                }
                Form::TwoByte if first == 0 => {
                    self.rest = behind;
                    continue;
                }
                // RFC 8285 section 4.2: 15 is reserved and ends the extension.
                Form::OneByte if first >> 4 == 15 => {
                    self.rest = &[];
                    return None;
                }
                Form::OneByte => (first >> 4, usize::from(first & 0x0f) + 1, behind),
                Form::TwoByte => {
                    let (&length, data) = behind.split_first()?;
                    (first, usize::from(length), data)
                }
            };
            let Some((element, after)) = data.split_at_checked(length) else {
                self.rest = &[];
                return None;
            };
            self.rest = after;
            return Some((id, element));
        }
    }
}

/// Extension elements to write, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElementList<'a> {
    elements: [(u8, &'a [u8]); MAX_ELEMENTS],
    count: usize,
}

impl<'a> ElementList<'a> {
    pub(super) fn new() -> Self {
        Self {
            elements: [(0, &[]); MAX_ELEMENTS],
            count: 0,
        }
    }

    /// Adds an element unless it cannot be written: id 0 is padding, data is at most 255 bytes.
    pub(super) fn push(&mut self, id: u8, data: &'a [u8]) {
        if id == 0 || data.len() > usize::from(u8::MAX) {
            return;
        }
        if let Some(slot) = self.elements.get_mut(self.count) {
            *slot = (id, data);
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[(u8, &'a [u8])] {
        self.elements.get(..self.count).unwrap_or_default()
    }
}

/// The fields of a header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence_number: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Padding follows the payload.
    pub(super) padding: bool,
}

/// A header being written, on the stack.
#[derive(Debug)]
pub(super) struct HeaderBuffer {
    bytes: [u8; HEADER_CAPACITY],
    length: usize,
}

impl HeaderBuffer {
    /// Writes a whole header. Elements that do not fit are left out; at most 15 CSRCs are taken.
    pub(super) fn write(
        fields: Fields,
        csrc: impl Iterator<Item = u32>,
        elements: &ElementList<'_>,
    ) -> Self {
        let mut header = Self {
            bytes: [0; HEADER_CAPACITY],
            length: FIXED_LENGTH,
        };
        let mut csrc_count = 0;
        for source in csrc.take(15) {
            header.put(&source.to_be_bytes());
            csrc_count += 1;
        }
        let has_extension = header.write_extension(elements.as_slice());
        let b0 =
            0x80 | (u8::from(fields.padding) << 5) | (u8::from(has_extension) << 4) | csrc_count;
        let b1 = (u8::from(fields.marker) << 7) | (fields.payload_type & 0x7f);
        header.set(0, &[b0, b1]);
        header.set(2, &fields.sequence_number.to_be_bytes());
        header.set(4, &fields.timestamp.to_be_bytes());
        header.set(8, &fields.ssrc.to_be_bytes());
        header
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn write_extension(&mut self, elements: &[(u8, &[u8])]) -> bool {
        if elements.is_empty() {
            return false;
        }
        // The one-byte form wherever it can say it: every peer reads it, two-byte is negotiable.
        let one_byte = elements
            .iter()
            .all(|(id, data)| (1..=14).contains(id) && (1..=16).contains(&data.len()));
        let start = self.length;
        self.put(&[0; 4]);
        for (id, data) in elements {
            let length = data.len() as u8;
            let needed = data.len() + if one_byte { 1 } else { 2 };
            // Three bytes are kept for alignment.
            if self.length + needed + 3 > HEADER_CAPACITY {
                continue;
            }
            if one_byte {
                self.put(&[(id << 4) | (length - 1)]);
            } else {
                self.put(&[*id, length]);
            }
            self.put(data);
        }
        let body = self.length - start - 4;
        if body == 0 {
            self.length = start;
            return false;
        }
        self.length += body.wrapping_neg() & 3;
        let words = (self.length - start - 4) / 4;
        let profile = if one_byte {
            ONE_BYTE_PROFILE
        } else {
            TWO_BYTE_PROFILE
        };
        self.set(start, &profile.to_be_bytes());
        self.set(start + 2, &(words as u16).to_be_bytes());
        true
    }

    fn put(&mut self, bytes: &[u8]) {
        self.set(self.length, bytes);
        self.length += bytes.len();
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}
