defmodule ExWebRTC.RTPSender do
  @moduledoc """
  The half of a transceiver that sends.

  W3C: [RTCRtpSender](https://www.w3.org/TR/webrtc/#rtcrtpsender-interface).
  """

  @typedoc "Identifies the sender in its connection."
  @type id() :: integer()

  @typedoc """
  - `track`: what it sends, `nil` for nothing
  - `codec`: what it sends with, `nil` until negotiated
  """
  @type t() :: %__MODULE__{
          id: id(),
          track: ExWebRTC.MediaStreamTrack.t() | nil,
          codec: ExWebRTC.RTPCodecParameters.t() | nil
        }

  @enforce_keys [:id]
  defstruct @enforce_keys ++ [:track, :codec]
end
