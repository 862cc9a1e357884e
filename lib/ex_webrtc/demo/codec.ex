defmodule ExWebRTC.Demo.Codec do
  @moduledoc false
  # What an echo asks of negotiated codecs.

  alias ExWebRTC.RTP.{AV1, H264, H265, VP8, VP9}

  @doc "Whether a packet begins a keyframe; of a codec we cannot look into, every packet may."
  @spec keyframe?(map() | nil, binary()) :: boolean()
  def keyframe?(nil, _payload), do: false

  def keyframe?(codec, payload) do
    case String.downcase(codec.mime_type) do
      "video/vp8" -> VP8.keyframe?(payload)
      "video/vp9" -> VP9.keyframe?(payload)
      "video/h264" -> H264.keyframe?(payload)
      "video/h265" -> H265.keyframe?(payload)
      "video/av1" -> AV1.keyframe?(payload)
      _other -> true
    end
  end
end
