defmodule ExWebRTC.DataChannel do
  @moduledoc """
  A data channel: messages over SCTP, ordered and reliable unless asked otherwise (RFC 8831).

  W3C: [RTCDataChannel](https://www.w3.org/TR/webrtc/#rtcdatachannel).
  The struct is a snapshot: `ExWebRTC.PeerConnection.get_data_channel/2` takes a new one.
  """

  @typedoc "Names the channel in every function and message of its connection."
  @type ref() :: reference()

  @type order() :: boolean()

  @type ready_state() :: :connecting | :open | :closing | :closed

  @typedoc """
  - `id`: the SCTP stream id; where it was not negotiated by both programs, `nil` until the SCTP
    association starts
  - `ordered`: messages arrive in the order they were sent
  - `max_packet_life_time`: how long a message may be retransmitted, in milliseconds
  - `max_retransmits`: how often a message may be retransmitted
  - `negotiated`: both sides made the channel with the same `id`, without an opening handshake
  """
  @type t() :: %__MODULE__{
          ref: ref(),
          id: 0..65_534 | nil,
          label: String.t(),
          ordered: order(),
          protocol: String.t(),
          ready_state: ready_state(),
          max_packet_life_time: 0..65_535 | nil,
          max_retransmits: 0..65_535 | nil,
          negotiated: boolean()
        }

  @enforce_keys [:ref, :label]
  defstruct @enforce_keys ++
              [
                :id,
                :max_packet_life_time,
                :max_retransmits,
                ordered: true,
                protocol: "",
                ready_state: :connecting,
                negotiated: false
              ]
end
