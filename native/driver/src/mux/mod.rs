//! Shared UDP ports (`ice_udp_mux`): many connections on one port.
//!
//! | module | what it does |
//! |---|---|
//! | here | which ports are open; a port closes with its last lease |
//! | `port` | one socket for each shard and host address |
//! | `reader` | reads one of them, and hands datagrams to connections of any shard |
//! | `routes`, `checks` | whose a datagram is |
//! | `inbox` | what a connection has been handed |
//! | `membership` | a connection's part in it |
//!
//! The kernel spreads datagrams over the shards' sockets by a hash of both addresses, so with `n`
//! shards one in `n` arrives where its connection lives and the others are handed over, in runs.
//! Connections send from their own shard's socket.

mod checks;
mod inbox;
mod membership;
mod port;
mod reader;
mod routes;

pub use membership::Membership;

use port::Port;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// The shared ports of a runtime.
#[derive(Clone)]
pub struct Ports(Arc<Registry>);

struct Registry {
    shards: Vec<Handle>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u16, Open>,
    /// The port for those who want any: the same one for all.
    chosen: Option<u16>,
}

struct Open {
    port: Arc<Port>,
    leases: usize,
}

/// A connection's right to a port, which stays open as long as there is one.
pub struct PortLease {
    ports: Ports,
    port: Arc<Port>,
}

/// What a shared port has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStats {
    /// The port.
    pub port: u16,
    /// Connections that share it now.
    pub connections: usize,
    /// Datagrams received.
    pub received: u64,
    /// Of these, those that another shard than the connection's received.
    pub handed_over: u64,
    /// Of these, those that belong to no connection, and were dropped.
    pub unknown: u64,
    /// Of these, those that their connection had no room for.
    pub dropped: u64,
}

impl Ports {
    /// None is open yet. `shards` are the runtimes of the shards, in order.
    pub fn new(shards: Vec<Handle>) -> Self {
        Self(Arc::new(Registry {
            shards,
            state: Mutex::new(State::default()),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a port on `addresses`, or joins those who have it open. Without a `number` it is one
    /// that was free, and the same one every time while it can be had.
    ///
    /// # Errors
    /// `AddrInUse` where another program has the port; what the system says where it cannot be
    /// bound on any of the addresses.
    pub fn lease(&self, number: Option<u16>, addresses: &[IpAddr]) -> io::Result<PortLease> {
        let mut state = self.state();
        let wanted = number.or(state.chosen);
        if let Some(open) = wanted.and_then(|wanted| state.open.get_mut(&wanted)) {
            for ip in addresses {
                match open.port.ensure(*ip) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                    // Told when candidates are gathered.
                    _ => {}
                }
            }
            open.leases += 1;
            return Ok(PortLease {
                ports: self.clone(),
                port: Arc::clone(&open.port),
            });
        }
        let bind = |number| Port::bind(number, addresses, self.0.shards.clone());
        let port = match (number, state.chosen) {
            (Some(number), _) => bind(Some(number))?,
            (None, Some(chosen)) => bind(Some(chosen)).or_else(|_taken| bind(None))?,
            (None, None) => bind(None)?,
        };
        if number.is_none() {
            state.chosen = Some(port.number);
        }
        state.open.insert(
            port.number,
            Open {
                port: Arc::clone(&port),
                leases: 1,
            },
        );
        Ok(PortLease {
            ports: self.clone(),
            port,
        })
    }

    /// The open ports, in no order.
    pub fn stats(&self) -> Vec<PortStats> {
        let state = self.state();
        let stats = state.open.values().map(|open| {
            let counters = &open.port.counters;
            PortStats {
                port: open.port.number,
                connections: open.leases,
                received: counters.received.load(Ordering::Relaxed),
                handed_over: counters.handed_over.load(Ordering::Relaxed),
                unknown: counters.unknown.load(Ordering::Relaxed),
                dropped: counters.dropped.load(Ordering::Relaxed),
            }
        });
        stats.collect()
    }
}

impl PortLease {
    /// The port.
    pub fn number(&self) -> u16 {
        self.port.number
    }
}

impl Drop for PortLease {
    /// The last one closes the sockets, before it returns and before anybody can bind them anew.
    fn drop(&mut self) {
        let mut state = self.ports.state();
        let Some(open) = state.open.get_mut(&self.port.number) else {
            return;
        };
        open.leases -= 1;
        if open.leases == 0 {
            state.open.remove(&self.port.number);
            self.port.close();
        }
    }
}

#[cfg(test)]
mod tests;
