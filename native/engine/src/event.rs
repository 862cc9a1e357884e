//! What a connection tells: messages to the controlling process, replies, and requests to the driver.

use crate::command::{ChannelHandle, ChannelInfo, CommandResult};
use crate::ids::{ChannelId, RequestId, Rid, SenderId, TrackId};
use crate::media::{ForwardEnd, ReceivedRtp};
use crate::w3c::{
    ChannelState, ConnectionState, DataKind, DtlsState, IceCandidateInit, IceConnectionState,
    IceGatheringState, SignalingState, Track,
};
use bytes::Bytes;

/// One message of section 2 of the contract, RTP excepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// `{:connection_state_change, state}`
    ConnectionStateChange(ConnectionState),
    /// `{:ice_connection_state_change, state}`
    IceConnectionStateChange(IceConnectionState),
    /// `{:ice_gathering_state_change, state}`
    IceGatheringStateChange(IceGatheringState),
    /// `{:dtls_transport_state_change, state}`
    DtlsTransportStateChange(DtlsState),
    /// `{:signaling_state_change, state}`
    SignalingStateChange(SignalingState),
    /// `:negotiation_needed`
    NegotiationNeeded,
    /// `{:ice_candidate, candidate}`
    IceCandidate(IceCandidateInit),
    /// `{:track, track}`
    Track(Track),
    /// `{:track_muted, track_id}`
    TrackMuted(TrackId),
    /// `{:track_ended, track_id}`
    TrackEnded(TrackId),
    /// `{:rtcp, packets}`: each packet of a compound with the track it is about, undecoded.
    Rtcp(Vec<(Option<TrackId>, Bytes)>),
    /// `{:data_channel, channel}`
    DataChannel(ChannelInfo),
    /// `{:data_channel_state_change, ref, state}`, for `open` and `closed`.
    DataChannelStateChange(ChannelHandle, ChannelState),
    /// `{:data, ref, data}`
    Data(ChannelHandle, DataKind, Bytes),
    /// `{:buffered_amount_low, ref}`
    BufferedAmountLow(ChannelHandle),
    /// `{:ice_candidate_error, error}`
    IceCandidateError(IceCandidateError),
    /// `{:tone_change, sender_id, tone}`: a tone of `insert_dtmf/4` begins; empty at the end.
    ToneChange(SenderId, String),
    /// `{:bandwidth_estimate, bits_per_second}`
    BandwidthEstimate(u64),
    /// `{:forward_ended, ref, reason}`: the label that the control plane gave, and why.
    ForwardEnded(Bytes, ForwardEnd),
}

/// `RTCPeerConnectionIceErrorEvent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCandidateError {
    /// Local address that was used, if any.
    pub address: Option<String>,
    /// Local port that was used, if any.
    pub port: Option<u16>,
    /// The server.
    pub url: String,
    /// The STUN error code, or 701 where no response came.
    pub error_code: u16,
    /// What went wrong, for people.
    pub error_text: String,
}

/// A mistake of the program that has no reply to carry an error: logged, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Warning {
    /// `send_rtp/4` named a track that no sender has.
    UnknownTrack(TrackId),
    /// `send_data/4` on a channel that is not open.
    ChannelNotOpen(ChannelId),
}

/// Where a connection's output goes, in the order it happens.
///
/// The border implements it with messages to BEAM processes, tests with a `Vec`. It must not
/// block and must not call back into the engine.
pub trait Sink {
    /// The answer to a command.
    fn reply(&mut self, id: RequestId, result: CommandResult);
    /// A message to the controlling process.
    fn event(&mut self, event: Event);
    /// A packet for the controlling process. Its bytes live only until this returns.
    fn rtp(&mut self, track: TrackId, rid: Option<&Rid>, packet: &ReceivedRtp<'_>);
    /// How many messages of data channels it takes now; `None`: all that come. Those beyond stay in
    /// SCTP; [`crate::Engine::flush`] asks again.
    fn data_credit(&self) -> Option<u64> {
        None
    }
    /// A mistake of the program, for its log.
    fn warning(&mut self, _warning: Warning) {}
}

/// What the connection needs its driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Gather candidates: open sockets where none are open yet, ask the servers. Answer with
    /// [`crate::Engine::local_candidate`] and [`crate::Engine::gathering_complete`] carrying `generation`.
    Gather {
        /// Counts gathering rounds of this connection; late results of an old round are ignored.
        generation: u32,
        /// The user name that the peer's checks of these candidates carry.
        ufrag: String,
    },
    /// Resolve a `.local` name and answer with [`crate::Engine::mdns_resolved`].
    ResolveMdns {
        /// The host name, lower case, with `.local`.
        name: String,
    },
    /// The connection was closed: release its sockets, then confirm the close command's reply.
    Release,
}
