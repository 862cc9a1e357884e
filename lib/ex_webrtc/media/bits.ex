defmodule ExWebRTC.Media.Bits do
  @moduledoc false
  # Reads headers that are counted in bits. What is cut off is thrown, and caught by `parse/1`, so
  # that a parser is as plain as the table in the specification.

  @typedoc """
  How a field is coded: so many bits, or Exp-Golomb (ITU-T H.264 section 9.1), unsigned or signed.
  """
  @type coding() :: non_neg_integer() | :ue | :se

  # Values of Exp-Golomb codes have at most 32 bits.
  @max_zeros 32

  @doc "Calls `fun`; `:error` if it reads beyond the end or says that the data is invalid."
  @spec parse((() -> result)) :: {:ok, result} | :error when result: term()
  def parse(fun) do
    {:ok, fun.()}
  catch
    :throw, {__MODULE__, :invalid} -> :error
  end

  @doc "Ends `parse/1` with `:error`."
  @spec invalid() :: no_return()
  def invalid, do: throw({__MODULE__, :invalid})

  @doc "Reads one field."
  @spec read(bitstring(), coding()) :: {integer(), bitstring()}
  def read(bits, :ue), do: exp_golomb(bits, 0)

  def read(bits, :se) do
    {value, bits} = exp_golomb(bits, 0)
    {if(rem(value, 2) == 1, do: div(value + 1, 2), else: -div(value, 2)), bits}
  end

  def read(bits, size) do
    case bits do
      <<value::size(size), rest::bitstring>> -> {value, rest}
      _cut_off -> invalid()
    end
  end

  @doc "Reads fields in their order, to a map."
  @spec fields(bitstring(), [{atom(), coding()}]) :: {map(), bitstring()}
  def fields(bits, fields), do: fields(bits, fields, %{})

  @doc "Reads fields in their order, into a map."
  @spec fields(bitstring(), [{atom(), coding()}], map()) :: {map(), bitstring()}
  def fields(bits, fields, map) do
    Enum.reduce(fields, {map, bits}, fn {name, coding}, {map, bits} ->
      {value, bits} = read(bits, coding)
      {Map.put(map, name, value), bits}
    end)
  end

  @doc "Reads fields only if the condition is 1."
  @spec fields_if(bitstring(), 0 | 1 | boolean(), [{atom(), coding()}], map()) ::
          {map(), bitstring()}
  def fields_if(bits, condition, fields, map) when condition in [1, true],
    do: fields(bits, fields, map)

  def fields_if(bits, _condition, _fields, map), do: {map, bits}

  @doc """
  A NAL unit without its emulation prevention bytes (ITU-T H.264 section 7.4.1): 3 after two zeros.
  """
  @spec unescape(binary()) :: binary()
  def unescape(unit) do
    unit |> :binary.split(<<0, 0, 3>>, [:global]) |> Enum.join(<<0, 0>>)
  end

  defp exp_golomb(<<0::1, rest::bitstring>>, zeros) when zeros < @max_zeros,
    do: exp_golomb(rest, zeros + 1)

  defp exp_golomb(<<1::1, rest::bitstring>>, zeros) do
    {value, rest} = read(rest, zeros)
    {Bitwise.bsl(1, zeros) - 1 + value, rest}
  end

  defp exp_golomb(_bits, _zeros), do: invalid()
end
