//! One UDP port on every host address: a socket for each shard, and the tables that its readers
//! share.

use super::checks::Checks;
use super::reader::read;
use super::routes::Routes;
use crate::shard::sockets::{MAX_SOCKETS, Socket, udp_socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Whether the kernel spreads datagrams over the sockets of one port. Elsewhere the first shard
/// reads for all.
const KERNEL_BALANCES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// How often a free port is looked for that is free on every address.
const ATTEMPTS: usize = 32;

/// A socket that its reader holds while it reads. Empty once the port is closed.
pub struct Slot(Mutex<Option<Arc<Socket>>>);

impl Slot {
    /// The socket. A lock that was poisoned still guards a whole socket.
    pub fn lock(&self) -> MutexGuard<'_, Option<Arc<Socket>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sockets of one address, by shard, and the tasks that read them.
struct Bound {
    address: SocketAddr,
    sockets: Vec<Arc<Slot>>,
    readers: Vec<AbortHandle>,
}

impl Bound {
    /// Whether a connection has one of the sockets.
    fn is_used(&self) -> bool {
        self.sockets.iter().any(|slot| {
            slot.lock()
                .as_ref()
                .is_some_and(|it| Arc::strong_count(it) > 1)
        })
    }
}

impl Drop for Bound {
    /// The sockets are closed when this returns: no reader is in a turn that has one.
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
        for slot in &self.sockets {
            slot.lock().take();
        }
    }
}

/// What the readers have seen, of all connections that ever shared the port.
#[derive(Default)]
pub struct Counters {
    /// Datagrams.
    pub received: AtomicU64,
    /// Those for a connection of another shard than the one that received them.
    pub handed_over: AtomicU64,
    /// Those that belong to no connection, and were dropped.
    pub unknown: AtomicU64,
    /// Those that their connection had no room for.
    pub dropped: AtomicU64,
}

/// See the module.
pub struct Port {
    /// The port.
    pub number: u16,
    /// For statistics.
    pub counters: Counters,
    shards: Vec<Handle>,
    bound: Mutex<Vec<Bound>>,
    routes: RwLock<Routes>,
    checks: Mutex<Checks>,
}

impl Port {
    /// Binds a port, any where none is given, on all `addresses` that can be bound.
    ///
    /// # Errors
    /// `AddrInUse` where another program has the port on one of them; what the system says where
    /// none can be bound.
    pub fn bind(
        number: Option<u16>,
        addresses: &[IpAddr],
        shards: Vec<Handle>,
    ) -> io::Result<Arc<Self>> {
        let mut outcome = Self::bind_once(number, addresses, &shards);
        for _ in 1..ATTEMPTS {
            // A free port of one address may be taken on another.
            match outcome {
                Err(error) if number.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
                    outcome = Self::bind_once(number, addresses, &shards);
                }
                outcome => return outcome,
            }
        }
        outcome
    }

    fn bind_once(
        number: Option<u16>,
        addresses: &[IpAddr],
        shards: &[Handle],
    ) -> io::Result<Arc<Self>> {
        let mut number = number.unwrap_or(0);
        let mut groups = Vec::new();
        let mut failed = io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no address of this machine may be used",
        );
        for ip in addresses.iter().take(MAX_SOCKETS) {
            match bind_group(*ip, number, shards.len(), KERNEL_BALANCES) {
                Ok((address, group)) => {
                    number = address.port();
                    groups.push((address, group));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => {
                    log::warn!("UDP port {number} cannot be bound on {ip}: {error}");
                    failed = error;
                }
            }
        }
        if groups.is_empty() {
            return Err(failed);
        }
        let port = Arc::new(Self {
            number,
            counters: Counters::default(),
            shards: shards.to_vec(),
            bound: Mutex::new(Vec::new()),
            routes: RwLock::new(Routes::default()),
            checks: Mutex::new(Checks::new(Instant::now())),
        });
        for (address, group) in groups {
            let bound = port.serve(address, group)?;
            port.bound().push(bound);
        }
        Ok(port)
    }

    /// The port's address on `ip`, which is bound if it is not yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn ensure(self: &Arc<Self>, ip: IpAddr) -> io::Result<SocketAddr> {
        let mut bound = self.bound();
        if let Some(known) = bound.iter().find(|known| known.address.ip() == ip) {
            return Ok(known.address);
        }
        if bound.len() >= MAX_SOCKETS {
            // A machine that changes its address: those of the past are nobody's.
            bound.retain(Bound::is_used);
        }
        if bound.len() >= MAX_SOCKETS {
            return Err(io::Error::other("too many host addresses"));
        }
        let (address, group) = bind_group(ip, self.number, self.shards.len(), KERNEL_BALANCES)?;
        bound.push(self.serve(address, group)?);
        Ok(address)
    }

    /// The socket of a shard on an address.
    pub fn socket(&self, address: SocketAddr, shard: usize) -> Option<Arc<Socket>> {
        let bound = self.bound();
        let known = bound.iter().find(|known| known.address == address)?;
        known.sockets.get(shard)?.lock().clone()
    }

    /// Closes the sockets. No connection has one any more.
    pub fn close(&self) {
        let bound = std::mem::take(&mut *self.bound());
        drop(bound);
    }

    /// Registers a socket with each shard and has it read there.
    fn serve(
        self: &Arc<Self>,
        address: SocketAddr,
        group: Vec<socket2::Socket>,
    ) -> io::Result<Bound> {
        let mut bound = Bound {
            address,
            sockets: Vec::with_capacity(group.len()),
            readers: Vec::with_capacity(group.len()),
        };
        for (shard, (handle, socket)) in self.shards.iter().zip(group).enumerate() {
            let _of_that_shard = handle.enter();
            let slot = Arc::new(Slot(Mutex::new(Some(Arc::new(Socket::register(socket)?)))));
            bound.sockets.push(Arc::clone(&slot));
            if KERNEL_BALANCES || shard == 0 {
                let reader = handle.spawn(read(Arc::clone(self), slot, shard));
                bound.readers.push(reader.abort_handle());
            }
        }
        Ok(bound)
    }

    fn bound(&self) -> MutexGuard<'_, Vec<Bound>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, to read. Nothing that can panic runs under these locks.
    pub fn routes(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, to change.
    pub fn routes_mut(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who waits for which answer.
    pub fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sockets for `count` shards on one address.
///
/// The first is bound alone, so that a port that any other socket has is found taken; only then
/// the others may join it. Where the kernel does not `balance`, they are the first one once more,
/// to send from.
fn bind_group(
    ip: IpAddr,
    number: u16,
    count: usize,
    balance: bool,
) -> io::Result<(SocketAddr, Vec<socket2::Socket>)> {
    let first = udp_socket(ip)?;
    first.bind(&SocketAddr::new(ip, number).into())?;
    let address = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("a UDP socket without an IP address"))?;
    let mut group = Vec::with_capacity(count);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if balance && count > 1 {
        first.set_reuse_port(true)?;
    }
    for _ in 1..count {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if balance {
            let other = udp_socket(ip)?;
            other.set_reuse_port(true)?;
            other.bind(&address.into())?;
            group.push(other);
            continue;
        }
        group.push(first.try_clone()?);
    }
    group.insert(0, first);
    Ok((address, group))
}

#[cfg(test)]
mod tests;
