defmodule ExWebRTC.Media.AnnexB do
  @moduledoc """
  NAL units of H264 and H265 in the byte stream format (Annex B of both specifications), which puts
  a start code before each unit, and in the format of MP4 and Matroska, which puts its length.

      iex> alias ExWebRTC.Media.AnnexB
      iex> AnnexB.units(<<0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 2>>)
      [<<0x67, 1>>, <<0x65, 2>>]
      iex> AnnexB.join([<<0x67, 1>>])
      <<0, 0, 0, 1, 0x67, 1>>
      iex> AnnexB.length_prefixed([<<0x67, 1>>], 4)
      <<0, 0, 0, 2, 0x67, 1>>
      iex> AnnexB.from_length_prefixed(<<0, 0, 0, 2, 0x67, 1>>, 4)
      {:ok, [<<0x67, 1>>]}
  """

  @start_code <<0, 0, 0, 1>>

  @doc """
  The units of a byte stream, whose start codes have three bytes or four. What comes before the first
  start code is not a unit.
  """
  @spec units(binary()) :: [binary()]
  def units(stream) when is_binary(stream) do
    case :binary.matches(stream, <<0, 0, 1>>) do
      [] -> []
      codes -> units(stream, codes)
    end
  end

  defp units(_stream, []), do: []

  defp units(stream, [{start, 3} | codes]) do
    start = start + 3
    stop = if codes == [], do: byte_size(stream), else: codes |> hd() |> elem(0)
    unit = stream |> binary_part(start, stop - start) |> trim_zeros()
    if unit == "", do: units(stream, codes), else: [unit | units(stream, codes)]
  end

  # No NAL unit ends with a zero byte: these belong to the next start code, or fill.
  defp trim_zeros(""), do: ""

  defp trim_zeros(unit) do
    if :binary.last(unit) == 0,
      do: unit |> binary_part(0, byte_size(unit) - 1) |> trim_zeros(),
      else: unit
  end

  @doc "Units as a byte stream, with start codes of four bytes."
  @spec join([binary()]) :: binary()
  def join(units), do: for(unit <- units, into: <<>>, do: <<@start_code::binary, unit::binary>>)

  @doc "Units, each behind its length in `size` bytes."
  @spec length_prefixed([binary()], 1..4) :: binary()
  def length_prefixed(units, size) when size in 1..4 do
    for unit <- units, into: <<>> do
      <<byte_size(unit)::size(size)-unit(8), unit::binary>>
    end
  end

  @doc """
  The units that are each behind a length of `size` bytes.

  `:error` if the bytes end within a unit.
  """
  @spec from_length_prefixed(binary(), 1..4) :: {:ok, [binary()]} | :error
  def from_length_prefixed(data, size) when is_binary(data) and size in 1..4,
    do: take(data, size, [])

  defp take("", _size, units), do: {:ok, Enum.reverse(units)}

  defp take(data, size, units) do
    case data do
      <<0::size(size)-unit(8), rest::binary>> ->
        take(rest, size, units)

      <<length::size(size)-unit(8), unit::binary-size(length), rest::binary>> ->
        take(rest, size, [unit | units])

      _cut_off ->
        :error
    end
  end
end
