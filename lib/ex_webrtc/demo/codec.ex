defmodule ExWebRTC.Demo.Codec do
  @moduledoc false
  # Questions about negotiated codecs that a relay asks.

  alias ExWebRTC.RTP.{AV1, H264, H265, VP8, VP9}

  # The fmtp parameters that make two payload types of one codec different things to a decoder,
  # with what a missing one means (RFC 6184 section 8.1, RFC 9628 section 6.1, AOM RTP section 7.2).
  @distinguishing %{
    "video/h264" => [{"packetization-mode", "0"}, {"profile-level-id", "42000a"}],
    "video/vp9" => [{"profile-id", "0"}],
    "video/av1" => [{"profile", "0"}]
  }

  @doc "The payload type among `codecs` that a packet of `codec` may be sent with."
  @spec payload_type(map(), [map()]) :: 0..127 | nil
  def payload_type(codec, codecs) do
    Enum.find_value(codecs, fn candidate ->
      if same?(codec, candidate), do: candidate.payload_type
    end)
  end

  @doc "Whether two codec parameters describe the same stream of bytes."
  @spec same?(map(), map()) :: boolean()
  def same?(a, b) do
    mime = String.downcase(a.mime_type)

    mime == String.downcase(b.mime_type) and a.clock_rate == b.clock_rate and
      Enum.all?(Map.get(@distinguishing, mime, []), fn {name, default} ->
        parameter(a, name, default) == parameter(b, name, default)
      end)
  end

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

  defp parameter(codec, name, default) do
    codec.sdp_fmtp_line
    |> List.wrap()
    |> Enum.map_join(";", &to_string/1)
    |> String.split(";")
    |> Enum.find_value(default, fn pair ->
      case pair |> String.trim() |> String.split("=", parts: 2) do
        [^name, value] -> value |> String.downcase() |> significant(name)
        _other -> nil
      end
    end)
    |> significant(name)
  end

  # The last two digits of a profile-level-id are the level, which sides may differ in.
  defp significant(value, "profile-level-id"), do: String.slice(value, 0, 4)
  defp significant(value, _name), do: value
end
