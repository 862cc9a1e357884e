//! Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01): when
//! packets arrived, told to their sender. What the peer tells of ours is in `bandwidth`.

use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk,
    SymbolSizeTypeTcc, SymbolTypeTcc, TransportLayerCc,
};
use std::time::{Duration, Instant};

/// How long arrivals are collected before they are told.
const INTERVAL: Duration = Duration::from_millis(100);
/// Arrivals that are told at once, however soon: they still fit one packet.
const MAX_PENDING: u32 = 300;
/// Packet numbers whose arrival is remembered; some 16 KiB, taken with the first packet.
const LOG: u64 = 2048;
/// Packets that arrive behind the last feedback and are told of in the next one. An older one
/// has been declared lost for good.
const REORDERING: u64 = 256;
/// Arrivals in one feedback packet: two bytes each at most, so that it fits a datagram.
const MAX_DELTAS: usize = 400;
/// Packets one feedback speaks of, arrived or not.
const MAX_STATUSES: u64 = 2000;
/// Deltas count in 250 µs, the reference time in 64 ms.
const TICK_MICROS: i64 = 250;
const REFERENCE_MICROS: i64 = 64_000;
/// What run length chunks hold: 13 bits.
const MAX_RUN: usize = 8191;
/// Symbols of a two-bit status vector.
const VECTOR: usize = 7;

/// Arrivals that are not told yet, and the last ones that are.
#[derive(Debug)]
pub(super) struct ArrivalLog {
    /// Microseconds since the epoch plus one, by number; 0: did not arrive.
    arrivals: Vec<u64>,
    started: bool,
    /// The next number to tell of.
    next: u64,
    highest: u64,
    pending: u32,
    due: Option<Instant>,
    media_ssrc: u32,
    feedback_count: u8,
    /// Feedback packets sent.
    pub(super) feedbacks: u64,
}

impl ArrivalLog {
    pub(super) fn new() -> Self {
        Self {
            arrivals: Vec::new(),
            started: false,
            next: 0,
            highest: 0,
            pending: 0,
            due: None,
            media_ssrc: 0,
            feedback_count: 0,
            feedbacks: 0,
        }
    }

    /// A packet with this number arrived.
    pub(super) fn arrived(&mut self, now: Instant, epoch: Instant, number: u16, ssrc: u32) {
        let micros = now.saturating_duration_since(epoch).as_micros() as u64;
        if !self.started {
            self.started = true;
            self.arrivals = vec![0; LOG as usize];
            self.highest = (1 << 16) + u64::from(number);
            self.next = self.highest;
        }
        let distance = number.wrapping_sub(self.highest as u16) as i16;
        let index = self.highest.saturating_add_signed(i64::from(distance));
        if index + REORDERING < self.next || index + LOG <= self.highest {
            return;
        }
        if index > self.highest {
            let skipped = (self.highest + 1).max(index.saturating_sub(LOG - 1));
            for number in skipped..index {
                self.set(number, 0);
            }
            self.highest = index;
            self.next = self.next.max((index + 1).saturating_sub(LOG));
        } else if self.at(index) != 0 {
            return;
        }
        self.set(index, micros + 1);
        self.next = self.next.min(index);
        self.media_ssrc = ssrc;
        self.pending += 1;
        let due = if self.pending >= MAX_PENDING {
            now
        } else {
            now + INTERVAL
        };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When feedback is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next feedback packet; call until it returns `None`.
    pub(super) fn feedback(&mut self, sender_ssrc: u32) -> Option<TransportLayerCc> {
        if !self.started || self.pending == 0 {
            self.due = None;
            self.pending = 0;
            return None;
        }
        let arrived =
            |log: &Self, number: u64| log.at(number).checked_sub(1).map(|micros| micros as i64);
        // A feedback begins with a packet that arrived: the reference time is its.
        let first = (self.next..=self.highest).find(|number| arrived(self, *number).is_some());
        let Some(first) = first else {
            self.pending = 0;
            self.due = None;
            return None;
        };
        // Packets lost in front of it are told of as well.
        let base = self.next;
        let reference = arrived(self, first)? / REFERENCE_MICROS;
        let mut clock = reference * REFERENCE_MICROS;
        let mut symbols = Vec::new();
        let mut recv_deltas = Vec::new();
        let mut number = base;
        while number <= self.highest
            && number - base < MAX_STATUSES
            && recv_deltas.len() < MAX_DELTAS
        {
            let Some(micros) = arrived(self, number) else {
                symbols.push(SymbolTypeTcc::PacketNotReceived);
                number += 1;
                continue;
            };
            let ticks = (micros - clock).div_euclid(TICK_MICROS);
            let Ok(_) = i16::try_from(ticks) else { break };
            clock += ticks * TICK_MICROS;
            let symbol = if (0..=255).contains(&ticks) {
                SymbolTypeTcc::PacketReceivedSmallDelta
            } else {
                SymbolTypeTcc::PacketReceivedLargeDelta
            };
            symbols.push(symbol);
            recv_deltas.push(RecvDelta {
                type_tcc_packet: symbol,
                delta: ticks * TICK_MICROS,
            });
            number += 1;
        }
        self.next = number;
        let feedback = TransportLayerCc {
            sender_ssrc,
            media_ssrc: self.media_ssrc,
            base_sequence_number: base as u16,
            packet_status_count: symbols.len() as u16,
            reference_time: (reference as u32) & 0x00ff_ffff,
            fb_pkt_count: self.feedback_count,
            packet_chunks: chunks(&symbols),
            recv_deltas,
        };
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.feedbacks += 1;
        if self.next > self.highest {
            self.pending = 0;
            self.due = None;
        }
        Some(feedback)
    }

    fn at(&self, number: u64) -> u64 {
        self.arrivals
            .get((number % LOG) as usize)
            .copied()
            .unwrap_or(0)
    }

    fn set(&mut self, number: u64, value: u64) {
        if let Some(slot) = self.arrivals.get_mut((number % LOG) as usize) {
            *slot = value;
        }
    }
}

/// Runs of seven and more as a run length chunk, the rest as two-bit vectors.
fn chunks(symbols: &[SymbolTypeTcc]) -> Vec<PacketStatusChunk> {
    let mut chunks = Vec::new();
    let mut rest = symbols;
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .take(MAX_RUN)
            .take_while(|symbol| *symbol == first)
            .count();
        let (chunk, taken) = if run >= VECTOR || run == rest.len() {
            let chunk = PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: *first,
                run_length: run as u16,
            });
            (chunk, run)
        } else {
            let taken = rest.len().min(VECTOR);
            let mut symbol_list = rest.get(..taken).unwrap_or_default().to_vec();
            symbol_list.resize(VECTOR, SymbolTypeTcc::PacketNotReceived);
            let chunk = PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list,
            });
            (chunk, taken)
        };
        chunks.push(chunk);
        rest = rest.get(taken..).unwrap_or_default();
    }
    chunks
}
