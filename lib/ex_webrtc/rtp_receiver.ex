defmodule ExWebRTC.RTPReceiver do
  @moduledoc """
  The half of a transceiver that receives.

  W3C: [RTCRtpReceiver](https://www.w3.org/TR/webrtc/#rtcrtpreceiver-interface).
  """

  @typedoc "Identifies the receiver in its connection."
  @type id() :: integer()

  @typedoc """
  - `track`: what it delivers packets of
  - `codec`: what is received, `nil` until negotiated
  """
  @type t() :: %__MODULE__{
          id: id(),
          track: ExWebRTC.MediaStreamTrack.t(),
          codec: ExWebRTC.RTPCodecParameters.t() | nil
        }

  @enforce_keys [:id, :track]
  defstruct @enforce_keys ++ [:codec]
end
