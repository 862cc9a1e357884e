defmodule ExWebRTC.RTPTransceiver do
  @moduledoc """
  A sender and a receiver that share an m-line.

  W3C: [RTCRtpTransceiver](https://www.w3.org/TR/webrtc/#rtcrtptransceiver-interface).
  The struct is a snapshot: `ExWebRTC.PeerConnection.get_transceivers/1` takes a new one.
  """

  alias ExWebRTC.{MediaStreamTrack, RTPCodecParameters, RTPReceiver, RTPSender}

  @typedoc "Identifies the transceiver in its connection."
  @type id() :: integer()

  @type kind() :: MediaStreamTrack.kind()

  @type direction() :: :sendonly | :recvonly | :sendrecv | :inactive

  @typedoc "A header extension (RFC 8285) with the id it has in RTP packets of this transceiver."
  @type header_extension() :: %{id: 1..255, uri: String.t()}

  @typedoc """
  - `direction`: what was asked for; `current_direction`: what was negotiated, `nil` before that
  - `mid`: the tag of its m-line, `nil` until it has one
  - `stopping`: `ExWebRTC.PeerConnection.stop_transceiver/2` was called and is not negotiated yet
  - `stopped`: stopped for good
  - `codecs`: what it can send and receive, preferred first
  """
  @type t() :: %__MODULE__{
          id: id(),
          kind: kind(),
          direction: direction(),
          current_direction: direction() | nil,
          mid: String.t() | nil,
          stopping: boolean(),
          stopped: boolean(),
          receiver: RTPReceiver.t(),
          sender: RTPSender.t(),
          header_extensions: [header_extension()],
          codecs: [RTPCodecParameters.t()]
        }

  @enforce_keys [:id, :kind, :direction, :sender, :receiver]
  defstruct @enforce_keys ++
              [
                :current_direction,
                :mid,
                stopping: false,
                stopped: false,
                header_extensions: [],
                codecs: []
              ]
end
