//! The payloads of received packets, which share memory.
//!
//! A binary of its own for each would cost an allocation under the lock that the BEAM has for
//! threads that are no schedulers, and as much again when a scheduler frees it. So the payloads of a
//! turn are parts of one block, each with a binary that points into it.

use crate::atoms;
use bytes::{Bytes, BytesMut};
use rustler::{Binary, Encoder, Env, NewBinary, Resource, ResourceArc, Term};
use std::cell::RefCell;
use std::ops::Range;

/// What payloads share at most, in bytes: some thirteen of full size. A packet that is kept keeps so
/// much.
const BLOCK: usize = 16 << 10;

/// Binaries up to this size are on the heap of a process in any case.
const HEAP_BINARY: usize = 64;

thread_local! {
    /// What is left of a block, for the next turn of any connection of the shard.
    static REST: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Memory that payloads are parts of; freed with the last of them.
pub struct Block(Bytes);

#[rustler::resource_impl]
impl Resource for Block {}

/// Where a payload is.
#[derive(Clone)]
pub struct Place {
    block: usize,
    range: Range<usize>,
}

/// The payloads of one turn.
#[derive(Default)]
pub struct Payloads {
    blocks: Vec<Part>,
    open: BytesMut,
    payloads: usize,
}

/// The payloads of the turn in one block.
struct Part {
    bytes: Bytes,
    payloads: usize,
    shared: Option<ResourceArc<Block>>,
}

impl Part {
    /// Whether a payload does without the block: one that shares it with none need not keep it.
    fn is_better_copied(&self, place: &Place) -> bool {
        place.range.len() <= HEAP_BINARY || self.payloads == 1
    }

    /// A part of the block, which stays as long as the binary does.
    fn binary<'a>(&mut self, env: Env<'a>, range: Range<usize>) -> Binary<'a> {
        self.shared
            .get_or_insert_with(|| ResourceArc::new(Block(self.bytes.clone())))
            .make_binary(env, |block| block.0.get(range).unwrap_or_default())
    }
}

impl Payloads {
    /// Copies a payload.
    pub fn push(&mut self, payload: &[u8]) -> Place {
        if self.open.capacity() == 0 {
            REST.with_borrow_mut(|rest| std::mem::swap(rest, &mut self.open));
        }
        if self.open.capacity() - self.open.len() < payload.len() {
            self.end_block();
            self.open = BytesMut::with_capacity(payload.len().max(BLOCK));
        }
        let start = self.open.len();
        self.open.extend_from_slice(payload);
        self.payloads += 1;
        Place {
            block: self.blocks.len(),
            range: start..self.open.len(),
        }
    }

    fn end_block(&mut self) {
        if self.payloads > 0 {
            self.blocks.push(Part {
                bytes: self.open.split().freeze(),
                payloads: std::mem::take(&mut self.payloads),
                shared: None,
            });
        }
    }

    /// No more come: [`Self::term`] may be called.
    pub fn end(&mut self) {
        self.end_block();
    }

    /// A payload as a binary.
    pub fn term<'a>(&mut self, env: Env<'a>, place: &Place) -> Term<'a> {
        let Some(part) = self.blocks.get_mut(place.block) else {
            return atoms::nil().to_term(env);
        };
        if part.is_better_copied(place) {
            let payload = part.bytes.get(place.range.clone()).unwrap_or_default();
            return NewBinary::from_slice(env, payload).into();
        }
        part.binary(env, place.range.clone()).encode(env)
    }

    /// What payloads of one message are made of with [`Self::part_term`]: they share what the BEAM
    /// has to know of a block.
    pub fn whole<'a>(&mut self, env: Env<'a>) -> Vec<Binary<'a>> {
        self.blocks
            .iter_mut()
            .map(|part| part.binary(env, 0..part.bytes.len()))
            .collect()
    }

    /// A payload as a part of a binary of [`Self::whole`].
    pub fn part_term<'a>(&self, env: Env<'a>, whole: &[Binary<'a>], place: &Place) -> Term<'a> {
        let Range { start, end } = place.range;
        let copied = self
            .blocks
            .get(place.block)
            .is_none_or(|part| part.is_better_copied(place));
        let part = whole
            .get(place.block)
            .filter(|_| !copied)
            .and_then(|whole| whole.make_subbinary(start, end - start).ok());
        part.map_or_else(
            || NewBinary::from_slice(env, self.bytes(place)).into(),
            |part| part.to_term(env),
        )
    }

    /// The bytes of a payload.
    pub fn bytes(&self, place: &Place) -> &[u8] {
        self.blocks
            .get(place.block)
            .and_then(|part| part.bytes.get(place.range.clone()))
            .unwrap_or_default()
    }

    /// Forgets them, and leaves what is left of the block to the next turn.
    pub fn clear(&mut self) {
        self.blocks.clear();
        let open = std::mem::take(&mut self.open);
        REST.with_borrow_mut(|rest| *rest = open);
    }
}
