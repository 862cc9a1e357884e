//! `flow_control: {:active, n}`: how many messages with media or data the controlling process is
//! sent before it asks for more, as with the sockets of OTP.

use bytes::Bytes;
use engine::ids::{Rid, TrackId};
use engine::media::ReceivedRtp;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};

/// Packets that wait for credit: a second of video at 10 Mbit/s. Media that waited longer is better
/// not shown at all.
const MAX_HELD_PACKETS: usize = 1024;

/// Their bytes, a bound for jumbo datagrams.
const MAX_HELD_BYTES: usize = 2 << 20;

/// Stands for a process that takes all there is.
const UNLIMITED: i64 = i64::MAX;

/// Messages that may be sent. Shared by the shard, which takes, and the handle, which adds: adding
/// needs no place in a queue and cannot fail.
pub struct Credit(AtomicI64);

/// What was asked for before a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It may be sent.
    Granted,
    /// It may be sent, and nothing behind it.
    Last,
    /// It may not.
    Refused,
}

impl Credit {
    /// For so many messages, or all.
    pub fn new(messages: Option<u32>) -> Self {
        Self(AtomicI64::new(messages.map_or(UNLIMITED, i64::from)))
    }

    /// Adds messages, or lifts the limit. True when the shard has to hear of it.
    pub fn add(&self, messages: Option<u32>) -> bool {
        let Some(messages) = messages.map(i64::from) else {
            return self.0.swap(UNLIMITED, Ordering::AcqRel) < UNLIMITED;
        };
        let before = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |credit| {
                Some(if credit == UNLIMITED {
                    messages
                } else {
                    credit.saturating_add(messages).min(UNLIMITED - 1)
                })
            });
        before.is_ok_and(|before| before <= 0)
    }

    /// How many may be sent now; `None`: all.
    pub fn left(&self) -> Option<u64> {
        match self.0.load(Ordering::Acquire) {
            UNLIMITED => None,
            left => Some(u64::try_from(left).unwrap_or(0)),
        }
    }

    /// Takes one.
    pub fn take(&self) -> Grant {
        let taken =
            self.0
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |credit| match credit {
                    UNLIMITED => None,
                    credit if credit <= 0 => None,
                    credit => Some(credit - 1),
                });
        match taken {
            Ok(1) => Grant::Last,
            Ok(_) | Err(UNLIMITED) => Grant::Granted,
            Err(_) => Grant::Refused,
        }
    }
}

/// A packet that waits for credit.
pub enum Held {
    /// One of a track.
    Rtp(HeldRtp),
    /// A compound.
    Rtcp(Vec<(Option<TrackId>, Bytes)>),
}

/// An RTP packet with its bytes.
pub struct HeldRtp {
    pub track: TrackId,
    pub rid: Option<Rid>,
    fields: ReceivedRtp<'static>,
    bytes: Box<[u8]>,
    csrc: usize,
    extension: usize,
}

impl HeldRtp {
    /// Copies a packet.
    pub fn new(track: TrackId, rid: Option<Rid>, packet: &ReceivedRtp<'_>) -> Self {
        Self {
            track,
            rid,
            fields: ReceivedRtp {
                csrc: &[],
                extension: &[],
                payload: &[],
                ..*packet
            },
            bytes: [packet.csrc, packet.extension, packet.payload]
                .concat()
                .into_boxed_slice(),
            csrc: packet.csrc.len(),
            extension: packet.extension.len(),
        }
    }

    /// The packet.
    pub fn packet(&self) -> ReceivedRtp<'_> {
        let (csrc, rest) = self.bytes.split_at(self.csrc.min(self.bytes.len()));
        let (extension, payload) = rest.split_at(self.extension.min(rest.len()));
        ReceivedRtp {
            csrc,
            extension,
            payload,
            ..self.fields
        }
    }
}

impl Held {
    fn packets(&self) -> u64 {
        match self {
            Self::Rtp(_) => 1,
            Self::Rtcp(packets) => packets.len() as u64,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Rtp(packet) => packet.bytes.len(),
            Self::Rtcp(packets) => packets.iter().map(|(_, packet)| packet.len()).sum(),
        }
    }
}

/// What waits for credit.
#[derive(Default)]
pub struct Backlog {
    held: VecDeque<Held>,
    bytes: usize,
    dropped: u64,
}

impl Backlog {
    /// Keeps a packet. Overflow policy "shard → controlling process, without credit": the oldest is
    /// dropped, and counted.
    pub fn keep(&mut self, packet: Held) {
        self.bytes += packet.bytes();
        self.held.push_back(packet);
        while self.held.len() > MAX_HELD_PACKETS || self.bytes > MAX_HELD_BYTES {
            let Some(oldest) = self.take() else { break };
            self.dropped += oldest.packets();
        }
    }

    /// The oldest.
    pub fn take(&mut self) -> Option<Held> {
        let oldest = self.held.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, Held::bytes);
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
        oldest
    }

    /// The oldest, where it is an RTP packet.
    pub fn take_rtp(&mut self) -> Option<HeldRtp> {
        if !matches!(self.held.front(), Some(Held::Rtp(_))) {
            return None;
        }
        match self.take()? {
            Held::Rtp(packet) => Some(packet),
            Held::Rtcp(_) => None,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Packets that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
