//! The peers of one allocation and the channels that lead to them (RFC 8656 section 12).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A permission lives 5 minutes (RFC 8656 section 9), a channel 10: a channel in use is bound
/// again this long after the last time, which leaves time for lost requests.
pub const REBIND_AFTER: Duration = Duration::from_secs(240);

/// RFC 8656 section 12: a binding lives 10 minutes, and its number is not used for another peer
/// for 5 more.
pub const FORGET_AFTER: Duration = Duration::from_secs(900);

/// RFC 8656 section 12: channel numbers are 0x4000 to 0x4FFF.
const FIRST_CHANNEL: u16 = 0x4000;
const CHANNELS: u16 = 0x1000;

/// Peers of one allocation: the bounds of ICE on remote candidates, and some to spare.
pub const MAX_PEERS: usize = 512;

/// Datagrams kept for a peer until its channel is bound: ICE checks, which are repeated.
const MAX_HELD: usize = 4;

/// How a datagram gets to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Over this channel, at once.
    Open(u16),
    /// This channel is to be bound; the datagram was kept.
    ToBind(u16),
    /// Kept while the channel is being bound, or dropped.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Binding,
    Bound,
    /// Not bound; asked for again with the next datagram after this time.
    Unbound(Instant),
}

struct Peer {
    channel: u16,
    state: State,
    /// When the server last confirmed it, or when it was first wanted.
    confirmed: Instant,
    /// Sent to since then.
    used: bool,
    held: Vec<Vec<u8>>,
}

/// See the module.
#[derive(Default)]
pub struct Peers {
    peers: HashMap<SocketAddr, Peer>,
    addresses: HashMap<u16, SocketAddr>,
    /// Numbers that were given out. None is given out twice.
    given: u16,
}

impl Peers {
    /// Who is at the other end of a channel.
    pub fn of_channel(&self, channel: u16) -> Option<SocketAddr> {
        self.addresses.get(&channel).copied()
    }

    /// How `payload` gets to a peer, who is added where there is room.
    pub fn route(&mut self, now: Instant, address: SocketAddr, payload: &[u8]) -> Channel {
        if !self.peers.contains_key(&address) && !self.add(now, address) {
            return Channel::None;
        }
        let Some(peer) = self.peers.get_mut(&address) else {
            return Channel::None;
        };
        peer.used = true;
        let channel = peer.channel;
        match peer.state {
            State::Bound => return Channel::Open(channel),
            State::Unbound(again) if again > now => return Channel::None,
            State::Binding | State::Unbound(_) => {
                if peer.held.len() < MAX_HELD {
                    peer.held.push(payload.to_vec());
                }
            }
        }
        if peer.state == State::Binding {
            return Channel::None;
        }
        peer.state = State::Binding;
        Channel::ToBind(channel)
    }

    fn add(&mut self, now: Instant, address: SocketAddr) -> bool {
        if self.peers.len() >= MAX_PEERS || self.given >= CHANNELS {
            log::debug!("no channel for {address}: too many peers of one TURN allocation");
            return false;
        }
        let channel = FIRST_CHANNEL + self.given;
        self.given += 1;
        self.addresses.insert(channel, address);
        self.peers.insert(
            address,
            Peer {
                channel,
                state: State::Unbound(now),
                confirmed: now,
                used: true,
                held: Vec::new(),
            },
        );
        true
    }

    /// The server has bound the peer's channel: what was kept for it.
    pub fn bound(&mut self, now: Instant, address: SocketAddr) -> Vec<Vec<u8>> {
        let Some(peer) = self.peers.get_mut(&address) else {
            return Vec::new();
        };
        peer.state = State::Bound;
        peer.confirmed = now;
        peer.used = false;
        std::mem::take(&mut peer.held)
    }

    /// The server has not; it is asked for again after `again`.
    pub fn unbind(&mut self, address: SocketAddr, again: Instant) {
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.state = State::Unbound(again);
            peer.held = Vec::new();
        }
    }

    /// When [`Self::take_due`] has work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.peers.values().filter_map(|peer| match peer.state {
            State::Bound => Some(peer.confirmed + REBIND_AFTER),
            State::Unbound(_) => Some(peer.confirmed + FORGET_AFTER),
            State::Binding => None,
        });
        due.min()
    }

    /// The channels to bind again; those that nobody uses are let go.
    pub fn take_due(&mut self, now: Instant) -> Vec<(SocketAddr, u16)> {
        let mut renew = Vec::new();
        let addresses = &mut self.addresses;
        self.peers.retain(|address, peer| {
            let age = now.saturating_duration_since(peer.confirmed);
            match peer.state {
                State::Bound if age >= REBIND_AFTER && peer.used => {
                    // Still bound while it is asked for.
                    peer.confirmed = now;
                    peer.used = false;
                    renew.push((*address, peer.channel));
                }
                // Its permission ends before long; the next datagram binds it again.
                State::Bound if age >= REBIND_AFTER => peer.state = State::Unbound(now),
                State::Unbound(_) if age >= FORGET_AFTER => {
                    addresses.remove(&peer.channel);
                    return false;
                }
                _ => {}
            }
            true
        });
        renew
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.peers.len()
    }
}
