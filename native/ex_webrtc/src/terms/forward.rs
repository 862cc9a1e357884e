//! Forwards: what the control plane calls them, and what is known of each.

use crate::atoms;
use crate::terms::map;
use engine::ids::Rid;
use engine::media::{ForwardEndpoint, ForwardInfo, LayerChoice};
use rustler::{Encoder, Env, NifResult, Term};

/// The `%ExWebRTC.Forward{}` of a label: the external form of the term, which may name processes
/// of other nodes.
pub fn reference_term<'a>(env: Env<'a>, label: &[u8]) -> Term<'a> {
    // Labels come from `ExWebRTC.Forward` alone.
    env.binary_to_term(label)
        .map_or_else(|| atoms::nil().to_term(env), |(term, _length)| term)
}

/// `:auto`, or the rid of a layer.
///
/// # Errors
/// `BadArg` for anything else.
pub fn layer(term: Term<'_>) -> NifResult<LayerChoice> {
    if atoms::auto() == term {
        Ok(LayerChoice::Auto)
    } else {
        Ok(LayerChoice::Rid(term.decode::<&str>()?.into()))
    }
}

/// The maps of `get_forwards/1`.
pub fn forwards_term<'a>(env: Env<'a>, forwards: &[ForwardInfo]) -> Term<'a> {
    let terms: Vec<Term<'a>> = forwards.iter().map(|info| info_term(env, info)).collect();
    terms.encode(env)
}

fn info_term<'a>(env: Env<'a>, info: &ForwardInfo) -> Term<'a> {
    let reference = (atoms::ref_(), reference_term(env, &info.name.label));
    match &info.end {
        ForwardEndpoint::Source {
            track,
            choice,
            layer,
            tap,
        } => {
            let wanted = match choice {
                LayerChoice::Auto => atoms::auto().to_term(env),
                LayerChoice::Rid(rid) => rid.as_str().encode(env),
            };
            map(
                env,
                [
                    reference,
                    (atoms::role(), atoms::source().to_term(env)),
                    (atoms::track_id(), track.0.encode(env)),
                    (atoms::layer(), wanted),
                    (atoms::rid(), layer.as_ref().map(Rid::as_str).encode(env)),
                    (atoms::tap(), tap.encode(env)),
                ],
            )
        }
        ForwardEndpoint::Sink { sender } => map(
            env,
            [
                reference,
                (atoms::role(), atoms::sink().to_term(env)),
                (atoms::sender_id(), sender.0.encode(env)),
            ],
        ),
    }
}
