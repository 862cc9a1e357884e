//! `RTCRtpSendParameters` and `RTCRtpReceiveParameters` as maps, and the sources of a receiver.

use crate::atoms;
use crate::terms::{codec, codec_terms, field, list, map, number, optional, value};
use engine::command::{EncodingSettings, RtpEncoding, RtpParameters, RtpSource};
use rustler::{Encoder, Env, NifResult, Term};

/// The map of `get_sender_parameters/2`, or of `get_receiver_parameters/2`.
pub fn term<'a>(env: Env<'a>, parameters: &RtpParameters) -> Term<'a> {
    let reduced_size = (atoms::reduced_size(), parameters.reduced_size.encode(env));
    let rtcp = match &parameters.cname {
        Some(cname) => map(env, [reduced_size, (atoms::cname(), cname.encode(env))]),
        None => map(env, [reduced_size]),
    };
    let extensions = value::extensions_term(env, &parameters.header_extensions);
    let shared = [
        (atoms::header_extensions(), extensions),
        (atoms::rtcp(), rtcp),
        (atoms::codecs(), codec_terms(env, &parameters.codecs)),
    ];
    let Some(id) = &parameters.transaction_id else {
        return map(env, shared);
    };
    let encodings = parameters.encodings.iter();
    let encodings: Vec<_> = encodings.map(|each| encoding_term(env, each)).collect();
    let [extensions, rtcp, codecs] = shared;
    map(
        env,
        [
            extensions,
            rtcp,
            codecs,
            (atoms::transaction_id(), id.encode(env)),
            (atoms::encodings(), encodings.encode(env)),
        ],
    )
}

fn encoding_term<'a>(env: Env<'a>, encoding: &RtpEncoding) -> Term<'a> {
    let settings = &encoding.settings;
    let rid = encoding.rid.as_ref().map(|rid| rid.as_str());
    map(
        env,
        [
            (atoms::rid(), rid.encode(env)),
            (atoms::active(), settings.active.encode(env)),
            (atoms::max_bitrate(), settings.max_bitrate.encode(env)),
            (atoms::max_framerate(), settings.max_framerate.encode(env)),
            (
                atoms::scale_resolution_down_by(),
                settings.scale_resolution_down_by.encode(env),
            ),
        ],
    )
}

/// What `get_sender_parameters/2` gave, perhaps changed.
///
/// # Errors
/// `BadArg` for a missing key or a value of the wrong type.
pub fn decode(term: Term<'_>) -> NifResult<RtpParameters> {
    let rtcp = field(term, atoms::rtcp())?;
    Ok(RtpParameters {
        transaction_id: Some(field(term, atoms::transaction_id())?.decode()?),
        encodings: list(field(term, atoms::encodings())?, encoding)?,
        header_extensions: list(field(term, atoms::header_extensions())?, |extension| {
            let id = number(field(extension, atoms::id())?)?;
            Ok((id, field(extension, atoms::uri())?.decode()?))
        })?,
        cname: Some(field(rtcp, atoms::cname())?.decode()?),
        reduced_size: field(rtcp, atoms::reduced_size())?.decode()?,
        codecs: list(field(term, atoms::codecs())?, codec)?,
    })
}

/// One of `send_encodings`, with every key.
///
/// # Errors
/// `BadArg` for a missing key or a value of the wrong type.
pub fn encoding(term: Term<'_>) -> NifResult<RtpEncoding> {
    let rid = optional(field(term, atoms::rid())?, |rid| {
        Ok(rid.decode::<&str>()?.into())
    })?;
    Ok(RtpEncoding {
        rid,
        settings: EncodingSettings {
            active: field(term, atoms::active())?.decode()?,
            max_bitrate: optional(field(term, atoms::max_bitrate())?, |bits| bits.decode())?,
            max_framerate: optional(field(term, atoms::max_framerate())?, real)?,
            scale_resolution_down_by: optional(
                field(term, atoms::scale_resolution_down_by())?,
                real,
            )?,
        },
    })
}

/// A float, or an integer that stands for one.
fn real(term: Term<'_>) -> NifResult<f64> {
    term.decode::<f64>()
        .or_else(|_| term.decode::<u32>().map(f64::from))
}

/// The list of `get_synchronization_sources/2` and `get_contributing_sources/2`.
pub fn sources_term<'a>(env: Env<'a>, sources: &[RtpSource]) -> Term<'a> {
    let terms: Vec<_> = sources
        .iter()
        .map(|source| {
            map(
                env,
                [
                    (atoms::source(), source.source.encode(env)),
                    (atoms::timestamp(), source.timestamp.encode(env)),
                    (atoms::rtp_timestamp(), source.rtp_timestamp.encode(env)),
                    (atoms::audio_level(), source.audio_level.encode(env)),
                ],
            )
        })
        .collect();
    terms.encode(env)
}
