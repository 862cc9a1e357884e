//! Sends a connection's datagrams: runs of equal size in one call (GSO), in order, and keeps what
//! the kernel does not take yet.
//!
//! Overflow: while a socket is not writable, the connection takes no submissions, so that the
//! bounds of its queue apply (newest media dropped, requests wait). What timers and arriving
//! datagrams add meanwhile is cut at [`MAX_WAITING_BYTES`], and everything is given up after
//! [`MAX_WAIT`]: to the peer that is loss, which every protocol above repairs or forgives.

use super::sockets::{Socket, Sockets};
use engine::address::TransportAddress;
use engine::outbox::{Outbox, Segment};
use quinn_udp::{Transmit, UdpSockRef};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Bytes that may wait for a socket: as much as the socket itself holds (`SOCKET_BUFFER`).
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Datagrams that may wait, a bound for small ones.
const MAX_WAITING_SEGMENTS: usize = 16_384;

/// How long datagrams may wait for a socket. Later than this, media is useless, and SCTP and
/// DTLS have started their retransmissions.
const MAX_WAIT: Duration = Duration::from_millis(200);

/// The most that one call may carry: what fits an IPv6 datagram with its header.
const MAX_RUN_BYTES: usize = 65_535 - 48;

/// What a shard keeps of its shared arena between steps, in bytes.
const KEPT_ARENA: usize = 1 << 20;

thread_local! {
    /// The arena that the engines of a shard write to in turn: an idle one holds no memory.
    static ARENA: RefCell<Outbox> = RefCell::new(Outbox::default());
}

/// What is sent of a connection's outbox.
#[derive(Default)]
pub struct Backlog {
    /// Segments at the front that have left already.
    sent: usize,
    /// Since when a socket is not writable.
    since: Option<Instant>,
    /// What was given up since it was last asked for.
    discarded: Vec<Discarded>,
    /// The wait for a socket. A future of its own: of those that only poll a socket, the last one
    /// is woken, and a socket may be shared.
    writable: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Datagrams that did not leave, of one pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// The socket.
    pub local: TransportAddress,
    /// The peer.
    pub remote: SocketAddr,
    /// How many.
    pub packets: u64,
    /// How much.
    pub bytes: u64,
}

impl Backlog {
    /// Lends the shard's arena to an engine whose own is empty.
    pub fn lend(outbox: &mut Outbox) {
        if outbox.is_empty() {
            ARENA.with_borrow_mut(|arena| std::mem::swap(arena, outbox));
        }
    }

    /// Whether datagrams wait for a socket.
    pub fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Until when they may.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + MAX_WAIT)
    }

    /// Takes what was given up so far. Connectivity checks are not in it: statistics count them
    /// by their answers.
    pub fn take_discarded(&mut self) -> Vec<Discarded> {
        std::mem::take(&mut self.discarded)
    }

    fn discard(&mut self, bytes: &[u8], segments: &[Segment]) {
        for segment in segments {
            // RFC 7983: the first byte of STUN is below 4.
            if bytes.get(segment.offset).is_none_or(|first| *first < 4) {
                continue;
            }
            let (local, remote) = (segment.local, segment.remote);
            let known = self
                .discarded
                .iter()
                .position(|known| known.local == local && known.remote == remote);
            let at = known.unwrap_or_else(|| {
                self.discarded.push(Discarded {
                    local,
                    remote,
                    packets: 0,
                    bytes: 0,
                });
                self.discarded.len() - 1
            });
            if let Some(discarded) = self.discarded.get_mut(at) {
                discarded.packets += 1;
                discarded.bytes += segment.length as u64;
            }
        }
    }

    /// Sends what there is. Takes the arena back when all is sent.
    pub fn send(&mut self, now: Instant, outbox: &mut Outbox, sockets: &Sockets) {
        let before = self.sent;
        while let Some(unsent @ [first, ..]) = outbox.segments.get(self.sent..) {
            let Some(socket) = sockets.at(first.local.address) else {
                // The socket was closed, or never opened.
                self.discard(&outbox.bytes, &unsent[..1]);
                self.sent += 1;
                continue;
            };
            let run = run_length(unsent, socket.offload.max_gso_segments());
            match send_run(socket, &outbox.bytes, &unsent[..run]) {
                Sent::Left => self.sent += run,
                Sent::Refused => {
                    // One datagram, or the whole run when offload does not work here: then the
                    // segments go one by one, now that the socket knows.
                    if run == 1 || socket.offload.max_gso_segments() > 1 {
                        self.discard(&outbox.bytes, &unsent[..run]);
                        self.sent += run;
                    }
                }
                Sent::WouldBlock => {
                    let progress = self.sent > before;
                    return self.wait(now, progress, outbox);
                }
            }
        }
        self.clear(outbox);
    }

    /// Forgets what has left already, so that the rest can be rewritten.
    pub fn forget_sent(&mut self, outbox: &mut Outbox) {
        outbox
            .segments
            .drain(..self.sent.min(outbox.segments.len()));
        self.sent = 0;
    }

    /// Polls the socket that is waited for; the caller sends again when it is ready.
    pub fn poll_writable(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
        sockets: &Sockets,
    ) -> Poll<()> {
        let waiting = outbox
            .segments
            .get(self.sent)
            .and_then(|segment| sockets.at(segment.local.address));
        let Some(socket) = waiting else {
            return Poll::Ready(());
        };
        let writable = self
            .writable
            .get_or_insert_with(|| Box::pin(socket.io.writable()));
        let ready = writable.as_mut().poll(cx);
        if ready.is_ready() {
            self.writable = None;
        }
        ready
    }

    /// Gives up what waits.
    pub fn clear(&mut self, outbox: &mut Outbox) {
        self.sent = 0;
        self.since = None;
        self.writable = None;
        outbox.clear(KEPT_ARENA);
        ARENA.with_borrow_mut(|arena| {
            if arena.bytes.capacity() < outbox.bytes.capacity() {
                std::mem::swap(arena, outbox);
            }
        });
        if outbox.bytes.capacity() > 0 {
            *outbox = Outbox::default();
        }
    }

    /// Keeps what is unsent, within the bounds.
    fn wait(&mut self, now: Instant, progress: bool, outbox: &mut Outbox) {
        if progress {
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= MAX_WAIT {
            let unsent = outbox.segments.get(self.sent..).unwrap_or_default();
            self.discard(&outbox.bytes, unsent);
            return self.clear(outbox);
        }
        self.compact(outbox);
        let mut waiting = 0;
        let fit = outbox
            .segments
            .iter()
            .skip(self.sent)
            .take(MAX_WAITING_SEGMENTS)
            .take_while(|segment| {
                waiting += segment.length;
                waiting <= MAX_WAITING_BYTES
            });
        let kept = self.sent + fit.count();
        if let Some(cut) = outbox.segments.get(kept) {
            let unsent = outbox.segments.get(kept..).unwrap_or_default();
            self.discard(&outbox.bytes, unsent);
            outbox.bytes.truncate(cut.offset);
            outbox.segments.truncate(kept);
        }
    }

    /// Forgets the sent front of the outbox once it is the larger part of it.
    fn compact(&mut self, outbox: &mut Outbox) {
        if self.sent <= outbox.segments.len() / 2 {
            return;
        }
        let Some(gone) = outbox.segments.get(self.sent).map(|first| first.offset) else {
            return;
        };
        outbox.bytes.drain(..gone);
        outbox.segments.drain(..self.sent);
        for segment in &mut outbox.segments {
            segment.offset -= gone;
        }
        self.sent = 0;
    }
}

/// How many segments at the front can leave in one call: same sockets at both ends, one after
/// the other in the arena, all of the first one's length but the last, which may be shorter.
fn run_length(segments: &[Segment], most: usize) -> usize {
    let Some((first, rest)) = segments.split_first() else {
        return 0;
    };
    let mut run = 1;
    let mut last = first;
    let mut total = first.length;
    for segment in rest.iter().take(most.saturating_sub(1)) {
        total += segment.length;
        let fits = last.length == first.length
            && segment.length <= first.length
            && segment.length > 0
            && segment.local == first.local
            && segment.remote == first.remote
            && segment.offset == last.offset + last.length
            && total <= MAX_RUN_BYTES;
        if !fits {
            break;
        }
        run += 1;
        last = segment;
    }
    run
}

enum Sent {
    Left,
    WouldBlock,
    Refused,
}

fn send_run(socket: &Socket, bytes: &[u8], run: &[Segment]) -> Sent {
    let ([first, ..], [.., last]) = (run, run) else {
        return Sent::Left;
    };
    let Some(contents) = bytes.get(first.offset..last.offset + last.length) else {
        return Sent::Refused;
    };
    let result = if run.len() == 1 {
        let sent = socket.io.socket().send_to(contents, first.remote);
        sent.map(drop)
    } else {
        let transmit = Transmit {
            destination: first.remote,
            ecn: None,
            contents,
            segment_size: Some(first.length),
            src_ip: None,
        };
        let socket_ref = UdpSockRef::from(socket.io.socket());
        socket.offload.try_send(socket_ref, &transmit)
    };
    match result {
        Ok(()) => Sent::Left,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::WouldBlock,
        Err(error) => {
            // Unreachable network, too large for the link, refused by a firewall: all the same
            // as loss to the layers above.
            log::debug!("sending from {} to {}: {error}", first.local, first.remote);
            Sent::Refused
        }
    }
}

#[cfg(test)]
mod tests;
