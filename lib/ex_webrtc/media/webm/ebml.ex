defmodule ExWebRTC.Media.WebM.EBML do
  @moduledoc false
  # Elements of EBML (RFC 8794): an id, a size, data.

  @type data() :: iodata()

  # A size of eight bytes with all bits 1: unknown, to the end of the file.
  @unknown_size <<0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF>>

  @doc "An element with this data."
  @spec element(pos_integer(), data()) :: iodata()
  def element(id, data), do: [id(id), size(IO.iodata_length(data)), data]

  @spec uint(pos_integer(), non_neg_integer()) :: iodata()
  def uint(id, value), do: element(id, :binary.encode_unsigned(value))

  @spec float(pos_integer(), number()) :: iodata()
  def float(id, value), do: element(id, <<value::float-64>>)

  @doc "The beginning of an element that ends with the file."
  @spec open(pos_integer()) :: iodata()
  def open(id), do: [id(id), @unknown_size]

  @doc "An element without meaning that takes `length` bytes in all, 10 at least."
  @spec void(pos_integer()) :: iodata()
  def void(length) when length >= 10,
    do: [0xEC, size8(length - 9), <<0::size(length - 9)-unit(8)>>]

  @spec id(pos_integer()) :: binary()
  def id(id), do: :binary.encode_unsigned(id)

  @doc "A size in as few bytes as it takes (RFC 8794 section 4.4: all bits 1 is reserved)."
  @spec size(non_neg_integer()) :: binary()
  def size(size) when size < 0x7F, do: <<1::1, size::7>>
  def size(size) when size < 0x3FFF, do: <<1::2, size::14>>
  def size(size) when size < 0x1FFFFF, do: <<1::3, size::21>>
  def size(size) when size < 0x0FFFFFFF, do: <<1::4, size::28>>
  def size(size), do: size8(size)

  @doc "A size in eight bytes."
  @spec size8(non_neg_integer()) :: binary()
  def size8(size), do: <<1, size::56>>

  @doc "The id at the beginning of the data, at most four bytes with their marker bit."
  @spec take_id(binary()) :: {:ok, pos_integer(), rest :: binary()} | :error
  def take_id(<<first, _::binary>> = data) when first >= 0x10 do
    size = width(first)

    case data do
      <<id::size(size)-unit(8), rest::binary>> -> {:ok, id, rest}
      _cut_off -> :error
    end
  end

  def take_id(_data), do: :error

  @doc "The size at the beginning of the data, at most eight bytes."
  @spec take_size(binary()) :: {:ok, non_neg_integer() | :unknown, rest :: binary()} | :error
  def take_size(<<first, _::binary>> = data) when first > 0 do
    size = width(first)
    bits = 7 * size
    ones = Bitwise.bsl(1, bits) - 1

    case data do
      <<_marker::size(size), ^ones::size(bits), rest::binary>> -> {:ok, :unknown, rest}
      <<_marker::size(size), value::size(bits), rest::binary>> -> {:ok, value, rest}
      _cut_off -> :error
    end
  end

  def take_size(_data), do: :error

  @doc "A size with a sign, as lacing has them (RFC 9559 section 10.3.3): the middle of its range is 0."
  @spec take_difference(binary()) :: {:ok, integer(), rest :: binary()} | :error
  def take_difference(<<first, _::binary>> = data) when first > 0 do
    size = width(first)
    bits = 7 * size

    case data do
      <<_marker::size(size), value::size(bits), rest::binary>> ->
        {:ok, value - (Bitwise.bsl(1, bits - 1) - 1), rest}

      _cut_off ->
        :error
    end
  end

  def take_difference(_data), do: :error

  @doc "How many bytes an id or a size has, from the first of them."
  @spec width(1..255) :: 1..8
  def width(first), do: 8 - (first |> Integer.digits(2) |> length()) + 1

  @doc "The elements that this data is, as ids and data."
  @spec elements(binary()) :: {:ok, [{pos_integer(), binary()}]} | :error
  def elements(data), do: elements(data, [])

  defp elements("", elements), do: {:ok, Enum.reverse(elements)}

  defp elements(data, elements) do
    with {:ok, id, rest} <- take_id(data),
         {:ok, size, rest} when is_integer(size) <- take_size(rest),
         <<content::binary-size(size), rest::binary>> <- rest do
      elements(rest, [{id, content} | elements])
    else
      _cut_off -> :error
    end
  end

  # Numbers have at most eight bytes (RFC 8794 section 7).
  @doc "The value of a number, or this default for an element that is not there or is none."
  @spec number(%{pos_integer() => binary()}, pos_integer(), default) :: number() | default
        when default: term()
  def number(elements, id, default) do
    case elements do
      %{^id => data} when byte_size(data) in 1..8 -> :binary.decode_unsigned(data)
      _none -> default
    end
  end
end
