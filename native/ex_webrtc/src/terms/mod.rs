//! How each type looks as a term. One file a concept; only building blocks here.

pub mod command;
pub mod config;
pub mod error;
pub mod event;
pub mod forward;
pub mod parameters;
pub mod rtcp;
pub mod rtp;
pub mod stats;
pub mod value;

use crate::atoms;
use engine::w3c::{Codec, Direction, Kind, SdpType, Track};
use rustler::types::tuple::{get_tuple, make_tuple};
use rustler::{Atom, Encoder, Env, Error, NifResult, Term};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The modules of packet structs: ours, or those of `ex_rtp` and `ex_rtcp` where the application
/// had them when the library started.
#[derive(Clone, Copy)]
pub struct Modules {
    /// RTP packets.
    pub rtp: rtp::PacketShape,
    /// RTCP packets.
    pub rtcp: rtcp::PacketModules,
}

/// A map with atom keys.
pub fn map<'a, const N: usize>(env: Env<'a>, fields: [(Atom, Term<'a>); N]) -> Term<'a> {
    let keys = fields.map(|(key, _)| key.to_term(env));
    let values = fields.map(|(_, value)| value);
    // Fails for equal keys only, and they are ours.
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| Term::map_new(env))
}

/// An Elixir struct.
pub fn structure<'a, const N: usize>(
    env: Env<'a>,
    module: Atom,
    fields: [(Atom, Term<'a>); N],
) -> Term<'a> {
    let plain = map(env, fields);
    plain.map_put(atoms::struct_(), module).unwrap_or(plain)
}

/// The value of a struct's or map's field.
///
/// # Errors
/// `BadArg` when it is no map or has no such key.
pub fn field<'a>(map: Term<'a>, key: Atom) -> NifResult<Term<'a>> {
    map.map_get(key)
}

/// `nil` as `None`.
///
/// # Errors
/// What `decode` says of a term that is not `nil`.
pub fn optional<'a, T>(
    term: Term<'a>,
    decode: impl FnOnce(Term<'a>) -> NifResult<T>,
) -> NifResult<Option<T>> {
    if atoms::nil() == term {
        Ok(None)
    } else {
        decode(term).map(Some)
    }
}

/// Every element of a list.
///
/// # Errors
/// `BadArg` when it is no proper list, or what `decode` says of an element.
pub fn list<'a, T>(
    term: Term<'a>,
    decode: impl FnMut(Term<'a>) -> NifResult<T>,
) -> NifResult<Vec<T>> {
    // An improper list is refused by `list_length`; the iterator would panic at its tail.
    term.list_length()?;
    term.into_list_iterator()?.map(decode).collect()
}

/// A number that fits its type. The decoders of rustler cut those of 8 and 16 bits off instead.
///
/// # Errors
/// `BadArg` for what is no integer, or does not fit.
pub fn number<T: TryFrom<u64>>(term: Term<'_>) -> NifResult<T> {
    T::try_from(term.decode::<u64>()?).map_err(|_| Error::BadArg)
}

/// A list of strings.
///
/// # Errors
/// `BadArg` for anything else.
pub fn strings(term: Term<'_>) -> NifResult<Vec<String>> {
    list(term, |text| text.decode())
}

/// The member of one of the engine's enumerations that an atom names.
fn member<T: Copy>(term: Term<'_>, all: &[T], name: fn(T) -> &'static str) -> NifResult<T> {
    let text = term.atom_to_string()?;
    all.iter()
        .copied()
        .find(|member| name(*member) == text)
        .ok_or(Error::BadArg)
}

/// `:audio` or `:video`.
pub fn kind(term: Term<'_>) -> NifResult<Kind> {
    member(term, Kind::ALL, Kind::as_str)
}

/// `:sendrecv`, `:sendonly`, `:recvonly` or `:inactive`.
pub fn direction(term: Term<'_>) -> NifResult<Direction> {
    member(term, Direction::ALL, Direction::as_str)
}

/// `:offer`, `:answer`, `:pranswer` or `:rollback`.
pub fn sdp_type(term: Term<'_>) -> NifResult<SdpType> {
    member(term, SdpType::ALL, SdpType::as_str)
}

/// `%ExWebRTC.MediaStreamTrack{}`
pub fn track(term: Term<'_>) -> NifResult<Track> {
    Ok(Track {
        id: engine::ids::TrackId(field(term, atoms::id())?.decode()?),
        kind: kind(field(term, atoms::kind())?)?,
        streams: strings(field(term, atoms::streams())?)?,
        rids: optional(field(term, atoms::rids())?, |rids| {
            list(rids, |rid| Ok(rid.decode::<&str>()?.into()))
        })?,
    })
}

/// `%ExWebRTC.MediaStreamTrack{}`
pub fn track_term<'a>(env: Env<'a>, track: &Track) -> Term<'a> {
    let rids: Option<Vec<&str>> = track
        .rids
        .as_ref()
        .map(|rids| rids.iter().map(|rid| rid.as_str()).collect());
    structure(
        env,
        atoms::media_stream_track(),
        [
            (atoms::id(), track.id.0.encode(env)),
            (atoms::kind(), atoms::named(env, track.kind.as_str())),
            (atoms::streams(), track.streams.encode(env)),
            (atoms::rids(), rids.encode(env)),
        ],
    )
}

/// `%ExWebRTC.RTPCodecParameters{}`
pub fn codec(term: Term<'_>) -> NifResult<Codec> {
    let payload_type = number(field(term, atoms::payload_type())?)?;
    // RFC 3550 section 5.1: seven bits.
    if payload_type > 127 {
        return Err(Error::BadArg);
    }
    Ok(Codec {
        payload_type,
        mime_type: field(term, atoms::mime_type())?.decode()?,
        clock_rate: field(term, atoms::clock_rate())?.decode()?,
        channels: optional(field(term, atoms::channels())?, number)?,
        fmtp: optional(field(term, atoms::sdp_fmtp_line())?, |fmtp| fmtp.decode())?,
        feedback: strings(field(term, atoms::rtcp_fbs())?)?,
    })
}

/// `%ExWebRTC.RTPCodecParameters{}`
pub fn codec_term<'a>(env: Env<'a>, codec: &Codec) -> Term<'a> {
    structure(
        env,
        atoms::rtp_codec_parameters(),
        [
            (atoms::payload_type(), codec.payload_type.encode(env)),
            (atoms::mime_type(), codec.mime_type.encode(env)),
            (atoms::clock_rate(), codec.clock_rate.encode(env)),
            (atoms::channels(), codec.channels.encode(env)),
            (atoms::sdp_fmtp_line(), codec.fmtp.encode(env)),
            (atoms::rtcp_fbs(), codec.feedback.encode(env)),
        ],
    )
}

/// A list of codecs.
pub fn codec_terms<'a>(env: Env<'a>, codecs: &[Codec]) -> Term<'a> {
    codecs
        .iter()
        .map(|codec| codec_term(env, codec))
        .collect::<Vec<_>>()
        .encode(env)
}

/// An `:inet.ip_address()`.
///
/// # Errors
/// `BadArg` when it is no tuple of four bytes or eight 16-bit numbers.
pub fn address(term: Term<'_>) -> NifResult<IpAddr> {
    let elements = get_tuple(term)?;
    if let [a, b, c, d] = elements[..] {
        return Ok(Ipv4Addr::new(number(a)?, number(b)?, number(c)?, number(d)?).into());
    }
    let words: Vec<u16> = elements.into_iter().map(number).collect::<NifResult<_>>()?;
    let words: [u16; 8] = words.try_into().map_err(|_| Error::BadArg)?;
    Ok(Ipv6Addr::from(words).into())
}

/// An `:inet.ip_address()`.
pub fn address_term<'a>(env: Env<'a>, address: IpAddr) -> Term<'a> {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            (a, b, c, d).encode(env)
        }
        IpAddr::V6(v6) => make_tuple(env, &v6.segments().map(|word| word.encode(env))),
    }
}

/// What `ice_ip_filter` and `host_to_srflx_ip_mapper` made of the host's addresses.
///
/// # Errors
/// `BadArg` when it is no list of `{address, address | nil}`.
pub fn host_addresses(term: Term<'_>) -> NifResult<Vec<(IpAddr, Option<IpAddr>)>> {
    list(term, |pair| {
        let (host, mapped) = pair.decode::<(Term<'_>, Term<'_>)>()?;
        Ok((address(host)?, optional(mapped, address)?))
    })
}
