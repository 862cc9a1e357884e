defmodule ExWebRTC.RTP.AV1 do
  @moduledoc """
  What can be read from RTP payloads of AV1 (AOM, RTP payload format for AV1, version 1.0) without
  decoding.
  """

  import Bitwise

  # A size is at most eight bytes of seven bits (AV1 specification section 4.10.5).
  @max_leb128_size 8

  @doc """
  Whether the payload begins a coded video sequence, which begins with a keyframe.
  """
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(<<0::1, _y::1, _w::2, 1::1, _reserved::3, _rest::binary>>), do: true
  def keyframe?(payload) when is_binary(payload), do: false

  @doc false
  @spec leb128(non_neg_integer()) :: binary()
  def leb128(value) when value < 0x80, do: <<value>>
  def leb128(value), do: <<1::1, value &&& 0x7F::7, leb128(value >>> 7)::binary>>

  @doc false
  # A size and the bytes that it counts.
  @spec take_sized(binary()) :: {:ok, binary(), rest :: binary()} | :error
  def take_sized(data) do
    with {:ok, size, rest} <- read_leb128(data, 0, 0),
         <<sized::binary-size(size), rest::binary>> <- rest do
      {:ok, sized, rest}
    else
      _too_short -> :error
    end
  end

  defp read_leb128(<<more::1, bits::7, rest::binary>>, index, value)
       when index < @max_leb128_size do
    value = value ||| bits <<< (7 * index)
    if more == 1, do: read_leb128(rest, index + 1, value), else: {:ok, value, rest}
  end

  defp read_leb128(_data, _index, _value), do: :error
end
