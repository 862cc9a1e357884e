//! What a shared port has received for one connection: filled by the readers of every shard,
//! emptied by the connection's task.
//!
//! A mutex around an arena, held for a swap or for a copy of one run of datagrams. An idle
//! connection holds little memory: large arenas belong to the shards.

use engine::outbox::Outbox;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Datagrams and bytes that may wait for one connection: what a socket of its own would hold
/// (`SOCKET_BUFFER`), and a bound for small datagrams.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 4 << 20;

/// Where this many wait already, checks from addresses that have proved nothing stay out. Anybody
/// may know a user name: a flood of checks must not push out media.
const MAX_WAITING_FOR_STRANGERS: usize = 256;

/// Arenas that a shard keeps for the next burst, and how large one may be.
const KEPT_ARENAS: usize = 16;
const KEPT_ARENA: usize = 256 << 10;

/// What a connection keeps between datagrams: room for one or two packets, so that media at its
/// usual pace goes round without the allocator.
const OWN_ARENA: usize = 4 << 10;

thread_local! {
    static ARENAS: RefCell<Vec<Outbox>> = const { RefCell::new(Vec::new()) };
}

/// Empties an arena; a large one goes back to the shard.
pub fn put_back(arena: &mut Outbox) {
    arena.clear(KEPT_ARENA);
    if arena.bytes.capacity() > OWN_ARENA {
        let large = std::mem::take(arena);
        ARENAS.with_borrow_mut(|kept| {
            if kept.len() < KEPT_ARENAS {
                kept.push(large);
            }
        });
    }
}

/// Who sent what is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The connection's peer, from an address that it has proved, or a server that was asked.
    Known,
    /// Somebody who knows the user name.
    Stranger,
}

/// See the module.
pub struct Inbox {
    /// The shard that the connection lives on.
    pub shard: usize,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    datagrams: Outbox,
    closed: bool,
    /// Set while the connection's task sleeps.
    waker: Option<Waker>,
}

impl Inbox {
    /// Empty, of a connection on `shard`.
    pub fn new(shard: usize) -> Self {
        Self {
            shard,
            waiting: Mutex::new(Waiting {
                datagrams: Outbox::default(),
                closed: false,
                waker: None,
            }),
        }
    }

    /// Nothing that can panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers a run of datagrams, which is empty afterwards. Overflow policy "shared port →
    /// connection": the newest are dropped; how many is the answer.
    pub fn deliver(&self, run: &mut Outbox, sender: Sender) -> u64 {
        let most = match sender {
            Sender::Known => MAX_WAITING,
            Sender::Stranger => MAX_WAITING_FOR_STRANGERS,
        };
        let mut dropped = 0;
        let waker = {
            let mut waiting = self.lock();
            let waiting = &mut *waiting;
            if waiting.closed {
                run.clear(KEPT_ARENA);
                return 0;
            }
            if waiting.datagrams.is_empty() && run.segments.len() <= most {
                std::mem::swap(&mut waiting.datagrams, run);
            } else {
                for segment in &run.segments {
                    let bytes = run
                        .bytes
                        .get(segment.offset..segment.offset + segment.length);
                    let room = waiting.datagrams.segments.len() < most
                        && waiting.datagrams.bytes.len() + segment.length <= MAX_WAITING_BYTES;
                    match bytes {
                        Some(bytes) if room => {
                            waiting.datagrams.push(segment.local, segment.remote, bytes);
                        }
                        _ => dropped += 1,
                    }
                }
            }
            waiting.waker.take()
        };
        run.clear(KEPT_ARENA);
        if let Some(waker) = waker {
            waker.wake();
        }
        dropped
    }

    /// Moves everything that waits into `arrived`, which must be empty; the task is woken by the
    /// next delivery otherwise.
    pub fn poll_take(&self, cx: &Context<'_>, arrived: &mut Outbox) -> Poll<()> {
        debug_assert!(arrived.is_empty(), "what arrived is finished first");
        let mut waiting = self.lock();
        if waiting.datagrams.is_empty() {
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        std::mem::swap(&mut waiting.datagrams, arrived);
        Poll::Ready(())
    }

    /// Takes nothing any more.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.waker = None;
        waiting.datagrams = Outbox::default();
    }
}

/// Datagrams of one reader's batch that go to the same connection, on their way there.
pub struct Run {
    datagrams: Outbox,
    to: Option<(Arc<Inbox>, Sender)>,
    dropped: u64,
}

impl Run {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self {
            datagrams: Outbox::default(),
            to: None,
            dropped: 0,
        }
    }

    /// Adds a datagram; delivers those before it first, where they go elsewhere.
    pub fn add(
        &mut self,
        inbox: &Arc<Inbox>,
        sender: Sender,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) {
        let same = self
            .to
            .as_ref()
            .is_some_and(|(to, of)| Arc::ptr_eq(to, inbox) && *of == sender);
        if !same {
            self.deliver();
            self.to = Some((Arc::clone(inbox), sender));
        }
        if self.datagrams.bytes.len() + datagram.len() > self.datagrams.bytes.capacity() {
            self.grow();
        }
        self.datagrams.push(local, remote, datagram);
    }

    /// A burst goes into a large arena where the shard has one.
    fn grow(&mut self) {
        let small = self.datagrams.bytes.capacity() <= OWN_ARENA;
        if small && let Some(mut large) = ARENAS.with_borrow_mut(Vec::pop) {
            std::mem::swap(&mut large, &mut self.datagrams);
            self.datagrams.bytes.extend_from_slice(&large.bytes);
            self.datagrams.segments.append(&mut large.segments);
        }
    }

    fn deliver(&mut self) {
        if let Some((to, sender)) = self.to.take() {
            self.dropped += to.deliver(&mut self.datagrams, sender);
        }
    }

    /// Delivers what there is; says how many datagrams had no room.
    pub fn finish(mut self) -> u64 {
        self.deliver();
        put_back(&mut self.datagrams);
        self.dropped
    }
}

#[cfg(test)]
mod tests;
