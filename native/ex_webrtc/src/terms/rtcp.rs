//! RTCP packets as the structs of `ExWebRTC.RTCP` (or `ExRTCP`). Whatever is malformed or of an
//! unknown type becomes `%ExWebRTC.RTCP.Unknown{}`: nothing a peer sends is lost, or fails.
//! `ExWebRTC.RTCP.decode/1` is the same in Elixir; a test holds the two together.

use crate::atoms;
use crate::terms::{field, map, structure};
use rustler::{Atom, Encoder, Env, NewBinary, NifResult, Term};

// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
// RFC 3611 section 2.
const EXTENDED_REPORT: u8 = 207;

// Feedback message types (RFC 4585 sections 6.2.1 and 6.3.1, RFC 5104 section 4.3.1,
// draft-holmer-rmcat-transport-wide-cc-extensions-01, draft-alvestrand-rmcat-remb-03).
const NACK: u8 = 1;
const TRANSPORT_CC: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION_LAYER: u8 = 15;

// Block types of extended reports (RFC 3611 sections 4.4 and 4.5).
const RECEIVER_REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;

macro_rules! packet_modules {
    ($($name:ident),* $(,)?) => {
        /// The modules of the structs.
        #[derive(Clone, Copy)]
        pub struct PacketModules { $($name: Atom),* }

        impl PacketModules {
            /// From the map in the options of `start`.
            ///
            /// # Errors
            /// `BadArg` when one is missing.
            pub fn decode(map: Term<'_>) -> NifResult<Self> {
                Ok(Self { $($name: field(map, atoms::$name())?.decode()?),* })
            }
        }
    };
}

packet_modules! {
    sender_report,
    receiver_report,
    reception_report,
    source_description,
    source_description_chunk,
    source_description_item,
    goodbye,
    nack,
    transport_cc,
    run_length_chunk,
    status_vector_chunk,
    pli,
    fir,
    remb,
    application,
    extended_report,
    receiver_reference_time,
    dlrr,
    unknown,
}

impl PacketModules {
    /// One packet of a compound.
    pub fn term<'a>(&self, env: Env<'a>, packet: &[u8]) -> Term<'a> {
        let Some(framed) = Framed::read(packet) else {
            return self.unknown(env, 0, 0, packet);
        };
        let Framed {
            packet_type,
            count,
            body,
        } = framed;
        self.known(env, packet_type, count, &mut Reader(body))
            .unwrap_or_else(|| self.unknown(env, packet_type, count, body))
    }

    fn unknown<'a>(&self, env: Env<'a>, packet_type: u8, count: u8, body: &[u8]) -> Term<'a> {
        structure(
            env,
            self.unknown,
            [
                (atoms::type_(), packet_type.encode(env)),
                (atoms::count(), count.encode(env)),
                (atoms::body(), binary_term(env, body)),
            ],
        )
    }

    fn known<'a>(
        &self,
        env: Env<'a>,
        packet_type: u8,
        count: u8,
        body: &mut Reader<'_>,
    ) -> Option<Term<'a>> {
        match (packet_type, count) {
            (SENDER_REPORT, count) => self.sender_report(env, body, count),
            (RECEIVER_REPORT, count) => self.receiver_report(env, body, count),
            (SOURCE_DESCRIPTION, count) => self.source_description(env, body, count),
            (GOODBYE, count) => self.goodbye(env, body, count),
            (APPLICATION, subtype) => self.application(env, body, subtype),
            (TRANSPORT_FEEDBACK, NACK) => self.nack(env, body),
            (TRANSPORT_FEEDBACK, TRANSPORT_CC) => self.transport_cc(env, body),
            (PAYLOAD_FEEDBACK, PLI) => Some(structure(env, self.pli, feedback_ssrcs(env, body)?)),
            (PAYLOAD_FEEDBACK, FIR) => self.fir(env, body),
            (PAYLOAD_FEEDBACK, APPLICATION_LAYER) => self.remb(env, body),
            (EXTENDED_REPORT, _) => self.extended_report(env, body),
            _ => None,
        }
    }

    fn sender_report<'a>(
        &self,
        env: Env<'a>,
        body: &mut Reader<'_>,
        count: u8,
    ) -> Option<Term<'a>> {
        let ssrc = body.u32()?;
        let ntp_timestamp = body.u64()?;
        let rtp_timestamp = body.u32()?;
        let packet_count = body.u32()?;
        let octet_count = body.u32()?;
        let reports = self.reports(env, body, count)?;
        Some(structure(
            env,
            self.sender_report,
            [
                (atoms::ssrc(), ssrc.encode(env)),
                (atoms::ntp_timestamp(), ntp_timestamp.encode(env)),
                (atoms::rtp_timestamp(), rtp_timestamp.encode(env)),
                (atoms::packet_count(), packet_count.encode(env)),
                (atoms::octet_count(), octet_count.encode(env)),
                (atoms::reports(), reports),
                (atoms::profile_extension(), binary_term(env, body.0)),
            ],
        ))
    }

    fn receiver_report<'a>(
        &self,
        env: Env<'a>,
        body: &mut Reader<'_>,
        count: u8,
    ) -> Option<Term<'a>> {
        let ssrc = body.u32()?;
        let reports = self.reports(env, body, count)?;
        Some(structure(
            env,
            self.receiver_report,
            [
                (atoms::ssrc(), ssrc.encode(env)),
                (atoms::reports(), reports),
                (atoms::profile_extension(), binary_term(env, body.0)),
            ],
        ))
    }

    /// Report blocks (RFC 3550 section 6.4.1).
    fn reports<'a>(&self, env: Env<'a>, body: &mut Reader<'_>, count: u8) -> Option<Term<'a>> {
        let mut reports = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let ssrc = body.u32()?;
            let lost = body.u32()?;
            reports.push(structure(
                env,
                self.reception_report,
                [
                    (atoms::ssrc(), ssrc.encode(env)),
                    (atoms::fraction_lost(), (lost >> 24).encode(env)),
                    // 24 bits with a sign.
                    (
                        atoms::total_lost(),
                        ((lost << 8).cast_signed() >> 8).encode(env),
                    ),
                    (atoms::last_sequence_number(), body.u32()?.encode(env)),
                    (atoms::jitter(), body.u32()?.encode(env)),
                    (atoms::last_sr(), body.u32()?.encode(env)),
                    (atoms::delay(), body.u32()?.encode(env)),
                ],
            ));
        }
        Some(reports.encode(env))
    }

    /// RFC 3550 section 6.5.
    fn source_description<'a>(
        &self,
        env: Env<'a>,
        body: &mut Reader<'_>,
        count: u8,
    ) -> Option<Term<'a>> {
        let mut chunks = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let ssrc = body.u32()?;
            // The item list ends with a zero byte and is padded with more to a whole word.
            let start = body.0.len();
            let mut items = Vec::new();
            loop {
                let item_type = body.u8()?;
                if item_type == 0 {
                    break;
                }
                let length = usize::from(body.u8()?);
                let text = body.take(length)?;
                items.push(structure(
                    env,
                    self.source_description_item,
                    [
                        (atoms::type_(), item_type_term(env, item_type)),
                        (atoms::text(), binary_term(env, text)),
                    ],
                ));
            }
            let read = start - body.0.len();
            body.take(read.next_multiple_of(4) - read)?;
            chunks.push(structure(
                env,
                self.source_description_chunk,
                [
                    (atoms::ssrc(), ssrc.encode(env)),
                    (atoms::items(), items.encode(env)),
                ],
            ));
        }
        Some(structure(
            env,
            self.source_description,
            [(atoms::chunks(), chunks.encode(env))],
        ))
    }

    /// RFC 3550 section 6.6.
    fn goodbye<'a>(&self, env: Env<'a>, body: &mut Reader<'_>, count: u8) -> Option<Term<'a>> {
        let sources: Vec<u32> = (0..count).map(|_| body.u32()).collect::<Option<_>>()?;
        let reason = match body.u8() {
            None => atoms::nil().to_term(env),
            Some(length) => binary_term(env, body.take(usize::from(length))?),
        };
        Some(structure(
            env,
            self.goodbye,
            [
                (atoms::sources(), sources.encode(env)),
                (atoms::reason(), reason),
            ],
        ))
    }

    /// RFC 3550 section 6.7.
    fn application<'a>(
        &self,
        env: Env<'a>,
        body: &mut Reader<'_>,
        subtype: u8,
    ) -> Option<Term<'a>> {
        let ssrc = body.u32()?;
        let name = body.take(4)?;
        Some(structure(
            env,
            self.application,
            [
                (atoms::subtype(), subtype.encode(env)),
                (atoms::ssrc(), ssrc.encode(env)),
                (atoms::name(), binary_term(env, name)),
                (atoms::data(), binary_term(env, body.0)),
            ],
        ))
    }

    /// RFC 3611 sections 2 and 3.
    fn extended_report<'a>(&self, env: Env<'a>, body: &mut Reader<'_>) -> Option<Term<'a>> {
        let ssrc = body.u32()?;
        let mut blocks = Vec::new();
        while !body.0.is_empty() {
            let block_type = body.u8()?;
            let type_specific = body.u8()?;
            let words = usize::from(body.u16()?);
            let data = body.take(words.checked_mul(4)?)?;
            blocks.push(self.block(env, block_type, type_specific, data)?);
        }
        Some(structure(
            env,
            self.extended_report,
            [
                (atoms::ssrc(), ssrc.encode(env)),
                (atoms::blocks(), blocks.encode(env)),
            ],
        ))
    }

    fn block<'a>(
        &self,
        env: Env<'a>,
        block_type: u8,
        type_specific: u8,
        data: &[u8],
    ) -> Option<Term<'a>> {
        let mut reader = Reader(data);
        match (block_type, data.len()) {
            (RECEIVER_REFERENCE_TIME, 8) => {
                let ntp_timestamp = reader.u64()?;
                let fields = [(atoms::ntp_timestamp(), ntp_timestamp.encode(env))];
                Some(structure(env, self.receiver_reference_time, fields))
            }
            (DLRR, length) if length % 12 == 0 => {
                let mut reports = Vec::with_capacity(length / 12);
                while !reader.0.is_empty() {
                    let fields = [
                        (atoms::ssrc(), reader.u32()?.encode(env)),
                        (atoms::last_rr(), reader.u32()?.encode(env)),
                        (atoms::delay(), reader.u32()?.encode(env)),
                    ];
                    reports.push(map(env, fields));
                }
                Some(structure(
                    env,
                    self.dlrr,
                    [(atoms::reports(), reports.encode(env))],
                ))
            }
            _ => Some(map(
                env,
                [
                    (atoms::type_(), block_type.encode(env)),
                    (atoms::type_specific(), type_specific.encode(env)),
                    (atoms::data(), binary_term(env, data)),
                ],
            )),
        }
    }

    /// RFC 4585 section 6.2.1.
    fn nack<'a>(&self, env: Env<'a>, body: &mut Reader<'_>) -> Option<Term<'a>> {
        let [sender, media] = feedback_ssrcs(env, body)?;
        let mut nacks = Vec::with_capacity(body.0.len() / 4);
        while !body.0.is_empty() {
            let pid = body.u16()?;
            let blp = body.take(2)?;
            nacks.push(map(
                env,
                [
                    (atoms::pid(), pid.encode(env)),
                    (atoms::blp(), binary_term(env, blp)),
                ],
            ));
        }
        Some(structure(
            env,
            self.nack,
            [sender, media, (atoms::nacks(), nacks.encode(env))],
        ))
    }

    /// RFC 5104 section 4.3.1.
    fn fir<'a>(&self, env: Env<'a>, body: &mut Reader<'_>) -> Option<Term<'a>> {
        let [sender, media] = feedback_ssrcs(env, body)?;
        let mut entries = Vec::with_capacity(body.0.len() / 8);
        while !body.0.is_empty() {
            let ssrc = body.u32()?;
            let number = body.u32()? >> 24;
            entries.push(map(
                env,
                [
                    (atoms::ssrc(), ssrc.encode(env)),
                    (atoms::seq_nr(), number.encode(env)),
                ],
            ));
        }
        Some(structure(
            env,
            self.fir,
            [sender, media, (atoms::entries(), entries.encode(env))],
        ))
    }

    /// draft-alvestrand-rmcat-remb-03 section 2.2.
    fn remb<'a>(&self, env: Env<'a>, body: &mut Reader<'_>) -> Option<Term<'a>> {
        let [sender, media] = feedback_ssrcs(env, body)?;
        if body.take(4)? != b"REMB" {
            return None;
        }
        let word = body.u32()?;
        let ssrcs: Vec<u32> = (0..word >> 24).map(|_| body.u32()).collect::<Option<_>>()?;
        // An 18-bit mantissa and a 6-bit exponent: 81 bits at most.
        let bitrate = u128::from(word & 0x3_FFFF) << ((word >> 18) & 0x3F);
        let bitrate = u64::try_from(bitrate).unwrap_or(u64::MAX);
        Some(structure(
            env,
            self.remb,
            [
                sender,
                media,
                (atoms::bitrate(), bitrate.encode(env)),
                (atoms::ssrcs(), ssrcs.encode(env)),
            ],
        ))
    }

    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
    fn transport_cc<'a>(&self, env: Env<'a>, body: &mut Reader<'_>) -> Option<Term<'a>> {
        let [sender, media] = feedback_ssrcs(env, body)?;
        let base = body.u16()?;
        let status_count = body.u16()?;
        let word = body.u32()?;
        // 24 bits with a sign.
        let reference_time = (word.cast_signed()) >> 8;

        let mut chunks = Vec::new();
        let mut statuses = Vec::with_capacity(usize::from(status_count));
        while statuses.len() < usize::from(status_count) {
            let chunk = body.u16()?;
            chunks.push(self.chunk(env, chunk, &mut statuses));
        }
        let mut deltas = Vec::new();
        for status in statuses.into_iter().take(usize::from(status_count)) {
            match status {
                SMALL_DELTA => deltas.push(i32::from(body.u8()?)),
                LARGE_DELTA => deltas.push(i32::from(body.u16()?.cast_signed())),
                _ => {}
            }
        }
        Some(structure(
            env,
            self.transport_cc,
            [
                sender,
                media,
                (atoms::base_sequence_number(), base.encode(env)),
                (atoms::packet_status_count(), status_count.encode(env)),
                (atoms::reference_time(), reference_time.encode(env)),
                (atoms::fb_pkt_count(), (word & 0xFF).encode(env)),
                (atoms::packet_chunks(), chunks.encode(env)),
                (atoms::recv_deltas(), deltas.encode(env)),
            ],
        ))
    }

    /// One packet chunk, and the statuses that it holds.
    fn chunk<'a>(&self, env: Env<'a>, chunk: u16, statuses: &mut Vec<u16>) -> Term<'a> {
        if chunk & 0x8000 == 0 {
            let status = (chunk >> 13) & 0b11;
            let length = chunk & 0x1FFF;
            statuses.extend(std::iter::repeat_n(status, usize::from(length)));
            return structure(
                env,
                self.run_length_chunk,
                [
                    (atoms::status_symbol(), symbol(status).to_term(env)),
                    (atoms::run_length(), length.encode(env)),
                ],
            );
        }
        let vector: Vec<u16> = if chunk & 0x4000 == 0 {
            (0..14).rev().map(|bit| (chunk >> bit) & 1).collect()
        } else {
            (0..7)
                .rev()
                .map(|pair| (chunk >> (2 * pair)) & 0b11)
                .collect()
        };
        let symbols: Vec<Atom> = vector.iter().map(|status| symbol(*status)).collect();
        statuses.extend(vector);
        structure(
            env,
            self.status_vector_chunk,
            [(atoms::symbols(), symbols.encode(env))],
        )
    }
}

const SMALL_DELTA: u16 = 1;
const LARGE_DELTA: u16 = 2;

fn symbol(status: u16) -> Atom {
    match status {
        0 => atoms::not_received(),
        SMALL_DELTA => atoms::small_delta(),
        LARGE_DELTA => atoms::large_delta(),
        _ => atoms::no_delta(),
    }
}

/// The two SSRCs that every feedback message begins with (RFC 4585 section 6.1).
fn feedback_ssrcs<'a>(env: Env<'a>, body: &mut Reader<'_>) -> Option<[(Atom, Term<'a>); 2]> {
    let sender = body.u32()?.encode(env);
    let media = body.u32()?.encode(env);
    Some([(atoms::sender_ssrc(), sender), (atoms::media_ssrc(), media)])
}

/// RFC 3550 section 12.2; RFC 8852 section 4 and RFC 9143 section 15 for the last three.
fn item_type_term<'a>(env: Env<'a>, item_type: u8) -> Term<'a> {
    let name = match item_type {
        1 => "cname",
        2 => "name",
        3 => "email",
        4 => "phone",
        5 => "location",
        6 => "tool",
        7 => "note",
        8 => "priv",
        12 => "rtp_stream_id",
        13 => "repaired_rtp_stream_id",
        15 => "mid",
        other => return other.encode(env),
    };
    atoms::named(env, name)
}

fn binary_term<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

/// A packet without its header and padding (RFC 3550 section 6.4.1).
struct Framed<'a> {
    packet_type: u8,
    /// The five bits that count report blocks, or say the format of feedback.
    count: u8,
    body: &'a [u8],
}

impl<'a> Framed<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(packet);
        let first = reader.u8()?;
        let packet_type = reader.u8()?;
        let words = usize::from(reader.u16()?);
        let mut body = reader.take(words.checked_mul(4)?)?;
        if first & 0x20 != 0 {
            // The last byte of the padding counts it.
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        Some(Self {
            packet_type,
            count: first & 0x1F,
            body,
        })
    }
}

/// Reads big-endian numbers off the front; `None` at the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}
