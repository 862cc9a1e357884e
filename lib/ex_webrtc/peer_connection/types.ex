defmodule ExWebRTC.PeerConnection.Types do
  @moduledoc false
  # The types of `ExWebRTC.PeerConnection`, in a file of their own: states, what the controlling
  # process is sent, parameters, options of its functions. They are types of that module, so that
  # `t ExWebRTC.PeerConnection` shows them.

  defmacro __using__(_opts) do
    quote do
      alias ExWebRTC.{
        DataChannel,
        Forward,
        ICECandidate,
        MediaStreamTrack,
        RTCP,
        RTP,
        RTPCodecParameters,
        RTPSender,
        RTPTransceiver
      }

      @typedoc "Any of the ways to name the process of a connection."
      @type peer_connection() :: GenServer.server()

      @typedoc "`RTCPeerConnectionState`: ICE and DTLS together."
      @type connection_state() ::
              :new | :connecting | :connected | :disconnected | :failed | :closed

      @typedoc """
      `RTCIceConnectionState`.

      - `:connected`: there is a working pair. It becomes `:completed` when neither side has candidates
        to come: our gathering is complete, and the peer has said `a=end-of-candidates`, an empty
        candidate was added, or the peer does not trickle.
      - `:disconnected`: the pair, which is checked every 4 to 6 seconds, has not answered for 2
        seconds. Checks go on, and it may come back.
      - `:failed`: silent for 30 seconds (consent, RFC 7675), or no pair worked. Nothing is sent any
        more; an ICE restart brings the connection back, also after a change of addresses.
      """
      @type ice_connection_state() ::
              :new | :checking | :connected | :completed | :disconnected | :failed | :closed

      @typedoc "`RTCIceGatheringState`."
      @type ice_gathering_state() :: :new | :gathering | :complete

      @typedoc "`RTCDtlsTransportState`."
      @type dtls_transport_state() :: :new | :connecting | :connected | :closed | :failed

      @typedoc "`RTCSignalingState`."
      @type signaling_state() ::
              :stable
              | :have_local_offer
              | :have_remote_offer
              | :have_local_pranswer
              | :have_remote_pranswer
              | :closed

      @typedoc """
      A received packet: `ExRTP.Packet` where the application has that package, with the same fields.
      """
      @type rtp_packet() :: RTP.Packet.t() | struct()

      @typedoc """
      Why a STUN or TURN server could not be used
      ([RTCPeerConnectionIceErrorEvent](https://www.w3.org/TR/webrtc/#rtcpeerconnectioniceerrorevent)):
      the local address and port if known, the server, the STUN error code (701 without an answer).
      """
      @type ice_candidate_error() :: %{
              address: String.t() | nil,
              port: :inet.port_number() | nil,
              url: String.t(),
              error_code: 300..799,
              error_text: String.t()
            }

      @typedoc """
      What the controlling process is sent.

      - `{:connection_state_change, :new}` and `{:signaling_state_change, :stable}` come first.
      - The change of an ICE or DTLS state comes before the change of the connection state that follows
        from it.
      - `:negotiation_needed`: something was changed that takes an offer and an answer. Once, until
        the offer is made.
      - `{:ice_candidate, candidate}`: a local candidate, to be signaled to the peer.
      - `{:track, track}`: the peer sends this track. `{:track_muted, id}`: it stopped for now;
        `{:track_ended, id}`: for good. These come before the call of `set_remote_description/2` or
        `set_local_description/2` that caused them returns.
      - `{:rtp, track_id, rid, packet}`: a packet; `rid` is `nil` without simulcast.
      - `{:rtp_batch, [{track_id, rid, packet}]}`: in its place with `rtp_delivery: {:batch, max}`,
        in the order of arrival.
      - `{:rtcp, packets}`: one compound, each packet with the id of the track it is about, if any.
      - `{:data_channel, channel}`: the peer made a channel; it is open.
      - `{:data_channel_state_change, ref, state}`: a channel opened or closed, whoever did it.
      - `{:data, ref, data}`: a message. Text and binary look the same, unless the connection was
        started with `data_types: true`: then data is `{:string | :binary, data}`.
      - `{:buffered_amount_low, ref}`: see `set_buffered_amount_low_threshold/3`.
      - `{:ice_candidate_error, error}`: a server could not be used, or no port of `ice_port_range` was
        free (then `url` is empty). Gathering goes on with the others and completes.
      - `:passive`: the messages that were asked for with `flow_control: {:active, n}` have been sent,
        see `set_flow_control/2`.
      - `{:tone_change, sender_id, tone}`: a tone of `insert_dtmf/4` begins; `""` when all were played.
      - `{:bandwidth_estimate, bits_per_second}`: what the path to the peer carries, with
        `bandwidth_estimate: true`.
      - `{:forward_ended, ref, reason}`: a forward that begins or ends here is over.
      """
      @type message() ::
              {:ex_webrtc, pid(),
               {:connection_state_change, connection_state()}
               | {:ice_connection_state_change, ice_connection_state()}
               | {:ice_gathering_state_change, ice_gathering_state()}
               | {:dtls_transport_state_change, dtls_transport_state()}
               | {:signaling_state_change, signaling_state()}
               | :negotiation_needed
               | {:ice_candidate, ICECandidate.t()}
               | {:ice_candidate_error, ice_candidate_error()}
               | {:track, MediaStreamTrack.t()}
               | {:track_muted, MediaStreamTrack.id()}
               | {:track_ended, MediaStreamTrack.id()}
               | {:rtp, MediaStreamTrack.id(), MediaStreamTrack.rid() | nil, rtp_packet()}
               | {:rtp_batch,
                  [{MediaStreamTrack.id(), MediaStreamTrack.rid() | nil, rtp_packet()}]}
               | {:rtcp, [{MediaStreamTrack.id() | nil, RTCP.packet() | struct()}]}
               | {:data_channel, DataChannel.t()}
               | {:data_channel_state_change, DataChannel.ref(), :open | :closed}
               | {:data, DataChannel.ref(), binary() | {:string | :binary, binary()}}
               | {:buffered_amount_low, DataChannel.ref()}
               | :passive
               | {:tone_change, RTPSender.id(), String.t()}
               | {:bandwidth_estimate, pos_integer()}
               | {:forward_ended, Forward.t(), forward_end()}}

      @typedoc """
      Options of `forward/5`:

      - `layer`: the rid of a simulcast layer, or `:auto`; default `:auto`
      - `tap`: also deliver the packets to the controlling process; default `false`
      """
      @type forward_options() :: [layer: MediaStreamTrack.rid() | :auto, tap: boolean()]

      @typedoc """
      Why a forward ended:

      - `:stopped`: `stop_forward/1`
      - `:replaced`: another track is forwarded to the sender now
      - `:track_ended`, `:sender_stopped`: the transceiver of the source, or of the sink, was stopped
      - `:codec_mismatch`: a negotiation has left the two no codec in common; told when the next packet
        comes from the source
      - `:closed`: one of the connections was closed, or its process ended
      """
      @type forward_end() ::
              :stopped
              | :replaced
              | :track_ended
              | :sender_stopped
              | :codec_mismatch
              | :closed

      @typedoc """
      A forward, seen from one of its ends.

      - of the source: `layer` is what was asked for, `rid` the simulcast layer that is forwarded
        now, `nil` without simulcast and before the first keyframe
      - of the sink: the sender
      """
      @type forward_info() ::
              %{
                ref: Forward.t(),
                role: :source,
                track_id: MediaStreamTrack.id(),
                layer: MediaStreamTrack.rid() | :auto,
                rid: MediaStreamTrack.rid() | nil,
                tap: boolean()
              }
              | %{ref: Forward.t(), role: :sink, sender_id: RTPSender.id()}

      @typedoc """
      What a sender sends ([RTCRtpSendParameters](https://www.w3.org/TR/webrtc/#dom-rtcrtpsendparameters)).

      - `encodings`: one without simulcast, else one a layer, as `add_transceiver/3` was given them
        or, where it was given none, as an offer to receive simulcast asks for them
        ([proposedSendEncodings](https://www.w3.org/TR/webrtc/#set-the-session-description)); once
        negotiated, less the layers that the peer did not take
      - `rtcp`: the name of the streams in RTCP, and whether reduced-size RTCP was negotiated
      - `codecs`: as negotiated, each with the RTX that repairs it behind it; empty before
      """
      @type sender_parameters() :: %{
              transaction_id: String.t(),
              encodings: [encoding_parameters()],
              header_extensions: [%{id: 1..255, uri: String.t()}],
              rtcp: %{cname: String.t(), reduced_size: boolean()},
              codecs: [RTPCodecParameters.t()]
            }

      @typedoc """
      One stream of a sender ([RTCRtpEncodingParameters](https://www.w3.org/TR/webrtc/#dom-rtcrtpencodingparameters)).

      - `active`: whether its packets are sent; those of one that is not are dropped
      - `max_bitrate` (bits per second), `max_framerate` (frames per second),
        `scale_resolution_down_by` (1.0 or more): limits for whatever encodes. Nothing is encoded here,
        so they are only kept. The last two are for video: `scale_resolution_down_by` is 1.0
        where it was not given, and 4.0, 2.0, 1.0 for three layers of which none has it.
      """
      @type encoding_parameters() :: %{
              rid: MediaStreamTrack.rid() | nil,
              active: boolean(),
              max_bitrate: non_neg_integer() | nil,
              max_framerate: number() | nil,
              scale_resolution_down_by: number() | nil
            }

      @typedoc """
      What a receiver receives ([RTCRtpReceiveParameters](https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiveparameters)).
      """
      @type receiver_parameters() :: %{
              header_extensions: [%{id: 1..255, uri: String.t()}],
              rtcp: %{reduced_size: boolean()},
              codecs: [RTPCodecParameters.t()]
            }

      @typedoc """
      Who was heard: an SSRC or a CSRC, when its last packet came (ms since 1970), that packet's RTP
      timestamp, and how loud it was, from 0.0 (silence) to 1.0, where a header extension said so
      (RFC 6464, RFC 6465).
      """
      @type rtp_source() :: %{
              source: 0..0xFFFFFFFF,
              timestamp: non_neg_integer(),
              rtp_timestamp: 0..0xFFFFFFFF,
              audio_level: float() | nil
            }

      @typedoc """
      Options of `add_transceiver/3`:

      - `direction`: default `:sendrecv`
      - `send_encodings`: one map a layer, with any keys of `t:encoding_parameters/0`; several need
        a `rid` each, of 1 to 16 letters, digits, `-` and `_`. Default `[]`: one encoding without
        limits. A wrong one raises `ArgumentError`.
      """
      @type transceiver_options() :: [
              direction: RTPTransceiver.direction(),
              send_encodings: [
                %{
                  optional(:rid) => MediaStreamTrack.rid(),
                  optional(:active) => boolean(),
                  optional(:max_bitrate) => non_neg_integer() | nil,
                  optional(:max_framerate) => number() | nil,
                  optional(:scale_resolution_down_by) => number() | nil
                }
              ]
            ]

      @typedoc """
      Options of `create_data_channel/3`
      ([RTCDataChannelInit](https://www.w3.org/TR/webrtc/#dom-rtcdatachannelinit)):

      - `ordered`: messages arrive in the order they were sent; default `true`. `:ordered` and
        `:unordered` are understood as well.
      - `max_packet_life_time`: milliseconds that a message may be retransmitted
      - `max_retransmits`: times that a message may be retransmitted; not together with the above.
        Without either the channel is reliable.
      - `protocol`: the name of a subprotocol; default `""`
      - `negotiated`: both sides create the channel, with the same `id`; default `false`
      - `id`: the stream id, 0 to 65,534; needed with `negotiated`
      """
      @type data_channel_options() :: [
              ordered: boolean() | :ordered | :unordered,
              max_packet_life_time: 0..65_535,
              max_retransmits: 0..65_535,
              protocol: String.t(),
              negotiated: boolean(),
              id: 0..65_534
            ]

      @typedoc """
      Statistics by id. Each entry has `:id`, `:type` and `:timestamp` (milliseconds since 1970); all
      of a report are of one moment. Fields are those of
      [webrtc-stats](https://www.w3.org/TR/webrtc-stats/) in snake case, states are atoms. Times are
      in seconds (`jitter`, `round_trip_time`), instants in milliseconds since 1970 (`last_seen`,
      `last_packet_received_timestamp`, `remote_timestamp`), addresses as `:inet` has them or, for
      names of mDNS, strings. What is not known (yet), or counted by nobody, is absent; of the fields
      that programs for the package `ex_webrtc` read, `ice_local_ufrag`, `last_seen`,
      `related_address` and `related_port` are `nil` instead.

      | `:type` | what to know of its fields |
      |---|---|
      | `:peer_connection` | the states, `data_channels_opened`, `data_channels_closed` |
      | `:transport` | bytes and packets without connectivity checks, DTLS and SRTP with all their headers; `dtls_cipher`, `srtp_cipher` (IANA's names) and `tls_version` once DTLS is connected |
      | `:certificate` | ids `:local_certificate`, `:remote_certificate`; `base64_certificate` is DER |
      | `:local_candidate`, `:remote_candidate` | `priority` has 32 bits; `related_address` is `nil` for hosts |
      | `:candidate_pair` | `requests_sent` with those for consent, which `consent_requests_sent` counts alone; packets and bytes as of `:transport` |
      | `:inbound_rtp` | one for each SSRC. `packets_received` with packets that a repair brought; `packets_lost` counts what the network lost, repaired or not, and may be negative (RFC 3550 section 6.4.1); bytes are payload, headers are `header_bytes_received` |
      | `:outbound_rtp` | one for each encoding. `packets_sent` without repairs, which are `retransmitted_packets_sent`; `nack_count`, `pli_count` and `fir_count` are packets that came |
      | `:remote_inbound_rtp` | what the peer's last report said of a stream of ours; `round_trip_time` when it could be measured |
      | `:remote_outbound_rtp` | what the peer's last sender report said |
      | `:codec` | those in use |
      | `:data_channel` | messages and their bytes, without headers |
      | `:forward` | one for each forward that begins (`role: :source`) or ends (`role: :sink`) here. `rid` is the simulcast layer that is forwarded now; `packets_dropped` did not fit a queue or came when nothing could be sent; `switches` are beginnings of another layer, source or stream, the first one included; `keyframe_requests` those of the viewers and of the sink |
      | `:media_drops` | packets that were dropped before a stream could count them, by reason; only where there were any |
      """
      @type stats() :: %{(atom() | String.t()) => %{atom() => term()}}
    end
  end
end
