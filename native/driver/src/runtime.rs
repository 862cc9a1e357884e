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
use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

/// How a [`Runtime`] is made.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Shard threads; one for each available core where not given.
    pub shards: Option<usize>,
    /// Connections that a shard takes before the next one has its turn; 4 where not given.
    pub neighbours: Option<usize>,
}

/// See [`RuntimeOptions::neighbours`]. Connections that are opened one after the other belong
/// together as a rule (a call, a publisher and who watches): what goes from one to the other need
/// not wake a second thread. So few that they cannot fill a core.
const NEIGHBOURS: usize = 4;

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
    neighbours: usize,
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
            neighbours: options.neighbours.unwrap_or(NEIGHBOURS).max(1),
            _offload: keep_offload(),
        })
    }

    /// Opens a connection on the shard whose turn it is. Returns at once: the engine is made
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
        self.place().ok_or(OpenError::RuntimeGone)?.open(opening)?;
        Ok(Connection::new(queue))
    }

    /// Connections that have been opened and have not left their shard.
    pub fn connections(&self) -> usize {
        self.shards.iter().map(Shard::connections).sum()
    }

    fn place(&self) -> Option<&Shard<M>> {
        let connections = self.shards.iter().map(Shard::connections);
        self.shards.get(turn(connections, self.neighbours)?)
    }
}

/// Which shard is next: of those with the fewest whole groups of neighbours, the one whose group is
/// the fullest.
fn turn(connections: impl Iterator<Item = usize>, neighbours: usize) -> Option<usize> {
    let groups = connections.map(|count| (count / neighbours, Reverse(count % neighbours)));
    let (shard, _) = groups.enumerate().min_by_key(|(_, group)| *group)?;
    Some(shard)
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

#[cfg(test)]
mod tests {
    use super::turn;

    /// The shards of connections that are opened one after the other.
    fn turns(shards: usize, neighbours: usize, connections: usize) -> Vec<usize> {
        let mut counts = vec![0_usize; shards];
        (0..connections)
            .filter_map(|_| {
                let shard = turn(counts.iter().copied(), neighbours)?;
                counts[shard] += 1;
                Some(shard)
            })
            .collect()
    }

    #[test]
    fn neighbours_share_a_shard_and_then_the_next_has_its_turn() {
        assert_eq!(turns(2, 2, 9), [0, 0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(turns(3, 1, 4), [0, 1, 2, 0]);
        assert_eq!(turns(1, 4, 3), [0, 0, 0]);
        assert_eq!(turns(0, 4, 3), Vec::<usize>::new());
    }

    #[test]
    fn a_group_that_was_left_is_filled_again() {
        assert_eq!(turn([8, 6, 5].into_iter(), 4), Some(1));
        assert_eq!(turn([8, 3].into_iter(), 4), Some(1));
    }
}
