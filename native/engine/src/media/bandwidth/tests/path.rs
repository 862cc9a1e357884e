//! A bottleneck and the flows that share it.

use super::*;
use crate::media::ReceivedRtp;
use crate::media::header::{ElementList, Fields, HeaderBuffer};
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

const TWCC: u8 = 3;

/// The packets that left: number, size, and when they were handed over, in milliseconds.
#[derive(Default)]
struct Wire(Vec<(u16, usize, u32)>);

impl PacketWriter for Wire {
    fn write_rtp(&mut self, header: &[u8], payload: &[u8]) -> Option<usize> {
        let parsed = ReceivedRtp::parse_header(header).unwrap();
        let (_, number) = parsed.elements().find(|(id, _)| *id == TWCC).unwrap();
        let size = header.len() + payload.len();
        let number = u16::from_be_bytes(number.try_into().unwrap());
        self.0.push((number, size, parsed.timestamp));
        Some(size)
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn write_rtcp(&mut self, _packet: &[u8]) -> Option<usize> {
        None
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
    /// Has padding for probes.
    pub(super) pads: bool,
    /// Every so many frames comes a keyframe, of six times the size; 0 for none.
    pub(super) keyframes: u64,
    /// The longest that a packet waited to leave.
    pub(super) waited: Duration,
    frame: u64,
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
            pads: true,
            keyframes: 0,
            waited: Duration::ZERO,
            frame: 0,
            next_frame: Duration::ZERO,
        }
    }

    fn pass(&mut self, now: Instant, class: Class, payload: usize, wire: &mut Wire) {
        let ids = ExtensionIds {
            twcc: TWCC,
            ..ExtensionIds::default()
        };
        let timestamp = (now - self.bandwidth.epoch).as_millis() as u32;
        let write = |number: Option<u16>, out: &mut dyn PacketWriter| {
            let number = number.unwrap().to_be_bytes();
            let mut elements = ElementList::new();
            elements.push(TWCC, &number);
            let fields = Fields {
                marker: false,
                payload_type: 96,
                sequence_number: 0,
                timestamp,
                ssrc: 1,
                padding: false,
            };
            let header = HeaderBuffer::write(fields, std::iter::empty(), &elements);
            out.write_rtp(header.as_slice(), &vec![0; payload])
        };
        self.bandwidth.pass(now, class, ids, wire, write);
    }

    /// Serves the pacer.
    fn pace(&mut self, now: Instant, wire: &mut Wire) {
        loop {
            match self.bandwidth.turn(now) {
                Turn::Rest => return,
                Turn::Release => self.bandwidth.release(now, [0; 3], wire),
                Turn::Pad if self.pads => self.pass(now, Class::Urgent, 255, wire),
                Turn::Pad => self.bandwidth.starve(now),
            }
        }
    }

    /// The sizes of a frame's packets, if one is due.
    fn frame(&mut self, now: Duration, random: &mut Random) -> Vec<usize> {
        if self.frames == 0 || now < self.next_frame {
            return Vec::new();
        }
        let interval = Duration::from_micros(1_000_000 / self.frames);
        if self.next_frame + interval < now {
            // It was silent.
            self.next_frame = now;
        }
        self.next_frame += interval;
        self.frame += 1;
        let mean = self.target() / 8 / self.frames;
        // Frames of an encoder differ.
        let mut left = (mean * (80 + random.below(41)) / 100).max(100) as usize;
        if self.keyframes > 0 {
            // The others are smaller by as much.
            let is_key = self.frame % self.keyframes == 1;
            left = left * self.keyframes as usize / (self.keyframes as usize + 5);
            left *= if is_key { 6 } else { 1 };
        }
        let mut sizes = vec![1150; left / 1150];
        sizes.extend((!left.is_multiple_of(1150)).then_some(left % 1150));
        sizes
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
    /// Packets that the link lost.
    pub(super) lost: u64,
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
            lost: 0,
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
        let mut wire = Wire::default();
        for size in flow.frame(self.now, &mut self.random) {
            flow.pass(now, Class::Media, size, &mut wire);
        }
        flow.pace(now, &mut wire);
        for (number, size, handed_over) in wire.0 {
            let waited = self.now - Duration::from_millis(u64::from(handed_over));
            self.flows[at].waited = self.flows[at].waited.max(waited);
            match self.link.pass(self.now, size, &mut self.random) {
                Some(arrival) => self.fly(arrival, Arriving::Media { flow: at, number }),
                None => self.lost += 1,
            }
        }
    }
}
