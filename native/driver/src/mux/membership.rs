//! A connection's part in a shared port.

use super::PortLease;
use super::inbox::{Inbox, put_back};
use super::routes::{Route, Way};
use crate::shard::sockets::{MAX_SOCKETS, Socket};
use engine::outbox::Outbox;
use engine::transport::Proof;
use engine::transport::stun::{Class, StunMessage};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

/// User names that checks may carry: of the current ICE session, of the one before a restart, and
/// of those that an application has offered and taken back.
const MAX_USERS: usize = 4;

/// Addresses of the peer that lead here. A browser has one for each of its interfaces; a peer that
/// makes up more takes from itself: first those that never answered, then the longest silent.
const MAX_ADDRESSES: usize = 32;

/// Datagrams taken in one round of the connection's turn.
const DATAGRAMS_PER_ROUND: usize = 256;

/// See the module. Dropping it takes everything back.
pub struct Membership {
    shard: usize,
    inbox: Arc<Inbox>,
    /// Of this shard.
    sockets: Vec<Arc<Socket>>,
    users: VecDeque<Box<str>>,
    addresses: Vec<(Way, Arc<Route>)>,
    arrived: Outbox,
    /// How many of these were handed out already.
    taken: usize,
    told_of_conflict: bool,
    /// The last field: with it the port may close, and then nobody has a socket of it.
    lease: PortLease,
}

impl Membership {
    /// A connection of `shard`, which has nothing yet that could be received for it.
    pub fn new(lease: PortLease, shard: usize) -> Self {
        Self {
            shard,
            inbox: Arc::new(Inbox::new(shard)),
            sockets: Vec::new(),
            users: VecDeque::new(),
            addresses: Vec::new(),
            arrived: Outbox::default(),
            taken: 0,
            told_of_conflict: false,
            lease,
        }
    }

    /// The port's address on `ip`.
    ///
    /// # Errors
    /// What the system says where it must be bound first.
    pub fn ensure(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        if let Some(socket) = self.sockets.iter().find(|it| it.address.ip() == ip) {
            return Ok(socket.address);
        }
        if self.sockets.len() >= MAX_SOCKETS {
            return Err(io::Error::other("too many host addresses"));
        }
        let address = self.lease.port.ensure(ip)?;
        let socket = self
            .lease
            .port
            .socket(address, self.shard)
            .ok_or_else(|| io::Error::other("the port is being closed"))?;
        self.sockets.push(socket);
        Ok(address)
    }

    /// Leaves the addresses that are not among `current`.
    pub fn leave_others(&mut self, current: &[IpAddr]) {
        self.sockets
            .retain(|socket| current.contains(&socket.address.ip()));
    }

    /// The sockets to send from.
    pub fn sockets(&self) -> &[Arc<Socket>] {
        &self.sockets
    }

    /// From here on checks with this user name come here.
    pub fn answer_to(&mut self, user: &str) {
        if let Some(at) = self.users.iter().position(|known| **known == *user) {
            self.users.remove(at);
        } else {
            self.lease.port.routes_mut().add_user(user, &self.inbox);
        }
        self.users.push_back(user.into());
        if self.users.len() > MAX_USERS
            && let Some(oldest) = self.users.pop_front()
        {
            let mut routes = self.lease.port.routes_mut();
            routes.remove_user(&oldest, &self.inbox);
        }
    }

    /// The peer has proved itself: what comes from there comes here.
    pub fn learn(&mut self, now: Instant, proof: Proof) {
        let way = Way {
            local: proof.local,
            remote: proof.remote,
        };
        if !self.sockets.iter().any(|it| it.address == way.local) {
            // A relay's, or another socket's.
            return;
        }
        if let Some((_, route)) = self.addresses.iter().find(|(known, _)| *known == way)
            && self.lease.port.routes().held(&way, route)
        {
            return route.renew(now, proof.reached);
        }
        self.addresses.retain(|(known, _)| *known != way);
        let claimed = self
            .lease
            .port
            .routes_mut()
            .claim(now, way, &self.inbox, proof.reached);
        match claimed {
            Ok(route) => {
                if self.addresses.len() >= MAX_ADDRESSES {
                    self.forget_one();
                }
                self.addresses.push((way, route));
            }
            Err(refused) if refused.both_reached && !self.told_of_conflict => {
                self.told_of_conflict = true;
                log::warn!(
                    "two connections of UDP port {} have their peers at {}: what comes from there \
                     goes to the first. Peers must not share a port on their side as well",
                    self.lease.number(),
                    way.remote
                );
            }
            Err(_) => {}
        }
    }

    fn forget_one(&mut self) {
        let least = self
            .addresses
            .iter()
            .enumerate()
            .min_by_key(|(_, (_, route))| (route.is_reached(), route.heard()))
            .map(|(at, _)| at);
        if let Some(at) = least {
            let (way, route) = self.addresses.swap_remove(at);
            self.lease.port.routes_mut().release(&way, &route);
        }
    }

    /// Has the answers to checks come here, also those of addresses that have proved nothing yet.
    pub fn note_checks(&self, now: Instant, outbox: &Outbox) {
        for segment in &outbox.segments {
            let Some(bytes) = outbox
                .bytes
                .get(segment.offset..segment.offset + segment.length)
            else {
                continue;
            };
            // A Binding request, before looking closer.
            if segment.local.is_tcp() || !bytes.starts_with(&[0, 1]) {
                continue;
            }
            let way = Way {
                local: segment.local.address,
                remote: segment.remote,
            };
            if self.addresses.iter().any(|(known, _)| *known == way)
                || !self.sockets.iter().any(|it| it.address == way.local)
            {
                continue;
            }
            if let Some(message) = StunMessage::parse(bytes)
                && message.class == Class::Request
                && let Some(id) = message.transaction_id()
            {
                self.lease.port.checks().sent(now, id, &self.inbox);
            }
        }
    }

    /// Hands some of what has arrived to `each`, with its local and its remote address; true where
    /// there was something.
    pub fn poll_receive(
        &mut self,
        cx: &Context<'_>,
        mut each: impl FnMut(SocketAddr, SocketAddr, &mut [u8]),
    ) -> bool {
        if self.arrived.is_empty() && self.inbox.poll_take(cx, &mut self.arrived).is_pending() {
            return false;
        }
        let Outbox { bytes, segments } = &mut self.arrived;
        let round = segments.iter().skip(self.taken).take(DATAGRAMS_PER_ROUND);
        for segment in round {
            if let Some(datagram) = bytes.get_mut(segment.offset..segment.offset + segment.length) {
                each(segment.local.address, segment.remote, datagram);
            }
        }
        self.taken += DATAGRAMS_PER_ROUND;
        if self.taken >= self.arrived.segments.len() {
            self.taken = 0;
            put_back(&mut self.arrived);
        }
        true
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.inbox.close();
        {
            let mut routes = self.lease.port.routes_mut();
            for user in &self.users {
                routes.remove_user(user, &self.inbox);
            }
            for (way, route) in &self.addresses {
                routes.release(way, route);
            }
        }
        self.lease.port.checks().age(Instant::now());
        self.sockets.clear();
    }
}
