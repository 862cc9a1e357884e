defmodule ExWebRTC.RTP.Frame do
  @moduledoc """
  A frame as `ExWebRTC.RTP.Depayloader.depayload_frame/2` gives it: the encoded data and what RTP and
  the payload format tell about it.
  """

  @typedoc """
  - `data`: as `ExWebRTC.RTP.Depayloader.depayload/2` returns it
  - `timestamp`: the RTP timestamp, in ticks of the codec's clock
  - `keyframe?`: whether a decoder can start here; true for audio
  - `spatial_id`, `temporal_id`: the layer, where the payload format has layers and the sender names
    them. For VP9 and AV1 the frame has all spatial layers that were sent; the id is the lowest.
  - `picture_id`: of VP8 and VP9, with the 7 or 15 bits that it has
  """
  @type t() :: %__MODULE__{
          data: binary(),
          timestamp: 0..0xFFFFFFFF,
          keyframe?: boolean(),
          spatial_id: 0..63 | nil,
          temporal_id: 0..7 | nil,
          picture_id: 0..0x7FFF | nil
        }

  @enforce_keys [:data, :timestamp, :keyframe?]
  defstruct @enforce_keys ++ [:spatial_id, :temporal_id, :picture_id]
end
