//! Transport-wide feedback as the peer sends it (draft-holmer-rmcat-transport-wide-cc-extensions-01
//! section 3.1), read without a copy. What it claims is bounded by what it carries: an arrival
//! costs the peer a byte, and what did not arrive is told in runs, however long.

use std::ops::ControlFlow;

/// What is in front of the chunks: two SSRCs, base number, count, reference time, packet count.
const HEAD: usize = 16;
/// Deltas count in 250 µs, the reference time in 64 ms of 24 bits.
const TICK_MICROS: i64 = 250;
const REFERENCE_MICROS: i64 = 64_000;
const REFERENCE_BITS: u32 = 24;

/// What one chunk says of packets that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// This packet arrived, at this time of the peer's clock in microseconds.
    Arrived {
        /// The transport-wide number.
        number: u16,
        /// Comparable with other arrivals only.
        at: i64,
    },
    /// So many packets from this one on did not, so far.
    Missing {
        /// The first one's number.
        first: u16,
        /// How many.
        count: u16,
    },
}

/// Keeps the peer's reference time without its wrap-around.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReferenceClock(Option<i64>);

impl ReferenceClock {
    /// The reference nearest to the last one.
    fn extend(&mut self, reference: u32) -> i64 {
        let reference = i64::from(reference);
        let extended = match self.0 {
            None => reference,
            Some(last) => {
                let wrap = 1i64 << REFERENCE_BITS;
                let ahead = (reference - last).rem_euclid(wrap);
                last + if ahead < wrap / 2 {
                    ahead
                } else {
                    ahead - wrap
                }
            }
        };
        self.0 = Some(extended);
        extended
    }
}

/// One feedback packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransportFeedback<'a> {
    base: u16,
    count: u16,
    reference: u32,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// A run of packets with the same symbol.
#[derive(Clone, Copy)]
enum Run {
    Missing(u16),
    /// So many packets, with deltas of so many bytes.
    Arrived(u16, usize),
}

impl<'a> TransportFeedback<'a> {
    /// Reads the body behind the RTCP header; `None` where its lengths contradict each other or
    /// a symbol is not defined.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let head: &[u8; HEAD] = body.first_chunk()?;
        let [_, _, _, _, _, _, _, _, b0, b1, c0, c1, r0, r1, r2, _] = *head;
        let count = u16::from_be_bytes([c0, c1]);
        let rest = body.get(HEAD..)?;
        let pairs = rest.as_chunks::<2>().0;
        let (mut used, mut left, mut bytes) = (0, count, 0usize);
        while left > 0 {
            let chunk = *pairs.get(used)?;
            used += 1;
            let walked = runs(chunk, &mut left, |run| {
                if let Run::Arrived(count, length) = run {
                    bytes += usize::from(count) * length;
                }
                ControlFlow::Continue(())
            });
            if walked? == ControlFlow::Break(()) {
                return None;
            }
        }
        let deltas = rest.get(used * 2..)?;
        (count > 0 && bytes <= deltas.len()).then_some(Self {
            base: u16::from_be_bytes([b0, b1]),
            count,
            reference: u32::from_be_bytes([0, r0, r1, r2]),
            chunks: pairs.get(..used)?,
            deltas,
        })
    }

    /// Hands over what is told, in the order of numbers.
    pub(super) fn walk(&self, clock: &mut ReferenceClock, mut each: impl FnMut(Told)) {
        let mut at = clock.extend(self.reference) * REFERENCE_MICROS;
        let mut deltas = self.deltas;
        let mut number = self.base;
        let mut left = self.count;
        for chunk in self.chunks {
            let _ = runs(*chunk, &mut left, |run| {
                let (count, length) = match run {
                    Run::Missing(count) => {
                        each(Told::Missing {
                            first: number,
                            count,
                        });
                        number = number.wrapping_add(count);
                        return ControlFlow::Continue(());
                    }
                    Run::Arrived(count, length) => (count, length),
                };
                for _ in 0..count {
                    let Some((delta, rest)) = deltas.split_at_checked(length) else {
                        return ControlFlow::Break(());
                    };
                    deltas = rest;
                    let ticks = match *delta {
                        [small] => i64::from(small),
                        [high, low] => i64::from(i16::from_be_bytes([high, low])),
                        _ => 0,
                    };
                    at += ticks * TICK_MICROS;
                    each(Told::Arrived { number, at });
                    number = number.wrapping_add(1);
                }
                ControlFlow::Continue(())
            });
        }
    }
}

/// The runs of one chunk, cut at `left`, which is counted down. `None` for a symbol that is not
/// defined.
fn runs(
    chunk: [u8; 2],
    left: &mut u16,
    mut each: impl FnMut(Run) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let bits = u16::from_be_bytes(chunk);
    let mut one = |symbol: u16, count: u16, left: &mut u16| {
        let count = count.min(*left);
        *left -= count;
        let run = match symbol {
            0 => Run::Missing(count),
            1 | 2 => Run::Arrived(count, usize::from(symbol)),
            _ => return None,
        };
        Some(if count == 0 {
            ControlFlow::Continue(())
        } else {
            each(run)
        })
    };
    if bits & 0x8000 == 0 {
        return one(bits >> 13 & 3, bits & 0x1fff, left);
    }
    let (width, symbols) = if bits & 0x4000 == 0 { (1, 14) } else { (2, 7) };
    for place in (0..symbols).rev() {
        let symbol = bits >> (place * width) & ((1 << width) - 1);
        if one(symbol, 1, left)? == ControlFlow::Break(()) {
            return Some(ControlFlow::Break(()));
        }
    }
    Some(ControlFlow::Continue(()))
}
