defmodule ExWebRTC.RTP.Payloader.Codec do
  @moduledoc false
  # What `ExWebRTC.RTP.Payloader` asks of a payload format.

  @callback init(ExWebRTC.RTPCodecParameters.t()) :: state :: term()

  @doc """
  The payloads of the packets of one frame, none above `max_payload_size`. H264 and H265 get the NAL
  units of the frame.
  """
  @callback payload(
              state :: term(),
              frame :: binary() | [binary()],
              max_payload_size :: pos_integer()
            ) ::
              {[binary()], state :: term()}
end
