//! How fast two ends of a data channel go in memory, without sockets and DTLS: what the SCTP path
//! costs in CPU time.
//!
//! `cargo run --release -p ex_webrtc_engine --example channel_throughput [message bytes] [messages]`

use bytes::Bytes;
use engine::channels::{ChannelEvent, Channels};
use engine::command::{ChannelHandle, ChannelOptions, OutgoingData};
use engine::config::Config;
use engine::plan::DataPlan;
use engine::w3c::{DataKind, DtlsRole};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One way.
const DELAY: Duration = Duration::from_micros(100);

fn config() -> Config {
    Config {
        data_buffer_limit: u64::MAX,
        ..Config::bare()
    }
}

struct Ends {
    ends: [Channels; 2],
    flying: [VecDeque<(Instant, Bytes)>; 2],
    now: Instant,
    received: u64,
    packets: u64,
}

impl Ends {
    fn step(&mut self) {
        self.now += DELAY;
        for index in 0..2 {
            let end = &mut self.ends[index];
            if end.poll_timeout().is_some_and(|due| due <= self.now) {
                end.handle_timeout(self.now);
            }
            while self.flying[index]
                .front()
                .is_some_and(|(due, _)| *due <= self.now)
                && let Some((_, packet)) = self.flying[index].pop_front()
            {
                end.handle_packet(self.now, packet);
                while let Some(event) = end.poll_event() {
                    if let ChannelEvent::Data(_, _, payload) = event {
                        self.received += payload.len() as u64;
                    }
                }
            }
            while let Some(packet) = end.poll_packet(self.now) {
                self.packets += 1;
                self.flying[1 - index].push_back((self.now + DELAY, packet));
            }
            while end.poll_event().is_some() {}
        }
    }
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse::<usize>().ok());
    let size = arguments.next().unwrap_or(16_384);
    let count = arguments.next().unwrap_or(20_000);
    let now = Instant::now();
    let mut ends = Ends {
        ends: [Channels::new(&config()), Channels::new(&config())],
        flying: [VecDeque::new(), VecDeque::new()],
        now,
        received: 0,
        packets: 0,
    };
    let plan = DataPlan {
        local_port: 5000,
        remote_port: 5000,
        remote_max_message_size: None,
    };
    for (end, role) in ends
        .ends
        .iter_mut()
        .zip([DtlsRole::Client, DtlsRole::Server])
    {
        end.apply(now, Some(&plan), Some(role));
    }
    for _ in 0..100 {
        ends.step();
    }
    let handle: ChannelHandle = match ends.ends[0].create(
        ends.now,
        ChannelOptions {
            label: "throughput".into(),
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
        },
    ) {
        Ok(info) => info.handle,
        Err(error) => return eprintln!("no channel: {error}"),
    };
    let payload = Bytes::from(vec![1; size]);
    let start = Instant::now();
    let virtual_start = ends.now;
    for _ in 0..count {
        handle.account.charge(size as u64);
        let payload = payload.clone();
        let data = OutgoingData {
            channel: handle.id,
            kind: DataKind::Binary,
            payload,
            notify: None,
        };
        ends.ends[0].send(ends.now, data);
    }
    let total = (size * count) as u64;
    while ends.received < total {
        ends.step();
    }
    let taken = start.elapsed().as_secs_f64();
    println!(
        "{count} messages of {size} bytes: {:.0} MB/s, {:.2} us per packet both ends, {} packets, {:?} on the virtual clock",
        total as f64 / taken / 1e6,
        taken * 1e6 / ends.packets as f64,
        ends.packets,
        ends.now - virtual_start,
    );
}
