defmodule ExWebRTC.Media.H265 do
  @moduledoc """
  What the parameter sets of H265 tell (ITU-T H.265 section 7.3.2.2). Frames are in Annex B format.
  """

  alias ExWebRTC.Media.{AnnexB, Bits}

  # Random access pictures (table 7-1) and parameter sets.
  @irap 16..21
  @vps 32
  @sps 33
  @pps 34

  @doc "Whether the frame is a random access picture."
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(frame), do: frame |> AnnexB.units() |> Enum.any?(&(type(&1) in @irap))

  @doc """
  Width, height (pixels), profile (`general_profile_idc`), tier (0 main, 1 high), level
  (`general_level_idc`, 30 times the level), chroma format and bit depths of a frame with a sequence
  parameter set; `:error` without.
  """
  @spec parse_keyframe(binary()) :: {:ok, map()} | :error
  def parse_keyframe(frame) when is_binary(frame) do
    case frame |> AnnexB.units() |> Enum.find(&(type(&1) == @sps)) do
      nil -> :error
      sps -> parse_sps(sps)
    end
  end

  @doc "The video, sequence and picture parameter sets of a frame."
  @spec parameter_sets(binary()) :: {[binary()], [binary()], [binary()]}
  def parameter_sets(frame) do
    units = AnnexB.units(frame)

    [vps, sps, pps] = for type <- [@vps, @sps, @pps], do: Enum.filter(units, &(type(&1) == type))

    {vps, sps, pps}
  end

  @doc """
  As `parse_keyframe/1`, of a sequence parameter set; `compatibility` and `constraints` are the flags
  of the general profile.
  """
  @spec parse_sps(binary()) :: {:ok, map()} | :error
  def parse_sps(<<_f::1, @sps::6, _layer::6, _tid::3, rest::binary>>),
    do: Bits.parse(fn -> rest |> Bits.unescape() |> sps() end)

  def parse_sps(_unit), do: :error

  defp type(<<_f::1, type::6, _rest::bitstring>>), do: type

  defp sps(bits) do
    {sps, bits} =
      Bits.fields(bits,
        vps_id: 4,
        max_sub_layers: 3,
        nested: 1,
        profile_space: 2,
        tier: 1,
        profile: 5,
        compatibility: 32,
        constraints: 48,
        level: 8
      )

    bits = skip_sub_layers(bits, sps.max_sub_layers)
    {sps, bits} = Bits.fields(bits, [id: :ue, chroma_format: :ue], sps)
    {sps, bits} = Bits.fields_if(bits, sps.chroma_format == 3, [planes: 1], sps)
    {sps, bits} = Bits.fields(bits, [width: :ue, height: :ue, cropped: 1], sps)
    none = %{left: 0, right: 0, top: 0, bottom: 0}

    {crop, bits} =
      Bits.fields_if(bits, sps.cropped, [left: :ue, right: :ue, top: :ue, bottom: :ue], none)

    {depth, _bits} = Bits.fields(bits, luma: :ue, chroma: :ue)
    {unit_x, unit_y} = crop_units(sps.chroma_format)

    sps
    |> Map.take([
      :profile_space,
      :tier,
      :profile,
      :compatibility,
      :constraints,
      :level,
      :chroma_format
    ])
    |> Map.merge(%{
      width: sps.width - (crop.left + crop.right) * unit_x,
      height: sps.height - (crop.top + crop.bottom) * unit_y,
      bit_depth: depth.luma + 8,
      chroma_bit_depth: depth.chroma + 8
    })
  end

  # Pixels of a cropping unit (table 6-1): 4:2:0, 4:2:2, otherwise single ones.
  defp crop_units(1), do: {2, 2}
  defp crop_units(2), do: {2, 1}
  defp crop_units(_other), do: {1, 1}

  # Two flags for each sub-layer, filled up to eight, then what the flags announce (7.3.3).
  defp skip_sub_layers(bits, 0), do: bits

  defp skip_sub_layers(bits, count) do
    {flags, bits} =
      Enum.map_reduce(1..count, bits, fn _layer, bits ->
        {flags, bits} = Bits.fields(bits, profile: 1, level: 1)
        {flags.profile * 88 + flags.level * 8, bits}
      end)

    {_filling, bits} = Bits.read(bits, 2 * (8 - count))
    {_skipped, bits} = Bits.read(bits, Enum.sum(flags))
    bits
  end
end
