//! The two DNS messages of a lookup (RFC 1035 section 4, RFC 6762 section 18).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Records of one message that are looked at; mDNS answers to our questions have a few.
const MAX_RECORDS: usize = 64;

/// A name in text form is at most this long (RFC 1035 section 3.1, less the length bytes).
const MAX_NAME: usize = 253;

/// A label is at most this long.
const MAX_LABEL: usize = 63;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// The cache-flush bit shares the class field (RFC 6762 section 10.2).
const CLASS: u16 = 0x7fff;
/// Response, opcode and response code; the rest of the flags means nothing to us.
const FLAGS: u16 = 0b1111_1000_0000_1111;
const RESPONSE: u16 = 0x8000;

/// An address record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Lower case, without the last dot.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// How long it is good for, in seconds; 0 takes it back.
    pub ttl: u32,
}

/// A question for the IPv4 and IPv6 addresses of `name`; `None` where it cannot be a host name.
pub fn query(name: &str) -> Option<Vec<u8>> {
    let mut encoded = Vec::with_capacity(name.len() + 2);
    if name.len() > MAX_NAME {
        return None;
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        encoded.push(u8::try_from(label.len()).ok()?);
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);

    // Id and flags are 0 in a multicast question; two questions.
    let mut message = vec![0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
    for kind in [TYPE_A, TYPE_AAAA] {
        message.extend_from_slice(&encoded);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
    }
    Some(message)
}

/// The address records of a response. Of a message that is none, or broken, what was readable.
pub fn addresses(message: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    // Reading ends where the message ends or stops making sense.
    let _ = read(message, &mut records);
    records
}

fn read(message: &[u8], records: &mut Vec<Record>) -> Option<()> {
    let mut reader = Reader { message, at: 0 };
    reader.number()?;
    if reader.number()? & FLAGS != RESPONSE {
        return None;
    }
    let questions = reader.number()?;
    // Answers, authorities, additional ones: a record is as good in each.
    let count = usize::from(reader.number()?)
        + usize::from(reader.number()?)
        + usize::from(reader.number()?);
    for _ in 0..usize::from(questions).min(MAX_RECORDS) {
        reader.name()?;
        reader.take(4)?;
    }
    for _ in 0..count.min(MAX_RECORDS) {
        let name = reader.name()?;
        let kind = reader.number()?;
        let class = reader.number()? & CLASS;
        let ttl = u32::from(reader.number()?) << 16 | u32::from(reader.number()?);
        let length = usize::from(reader.number()?);
        let data = reader.take(length)?;
        if class == CLASS_IN
            && let Some(address) = address(kind, data)
        {
            records.push(Record { name, address, ttl });
        }
    }
    Some(())
}

fn address(kind: u16, data: &[u8]) -> Option<IpAddr> {
    match kind {
        TYPE_A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        TYPE_AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A name, with its compression (RFC 1035 section 4.1.4) followed.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut labels = Self {
            message: self.message,
            at: self.at,
        };
        // Where the record goes on: behind the first pointer, or behind the name.
        let mut behind = None;
        loop {
            let start = labels.at;
            let length = labels.byte()?;
            match length & 0xc0 {
                0x00 if length == 0 => break,
                0x00 => {
                    let label = labels.take(usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
                    if name.len() > MAX_NAME {
                        return None;
                    }
                }
                0xc0 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(labels.byte()?);
                    behind.get_or_insert(labels.at);
                    // Only to what came before, so that no chain of pointers is a circle.
                    if target >= start {
                        return None;
                    }
                    labels.at = target;
                }
                _ => return None,
            }
        }
        self.at = behind.unwrap_or(labels.at);
        Some(name)
    }
}

#[cfg(test)]
mod tests;
