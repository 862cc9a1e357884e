//! The messages to the controlling process: `{:ex_webrtc, pc, message}` (`PeerConnection.message()`).

use crate::atoms;
use crate::mailbox::ChannelRefs;
use crate::terms::{Modules, forward, map, structure, track_term, value};
use bytes::Bytes;
use engine::event::{Event, IceCandidateError};
use engine::ids::TrackId;
use engine::w3c::{ChannelState, DataKind, IceCandidateInit};
use rustler::{Atom, Encoder, Env, NewBinary, Term};

/// The message of an event.
pub fn message_term<'a>(
    env: Env<'a>,
    refs: &mut ChannelRefs,
    modules: &Modules,
    data_types: bool,
    event: &Event,
) -> Term<'a> {
    let change = |tag: Atom, state: &'static str| (tag, atoms::named(env, state)).encode(env);
    match event {
        Event::ConnectionStateChange(state) => {
            change(atoms::connection_state_change(), state.as_str())
        }
        Event::IceConnectionStateChange(state) => {
            change(atoms::ice_connection_state_change(), state.as_str())
        }
        Event::IceGatheringStateChange(state) => {
            change(atoms::ice_gathering_state_change(), state.as_str())
        }
        Event::DtlsTransportStateChange(state) => {
            change(atoms::dtls_transport_state_change(), state.as_str())
        }
        Event::SignalingStateChange(state) => {
            change(atoms::signaling_state_change(), state.as_str())
        }
        Event::NegotiationNeeded => atoms::negotiation_needed().to_term(env),
        Event::IceCandidate(candidate) => {
            (atoms::ice_candidate(), candidate_term(env, candidate)).encode(env)
        }
        Event::Track(track) => (atoms::track(), track_term(env, track)).encode(env),
        Event::TrackMuted(track) => (atoms::track_muted(), track.0).encode(env),
        Event::TrackEnded(track) => (atoms::track_ended(), track.0).encode(env),
        Event::Rtcp(packets) => rtcp_term(env, modules, packets),
        Event::DataChannel(channel) => (
            atoms::data_channel(),
            value::channel_term(env, refs, channel),
        )
            .encode(env),
        Event::DataChannelStateChange(handle, state) => {
            let reference = refs.get_in_state(handle, *state);
            if *state == ChannelState::Closed {
                refs.forget(handle.id);
            }
            (
                atoms::data_channel_state_change(),
                reference,
                atoms::named(env, state.as_str()),
            )
                .encode(env)
        }
        Event::Data(handle, kind, payload) => {
            let reference = refs.get(handle);
            let payload: Term<'a> = NewBinary::from_slice(env, payload).into();
            if data_types {
                let kind = match kind {
                    DataKind::String => atoms::string(),
                    DataKind::Binary => atoms::binary(),
                };
                (atoms::data(), reference, (kind, payload)).encode(env)
            } else {
                (atoms::data(), reference, payload).encode(env)
            }
        }
        Event::BufferedAmountLow(handle) => {
            (atoms::buffered_amount_low(), refs.get(handle)).encode(env)
        }
        Event::IceCandidateError(error) => (
            atoms::ice_candidate_error(),
            candidate_error_term(env, error),
        )
            .encode(env),
        Event::ForwardEnded(label, reason) => (
            atoms::forward_ended(),
            forward::reference_term(env, label),
            atoms::named(env, reason.as_str()),
        )
            .encode(env),
        Event::ToneChange(sender, tone) => (atoms::tone_change(), sender.0, tone).encode(env),
        Event::BandwidthEstimate(bits) => (atoms::bandwidth_estimate(), *bits).encode(env),
        // `Event` may grow; what it grows by is encoded here.
        _ => atoms::nil().to_term(env),
    }
}

/// `{:rtcp, [{track_id, packet}]}`
pub fn rtcp_term<'a>(
    env: Env<'a>,
    modules: &Modules,
    packets: &[(Option<TrackId>, Bytes)],
) -> Term<'a> {
    let packets: Vec<_> = packets
        .iter()
        .map(|(track, packet)| (track.map(|track| track.0), modules.rtcp.term(env, packet)))
        .collect();
    (atoms::rtcp(), packets).encode(env)
}

/// `%ExWebRTC.ICECandidate{}`
fn candidate_term<'a>(env: Env<'a>, candidate: &IceCandidateInit) -> Term<'a> {
    structure(
        env,
        atoms::ice_candidate_struct(),
        [
            (atoms::candidate(), candidate.candidate.encode(env)),
            (
                atoms::username_fragment(),
                candidate.username_fragment.encode(env),
            ),
            (atoms::sdp_mid(), candidate.sdp_mid.encode(env)),
            (
                atoms::sdp_m_line_index(),
                candidate.sdp_mline_index.encode(env),
            ),
        ],
    )
}

/// The map of `RTCPeerConnectionIceErrorEvent`.
fn candidate_error_term<'a>(env: Env<'a>, error: &IceCandidateError) -> Term<'a> {
    map(
        env,
        [
            (atoms::address(), error.address.encode(env)),
            (atoms::port(), error.port.encode(env)),
            (atoms::url(), error.url.encode(env)),
            (atoms::error_code(), error.error_code.encode(env)),
            (atoms::error_text(), error.error_text.encode(env)),
        ],
    )
}
