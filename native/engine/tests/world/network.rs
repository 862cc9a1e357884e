//! What happens to the network under a connection: the link, addresses that change, datagrams of
//! strangers.

use super::{Datagram, Peer, World, config};
use engine::config::Config;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What comes out of the link for what was put on it.
pub type Middle = Box<dyn FnMut(Datagram) -> Vec<Datagram>>;

/// Headers of IPv4 and UDP: what a datagram takes of a link beyond its own bytes.
const HEADERS: usize = 28;

/// A narrow place in the way of what one side sends, with a queue in front of it.
#[derive(Clone, Copy, Debug)]
pub struct Bottleneck {
    /// Bits per second.
    pub rate: u64,
    /// Bytes that may wait; what comes when they do is lost.
    pub queue: usize,
    free: Option<Instant>,
}

impl Bottleneck {
    /// With a queue of so many milliseconds.
    pub fn new(rate: u64, queue_ms: u64) -> Self {
        Self {
            rate,
            queue: (rate / 8 * queue_ms / 1000) as usize,
            free: None,
        }
    }

    /// How long a datagram is on its way through; `None` where it is lost.
    pub(super) fn pass(&mut self, now: Instant, length: usize) -> Option<Duration> {
        let time = |bytes: usize| Duration::from_secs_f64(bytes as f64 * 8.0 / self.rate as f64);
        let wait = self
            .free
            .map_or(Duration::ZERO, |free| free.saturating_duration_since(now));
        if wait > time(self.queue) {
            return None;
        }
        let taken = wait + time(length + HEADERS);
        self.free = Some(now + taken);
        Some(taken)
    }
}

impl World {
    /// Puts a datagram on the link, past whoever sits on it.
    pub(super) fn launch(&mut self, local: SocketAddr, remote: SocketAddr, bytes: Vec<u8>) {
        let Some(local) = self.seen_from(local) else {
            return;
        };
        match self.middle.take() {
            None => self.put_on_the_link(local, remote, bytes),
            Some(mut middle) => {
                for (local, remote, bytes) in middle((local, remote, bytes)) {
                    self.put_on_the_link(local, remote, bytes);
                }
                self.middle = Some(middle);
            }
        }
    }

    fn put_on_the_link(&mut self, local: SocketAddr, remote: SocketAddr, bytes: Vec<u8>) {
        if let Some(tap) = &mut self.tap {
            tap.push((local, remote, bytes.clone()));
        }
        if self.chance(self.link.loss) {
            return;
        }
        let now = self.now;
        let side = self.peers.iter().position(|peer| peer.public == local);
        let passed = match side.and_then(|side| self.bottlenecks[side].as_mut()) {
            None => Some(Duration::ZERO),
            Some(bottleneck) => bottleneck.pass(now, bytes.len()),
        };
        let Some(passed) = passed else { return };
        let copies = if self.chance(self.link.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = if self.chance(self.link.reorder) {
                self.link.delay
            } else {
                Duration::ZERO
            };
            self.order += 1;
            self.flying.insert(
                (self.now + passed + self.link.delay + late, self.order),
                (local, remote, bytes.clone()),
            );
        }
    }

    /// Where a datagram comes from for the rest of the world; `None` where its socket's address
    /// is gone.
    pub(super) fn seen_from(&self, local: SocketAddr) -> Option<SocketAddr> {
        let sender = self.peers.iter().find(|peer| peer.address == local)?;
        Some(sender.public)
    }

    /// The side loses its address and has another one, as when a phone leaves the Wi-Fi.
    pub fn move_to(&mut self, side: usize, address: &str) {
        let address = address.parse().unwrap();
        self.peers[side].address = address;
        self.peers[side].public = address;
    }

    /// The NAT in front of the side forgets its mapping and makes another one.
    pub fn rebind(&mut self, side: usize, public: &str) {
        self.peers[side].public = public.parse().unwrap();
    }

    /// A side's program is started anew, at the same address.
    pub fn replace(&mut self, side: usize) {
        self.replace_with(side, config());
    }

    pub fn replace_with(&mut self, side: usize, config: Config) {
        let address = self.peers[side].address;
        self.peers[side] = Peer::new(self.now, config, address);
    }

    /// Two fresh sides on the same link: its losses go on where they were.
    pub fn another(self) -> Self {
        Self {
            random: self.random,
            ..Self::plain()
        }
    }

    /// A datagram that neither side sent, or not now, reaches a side.
    pub fn inject(&mut self, side: usize, from: SocketAddr, mut datagram: Vec<u8>) {
        let now = self.now;
        let peer = &mut self.peers[side];
        let local = peer.address;
        peer.engine
            .handle_datagram(now, local, from, &mut datagram, &mut peer.heard);
        self.settle(side);
    }
}
