//! What the control plane asks of a connection. Every command gets exactly one reply.

use crate::error::Error;
use crate::ids::{ChannelId, ForwardId, ReceiverId, Rid, SenderId, TransceiverId};
use crate::media::{ForwardInfo, LayerChoice};
use crate::stats::{StatsReport, StatsSelector};
use crate::w3c::{
    ChannelState, Codec, ConnectionState, Direction, DtlsState, IceCandidateInit,
    IceConnectionState, IceGatheringState, IceServer, IceTransportPolicy, Kind, SessionDescription,
    SignalingState, Track,
};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;

/// A function of `ExWebRTC.PeerConnection` that needs the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// `create_offer/2`
    CreateOffer {
        /// Start with fresh ICE credentials.
        ice_restart: bool,
    },
    /// `create_answer/1`
    CreateAnswer,
    /// `set_local_description/2`; `None` is the implicit form of arity 1.
    SetLocalDescription(Option<SessionDescription>),
    /// `set_remote_description/2`
    SetRemoteDescription(SessionDescription),
    /// `add_ice_candidate/2`; `None` is the end of candidates.
    AddIceCandidate(Option<IceCandidateInit>),
    /// `restart_ice/1`
    RestartIce,
    /// `add_transceiver/3`
    AddTransceiver {
        /// The kind, also of `track`.
        kind: Kind,
        /// The track to send, if one was given.
        track: Option<Track>,
        /// Default `sendrecv`.
        direction: Direction,
        /// `send_encodings`, in order; empty for the default one.
        send_encodings: Vec<RtpEncoding>,
    },
    /// `set_transceiver_direction/3`
    SetTransceiverDirection(TransceiverId, Direction),
    /// `stop_transceiver/2`
    StopTransceiver(TransceiverId),
    /// `set_codec_preferences/3`; an empty list goes back to the default.
    SetCodecPreferences(TransceiverId, Vec<Codec>),
    /// `get_transceivers/1`
    GetTransceivers,
    /// `add_track/2`
    AddTrack(Track),
    /// `replace_track/3`
    ReplaceTrack(SenderId, Option<Track>),
    /// `remove_track/2`
    RemoveTrack(SenderId),
    /// `set_sender_codec/3`
    SetSenderCodec(SenderId, Codec),
    /// `create_data_channel/3`
    CreateDataChannel(ChannelOptions),
    /// `get_data_channel/2`
    GetDataChannel(ChannelId),
    /// `close_data_channel/2`
    CloseDataChannel(ChannelId),
    /// `set_buffered_amount_low_threshold/3`
    SetBufferedAmountLowThreshold(ChannelId, u64),
    /// One of the getters of states and descriptions.
    Get(Property),
    /// `get_stats/1`
    GetStats,
    /// `get_stats/2`
    SelectStats(StatsSelector),
    /// `set_configuration/2`: what the next round of gathering uses.
    SetConfiguration {
        /// STUN and TURN servers.
        ice_servers: Vec<IceServer>,
        /// Which candidates are used.
        ice_transport_policy: IceTransportPolicy,
    },
    /// `get_sender_parameters/2`
    GetSenderParameters(SenderId),
    /// `set_sender_parameters/3`
    SetSenderParameters(SenderId, Box<RtpParameters>),
    /// `get_receiver_parameters/2`
    GetReceiverParameters(ReceiverId),
    /// `set_streams/3`
    SetStreams(SenderId, Vec<String>),
    /// `get_synchronization_sources/2`
    GetSynchronizationSources(ReceiverId),
    /// `get_contributing_sources/2`
    GetContributingSources(ReceiverId),
    /// `insert_dtmf/4`
    InsertDtmf {
        /// An audio sender.
        sender: SenderId,
        /// Any of `0`-`9`, `A`-`D`, `#`, `*` and `,`.
        tones: String,
        /// How long each tone lasts, in milliseconds.
        duration: u32,
        /// The silence behind it, in milliseconds.
        inter_tone_gap: u32,
    },
    /// `set_forward_layer/2`
    SetForwardLayer(ForwardId, LayerChoice),
    /// `stop_forward/1`
    StopForward(ForwardId),
    /// `get_forwards/1`
    GetForwards,
    /// `set_packet_loss/2`, in percent.
    SetPacketLoss(u8),
    /// What `ice_ip_filter` and `host_to_srflx_ip_mapper` say now; sent before a command that
    /// may start gathering.
    SetHostAddresses(Vec<(IpAddr, Option<IpAddr>)>),
    /// `close/1`
    Close,
    /// Panics in the connection's step. Only builds with the `test-commands` feature accept it.
    Panic,
}

/// A getter's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// `get_connection_state/1`
    ConnectionState,
    /// `get_ice_connection_state/1`
    IceConnectionState,
    /// `get_ice_gathering_state/1`
    IceGatheringState,
    /// `get_dtls_transport_state/1`
    DtlsTransportState,
    /// `get_signaling_state/1`
    SignalingState,
    /// `get_local_description/1`
    LocalDescription,
    /// `get_remote_description/1`
    RemoteDescription,
    /// `get_current_local_description/1`
    CurrentLocalDescription,
    /// `get_current_remote_description/1`
    CurrentRemoteDescription,
    /// `get_pending_local_description/1`
    PendingLocalDescription,
    /// `get_pending_remote_description/1`
    PendingRemoteDescription,
    /// `can_trickle_ice_candidates/1`
    CanTrickleIceCandidates,
    /// The negotiated parts of `get_configuration/1`: codecs and extensions with the ids in use.
    NegotiatedConfiguration,
}

/// What a command returns when it succeeds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// `:ok`
    Unit,
    /// `nil`
    Nil,
    /// A boolean.
    Boolean(bool),
    /// `create_offer`, `create_answer` and the description getters.
    Description(SessionDescription),
    /// A state getter.
    ConnectionState(ConnectionState),
    /// A state getter.
    IceConnectionState(IceConnectionState),
    /// A state getter.
    IceGatheringState(IceGatheringState),
    /// A state getter.
    DtlsState(DtlsState),
    /// A state getter.
    SignalingState(SignalingState),
    /// `add_transceiver`
    Transceiver(Box<TransceiverInfo>),
    /// `get_transceivers`
    Transceivers(Vec<TransceiverInfo>),
    /// `add_track`
    Sender(SenderInfo),
    /// `create_data_channel`, `get_data_channel`
    DataChannel(ChannelInfo),
    /// Codecs (audio, video) and extensions (id, URI) as negotiated so far.
    NegotiatedConfiguration {
        /// Audio codecs.
        audio_codecs: Vec<Codec>,
        /// Video codecs.
        video_codecs: Vec<Codec>,
        /// Header extensions of both kinds.
        header_extensions: Vec<(u8, String)>,
    },
    /// `get_stats`
    Stats(Box<StatsReport>),
    /// `get_sender_parameters`, `get_receiver_parameters`
    Parameters(Box<RtpParameters>),
    /// `get_synchronization_sources`, `get_contributing_sources`
    Sources(Vec<RtpSource>),
    /// `get_forwards`
    Forwards(Vec<ForwardInfo>),
}

/// A command's outcome.
pub type CommandResult = Result<Value, Error>;

/// `%ExWebRTC.RTPTransceiver{}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransceiverInfo {
    /// Unique in this connection.
    pub id: TransceiverId,
    /// Audio or video.
    pub kind: Kind,
    /// The direction asked for.
    pub direction: Direction,
    /// The negotiated direction, if any yet.
    pub current_direction: Option<Direction>,
    /// The m-line's tag, once associated.
    pub mid: Option<String>,
    /// `stop_transceiver/2` was called and is not negotiated yet.
    pub stopping: bool,
    /// Stopped for good.
    pub stopped: bool,
    /// The receiving half.
    pub receiver: ReceiverInfo,
    /// The sending half.
    pub sender: SenderInfo,
    /// Header extensions: id and URI.
    pub header_extensions: Vec<(u8, String)>,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
}

/// `%ExWebRTC.RTPSender{}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Unique in this connection.
    pub id: SenderId,
    /// The track it sends.
    pub track: Option<Track>,
    /// The codec it sends with, once negotiated.
    pub codec: Option<Codec>,
}

/// `%ExWebRTC.RTPReceiver{}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverInfo {
    /// Unique in this connection.
    pub id: crate::ids::ReceiverId,
    /// The track it delivers.
    pub track: Track,
    /// The codec last received with.
    pub codec: Option<Codec>,
}

/// `RTCRtpSendParameters`, `RTCRtpReceiveParameters`.
#[derive(Clone, Debug, PartialEq)]
pub struct RtpParameters {
    /// What `set_sender_parameters/3` must bring back; `None` for a receiver.
    pub transaction_id: Option<String>,
    /// What a sender sends, a layer each; empty for a receiver.
    pub encodings: Vec<RtpEncoding>,
    /// Negotiated header extensions: id and URI.
    pub header_extensions: Vec<(u8, String)>,
    /// The name that the streams have in RTCP; `None` for a receiver.
    pub cname: Option<String>,
    /// Reduced-size RTCP was negotiated (RFC 5506).
    pub reduced_size: bool,
    /// Negotiated codecs, RTX included.
    pub codecs: Vec<Codec>,
}

/// `RTCRtpEncodingParameters`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RtpEncoding {
    /// The layer's name; `None` without simulcast.
    pub rid: Option<Rid>,
    /// Whether packets of it are sent.
    pub settings: EncodingSettings,
}

/// The part of `RTCRtpEncodingParameters` that the application may change. The limits are for
/// whoever encodes: they are kept and given back.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingSettings {
    /// Whether packets of it are sent.
    pub active: bool,
    /// Bits a second.
    pub max_bitrate: Option<u64>,
    /// Frames a second.
    pub max_framerate: Option<f64>,
    /// 1.0 or more; video.
    pub scale_resolution_down_by: Option<f64>,
}

impl Default for EncodingSettings {
    fn default() -> Self {
        Self {
            active: true,
            max_bitrate: None,
            max_framerate: None,
            scale_resolution_down_by: None,
        }
    }
}

/// `RTCRtpSynchronizationSource`, `RTCRtpContributingSource`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RtpSource {
    /// SSRC or CSRC.
    pub source: u32,
    /// When the last packet of it came, in ms since 1970.
    pub timestamp: u64,
    /// That packet's RTP timestamp.
    pub rtp_timestamp: u32,
    /// 0.0 for silence to 1.0 for full scale, where a header extension told it.
    pub audio_level: Option<f64>,
}

/// Options of `create_data_channel/3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// The label, at most 65,535 bytes.
    pub label: String,
    /// Messages arrive in the order they were sent.
    pub ordered: bool,
    /// Milliseconds a message may be retransmitted.
    pub max_packet_life_time: Option<u16>,
    /// Times a message may be retransmitted.
    pub max_retransmits: Option<u16>,
    /// The subprotocol, at most 65,535 bytes.
    pub protocol: String,
    /// Both sides create the channel with the same `id`; no DCEP.
    pub negotiated: bool,
    /// The SCTP stream id; required with `negotiated`.
    pub id: Option<u16>,
}

/// `%ExWebRTC.DataChannel{}`
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// What the channel is called between the rooms.
    pub handle: ChannelHandle,
    /// The SCTP stream id, once known.
    pub id: Option<u16>,
    /// As created.
    pub label: String,
    /// As created.
    pub ordered: bool,
    /// As created.
    pub protocol: String,
    /// As created.
    pub negotiated: bool,
    /// As created.
    pub max_packet_life_time: Option<u16>,
    /// As created.
    pub max_retransmits: Option<u16>,
    /// The state now.
    pub ready_state: ChannelState,
}

/// A channel's name together with its account of unsent bytes, which the caller of `send_data`
/// charges before the connection sees the message.
#[derive(Clone, Debug)]
pub struct ChannelHandle {
    /// Unique in this connection.
    pub id: ChannelId,
    /// Shared with every `ref` of this channel.
    pub account: Arc<crate::channels::SendAccount>,
}

/// A message to send on a data channel. Its bytes are already charged to the channel's account.
#[derive(Clone, Debug)]
pub struct OutgoingData {
    /// The channel.
    pub channel: ChannelId,
    /// Text or binary.
    pub kind: crate::w3c::DataKind,
    /// The message; may be empty.
    pub payload: Bytes,
    /// Reply to this request once the message has been taken below the channel's high-water
    /// mark (`send_data_sync/5`).
    pub notify: Option<crate::ids::RequestId>,
}

/// An RTP packet to send, as the control plane hands it over.
///
/// Payload type, SSRC and the extensions that the engine owns are overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRtp {
    /// The marker bit.
    pub marker: bool,
    /// The payload type the caller chose; honoured when it names a negotiated codec.
    pub payload_type: u8,
    /// RTP sequence number.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The SSRC the caller chose; picks the layer when it sends simulcast.
    pub ssrc: u32,
    /// Contributing sources, at most 15.
    pub csrc: Vec<u32>,
    /// Extension elements of the caller: id and data.
    pub extensions: Vec<(u8, Bytes)>,
    /// The payload without padding.
    pub payload: Bytes,
    /// Bytes of padding to add, the count byte included.
    pub padding_size: u8,
    /// Send as a retransmission (`rtx?: true`).
    pub rtx: bool,
}
