defmodule ExWebRTC.RTP.VP9.Depayloader do
  @moduledoc false

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.Media
  alias ExWebRTC.RTP.VP9

  @impl true
  defdelegate parse(payload), to: VP9, as: :split

  @impl true
  def join(parts), do: IO.iodata_to_binary(parts)

  @impl true
  def describe(payload, frame) do
    {:ok, descriptor} = VP9.Descriptor.parse(payload)

    [
      keyframe?: Media.VP9.keyframe?(frame),
      spatial_id: descriptor.spatial_id,
      temporal_id: descriptor.temporal_id,
      picture_id: descriptor.picture_id
    ]
  end
end
