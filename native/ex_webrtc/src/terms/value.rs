//! What a reply carries: `:ok`, `{:ok, value}` or `{:error, reason}`.

use crate::atoms;
use crate::mailbox::ChannelRefs;
use crate::terms::{
    codec_term, codec_terms, error, forward, map, parameters, stats, structure, track_term,
};
use engine::command::{
    ChannelInfo, CommandResult, ReceiverInfo, SenderInfo, TransceiverInfo, Value,
};
use engine::w3c::SessionDescription;
use rustler::{Encoder, Env, Term};

/// The result of a request.
pub fn result_term<'a>(env: Env<'a>, refs: &mut ChannelRefs, result: &CommandResult) -> Term<'a> {
    match result {
        Ok(Value::Unit) => atoms::ok().to_term(env),
        Ok(value) => (atoms::ok(), value_term(env, refs, value)).encode(env),
        Err(reason) => error::error_term(env, *reason),
    }
}

fn value_term<'a>(env: Env<'a>, refs: &mut ChannelRefs, value: &Value) -> Term<'a> {
    match value {
        Value::Boolean(boolean) => boolean.encode(env),
        Value::Description(description) => description_term(env, description),
        Value::ConnectionState(state) => atoms::named(env, state.as_str()),
        Value::IceConnectionState(state) => atoms::named(env, state.as_str()),
        Value::IceGatheringState(state) => atoms::named(env, state.as_str()),
        Value::DtlsState(state) => atoms::named(env, state.as_str()),
        Value::SignalingState(state) => atoms::named(env, state.as_str()),
        Value::Transceiver(transceiver) => transceiver_term(env, transceiver),
        Value::Transceivers(transceivers) => transceivers
            .iter()
            .map(|info| transceiver_term(env, info))
            .collect::<Vec<_>>()
            .encode(env),
        Value::Sender(sender) => sender_term(env, sender),
        Value::DataChannel(channel) => channel_term(env, refs, channel),
        Value::NegotiatedConfiguration {
            audio_codecs,
            video_codecs,
            header_extensions,
        } => map(
            env,
            [
                (atoms::audio_codecs(), codec_terms(env, audio_codecs)),
                (atoms::video_codecs(), codec_terms(env, video_codecs)),
                (
                    atoms::header_extensions(),
                    extensions_term(env, header_extensions),
                ),
            ],
        ),
        Value::Stats(report) => stats::report_term(env, report),
        Value::Parameters(of) => parameters::term(env, of),
        Value::Forwards(infos) => forward::forwards_term(env, infos),
        Value::Sources(sources) => parameters::sources_term(env, sources),
        // `Unit` is `:ok` without a value. Values to come are encoded here or are `nil`.
        _ => atoms::nil().to_term(env),
    }
}

/// `%ExWebRTC.SessionDescription{}`
fn description_term<'a>(env: Env<'a>, description: &SessionDescription) -> Term<'a> {
    structure(
        env,
        atoms::session_description(),
        [
            (
                atoms::type_(),
                atoms::named(env, description.sdp_type.as_str()),
            ),
            (atoms::sdp(), description.sdp.encode(env)),
        ],
    )
}

/// `%ExWebRTC.RTPTransceiver{}`
fn transceiver_term<'a>(env: Env<'a>, info: &TransceiverInfo) -> Term<'a> {
    let current_direction = info
        .current_direction
        .map(|direction| atoms::named(env, direction.as_str()));
    structure(
        env,
        atoms::rtp_transceiver(),
        [
            (atoms::id(), info.id.0.encode(env)),
            (atoms::kind(), atoms::named(env, info.kind.as_str())),
            (
                atoms::direction(),
                atoms::named(env, info.direction.as_str()),
            ),
            (atoms::current_direction(), current_direction.encode(env)),
            (atoms::mid(), info.mid.encode(env)),
            (atoms::stopping(), info.stopping.encode(env)),
            (atoms::stopped(), info.stopped.encode(env)),
            (atoms::receiver(), receiver_term(env, &info.receiver)),
            (atoms::sender(), sender_term(env, &info.sender)),
            (
                atoms::header_extensions(),
                extensions_term(env, &info.header_extensions),
            ),
            (atoms::codecs(), codec_terms(env, &info.codecs)),
        ],
    )
}

/// `%ExWebRTC.RTPSender{}`
fn sender_term<'a>(env: Env<'a>, info: &SenderInfo) -> Term<'a> {
    structure(
        env,
        atoms::rtp_sender(),
        [
            (atoms::id(), info.id.0.encode(env)),
            (
                atoms::track(),
                info.track
                    .as_ref()
                    .map(|track| track_term(env, track))
                    .encode(env),
            ),
            (
                atoms::codec(),
                info.codec
                    .as_ref()
                    .map(|codec| codec_term(env, codec))
                    .encode(env),
            ),
        ],
    )
}

/// `%ExWebRTC.RTPReceiver{}`
fn receiver_term<'a>(env: Env<'a>, info: &ReceiverInfo) -> Term<'a> {
    structure(
        env,
        atoms::rtp_receiver(),
        [
            (atoms::id(), info.id.0.encode(env)),
            (atoms::track(), track_term(env, &info.track)),
            (
                atoms::codec(),
                info.codec
                    .as_ref()
                    .map(|codec| codec_term(env, codec))
                    .encode(env),
            ),
        ],
    )
}

/// `[%{id: id, uri: uri}]`
pub fn extensions_term<'a>(env: Env<'a>, extensions: &[(u8, String)]) -> Term<'a> {
    let terms: Vec<_> = extensions
        .iter()
        .map(|(id, uri)| {
            map(
                env,
                [
                    (atoms::id(), id.encode(env)),
                    (atoms::uri(), uri.encode(env)),
                ],
            )
        })
        .collect();
    terms.encode(env)
}

/// `%ExWebRTC.DataChannel{}`
pub fn channel_term<'a>(env: Env<'a>, refs: &mut ChannelRefs, info: &ChannelInfo) -> Term<'a> {
    let reference = refs.get_in_state(&info.handle, info.ready_state);
    structure(
        env,
        atoms::data_channel_struct(),
        [
            (atoms::ref_(), reference.encode(env)),
            (atoms::id(), info.id.encode(env)),
            (atoms::label(), info.label.encode(env)),
            (atoms::ordered(), info.ordered.encode(env)),
            (atoms::protocol(), info.protocol.encode(env)),
            (
                atoms::ready_state(),
                atoms::named(env, info.ready_state.as_str()),
            ),
            (
                atoms::max_packet_life_time(),
                info.max_packet_life_time.encode(env),
            ),
            (atoms::max_retransmits(), info.max_retransmits.encode(env)),
            (atoms::negotiated(), info.negotiated.encode(env)),
        ],
    )
}
