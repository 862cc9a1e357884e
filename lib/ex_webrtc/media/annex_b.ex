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
    case start_codes(stream) do
      [] -> []
      codes -> cut(stream, codes)
    end
  end

  defp cut(_stream, []), do: []

  defp cut(stream, [start | codes]) do
    start = start + 3
    stop = if codes == [], do: byte_size(stream), else: hd(codes)
    unit = stream |> binary_part(start, stop - start) |> trim_zeros()
    if unit == "", do: cut(stream, codes), else: [unit | cut(stream, codes)]
  end

  @doc """
  The positions of the start codes of three bytes. A zero byte before one belongs to it.
  """
  @spec start_codes(binary()) :: [non_neg_integer()]
  def start_codes(stream), do: start_codes(stream, 0)

  # No start code ends in a byte above 1, and none is closer than three bytes to such: several times
  # as fast as `:binary.matches/2`.
  defp start_codes(<<_::16, a, _::16, b, _::16, c, _::16, d, rest::binary>>, position)
       when a > 1 and b > 1 and c > 1 and d > 1,
       do: start_codes(rest, position + 12)

  defp start_codes(<<_::16, a, rest::binary>>, position) when a > 1,
    do: start_codes(rest, position + 3)

  defp start_codes(<<1::24, rest::binary>>, position),
    do: [position | start_codes(rest, position + 3)]

  defp start_codes(<<_, rest::binary>>, position), do: start_codes(rest, position + 1)
  defp start_codes("", _position), do: []

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
