defmodule ExWebRTC.Media.Video do
  @moduledoc """
  What a keyframe tells about a video, for any codec by its MIME type.

      iex> ExWebRTC.Media.Video.parse_keyframe("video/VP8", <<0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 1, 240, 0>>)
      {:ok, %{width: 320, height: 240, profile: 0}}
      iex> ExWebRTC.Media.Video.keyframe?("video/VP8", <<0x11>>)
      false
  """

  alias ExWebRTC.Media.{AV1, H264, H265, VP8, VP9}

  @typedoc """
  Width and height in pixels and the number of the profile; more depends on the codec, see its
  module.
  """
  @type keyframe() :: %{
          :width => pos_integer(),
          :height => pos_integer(),
          :profile => non_neg_integer(),
          optional(atom()) => term()
        }

  @doc "Whether a whole frame, as a depayloader gives it, is a keyframe; `false` for unknown codecs."
  @spec keyframe?(String.t(), binary()) :: boolean()
  def keyframe?(mime_type, frame) do
    case module(mime_type) do
      nil -> false
      module -> module.keyframe?(frame)
    end
  end

  @doc "Size and profile of a keyframe; `:error` for other frames and unknown codecs."
  @spec parse_keyframe(String.t(), binary()) :: {:ok, keyframe()} | :error
  def parse_keyframe(mime_type, frame) do
    case module(mime_type) do
      nil -> :error
      module -> module.parse_keyframe(frame)
    end
  end

  defp module(mime_type) do
    case String.downcase(mime_type) do
      "video/vp8" -> VP8
      "video/vp9" -> VP9
      "video/h264" -> H264
      "video/h265" -> H265
      "video/av1" -> AV1
      _other -> nil
    end
  end
end
