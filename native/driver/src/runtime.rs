//! The shard threads.

use crate::connection::Connection;
use crate::gather::mdns;
use crate::mailbox::Mailbox;
use crate::mux::{PortLease, PortStats, Ports};
use crate::panic_guard;
use crate::queue::Queue;
use crate::shard::sockets::keep_offload;
use crate::shard::{Opening, Shard};
use engine::config::Config;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a [`Runtime`] is made.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Shard threads; one for each available core where not given.
    pub shards: Option<usize>,
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The runtime's threads have ended.
    #[error("the runtime is gone")]
    RuntimeGone,
}

/// The threads that own all connections. A program has one.
///
/// Dropping it closes every connection and waits for the threads to end.
pub struct Runtime<M: Mailbox> {
    shards: Vec<Shard<M>>,
    ports: Ports,
    next: AtomicUsize,
    _offload: Vec<UdpSocket>,
}

impl<M: Mailbox> Runtime<M> {
    /// Starts the shard threads, named `ex_webrtc_0`, `ex_webrtc_1`, ….
    ///
    /// # Errors
    /// What the system says when a thread, or its event queue, cannot be made.
    pub fn new(options: RuntimeOptions) -> io::Result<Self> {
        panic_guard::install_hook();
        let count = options
            .shards
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .max(1);
        let (resolver, lookups) = mdns::resolver();
        let mut lookups = Some(lookups);
        let shards: Vec<_> = (0..count)
            .map(|index| Shard::start(index, resolver.clone(), lookups.take()))
            .collect::<io::Result<_>>()?;
        let runtimes = shards.iter().map(|it: &Shard<M>| it.runtime().clone());
        Ok(Self {
            ports: Ports::new(runtimes.collect()),
            shards,
            next: AtomicUsize::new(0),
            _offload: keep_offload(),
        })
    }

    /// Opens a connection on the shard that has the fewest. Returns at once: the engine is made
    /// on the shard, and [`Mailbox::panicked`] tells when that fails.
    ///
    /// # Errors
    /// `RuntimeGone` when the shard's thread has ended.
    pub fn open(&self, config: Config, mailbox: M) -> Result<Connection<M>, OpenError> {
        self.open_with(config, mailbox, None)
    }

    /// Like [`Self::open`], of a connection whose host candidates are on a shared port.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        &self,
        lease: PortLease,
        config: Config,
        mailbox: M,
    ) -> Result<Connection<M>, OpenError> {
        self.open_with(config, mailbox, Some(lease))
    }

    /// Opens a UDP port on `addresses` for connections to share, or joins those who do. It closes
    /// with the last lease: when the connections on it are closed. Without a `number` it is one
    /// that was free, and the same one every time while it can be had.
    ///
    /// Asks the system, with a lock held.
    ///
    /// # Errors
    /// `AddrInUse` where another program has the port; what the system says where it cannot be
    /// bound on any of the addresses.
    pub fn share_port(&self, number: Option<u16>, addresses: &[IpAddr]) -> io::Result<PortLease> {
        self.ports.lease(number, addresses)
    }

    /// The ports that connections share now, in no order.
    pub fn shared_ports(&self) -> Vec<PortStats> {
        self.ports.stats()
    }

    fn open_with(
        &self,
        config: Config,
        mailbox: M,
        lease: Option<PortLease>,
    ) -> Result<Connection<M>, OpenError> {
        let queue = Arc::new(Queue::new());
        let opening = Opening {
            config,
            mailbox,
            queue: Arc::clone(&queue),
            lease,
        };
        self.least_loaded()
            .ok_or(OpenError::RuntimeGone)?
            .open(opening)?;
        Ok(Connection::new(queue))
    }

    /// Connections that have been opened and have not left their shard.
    pub fn connections(&self) -> usize {
        self.shards.iter().map(Shard::connections).sum()
    }

    /// Ties go round, so that connections opened in a burst spread.
    fn least_loaded(&self) -> Option<&Shard<M>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1);
        let (before, from) = self.shards.split_at_checked(first)?;
        from.iter()
            .chain(before)
            .min_by_key(|shard| shard.connections())
    }
}

impl<M: Mailbox> Drop for Runtime<M> {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            shard.stop();
        }
        for shard in &mut self.shards {
            shard.join();
        }
    }
}
