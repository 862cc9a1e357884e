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
end
