//! A bottleneck and the flows that share it.

use super::*;
use crate::media::twcc::ArrivalLog;
use rtc_shared::marshal::Marshal;
use std::collections::BTreeMap;

pub(super) const KBIT: u64 = 1_000;
pub(super) const MBIT: u64 = 1_000_000;

/// The narrow place of the path.
pub(super) struct Link {
    /// Bits per second.
    pub(super) capacity: u64,
    /// Bytes that may wait.
    pub(super) queue: usize,
    /// One way.
    pub(super) delay: Duration,
    /// Each packet is late by up to this, in order.
    pub(super) jitter: Duration,
    /// Percent of packets lost by chance.
    pub(super) loss: u64,
    free: Duration,
    last_arrival: Duration,
}

impl Link {
    /// A queue of `queue_ms` and 20 ms each way.
    pub(super) fn new(capacity: u64, queue_ms: u64) -> Self {
        Self {
            capacity,
            queue: (capacity / 8 * queue_ms / 1000) as usize,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
            free: Duration::ZERO,
            last_arrival: Duration::ZERO,
        }
    }

    /// When a packet arrives that is sent now.
    fn pass(&mut self, now: Duration, size: usize, random: &mut Random) -> Option<Duration> {
        let waiting = self.free.saturating_sub(now).as_secs_f64() * self.capacity as f64 / 8.0;
        if waiting as usize + size > self.queue.max(2000) {
            return None;
        }
        let taken = Duration::from_secs_f64(size as f64 * 8.0 / self.capacity as f64);
        self.free = self.free.max(now) + taken;
        if random.below(100) < self.loss {
            return None;
        }
        let micros = self.jitter.as_micros() as u64;
        let late = Duration::from_micros(if micros == 0 { 0 } else { random.below(micros) });
        self.last_arrival = self.last_arrival.max(self.free + self.delay + late);
        Some(self.last_arrival)
    }
}

pub(super) struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One sender of video and its receiver.
pub(super) struct Flow {
    pub(super) bandwidth: Bandwidth,
    arrivals: ArrivalLog,
    /// Frames in a second; 0 for silence.
    pub(super) frames: u64,
    /// The most it sends, in bits per second.
    pub(super) most: u64,
    /// Sends as much whatever the estimate is.
    pub(super) stubborn: bool,
    next_frame: Duration,
}

impl Flow {
    fn new(epoch: Instant) -> Self {
        Self {
            bandwidth: Bandwidth::new(epoch),
            arrivals: ArrivalLog::new(),
            frames: 30,
            most: 50 * MBIT,
            stubborn: false,
            next_frame: Duration::ZERO,
        }
    }

    fn target(&self) -> u64 {
        if self.stubborn {
            self.most
        } else {
            let estimate = self.bandwidth.estimate();
            estimate.unwrap_or(300 * KBIT).min(self.most)
        }
    }
}

enum Arriving {
    Media { flow: usize, number: u16 },
    Feedback { flow: usize, body: Vec<u8> },
}

/// Flows through a link.
pub(super) struct Path {
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    pub(super) now: Duration,
    epoch: Instant,
    random: Random,
    flying: BTreeMap<(Duration, u64), Arriving>,
    order: u64,
}

impl Path {
    pub(super) fn new(link: Link, flows: usize) -> Self {
        let epoch = Instant::now();
        Self {
            link,
            flows: (0..flows).map(|_| Flow::new(epoch)).collect(),
            now: Duration::ZERO,
            epoch,
            random: Random(7),
            flying: BTreeMap::new(),
            order: 0,
        }
    }

    pub(super) fn estimate(&self, flow: usize) -> u64 {
        self.flows[flow].bandwidth.estimate().unwrap()
    }

    /// Lets time pass, a millisecond a step, and returns the mean estimate of the first flow.
    pub(super) fn run(&mut self, seconds: f64) -> f64 {
        self.run_all(seconds)[0]
    }

    /// Lets time pass, and returns the mean estimates.
    pub(super) fn run_all(&mut self, seconds: f64) -> Vec<f64> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut sums = vec![0.0; self.flows.len()];
        let mut steps = 0;
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.deliver();
            for (at, sum) in sums.iter_mut().enumerate() {
                self.step(at);
                *sum += self.flows[at].bandwidth.estimate().unwrap_or(0) as f64;
            }
            steps += 1;
        }
        sums.iter().map(|sum| sum / f64::from(steps)).collect()
    }

    /// Runs until the first flow's estimate fits; says after how many seconds.
    pub(super) fn run_until(&mut self, limit: f64, fits: impl Fn(u64) -> bool) -> f64 {
        let start = self.now;
        while (self.now - start).as_secs_f64() < limit {
            self.run_all(0.01);
            let estimate = self.flows[0].bandwidth.estimate();
            if estimate.is_some_and(&fits) {
                return (self.now - start).as_secs_f64();
            }
        }
        panic!("after {limit} s it is {}", self.estimate(0));
    }

    fn fly(&mut self, at: Duration, what: Arriving) {
        self.order += 1;
        self.flying.insert((at, self.order), what);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let ((at, _), arriving) = (*entry.key(), entry.remove());
            match arriving {
                Arriving::Media { flow, number } => {
                    let (at, epoch) = (self.epoch + at, self.epoch);
                    self.flows[flow].arrivals.arrived(at, epoch, number, 1);
                }
                Arriving::Feedback { flow, body } => {
                    let now = self.epoch + self.now;
                    let taken = self.flows[flow].bandwidth.feedback(now, &body, None);
                    assert_eq!(taken, Some(()), "our own feedback is well-formed");
                }
            }
        }
    }

    fn step(&mut self, at: usize) {
        let now = self.epoch + self.now;
        let flow = &mut self.flows[at];
        if flow.arrivals.due().is_some_and(|due| due <= now) {
            let mut bodies = Vec::new();
            while let Some(feedback) = flow.arrivals.feedback(1) {
                bodies.push(feedback.marshal().unwrap()[4..].to_vec());
            }
            let back = self.now + self.link.delay;
            for body in bodies {
                self.fly(back, Arriving::Feedback { flow: at, body });
            }
        }
        let flow = &mut self.flows[at];
        if flow.frames == 0 || self.now < flow.next_frame {
            return;
        }
        let interval = Duration::from_micros(1_000_000 / flow.frames);
        if flow.next_frame + interval < self.now {
            // It was silent.
            flow.next_frame = self.now;
        }
        flow.next_frame += interval;
        let mean = flow.target() / 8 / flow.frames;
        // Frames of an encoder differ.
        let mut left = (mean * (80 + self.random.below(41)) / 100).max(100) as usize;
        while left > 0 {
            let size = left.min(1200);
            left -= size;
            let flow = &mut self.flows[at];
            let number = flow.bandwidth.next_number();
            flow.bandwidth.sent(now, true, size);
            let arrival = self.link.pass(self.now, size, &mut self.random);
            if let Some(arrival) = arrival {
                self.fly(arrival, Arriving::Media { flow: at, number });
            }
        }
    }
}
