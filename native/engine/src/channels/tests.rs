//! Two ends on a virtual clock and a link that loses, delays, reorders and duplicates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_range_loop
)]

use super::*;
use proptest::prelude::*;
use std::collections::BinaryHeap;

mod closing;
mod hostile;
mod opening;
mod sending;

fn plan() -> DataPlan {
    DataPlan {
        local_port: 5000,
        remote_port: 5000,
        remote_max_message_size: Some(256 << 10),
    }
}

fn options(label: &str) -> ChannelOptions {
    ChannelOptions {
        label: label.into(),
        ordered: true,
        max_packet_life_time: None,
        max_retransmits: None,
        protocol: String::new(),
        negotiated: false,
        id: None,
    }
}

/// What the link does to a packet; shares in per mille.
#[derive(Clone, Copy, Debug)]
struct Link {
    loss: u32,
    duplicate: u32,
    reorder: u32,
    delay: Duration,
}

const PERFECT: Link = Link {
    loss: 0,
    duplicate: 0,
    reorder: 0,
    delay: Duration::from_millis(5),
};
const ROUGH: Link = Link {
    loss: 50,
    duplicate: 20,
    reorder: 50,
    delay: Duration::from_millis(20),
};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    due: std::cmp::Reverse<Instant>,
    order: std::cmp::Reverse<u64>,
    to: usize,
    packet: Bytes,
}

struct Pair {
    base: Instant,
    now: Instant,
    ends: [Channels; 2],
    events: [Vec<ChannelEvent>; 2],
    link: Link,
    flying: BinaryHeap<InFlight>,
    sent: u64,
    seed: u64,
    /// The end whose INITs the other one ignores.
    mute: Option<usize>,
}

impl Pair {
    fn new(link: Link) -> Self {
        let base = Instant::now();
        Self {
            base,
            now: base,
            ends: [(); 2].map(|()| Channels::new(&Config::bare())),
            events: [vec![], vec![]],
            link,
            flying: BinaryHeap::new(),
            sent: 0,
            seed: 7,
            mute: None,
        }
    }

    fn start(&mut self) {
        self.start_end(0);
        self.start_end(1);
    }

    fn start_end(&mut self, end: usize) {
        let role = [DtlsRole::Client, DtlsRole::Server][end];
        self.ends[end].apply(self.now, Some(&plan()), Some(role));
    }

    fn up(link: Link) -> Self {
        let mut pair = Self::new(link);
        pair.start();
        pair.run(Duration::from_secs(2));
        pair
    }

    /// One channel, ordered and reliable unless changed, open at both ends.
    fn with_channel(link: Link, change: impl Fn(&mut ChannelOptions)) -> (Self, Ids) {
        let mut pair = Self::up(PERFECT);
        let mut wanted = options("channel");
        change(&mut wanted);
        let own = pair.ends[0].create(pair.now, wanted).unwrap().handle;
        pair.run(Duration::from_secs(2));
        let peer = pair.events[1]
            .iter()
            .find_map(|event| match event {
                ChannelEvent::Opened(info) => Some(info.handle.clone()),
                _ => None,
            })
            .expect("the peer's end opens");
        pair.events = [vec![], vec![]];
        pair.link = link;
        (pair, [own, peer])
    }

    fn chance(&mut self, share: u32) -> bool {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.seed >> 33) % 1_000) < u64::from(share)
    }

    fn flush(&mut self) {
        for from in 0..2 {
            while let Some(packet) = self.ends[from].poll_packet(self.now) {
                let ignored = self.mute == Some(from) && packet[12] == wire::INIT;
                let copies = if ignored || self.chance(self.link.loss) {
                    0
                } else {
                    1 + u32::from(self.chance(self.link.duplicate))
                };
                for _ in 0..copies {
                    let late = if self.chance(self.link.reorder) { 3 } else { 1 };
                    self.sent += 1;
                    self.flying.push(InFlight {
                        due: std::cmp::Reverse(self.now + self.link.delay * late),
                        order: std::cmp::Reverse(self.sent),
                        to: 1 - from,
                        packet: packet.clone(),
                    });
                }
            }
            while let Some(event) = self.ends[from].poll_event() {
                self.events[from].push(event);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.ends.iter().filter_map(Channels::poll_timeout);
        timers
            .chain(self.flying.peek().map(|flight| flight.due.0))
            .min()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
        self.now = end;
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        self.flush();
        let mut steps = 0;
        while !done(self) {
            let Some(next) = self.next().filter(|next| *next <= end) else {
                return false;
            };
            steps += 1;
            assert!(steps < 3_000_000, "the ends keep each other busy for ever");
            self.now = self.now.max(next);
            for end in 0..2 {
                if self.ends[end]
                    .poll_timeout()
                    .is_some_and(|due| due <= self.now)
                {
                    self.ends[end].handle_timeout(self.now);
                }
            }
            while self
                .flying
                .peek()
                .is_some_and(|flight| flight.due.0 <= self.now)
            {
                let flight = self.flying.pop().unwrap();
                self.ends[flight.to].handle_packet(self.now, flight.packet);
            }
            self.flush();
        }
        true
    }

    fn send(&mut self, end: usize, handle: &ChannelHandle, kind: DataKind, payload: &[u8]) {
        self.submit(end, handle, kind, Bytes::copy_from_slice(payload), None);
    }

    /// Zeros, with an answer under this id once they were taken.
    fn send_zeros(&mut self, end: usize, handle: &ChannelHandle, size: usize, id: RequestId) {
        let payload = vec![0; size].into();
        self.submit(end, handle, DataKind::Binary, payload, Some(id));
    }

    fn submit(
        &mut self,
        end: usize,
        handle: &ChannelHandle,
        kind: DataKind,
        payload: Bytes,
        notify: Option<RequestId>,
    ) {
        assert!(handle.account.charge(payload.len() as u64));
        let data = OutgoingData {
            channel: handle.id,
            kind,
            payload,
            notify,
        };
        self.ends[end].send(self.now, data);
    }

    fn data(&self, end: usize) -> Vec<(ChannelId, DataKind, Bytes)> {
        self.events[end]
            .iter()
            .filter_map(|event| match event {
                ChannelEvent::Data(handle, kind, payload) => {
                    Some((handle.id, *kind, payload.clone()))
                }
                _ => None,
            })
            .collect()
    }

    fn states(&self, end: usize, handle: &ChannelHandle) -> Vec<ChannelState> {
        self.events[end]
            .iter()
            .filter_map(|event| match event {
                ChannelEvent::StateChange(own, state) if own.id == handle.id => Some(*state),
                _ => None,
            })
            .collect()
    }
}

type Ids = [ChannelHandle; 2];
