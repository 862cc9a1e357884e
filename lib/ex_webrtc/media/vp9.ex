defmodule ExWebRTC.Media.VP9 do
  @moduledoc """
  What the uncompressed header of a VP9 frame tells (VP9 bitstream specification section 6.2).
  """

  alias ExWebRTC.Media.Bits

  @sync_code 0x498342
  @srgb 7

  @doc "Whether the frame is a keyframe."
  @spec keyframe?(binary()) :: boolean()
  # Frame marker, profile with a reserved bit in profile 3, show_existing_frame, frame_type.
  def keyframe?(<<2::2, 1::1, 1::1, _reserved::1, 0::1, type::1, _::bitstring>>), do: type == 0
  def keyframe?(<<2::2, 1::1, 1::1, _::bitstring>>), do: false
  def keyframe?(<<2::2, _profile::2, 0::1, type::1, _::bitstring>>), do: type == 0
  def keyframe?(frame) when is_binary(frame), do: false

  @doc """
  Width, height (pixels), profile (0 to 3) and bit depth of a keyframe; `:error` for any other frame.
  """
  @spec parse_keyframe(binary()) :: {:ok, map()} | :error
  def parse_keyframe(frame) when is_binary(frame) do
    if keyframe?(frame), do: Bits.parse(fn -> header(frame) end), else: :error
  end

  defp header(<<2::2, low::1, high::1, bits::bitstring>>) do
    profile = high * 2 + low
    {_reserved, bits} = Bits.read(bits, if(profile == 3, do: 1, else: 0))
    {header, bits} = Bits.fields(bits, existing: 1, type: 1, show: 1, resilient: 1, sync: 24)
    if header.sync != @sync_code, do: Bits.invalid()

    {depth, bits} = bit_depth(bits, profile)
    bits = skip_color_config(bits, profile)
    {size, _bits} = Bits.fields(bits, width: 16, height: 16)
    %{width: size.width + 1, height: size.height + 1, profile: profile, bit_depth: depth}
  end

  defp bit_depth(bits, profile) when profile < 2, do: {8, bits}

  defp bit_depth(bits, _profile) do
    {twelve, bits} = Bits.read(bits, 1)
    {10 + 2 * twelve, bits}
  end

  defp skip_color_config(bits, profile) do
    {color_space, bits} = Bits.read(bits, 3)
    # The range, but not for sRGB; the subsampling and a reserved bit in the odd profiles.
    range = if color_space == @srgb, do: 0, else: 1

    subsampling =
      case {rem(profile, 2), color_space} do
        {0, _any} -> 0
        {1, @srgb} -> 1
        {1, _other} -> 3
      end

    {_skipped, bits} = Bits.read(bits, range + subsampling)
    bits
  end
end
