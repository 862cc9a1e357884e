//! `rtp_delivery: {:batch, max}`: the packets of one turn of the shard, told in one message.
//!
//! A packet's bytes live in the receive buffer, so what waits for the end of the turn is copied:
//! into memory that the connections of a shard use in turn, an idle one has none. The payloads of a
//! batch become one binary, which its packets share: one allocation instead of one a packet.

use crate::atoms;
use crate::terms::rtp::PacketShape;
use engine::ids::{Rid, TrackId};
use engine::media::ReceivedRtp;
use rustler::{Binary, Encoder, Env, NewBinary, Term};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::ops::Range;

/// What a shard keeps of its shared memory between batches, in bytes of payload.
const KEPT: usize = 1 << 20;

thread_local! {
    static SPARE: RefCell<Waiting> = RefCell::new(Waiting::default());
}

/// The packets that wait for the end of the turn, of a connection that wants batches.
pub struct Batch {
    most: NonZeroUsize,
    waiting: Waiting,
}

#[derive(Default)]
struct Waiting {
    packets: Vec<Packet>,
    payloads: Vec<u8>,
    /// Contributing sources and header extensions.
    headers: Vec<u8>,
}

struct Packet {
    track: TrackId,
    rid: Option<Rid>,
    /// With empty slices in place of its bytes.
    fields: ReceivedRtp<'static>,
    csrc: Range<usize>,
    extension: Range<usize>,
    payload: Range<usize>,
}

impl Batch {
    /// Batches of at most so many packets.
    pub fn new(most: NonZeroUsize) -> Self {
        Self {
            most,
            waiting: Waiting::default(),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.packets.is_empty()
    }

    /// Keeps a packet for the end of the turn. True when the batch is full.
    pub fn push(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>) -> bool {
        let waiting = &mut self.waiting;
        if waiting.packets.is_empty() {
            SPARE.with_borrow_mut(|spare| std::mem::swap(spare, waiting));
        }
        let packet = Packet {
            track,
            rid: rid.cloned(),
            csrc: append(&mut waiting.headers, packet.csrc),
            extension: append(&mut waiting.headers, packet.extension),
            payload: append(&mut waiting.payloads, packet.payload),
            fields: ReceivedRtp {
                csrc: &[],
                extension: &[],
                payload: &[],
                ..*packet
            },
        };
        waiting.packets.push(packet);
        waiting.packets.len() >= self.most.get()
    }

    /// `{:rtp_batch, [{track_id, rid, packet}]}`
    pub fn term<'a>(&self, env: Env<'a>, shape: &PacketShape) -> Term<'a> {
        let waiting = &self.waiting;
        let payloads: Term<'a> = NewBinary::from_slice(env, &waiting.payloads).into();
        let shared = Binary::from_term(payloads).ok();
        let packets: Vec<Term<'a>> = waiting
            .packets
            .iter()
            .map(|packet| {
                let Range { start, end } = packet.payload;
                let payload = shared
                    .as_ref()
                    .and_then(|shared| shared.make_subbinary(start, end - start).ok())
                    .map_or(payloads, |payload| payload.to_term(env));
                let bytes = |range: &Range<usize>| waiting.headers.get(range.clone());
                let fields = ReceivedRtp {
                    csrc: bytes(&packet.csrc).unwrap_or_default(),
                    extension: bytes(&packet.extension).unwrap_or_default(),
                    ..packet.fields
                };
                let rid = packet.rid.as_ref().map(Rid::as_str);
                (packet.track.0, rid, shape.term_with(env, &fields, payload)).encode(env)
            })
            .collect();
        (atoms::rtp_batch(), packets).encode(env)
    }

    /// Forgets what was told, and leaves the memory to the shard's next batch.
    pub fn clear(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.packets.clear();
        waiting.headers.clear();
        waiting.payloads.clear();
        waiting.payloads.shrink_to(KEPT);
        SPARE.with_borrow_mut(|spare| {
            if spare.payloads.capacity() < waiting.payloads.capacity() {
                *spare = waiting;
            }
        });
    }
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}
