//! Numbers that a payload format counts itself, beside RTP's: picture ids, TL0PICIDX and KEYIDX of
//! VP8 (RFC 7741 section 4.2), picture ids and TL0PICIDX of VP9 (RFC 9628 section 4.2), the frame
//! number of AV1's dependency descriptor. A receiver takes a jump in them for loss, so they go on
//! over a switch as the sequence numbers do.

use super::keyframe::PayloadFormat;
use bytes::{Bytes, BytesMut};

/// Where the dependency descriptor is to be found among the negotiated extensions.
pub(super) const DEPENDENCY_DESCRIPTOR_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// A number in a descriptor: its place, its size and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    at: usize,
    value: u16,
    /// How many bits it has: 5, 7, 8, 15 or 16.
    bits: u8,
}

impl Counter {
    fn mask(self) -> u16 {
        (1u32 << self.bits).wrapping_sub(1) as u16
    }

    /// Writes a value in its place; what shares its bytes stays.
    fn write(self, value: u16, payload: &mut [u8]) {
        let wide = self.bits > 8;
        let [high, low] = (value & self.mask()).to_be_bytes();
        let [keep_high, keep_low] = (!self.mask()).to_be_bytes();
        if wide {
            if let Some([first, second]) =
                payload.get_mut(self.at..).and_then(|p| p.first_chunk_mut())
            {
                *first = *first & keep_high | high;
                *second = *second & keep_low | low;
            }
        } else if let Some(byte) = payload.get_mut(self.at) {
            *byte = *byte & keep_low | low;
        }
    }
}

/// The counters of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The picture id, or the frame number.
    pub(super) picture: Option<Counter>,
    /// TL0PICIDX
    pub(super) base_picture: Option<Counter>,
    /// KEYIDX
    pub(super) key: Option<Counter>,
}

impl Counters {
    /// Reads them; all absent where the payload is too short for what it says.
    pub(super) fn read(format: PayloadFormat, payload: &[u8]) -> Self {
        let counters = match format {
            PayloadFormat::Vp8 => vp8::read(payload).map(|descriptor| descriptor.counters),
            PayloadFormat::Vp9 => vp9::read(payload).map(|descriptor| descriptor.counters),
            _ => None,
        };
        counters.unwrap_or_default()
    }

    /// The frame number of a dependency descriptor (AOM RTP 1.0, appendix A.8): two bytes behind
    /// the first.
    pub(super) fn of_dependency_descriptor(element: &[u8]) -> Self {
        let number = element.get(1..3).and_then(|bytes| bytes.first_chunk());
        Self {
            picture: number.map(|bytes| Counter {
                at: 1,
                value: u16::from_be_bytes(*bytes),
                bits: 16,
            }),
            ..Self::default()
        }
    }
}

/// One counter on its way through a sink: what is added to it, and how far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shift {
    offset: u16,
    /// The highest value that went out, and its bits.
    last: Option<(u16, u8)>,
}

impl Shift {
    /// The next packet is of another stream: its counter goes on behind the last one.
    fn begin(&mut self, counter: Option<Counter>) {
        if let (Some(counter), Some((last, _))) = (counter, self.last) {
            self.offset = last.wrapping_add(1).wrapping_sub(counter.value);
        }
    }

    /// The value to write; takes note of it.
    fn apply(&mut self, counter: Counter) -> u16 {
        let value = counter.value.wrapping_add(self.offset) & counter.mask();
        let ahead = self.last.is_none_or(|(last, bits)| {
            bits != counter.bits || {
                let distance = value.wrapping_sub(last) & counter.mask();
                distance <= counter.mask() / 2
            }
        });
        if ahead {
            self.last = Some((value, counter.bits));
        }
        value
    }
}

/// The counters of one outgoing stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CounterLine {
    picture: Shift,
    base_picture: Shift,
    key: Shift,
}

impl CounterLine {
    /// The next packet is the first of another stream.
    pub(super) fn begin(&mut self, counters: &Counters) {
        self.picture.begin(counters.picture);
        self.base_picture.begin(counters.base_picture);
        self.key.begin(counters.key);
    }

    /// The same bytes with counters that go on. Copied only where one of them differs: as long as
    /// nothing was switched, sinks share the source's copy.
    pub(super) fn rewrite(&mut self, counters: &Counters, bytes: &Bytes) -> Bytes {
        let lines = [
            (&mut self.picture, counters.picture),
            (&mut self.base_picture, counters.base_picture),
            (&mut self.key, counters.key),
        ];
        let mut copy: Option<BytesMut> = None;
        for (line, counter) in lines {
            let Some(counter) = counter else { continue };
            let value = line.apply(counter);
            if value != counter.value {
                let copy = copy.get_or_insert_with(|| BytesMut::from(bytes.as_ref()));
                counter.write(value, copy);
            }
        }
        copy.map_or_else(|| bytes.clone(), BytesMut::freeze)
    }
}

/// A descriptor that was read.
struct Descriptor {
    counters: Counters,
    /// Its bytes.
    length: usize,
    /// The spatial layer, of VP9.
    spatial: u8,
}

/// Walks the bytes of a descriptor.
struct Walk<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A picture id: one byte, or two where the first bit is set.
    fn picture(&mut self) -> Option<Counter> {
        let at = self.at;
        let first = self.byte()?;
        if first & 0x80 == 0 {
            return Some(Counter {
                at,
                value: u16::from(first),
                bits: 7,
            });
        }
        let value = u16::from_be_bytes([first & 0x7f, self.byte()?]);
        Some(Counter {
            at,
            value,
            bits: 15,
        })
    }

    fn counter(&mut self, bits: u8) -> Option<Counter> {
        let at = self.at;
        let value = u16::from(self.byte()?) & ((1 << bits) - 1);
        Some(Counter { at, value, bits })
    }
}

pub(super) mod vp8 {
    use super::{Counters, Descriptor, Walk};

    pub(super) fn read(payload: &[u8]) -> Option<Descriptor> {
        let mut walk = Walk { payload, at: 0 };
        let mut counters = Counters::default();
        if walk.byte()? & 0x80 != 0 {
            let present = walk.byte()?;
            if present & 0x80 != 0 {
                counters.picture = Some(walk.picture()?);
            }
            if present & 0x40 != 0 {
                counters.base_picture = Some(walk.counter(8)?);
            }
            // T and K share a byte: TID, Y, KEYIDX.
            if present & 0x30 != 0 {
                let byte = walk.counter(5)?;
                counters.key = (present & 0x10 != 0).then_some(byte);
            }
        }
        Some(Descriptor {
            counters,
            length: walk.at,
            spatial: 0,
        })
    }

    /// S, partition 0, and the P bit of the frame header (RFC 6386 section 9.1) clear.
    pub(in super::super) fn begins_keyframe(payload: &[u8]) -> bool {
        let starts = payload.first().is_some_and(|first| first & 0x1f == 0x10);
        starts
            && read(payload)
                .and_then(|descriptor| payload.get(descriptor.length))
                .is_some_and(|header| header & 1 == 0)
    }
}

pub(super) mod vp9 {
    use super::{Counters, Descriptor, Walk};

    pub(super) fn read(payload: &[u8]) -> Option<Descriptor> {
        let mut walk = Walk { payload, at: 0 };
        let mut counters = Counters::default();
        let mut spatial = 0;
        let first = walk.byte()?;
        if first & 0x80 != 0 {
            counters.picture = Some(walk.picture()?);
        }
        if first & 0x20 != 0 {
            spatial = walk.byte()? >> 1 & 0x07;
            // TL0PICIDX is there in the non-flexible mode only.
            if first & 0x10 == 0 {
                counters.base_picture = Some(walk.counter(8)?);
            }
        }
        Some(Descriptor {
            counters,
            length: walk.at,
            spatial,
        })
    }

    /// B, not P, of the lowest spatial layer.
    pub(in super::super) fn begins_keyframe(payload: &[u8]) -> bool {
        let starts = payload.first().is_some_and(|first| first & 0x48 == 0x08);
        starts && read(payload).is_some_and(|descriptor| descriptor.spatial == 0)
    }
}

#[cfg(test)]
mod tests;
