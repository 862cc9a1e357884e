//! One shard: a thread with a current-thread runtime, and one task for each of its connections.
//!
//! The runtime's event queue and timer wheel are shared by all connections of the shard, so a
//! connection that has nothing to do costs one entry in each. A task's turn is bounded
//! ([`task`]), and after every 61 turns (tokio's `LocalSet`) the shard looks at its sockets and
//! timers again: a busy connection does not starve its neighbours.

pub mod backlog;
pub mod forwards;
pub mod receive;
pub mod sockets;
mod task;
mod timer;
pub mod udp;
mod vigil;

use crate::gather::dns::Dns;
use crate::gather::mdns::{self, Resolver};
use crate::mailbox::Mailbox;
use crate::mux::PortLease;
use crate::queue::Queue;
use crate::runtime::OpenError;
use engine::config::Config;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use task::Task;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Threads of a shard that may wait for the system's resolver, which only blocks. One for each
/// name that is asked for at a time; names that do not answer must not hold up those that do.
const MAX_LOOKUP_THREADS: usize = 4;

/// How long such a thread stays for the next name.
const LOOKUP_THREAD_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What a shard needs to make a connection.
pub struct Opening<M> {
    /// How it is configured.
    pub config: Config,
    /// Where its output goes.
    pub mailbox: M,
    /// Shared with its handles.
    pub queue: Arc<Queue<M>>,
    /// The port that it shares with others.
    pub lease: Option<PortLease>,
}

/// What the connections of a shard share.
pub struct Neighbourhood {
    /// Which shard it is.
    pub shard: usize,
    /// Looks up `.local` names.
    pub resolver: Resolver,
    /// Looks up the names of ICE servers.
    pub dns: Dns,
    /// What the shard's timers count from.
    pub epoch: Instant,
}

/// Counts one connection for as long as it lives.
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The outside of a shard.
pub struct Shard<M: Mailbox> {
    openings: Option<mpsc::UnboundedSender<(Opening<M>, Counted)>>,
    connections: Arc<AtomicUsize>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl<M: Mailbox> Shard<M> {
    /// Starts the thread. One shard of a runtime also runs the `.local` lookups.
    pub fn start(
        index: usize,
        resolver: Resolver,
        lookups: Option<mdns::Service>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("ex_webrtc_dns")
            .max_blocking_threads(MAX_LOOKUP_THREADS)
            .thread_keep_alive(LOOKUP_THREAD_KEEP_ALIVE)
            .build()?;
        let handle = runtime.handle().clone();
        let (openings, opened) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("ex_webrtc_{index}"))
            .spawn(move || {
                let tasks = LocalSet::new();
                tasks.block_on(&runtime, accept(index, opened, resolver, lookups));
                // Every task is dropped here, which closes its connection.
                drop(tasks);
                // A name that does not answer must not keep the thread.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            openings: Some(openings),
            connections: Arc::new(AtomicUsize::new(0)),
            runtime: handle,
            thread: Some(thread),
        })
    }

    /// Hands a connection over. Unbounded: each stands for a process that exists already.
    pub fn open(&self, opening: Opening<M>) -> Result<(), OpenError> {
        let openings = self.openings.as_ref().ok_or(OpenError::RuntimeGone)?;
        openings
            .send((opening, Counted::new(&self.connections)))
            .map_err(|_| OpenError::RuntimeGone)
    }

    /// Connections it has, or is about to have.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Its runtime, for sockets that it serves to all.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Tells the thread to close its connections and end.
    pub fn stop(&mut self) {
        self.openings = None;
    }

    /// Waits for the thread to end. The runtime may be dropped on a shard of its own, which
    /// cannot wait for itself.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("a shard thread panicked");
        }
    }
}

/// Makes a task of every connection that is opened, until the runtime is dropped.
async fn accept<M: Mailbox>(
    shard: usize,
    mut opened: mpsc::UnboundedReceiver<(Opening<M>, Counted)>,
    resolver: Resolver,
    lookups: Option<mdns::Service>,
) {
    if let Some(lookups) = lookups {
        tokio::task::spawn_local(lookups.run());
    }
    let neighbourhood = Rc::new(Neighbourhood {
        shard,
        resolver,
        dns: Dns::new(),
        epoch: Instant::now(),
    });
    while let Some((opening, counted)) = opened.recv().await {
        tokio::task::spawn_local(Task::new(opening, counted, Rc::clone(&neighbourhood)).run());
    }
}
