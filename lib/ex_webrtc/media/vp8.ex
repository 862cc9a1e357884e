defmodule ExWebRTC.Media.VP8 do
  @moduledoc """
  What the header of a VP8 frame tells (RFC 6386 section 9.1).

      iex> ExWebRTC.Media.VP8.parse_keyframe(<<0x10, 0, 0, 0x9D, 0x01, 0x2A, 320::little-16, 240::little-16>>)
      {:ok, %{width: 320, height: 240, profile: 0}}
  """

  @doc "Whether the frame is a keyframe."
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(<<_size::3, _show::1, _version::3, 0::1, _rest::binary>>), do: true
  def keyframe?(frame) when is_binary(frame), do: false

  @doc "Width, height (pixels) and profile (0 to 3) of a keyframe; `:error` for any other frame."
  @spec parse_keyframe(binary()) :: {:ok, map()} | :error
  def parse_keyframe(
        <<_size::3, _show::1, version::3, 0::1, _size2::16, 0x9D, 0x01, 0x2A, width::little-16,
          height::little-16, _rest::binary>>
      ) do
    # The upper two bits are a scale for display.
    {:ok,
     %{
       width: Bitwise.band(width, 0x3FFF),
       height: Bitwise.band(height, 0x3FFF),
       profile: version
     }}
  end

  def parse_keyframe(frame) when is_binary(frame), do: :error
end
