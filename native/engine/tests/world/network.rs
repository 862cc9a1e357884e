//! What happens to the network under a connection: addresses that change, datagrams of strangers.

use super::{Peer, World, config};
use std::net::SocketAddr;

impl World {
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
        let address = self.peers[side].address;
        self.peers[side] = Peer::new(self.now, config(), address);
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
