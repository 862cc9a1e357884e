defmodule ExWebRTC.RTP.VP8.Depayloader do
  @moduledoc false

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.Media
  alias ExWebRTC.RTP.VP8

  @impl true
  defdelegate parse(payload), to: VP8, as: :split

  @impl true
  def join(parts), do: IO.iodata_to_binary(parts)

  @impl true
  def describe(payload, frame) do
    {:ok, descriptor} = VP8.Descriptor.parse(payload)

    [
      keyframe?: Media.VP8.keyframe?(frame),
      temporal_id: descriptor.temporal_id,
      picture_id: descriptor.picture_id
    ]
  end
end
