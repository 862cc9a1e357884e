defmodule ExWebRTC.RTP.VP9.Depayloader do
  @moduledoc false

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  @impl true
  defdelegate parse(payload), to: ExWebRTC.RTP.VP9, as: :split

  @impl true
  def join(parts), do: IO.iodata_to_binary(parts)
end
