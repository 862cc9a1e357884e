//! RTP packets as `%ExWebRTC.RTP.Packet{}` (or `%ExRTP.Packet{}`), both ways. The hot file: a
//! term is built or read for every packet.

use crate::atoms;
use crate::terms::{field, list, number, optional};
use bytes::{Bytes, BytesMut};
use engine::command::OutgoingRtp;
use engine::media::ReceivedRtp;
use rustler::{Atom, Binary, Encoder, Env, Error, NewBinary, NifResult, Term};
use std::cell::RefCell;

/// The profile of one-byte header extensions (RFC 8285 section 4.2).
const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// The profile of two-byte header extensions; its low four bits are free (RFC 8285 section 4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;
const TWO_BYTE_PROFILE_MASK: u16 = 0xFFF0;
/// Ends the parsing of one-byte elements, as does id 0 with a length (RFC 8285 section 4.2).
const ONE_BYTE_STOP: u8 = 15;
/// RFC 3550 section 5.1: the count has four bits.
const MAX_CSRC: usize = 15;

/// The keys of the packet's map. Sorted as the BEAM sorts them: making the map is then one pass.
const PACKET_FIELDS: usize = 14;

/// The modules of the packet structs, and what is made of them once.
#[derive(Clone, Copy)]
pub struct PacketShape {
    module: Atom,
    extension_module: Atom,
    keys: [Atom; PACKET_FIELDS],
}

impl PacketShape {
    /// For these modules: ours, or those of `ex_rtp` where the application has it.
    pub fn new(module: Atom, extension_module: Atom) -> Self {
        let keys = [
            atoms::struct_(),
            atoms::csrc(),
            atoms::extension(),
            atoms::extension_profile(),
            atoms::extensions(),
            atoms::marker(),
            atoms::padding(),
            atoms::padding_size(),
            atoms::payload(),
            atoms::payload_type(),
            atoms::sequence_number(),
            atoms::ssrc(),
            atoms::timestamp(),
            atoms::version(),
        ];
        Self {
            module,
            extension_module,
            keys,
        }
    }

    /// The packet as a struct with this term as its payload.
    pub fn term_with<'a>(
        &self,
        env: Env<'a>,
        packet: &ReceivedRtp<'_>,
        payload: Term<'a>,
    ) -> Term<'a> {
        let nil = atoms::nil().to_term(env);
        let (profile, extensions) = match packet.extension_profile {
            None => (nil, nil),
            Some(profile) => (
                profile.encode(env),
                self.extensions(env, profile, packet.extension),
            ),
        };
        let values: [Term<'a>; PACKET_FIELDS] = [
            self.module.to_term(env),
            csrc_term(env, packet.csrc),
            packet.extension_profile.is_some().encode(env),
            profile,
            extensions,
            packet.marker.encode(env),
            (packet.padding_size > 0).encode(env),
            packet.padding_size.encode(env),
            payload,
            packet.payload_type.encode(env),
            packet.sequence_number.encode(env),
            packet.ssrc.encode(env),
            packet.timestamp.encode(env),
            2u8.encode(env),
        ];
        let keys = self.keys.map(|key| key.to_term(env));
        // Fails for equal keys only.
        Term::map_from_term_arrays(env, &keys, &values).unwrap_or(nil)
    }

    /// `[%Extension{id, data}]`, or the body as it is where its profile is nobody's.
    fn extensions<'a>(&self, env: Env<'a>, profile: u16, body: &[u8]) -> Term<'a> {
        let one_byte = profile == ONE_BYTE_PROFILE;
        if !one_byte && profile & TWO_BYTE_PROFILE_MASK != TWO_BYTE_PROFILE {
            return NewBinary::from_slice(env, body).into();
        }
        let keys = [atoms::struct_(), atoms::data(), atoms::id()].map(|key| key.to_term(env));
        let terms: Vec<Term<'a>> = Elements { body, one_byte }
            .map(|(id, data)| {
                let data: Term<'a> = NewBinary::from_slice(env, data).into();
                let values = [self.extension_module.to_term(env), data, id.encode(env)];
                Term::map_from_term_arrays(env, &keys, &values).unwrap_or(data)
            })
            .collect();
        terms.encode(env)
    }
}

/// The elements of a header extension's body. Ends at the first one that is cut off.
struct Elements<'a> {
    body: &'a [u8],
    one_byte: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, rest) = self.body.split_first()?;
            // A zero byte pads (RFC 8285 section 4.1.2); only its first byte in two-byte form.
            if first == 0 {
                self.body = rest;
                continue;
            }
            let (id, length, data) = if self.one_byte {
                (first >> 4, usize::from(first & 0x0F) + 1, rest)
            } else {
                let (&length, data) = rest.split_first()?;
                (first, usize::from(length), data)
            };
            if self.one_byte && (id == 0 || id == ONE_BYTE_STOP) {
                return None;
            }
            let (data, rest) = data.split_at_checked(length)?;
            self.body = rest;
            return Some((id, data));
        }
    }
}

fn csrc_term<'a>(env: Env<'a>, csrc: &[u8]) -> Term<'a> {
    if csrc.is_empty() {
        return Term::list_new_empty(env);
    }
    let (sources, _) = csrc.as_chunks::<4>();
    sources
        .iter()
        .map(|bytes| u32::from_be_bytes(*bytes))
        .collect::<Vec<_>>()
        .encode(env)
}

/// A packet struct to send.
///
/// # Errors
/// `BadArg` for a map that is no packet, or one whose fields do not fit their widths.
pub fn outgoing(packet: Term<'_>, rtx: bool) -> NifResult<OutgoingRtp> {
    let payload_type: u8 = number(field(packet, atoms::payload_type())?)?;
    if payload_type > 127 {
        return Err(Error::BadArg);
    }
    let csrc: Vec<u32> = list(field(packet, atoms::csrc())?, |source| source.decode())?;
    if csrc.len() > MAX_CSRC {
        return Err(Error::BadArg);
    }
    Ok(OutgoingRtp {
        marker: field(packet, atoms::marker())?.decode()?,
        payload_type,
        sequence_number: number(field(packet, atoms::sequence_number())?)?,
        timestamp: field(packet, atoms::timestamp())?.decode()?,
        ssrc: optional(field(packet, atoms::ssrc())?, |ssrc| ssrc.decode())?.unwrap_or(0),
        csrc,
        extensions: outgoing_extensions(field(packet, atoms::extensions())?)?,
        payload: binary(field(packet, atoms::payload())?)?,
        padding_size: number(field(packet, atoms::padding_size())?)?,
        rtx,
    })
}

/// `nil`, a list of elements, or the body of an unknown profile, which is left out: the engine
/// writes the extensions that were negotiated.
fn outgoing_extensions(term: Term<'_>) -> NifResult<Vec<(u8, Bytes)>> {
    if atoms::nil() == term || term.is_binary() {
        return Ok(Vec::new());
    }
    list(term, |element| {
        let id = number(field(element, atoms::id())?)?;
        Ok((id, binary(field(element, atoms::data())?)?))
    })
}

/// Memory that a scheduler takes at once for the payloads it hands over, one after the other.
///
/// A block is free again when the last packet of it is, at the latest when the history for
/// retransmissions lets go of it. At any time a scheduler's packets of the last two seconds are in
/// as many blocks as they fill, and one.
const BLOCK: usize = 64 << 10;
/// Larger payloads get memory of their own.
const MAX_SHARING: usize = 2048;

thread_local! {
    static SLAB: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// The bytes of a packet, copied: its term lives in the caller's heap.
pub fn binary(term: Term<'_>) -> NifResult<Bytes> {
    let binary = Binary::from_term(term)?;
    let bytes = binary.as_slice();
    if bytes.len() > MAX_SHARING {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    Ok(SLAB.with_borrow_mut(|slab| {
        if slab.capacity() < bytes.len() {
            *slab = BytesMut::with_capacity(BLOCK);
        }
        slab.extend_from_slice(bytes);
        slab.split().freeze()
    }))
}
