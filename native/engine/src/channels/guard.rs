//! What an SCTP packet must pass before the crate sees it: the bounds on what an authenticated
//! peer can make us spend, and the repairs for what the crate takes too hard.

use super::wire::{self, Chunk, Reconfig};
use bytes::Bytes;

/// Stream that unwanted data is moved to: 65535 is never a data channel (RFC 8832 section 6), so
/// what arrives on it is read and thrown away while its TSNs are acknowledged as they must be.
pub(super) const TRASH: u16 = u16::MAX;
/// How far ahead of what we have a FORWARD TSN or a reset may point. The crate walks every TSN in
/// between; a peer's whole window of ordinary chunks is far below this.
const FARTHEST_TSN: u32 = 1 << 16;
/// Reset requests that may wait for their last TSN. RFC 6525 section 5.1.2 allows a peer one.
const WAITING_RESETS: usize = 16;
/// Whole messages that may wait behind a loss. At about 200 bytes each in the crate this is the
/// same order as the receive window.
const WAITING_MESSAGES: u32 = 1 << 17;
/// Least room for fragments of unfinished messages; the crate searches them linearly.
const WAITING_FRAGMENTS: u32 = 1 << 14;
/// Fragments on real paths carry at least this much (RFC 8831 section 5: path MTU of 576 at worst).
const LEAST_FRAGMENT: u32 = 256;
/// Bytes taken while the window is closed. An honest peer sends one probe at a time then (RFC 9260
/// section 6.1 A); the crate takes each that continues an unfinished message, without an end.
const BEYOND_WINDOW: u32 = 256 << 10;
/// PPID of DCEP (RFC 8832 section 8.1).
const DCEP: u32 = 50;

/// What becomes of DATA on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Deliver,
    Discard,
}

/// What becomes of a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass(Bytes),
    Drop,
    /// The peer is beyond what any honest one does.
    Abort,
}

/// The incoming half of the association's guard.
#[derive(Debug)]
pub(super) struct Guard {
    window: u32,
    /// Cumulative TSN that we acknowledged last.
    cumulative: Option<u32>,
    /// Bytes that came since the window is closed.
    beyond_window: u32,
    window_closed: bool,
    waiting_messages: u32,
    waiting_fragments: u32,
    waiting_resets: Vec<(u32, u32)>,
    /// Answers to our own reset requests: sequence number, result.
    pub(super) responses: Vec<(u32, u32)>,
}

impl Guard {
    pub(super) fn new(window: u32) -> Self {
        Self {
            window,
            cumulative: None,
            beyond_window: 0,
            window_closed: false,
            waiting_messages: 0,
            waiting_fragments: 0,
            waiting_resets: Vec::new(),
            responses: Vec::new(),
        }
    }

    /// The peer's first TSN is in its INIT or INIT ACK.
    pub(super) fn started(&mut self, initial_tsn: u32) {
        self.cumulative = Some(initial_tsn.wrapping_sub(1));
    }

    /// We send a SACK with this cumulative TSN, window and number of gaps.
    pub(super) fn acknowledged(&mut self, cumulative: u32, window: u32, gaps: u16) {
        self.cumulative = Some(cumulative);
        self.window_closed = window == 0;
        if window > 0 {
            self.beyond_window = 0;
        }
        if window == self.window && gaps == 0 {
            // Nothing waits: what duplicates added to the counts goes.
            self.waiting_messages = 0;
            self.waiting_fragments = 0;
        }
        self.waiting_resets
            .retain(|(_, last)| ahead(cumulative, *last) > 0);
    }

    /// A message of so many fragments was read out of the crate.
    pub(super) fn read(&mut self, fragments: usize) {
        let fragments = u32::try_from(fragments).unwrap_or(u32::MAX);
        if fragments == 1 {
            self.waiting_messages = self.waiting_messages.saturating_sub(1);
        } else {
            self.waiting_fragments = self.waiting_fragments.saturating_sub(fragments);
        }
    }

    /// Judges a packet of an association that is past its INIT.
    pub(super) fn inspect(&mut self, packet: Bytes, route: impl Fn(u16, bool) -> Route) -> Verdict {
        let Some(chunks) = wire::chunks(&packet) else {
            return Verdict::Drop;
        };
        let mut discard = Vec::new();
        let mut forwards = Vec::new();
        for chunk in &chunks {
            let sound = match chunk.kind {
                // A late copy of the INIT of this very association: it would end it.
                wire::INIT => false,
                wire::DATA => match self.data(chunk, &route) {
                    Some(Route::Discard) => {
                        discard.push(chunk.offset);
                        true
                    }
                    Some(Route::Deliver) => true,
                    None => false,
                },
                wire::ABORT => return Verdict::Pass(wire::bare_abort(&packet, chunk.flags)),
                wire::SACK => gaps_are_in_order(chunk),
                wire::FORWARD_TSN => {
                    forwards.extend(unread_streams(chunk, &route));
                    chunk.u32_at(0).is_some_and(|tsn| self.is_near(tsn))
                }
                wire::RECONFIG => self.reconfig(chunk),
                _ => true,
            };
            if !sound {
                return Verdict::Drop;
            }
        }
        let fragments = WAITING_FRAGMENTS.max(self.window / LEAST_FRAGMENT);
        if self.beyond_window > BEYOND_WINDOW
            || self.waiting_messages > WAITING_MESSAGES
            || self.waiting_fragments > fragments
        {
            return Verdict::Abort;
        }
        let all_known = chunks.iter().all(|chunk| wire::is_known(chunk.kind));
        let packet = if discard.is_empty() && forwards.is_empty() {
            packet
        } else {
            moved_to_trash(&packet, &discard, &forwards)
        };
        if all_known {
            return Verdict::Pass(packet);
        }
        wire::only(&packet, wire::is_known).map_or(Verdict::Drop, Verdict::Pass)
    }

    fn data(&mut self, chunk: &Chunk<'_>, route: impl Fn(u16, bool) -> Route) -> Option<Route> {
        let (stream, protocol) = (chunk.u16_at(4)?, chunk.u32_at(8)?);
        let bytes = u32::try_from(chunk.value.len()).unwrap_or(u32::MAX);
        if self.window_closed {
            self.beyond_window = self.beyond_window.saturating_add(bytes);
        }
        let route = route(stream, protocol == DCEP);
        let whole = wire::FIRST | wire::LAST;
        match route {
            // Read at once, whatever it is.
            Route::Discard => {}
            Route::Deliver if chunk.flags & whole == whole => {
                self.waiting_messages = self.waiting_messages.saturating_add(1);
            }
            Route::Deliver => {
                self.waiting_fragments = self.waiting_fragments.saturating_add(1);
            }
        }
        Some(route)
    }

    fn is_near(&self, tsn: u32) -> bool {
        self.cumulative
            .is_none_or(|cumulative| ahead(cumulative, tsn) < i64::from(FARTHEST_TSN))
    }

    fn reconfig(&mut self, chunk: &Chunk<'_>) -> bool {
        for parameter in wire::reconfigs(chunk) {
            match parameter {
                Reconfig::Response { sequence, result } => self.responses.push((sequence, result)),
                Reconfig::Reset {
                    sequence, last_tsn, ..
                } => {
                    let cumulative = self.cumulative.unwrap_or(last_tsn);
                    let waits = ahead(cumulative, last_tsn) > 0;
                    if waits
                        && !self
                            .waiting_resets
                            .iter()
                            .any(|(known, _)| *known == sequence)
                    {
                        if self.waiting_resets.len() >= WAITING_RESETS || !self.is_near(last_tsn) {
                            return false;
                        }
                        self.waiting_resets.push((sequence, last_tsn));
                    }
                }
            }
        }
        true
    }
}

/// How far `tsn` is ahead of `base` in serial arithmetic (RFC 9260 section 1.6).
fn ahead(base: u32, tsn: u32) -> i64 {
    i64::from(tsn.wrapping_sub(base) as i32)
}

/// The crate visits every TSN of every gap block; overlapping ones would multiply the work.
fn gaps_are_in_order(chunk: &Chunk<'_>) -> bool {
    let Some(count) = chunk.u16_at(8) else {
        return false;
    };
    let mut end = 0;
    (0..usize::from(count)).all(|index| {
        let (first, last) = (chunk.u16_at(12 + 4 * index), chunk.u16_at(14 + 4 * index));
        match (first, last) {
            (Some(first), Some(last)) if first > end && last >= first => {
                end = last;
                true
            }
            _ => false,
        }
    })
}

/// Where in the packet a FORWARD TSN names streams that are not read any more: released messages
/// there would hold up the peer's reset for ever.
fn unread_streams(chunk: &Chunk<'_>, route: impl Fn(u16, bool) -> Route) -> Vec<usize> {
    (4..chunk.value.len())
        .step_by(4)
        .filter(|at| {
            chunk
                .u16_at(*at)
                .is_some_and(|id| route(id, false) == Route::Discard)
        })
        .map(|at| chunk.offset + 4 + at)
        .collect()
}

/// The packet with the DATA chunks at these offsets turned into whole messages on [`TRASH`], and
/// the stream ids at these others too.
fn moved_to_trash(packet: &[u8], chunks: &[usize], ids: &[usize]) -> Bytes {
    let mut copy = packet.to_vec();
    for offset in chunks {
        if let Some(flags) = copy.get_mut(offset + 1) {
            *flags |= wire::FIRST | wire::LAST | wire::UNORDERED;
        }
    }
    for offset in chunks
        .iter()
        .map(|offset| offset + 8)
        .chain(ids.iter().copied())
    {
        if let Some(stream) = copy.get_mut(offset..offset + 2) {
            stream.copy_from_slice(&TRASH.to_be_bytes());
        }
    }
    wire::sealed(copy)
}
