defmodule ExWebRTC.Media.LEB128 do
  @moduledoc false
  # Sizes of AV1: seven bits a byte, the lowest first (AV1 specification section 4.10.5).

  import Bitwise

  @max_size 8

  @spec encode(non_neg_integer()) :: binary()
  def encode(value) when value < 0x80, do: <<value>>
  def encode(value), do: <<1::1, value &&& 0x7F::7, encode(value >>> 7)::binary>>

  @spec decode(binary()) :: {:ok, non_neg_integer(), rest :: binary()} | :error
  def decode(data), do: decode(data, 0, 0)

  defp decode(<<more::1, bits::7, rest::binary>>, index, value) when index < @max_size do
    value = value ||| bits <<< (7 * index)
    if more == 1, do: decode(rest, index + 1, value), else: {:ok, value, rest}
  end

  defp decode(_data, _index, _value), do: :error

  @doc "A size and the bytes that it counts."
  @spec take_sized(binary()) :: {:ok, binary(), rest :: binary()} | :error
  def take_sized(data) do
    with {:ok, size, rest} <- decode(data),
         <<sized::binary-size(size), rest::binary>> <- rest do
      {:ok, sized, rest}
    else
      _too_short -> :error
    end
  end
end
