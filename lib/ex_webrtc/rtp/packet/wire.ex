defmodule ExWebRTC.RTP.Packet.Wire do
  @moduledoc false
  # Numbers as RTP and RTCP packets carry them. Binary construction cuts off what does not fit its
  # bits; a packet that says something else than its struct is worse than none, so encoders guard
  # their fields with these, and say which one was wrong.

  @uint32 0..0xFFFFFFFF

  defguard is_uint8(value) when value in 0..0xFF
  defguard is_uint16(value) when value in 0..0xFFFF
  defguard is_uint32(value) when value in 0..0xFFFFFFFF
  defguard is_uint64(value) when value in 0..0xFFFFFFFFFFFFFFFF

  @doc "SSRCs and CSRCs, one behind the other."
  @spec uint32s([0..0xFFFFFFFF], atom()) :: binary()
  def uint32s([], _field), do: <<>>

  def uint32s(numbers, field) when is_list(numbers),
    do: for(number <- numbers, into: <<>>, do: uint32(number, field))

  def uint32s(other, field), do: raise_wrong!(field, "a list", other)

  defp uint32(number, _field) when is_uint32(number), do: <<number::32>>
  defp uint32(other, field), do: raise_wrong!(field, "a list of #{inspect(@uint32)}", other)

  @doc """
  Raises for the first field that is not what the encoder needs, a range, `:binary` or `:boolean`.
  """
  @spec raise_wrong_field!(map(), keyword(Range.t() | :binary | :boolean | :list)) :: no_return()
  def raise_wrong_field!(fields, expected) do
    {field, expected} =
      Enum.find(expected, {nil, nil}, fn {field, expected} ->
        not right?(Map.get(fields, field), expected)
      end)

    if field,
      do:
        raise_wrong!(
          field,
          describe(expected),
          Map.get(fields, field),
          Map.get(fields, :__struct__)
        ),
      else: raise(ArgumentError, "no packet can carry #{inspect(fields)}")
  end

  @doc "Raises for a value, saying what it should have been."
  @spec raise_wrong!(atom(), String.t(), term()) :: no_return()
  @spec raise_wrong!(atom(), String.t(), term(), module() | nil) :: no_return()
  def raise_wrong!(field, expected, value, module \\ nil) do
    owner = if module, do: " of #{inspect(module)}"

    raise ArgumentError,
          "expected #{inspect(field)}#{owner} to be #{expected}, got: #{inspect(value)}"
  end

  defp right?(value, :binary), do: is_binary(value)
  defp right?(value, :boolean), do: is_boolean(value)
  defp right?(value, :list), do: is_list(value)
  defp right?(value, first..last), do: is_integer(value) and value in first..last

  defp describe(:binary), do: "a binary"
  defp describe(:boolean), do: "true or false"
  defp describe(:list), do: "a list"
  defp describe(range), do: "in #{inspect(range)}"
end
