//! A connection on a shared port, and what it has to do with its peer.

use crate::support::{Peer, TestMailbox, config, connect};
use driver::{PortLease, Runtime};
use engine::command::ChannelInfo;
use engine::config::Config;
use engine::ids::TrackId;
use engine::w3c::{DataKind, Kind};
use std::net::IpAddr;

/// A connection on the shared port and its peer, which has a socket of its own.
pub struct Pair {
    pub inside: Peer,
    pub outside: Peer,
    pub from_inside: TrackId,
    pub from_outside: TrackId,
    pub offerer: Side,
    /// The offerer's.
    pub channel: ChannelInfo,
    channel_is_open: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Inside,
    Outside,
}

impl Pair {
    pub fn open(
        runtime: &Runtime<TestMailbox>,
        inside: Config,
        outside: Config,
        offerer: Side,
    ) -> Self {
        let mut inside = Peer::open_on(runtime, lease_on(runtime, &inside), inside);
        let mut outside = Peer::open(runtime, outside);
        Self {
            from_inside: inside.add_track(Kind::Video, 11),
            from_outside: outside.add_track(Kind::Video, 22),
            offerer,
            channel: match offerer {
                Side::Inside => inside.create_channel("chat"),
                Side::Outside => outside.create_channel("chat"),
            },
            channel_is_open: false,
            inside,
            outside,
        }
    }

    pub fn connected(runtime: &Runtime<TestMailbox>) -> Self {
        let mut pair = Self::open(runtime, config(), config(), Side::Inside);
        pair.connect();
        pair
    }

    /// The one that offers, and the other one.
    pub fn sides(&mut self) -> (&mut Peer, &mut Peer) {
        match self.offerer {
            Side::Inside => (&mut self.inside, &mut self.outside),
            Side::Outside => (&mut self.outside, &mut self.inside),
        }
    }

    pub fn connect(&mut self) {
        let (offerer, answerer) = self.sides();
        connect(offerer, answerer);
    }

    /// Media both ways and data with this name in it; anything else that arrives is a failure.
    pub fn exchange(&mut self, name: &str, first: u16) {
        let text = |number: u16| format!("{name} {number}").into_bytes();
        let numbers = first..first + 20;
        for number in numbers.clone() {
            self.inside
                .send_packet(self.from_inside, 96, number, &text(number));
            self.outside
                .send_packet(self.from_outside, 96, number, &text(number));
        }
        for number in numbers {
            assert_eq!(self.outside.next_packet(), text(number));
            assert_eq!(self.inside.next_packet(), text(number));
        }
        let (channel, is_open) = (
            self.channel.clone(),
            std::mem::replace(&mut self.channel_is_open, true),
        );
        let (offerer, answerer) = self.sides();
        if !is_open {
            offerer.wait_until_open(&channel);
        }
        offerer.send_message(&channel, DataKind::String, name.as_bytes());
        let data = (DataKind::String, name.to_owned().into());
        assert_eq!(answerer.message(), data);
    }
}

pub fn lease_on(runtime: &Runtime<TestMailbox>, config: &Config) -> PortLease {
    let addresses = config.host_addresses.as_ref().unwrap().iter();
    let addresses: Vec<IpAddr> = addresses.map(|(ip, _)| *ip).collect();
    runtime.share_port(None, &addresses).unwrap()
}
