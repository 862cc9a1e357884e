//! Commands: an atom, or a tuple tagged with the function's name. One decoder for each
//! [`Command`] variant; anything of another shape is `BadArg`.

use crate::atoms;
use crate::resource::{ConnectionNumber, channel_id};
use crate::terms::{
    codec, config, direction, field, forward, host_addresses, kind, list, number, optional,
    parameters, sdp_type, strings, track,
};
use engine::command::{ChannelOptions, Command, Property};
use engine::ids::{ForwardId, ReceiverId, SenderId, TrackId, TransceiverId};
use engine::stats::StatsSelector;
use engine::w3c::{IceCandidateInit, SessionDescription};
use rustler::types::tuple::get_tuple;
use rustler::{Error, NifResult, Term};

/// The command of a term.
///
/// # Errors
/// `BadArg` for what is no command.
pub fn command(term: Term<'_>, connection: ConnectionNumber) -> NifResult<Command> {
    if term.is_atom() {
        return plain(term);
    }
    let elements = get_tuple(term)?;
    let (tag, arguments) = elements.split_first().ok_or(Error::BadArg)?;
    let tag = tag.atom_to_string()?;
    match (tag.as_str(), arguments) {
        ("create_offer", [ice_restart]) => Ok(Command::CreateOffer {
            ice_restart: ice_restart.decode()?,
        }),
        ("set_local_description", [sd]) => {
            Ok(Command::SetLocalDescription(optional(*sd, description)?))
        }
        ("set_remote_description", [sd]) => Ok(Command::SetRemoteDescription(description(*sd)?)),
        ("add_ice_candidate", [init]) => Ok(Command::AddIceCandidate(optional(*init, candidate)?)),
        ("add_transceiver", [of_kind, of_track, wanted, encodings]) => {
            Ok(Command::AddTransceiver {
                kind: kind(*of_kind)?,
                track: optional(*of_track, track)?,
                direction: direction(*wanted)?,
                send_encodings: list(*encodings, parameters::encoding)?,
            })
        }
        ("set_transceiver_direction", [id, wanted]) => Ok(Command::SetTransceiverDirection(
            TransceiverId(id.decode()?),
            direction(*wanted)?,
        )),
        ("stop_transceiver", [id]) => Ok(Command::StopTransceiver(TransceiverId(id.decode()?))),
        ("set_codec_preferences", [id, codecs]) => Ok(Command::SetCodecPreferences(
            TransceiverId(id.decode()?),
            list(*codecs, codec)?,
        )),
        ("add_track", [new]) => Ok(Command::AddTrack(track(*new)?)),
        ("replace_track", [id, new]) => Ok(Command::ReplaceTrack(
            SenderId(id.decode()?),
            optional(*new, track)?,
        )),
        ("remove_track", [id]) => Ok(Command::RemoveTrack(SenderId(id.decode()?))),
        ("set_sender_codec", [id, chosen]) => Ok(Command::SetSenderCodec(
            SenderId(id.decode()?),
            codec(*chosen)?,
        )),
        ("create_data_channel", [options]) => {
            Ok(Command::CreateDataChannel(channel_options(*options)?))
        }
        ("get_data_channel", [of]) => Ok(Command::GetDataChannel(channel_id(*of, connection)?)),
        ("close_data_channel", [of]) => Ok(Command::CloseDataChannel(channel_id(*of, connection)?)),
        ("set_buffered_amount_low_threshold", [of, bytes]) => Ok(
            Command::SetBufferedAmountLowThreshold(channel_id(*of, connection)?, bytes.decode()?),
        ),
        ("get_stats", [of, id]) => Ok(Command::SelectStats(stats_selector(*of, id.decode()?)?)),
        ("set_configuration", [servers, policy]) => Ok(Command::SetConfiguration {
            ice_servers: list(*servers, config::ice_server)?,
            ice_transport_policy: config::ice_transport_policy(*policy)?,
        }),
        ("get_sender_parameters", [id]) => Ok(Command::GetSenderParameters(SenderId(id.decode()?))),
        ("set_sender_parameters", [id, wanted]) => Ok(Command::SetSenderParameters(
            SenderId(id.decode()?),
            Box::new(parameters::decode(*wanted)?),
        )),
        ("get_receiver_parameters", [id]) => {
            Ok(Command::GetReceiverParameters(ReceiverId(id.decode()?)))
        }
        ("set_streams", [id, streams]) => Ok(Command::SetStreams(
            SenderId(id.decode()?),
            strings(*streams)?,
        )),
        ("get_synchronization_sources", [id]) => {
            Ok(Command::GetSynchronizationSources(ReceiverId(id.decode()?)))
        }
        ("get_contributing_sources", [id]) => {
            Ok(Command::GetContributingSources(ReceiverId(id.decode()?)))
        }
        ("insert_dtmf", [id, tones, duration, gap]) => Ok(Command::InsertDtmf {
            sender: SenderId(id.decode()?),
            tones: tones.decode()?,
            duration: duration.decode()?,
            inter_tone_gap: gap.decode()?,
        }),
        ("get", [subject]) => Ok(Command::Get(property(*subject)?)),
        ("set_packet_loss", [percent]) => packet_loss(*percent),
        ("set_forward_layer", [id, wanted]) => Ok(Command::SetForwardLayer(
            ForwardId(id.decode()?),
            forward::layer(*wanted)?,
        )),
        ("stop_forward", [id]) => Ok(Command::StopForward(ForwardId(id.decode()?))),
        ("set_host_addresses", [addresses]) => {
            Ok(Command::SetHostAddresses(host_addresses(*addresses)?))
        }
        _ => Err(Error::BadArg),
    }
}

fn plain(term: Term<'_>) -> NifResult<Command> {
    match term.atom_to_string()?.as_str() {
        "create_answer" => Ok(Command::CreateAnswer),
        "restart_ice" => Ok(Command::RestartIce),
        "get_transceivers" => Ok(Command::GetTransceivers),
        "get_stats" => Ok(Command::GetStats),
        "get_forwards" => Ok(Command::GetForwards),
        "close" => Ok(Command::Close),
        #[cfg(feature = "test-commands")]
        "panic" => Ok(Command::Panic),
        _ => Err(Error::BadArg),
    }
}

/// `{type, sdp}`
fn description(term: Term<'_>) -> NifResult<SessionDescription> {
    let (of_type, sdp) = term.decode::<(Term<'_>, String)>()?;
    Ok(SessionDescription {
        sdp_type: sdp_type(of_type)?,
        sdp,
    })
}

/// `{candidate, sdp_mid, sdp_m_line_index, username_fragment}`
fn candidate(term: Term<'_>) -> NifResult<IceCandidateInit> {
    type Fields<'a> = (String, Option<String>, Term<'a>, Option<String>);
    let (candidate, sdp_mid, index, username_fragment) = term.decode::<Fields<'_>>()?;
    Ok(IceCandidateInit {
        candidate,
        sdp_mid,
        sdp_mline_index: optional(index, number)?,
        username_fragment,
        url: None,
    })
}

/// Whose statistics: `:track`, `:sender` or `:receiver`, and its id.
fn stats_selector(of: Term<'_>, id: u64) -> NifResult<StatsSelector> {
    if atoms::track() == of {
        Ok(StatsSelector::Track(TrackId(id)))
    } else if atoms::sender() == of {
        Ok(StatsSelector::Sender(SenderId(id)))
    } else if atoms::receiver() == of {
        Ok(StatsSelector::Receiver(ReceiverId(id)))
    } else {
        Err(Error::BadArg)
    }
}

/// 0 to 100 percent.
fn packet_loss(term: Term<'_>) -> NifResult<Command> {
    match number(term)? {
        percent @ 0..=100 => Ok(Command::SetPacketLoss(percent)),
        _ => Err(Error::BadArg),
    }
}

/// A map with every option of `create_data_channel/3` and the label.
fn channel_options(term: Term<'_>) -> NifResult<ChannelOptions> {
    Ok(ChannelOptions {
        label: field(term, atoms::label())?.decode()?,
        ordered: field(term, atoms::ordered())?.decode()?,
        max_packet_life_time: optional(field(term, atoms::max_packet_life_time())?, number)?,
        max_retransmits: optional(field(term, atoms::max_retransmits())?, number)?,
        protocol: field(term, atoms::protocol())?.decode()?,
        negotiated: field(term, atoms::negotiated())?.decode()?,
        id: optional(field(term, atoms::id())?, number)?,
    })
}

fn property(term: Term<'_>) -> NifResult<Property> {
    match term.atom_to_string()?.as_str() {
        "connection_state" => Ok(Property::ConnectionState),
        "ice_connection_state" => Ok(Property::IceConnectionState),
        "ice_gathering_state" => Ok(Property::IceGatheringState),
        "dtls_transport_state" => Ok(Property::DtlsTransportState),
        "signaling_state" => Ok(Property::SignalingState),
        "local_description" => Ok(Property::LocalDescription),
        "remote_description" => Ok(Property::RemoteDescription),
        "current_local_description" => Ok(Property::CurrentLocalDescription),
        "current_remote_description" => Ok(Property::CurrentRemoteDescription),
        "pending_local_description" => Ok(Property::PendingLocalDescription),
        "pending_remote_description" => Ok(Property::PendingRemoteDescription),
        "can_trickle_ice_candidates" => Ok(Property::CanTrickleIceCandidates),
        "negotiated_configuration" => Ok(Property::NegotiatedConfiguration),
        _ => Err(Error::BadArg),
    }
}
