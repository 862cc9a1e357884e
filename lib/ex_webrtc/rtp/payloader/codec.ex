defmodule ExWebRTC.RTP.Payloader.Codec do
  @moduledoc false
  # What `ExWebRTC.RTP.Payloader` asks of a payload format.

  @callback init() :: state :: term()

  @doc "The payloads of the packets of one frame, none above `max_payload_size`."
  @callback payload(state :: term(), frame :: binary(), max_payload_size :: pos_integer()) ::
              {[binary()], state :: term()}
end
