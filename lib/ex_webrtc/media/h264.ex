defmodule ExWebRTC.Media.H264 do
  @moduledoc """
  What the parameter sets of H264 tell (ITU-T H.264 section 7.3.2.1). Frames are in Annex B format.
  """

  alias ExWebRTC.Media.{AnnexB, Bits}

  @idr 5
  @sps 7
  @pps 8

  # Profiles with chroma formats (section 7.3.2.1.1).
  @high_profiles [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]
  # At most this many offsets in a cycle (section 7.4.2.1.1).
  @max_cycle 255

  @doc "Whether the frame has an IDR slice."
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(frame), do: frame |> AnnexB.units() |> Enum.any?(&(type(&1) == @idr))

  @doc """
  Width, height (pixels), profile (`profile_idc`), `profile_level_id` (as in SDP), level
  (`level_idc`), chroma format and bit depths of a frame with a sequence parameter set; `:error`
  without.
  """
  @spec parse_keyframe(binary()) :: {:ok, map()} | :error
  def parse_keyframe(frame) when is_binary(frame) do
    case frame |> AnnexB.units() |> Enum.find(&(type(&1) == @sps)) do
      nil -> :error
      sps -> parse_sps(sps)
    end
  end

  @doc "The sequence and the picture parameter sets of a frame."
  @spec parameter_sets(binary()) :: {[binary()], [binary()]}
  def parameter_sets(frame) do
    units = AnnexB.units(frame)
    {Enum.filter(units, &(type(&1) == @sps)), Enum.filter(units, &(type(&1) == @pps))}
  end

  @doc "As `parse_keyframe/1`, of a sequence parameter set."
  @spec parse_sps(binary()) :: {:ok, map()} | :error
  def parse_sps(<<_f::1, _nri::2, @sps::5, rest::binary>>),
    do: Bits.parse(fn -> rest |> Bits.unescape() |> sps() end)

  def parse_sps(_unit), do: :error

  defp type(<<_f::1, _nri::2, type::5, _rest::binary>>), do: type

  defp sps(<<profile, constraints, level, bits::bitstring>>) do
    {sps, bits} = Bits.fields(bits, id: :ue)
    {sps, bits} = chroma(bits, profile in @high_profiles, sps)
    {sps, bits} = Bits.fields(bits, [frame_num: :ue, order_type: :ue], sps)
    bits = skip_order(bits, sps.order_type)

    {sps, bits} =
      Bits.fields(bits, [references: :ue, gaps: 1, width: :ue, height: :ue, frames_only: 1], sps)

    {sps, bits} = Bits.fields_if(bits, 1 - sps.frames_only, [adaptive: 1], sps)
    {sps, bits} = Bits.fields(bits, [direct: 1, cropped: 1], sps)
    none = %{left: 0, right: 0, top: 0, bottom: 0}

    {crop, _bits} =
      Bits.fields_if(bits, sps.cropped, [left: :ue, right: :ue, top: :ue, bottom: :ue], none)

    {unit_x, unit_y} = crop_units(sps.chroma)

    %{
      width: (sps.width + 1) * 16 - (crop.left + crop.right) * unit_x,
      height:
        (2 - sps.frames_only) *
          ((sps.height + 1) * 16 - (crop.top + crop.bottom) * unit_y),
      profile: profile,
      level: level,
      chroma_format: sps.chroma,
      bit_depth: sps.luma + 8,
      chroma_bit_depth: sps.depth + 8,
      profile_level_id: Base.encode16(<<profile, constraints, level>>, case: :lower)
    }
  end

  defp sps(_cut_off), do: Bits.invalid()

  # Pixels of a cropping unit (table 6-1): 4:2:0, 4:2:2, otherwise single ones.
  defp crop_units(1), do: {2, 2}
  defp crop_units(2), do: {2, 1}
  defp crop_units(_other), do: {1, 1}

  defp chroma(bits, false, sps), do: {Map.merge(sps, %{chroma: 1, luma: 0, depth: 0}), bits}

  defp chroma(bits, true, sps) do
    {sps, bits} = Bits.fields(bits, [chroma: :ue], sps)
    {sps, bits} = Bits.fields_if(bits, sps.chroma == 3, [planes: 1], sps)
    {sps, bits} = Bits.fields(bits, [luma: :ue, depth: :ue, bypass: 1, matrix: 1], sps)
    lists = if sps.chroma == 3, do: 12, else: 8
    {sps, if(sps.matrix == 1, do: skip_lists(bits, 0, lists), else: bits)}
  end

  defp skip_lists(bits, lists, lists), do: bits

  defp skip_lists(bits, index, lists) do
    {present, bits} = Bits.read(bits, 1)
    size = if index < 6, do: 16, else: 64
    skip_lists(if(present == 1, do: skip_list(bits, size, 8, 8), else: bits), index + 1, lists)
  end

  # Section 7.3.2.1.1.1: after a scale of 0 no more deltas follow.
  defp skip_list(bits, 0, _last, _next), do: bits

  defp skip_list(bits, left, last, next) when next != 0 do
    {delta, bits} = Bits.read(bits, :se)
    next = Integer.mod(last + delta, 256)
    skip_list(bits, left - 1, if(next == 0, do: last, else: next), next)
  end

  defp skip_list(bits, _left, _last, 0), do: bits

  defp skip_order(bits, 0), do: bits |> Bits.read(:ue) |> elem(1)

  defp skip_order(bits, 1) do
    {order, bits} = Bits.fields(bits, zero: 1, picture: :se, field: :se, cycle: :ue)
    if order.cycle > @max_cycle, do: Bits.invalid()
    Enum.reduce(1..order.cycle//1, bits, fn _index, bits -> bits |> Bits.read(:se) |> elem(1) end)
  end

  defp skip_order(bits, _type), do: bits
end
