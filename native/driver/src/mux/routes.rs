//! Whose a datagram of a shared port is.
//!
//! | datagram | goes to |
//! |---|---|
//! | STUN request | the connection whose user name it carries, else as below |
//! | STUN answer | the connection that asked ([`super::checks`]), else as below |
//! | anything else | the connection that has the address it came from |
//!
//! A connection gets an address when its engine has authenticated a STUN message from there. An
//! address that has an owner changes hands only on better evidence, see [`Routes::claim`].

use super::inbox::Inbox;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// After this long without an answer its owner counts as disconnected (as in the engine), and
/// somebody who answers there may have the address.
const SILENT_OWNER: Duration = Duration::from_secs(8);

/// After this long the owner has lost consent (RFC 7675 section 5.1).
const GONE_OWNER: Duration = Duration::from_secs(30);

/// Both ends of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// An address and its owner.
pub struct Route {
    /// The owner's.
    pub inbox: Arc<Inbox>,
    since: Instant,
    /// The owner's peer has answered a check there.
    reached: AtomicBool,
    /// When the owner's peer last proved itself, in milliseconds after `since`.
    heard: AtomicU64,
}

impl Route {
    fn new(now: Instant, inbox: &Arc<Inbox>, reached: bool) -> Self {
        Self {
            inbox: Arc::clone(inbox),
            since: now,
            reached: AtomicBool::new(reached),
            heard: AtomicU64::new(0),
        }
    }

    /// The owner's peer has proved itself again. Where it has answered before, only an answer
    /// counts: a request does not show that it is still there.
    pub fn renew(&self, now: Instant, reached: bool) {
        if reached {
            self.reached.store(true, Ordering::Relaxed);
        }
        if reached || !self.is_reached() {
            let heard = now.saturating_duration_since(self.since).as_millis();
            let heard = u64::try_from(heard).unwrap_or(u64::MAX);
            self.heard.fetch_max(heard, Ordering::Relaxed);
        }
    }

    /// Whether the owner's peer has answered there.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// When the owner's peer last proved itself.
    pub fn heard(&self) -> Instant {
        self.since + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    fn yields(&self, now: Instant, reached: bool) -> bool {
        let silence = now.saturating_duration_since(self.heard());
        match (reached, self.is_reached()) {
            (true, false) => true,
            (true, true) => silence >= SILENT_OWNER,
            (false, _) => silence >= GONE_OWNER,
        }
    }
}

/// The address has another owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Both have been reached there: two peers use one address, as happens when the peers in turn
    /// share a port.
    pub both_reached: bool,
}

/// See the module.
#[derive(Default)]
pub struct Routes {
    users: HashMap<Box<str>, Arc<Inbox>>,
    addresses: HashMap<Way, Arc<Route>>,
}

impl Routes {
    /// The connection with this user name.
    pub fn user(&self, name: &str) -> Option<&Arc<Inbox>> {
        self.users.get(name)
    }

    /// The connection that has this address.
    pub fn address(&self, way: &Way) -> Option<&Arc<Inbox>> {
        self.addresses.get(way).map(|route| &route.inbox)
    }

    /// Gives a connection a user name. Where another one has it already, that one keeps it: names
    /// are 48 random bits, and the peer's check fails at the wrong password.
    pub fn add_user(&mut self, name: &str, inbox: &Arc<Inbox>) {
        self.users
            .entry(name.into())
            .or_insert_with(|| Arc::clone(inbox));
    }

    /// Takes a user name back.
    pub fn remove_user(&mut self, name: &str, inbox: &Arc<Inbox>) {
        if self
            .users
            .get(name)
            .is_some_and(|owner| Arc::ptr_eq(owner, inbox))
        {
            self.users.remove(name);
        }
    }

    /// The route, while the connection has it.
    pub fn held(&self, way: &Way, route: &Arc<Route>) -> bool {
        self.addresses
            .get(way)
            .is_some_and(|known| Arc::ptr_eq(known, route))
    }

    /// Gives a connection an address from which its peer has proved itself.
    ///
    /// # Errors
    /// `Refused` where another connection has it and keeps it. Somebody off the path can forge the source of a request, and have credentials of a
    /// connection of his own. So a request gets an address only while nobody has it. An answer to
    /// a check of ours shows that its maker receives there, and beats an owner who has shown
    /// less, or who is silent.
    pub fn claim(
        &mut self,
        now: Instant,
        way: Way,
        inbox: &Arc<Inbox>,
        reached: bool,
    ) -> Result<Arc<Route>, Refused> {
        if let Some(owner) = self.addresses.get(&way) {
            if Arc::ptr_eq(&owner.inbox, inbox) {
                owner.renew(now, reached);
                return Ok(Arc::clone(owner));
            }
            if !owner.yields(now, reached) {
                return Err(Refused {
                    both_reached: reached && owner.is_reached(),
                });
            }
        }
        let route = Arc::new(Route::new(now, inbox, reached));
        self.addresses.insert(way, Arc::clone(&route));
        Ok(route)
    }

    /// Takes an address back from a connection that still has it.
    pub fn release(&mut self, way: &Way, route: &Arc<Route>) {
        if self.held(way, route) {
            self.addresses.remove(way);
        }
    }

    /// User names and addresses that lead somewhere.
    #[cfg(test)]
    pub fn len(&self) -> (usize, usize) {
        (self.users.len(), self.addresses.len())
    }
}

#[cfg(test)]
mod tests;
