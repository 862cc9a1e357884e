defmodule ExWebRTC.RTP.VP8.Depayloader do
  @moduledoc false

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  @impl true
  defdelegate parse(payload), to: ExWebRTC.RTP.VP8, as: :split

  @impl true
  def join(parts), do: IO.iodata_to_binary(parts)
end
