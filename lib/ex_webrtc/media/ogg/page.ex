defmodule ExWebRTC.Media.Ogg.Page do
  @moduledoc false
  # Pages of Ogg (RFC 3533 section 6).

  import Bitwise

  alias ExWebRTC.Media.FileBytes

  @typedoc """
  `packets` are those that end in this page, `rest` is the beginning of one that does not; with
  `continued?` the first continues the `rest` of the page before. `granule` is the position at the end of the last packet.
  """
  @type t() :: %__MODULE__{
          continued?: boolean(),
          first?: boolean(),
          last?: boolean(),
          granule: non_neg_integer(),
          serial: non_neg_integer(),
          number: non_neg_integer(),
          packets: [binary()],
          rest: binary()
        }

  @enforce_keys [:granule, :serial, :number, :packets]
  defstruct @enforce_keys ++ [continued?: false, first?: false, last?: false, rest: ""]

  @max_segments 255

  # The polynomial 0x04C11DB7, from the highest bit, without inversions (RFC 3533 section 6).
  @table 0..255
         |> Enum.map(fn byte ->
           Enum.reduce(1..8, byte <<< 24, fn _bit, crc ->
             shifted = crc <<< 1 &&& 0xFFFFFFFF
             if (crc &&& 0x80000000) != 0, do: bxor(shifted, 0x04C11DB7), else: shifted
           end)
         end)
         |> List.to_tuple()

  @doc "Segments that a packet takes; a page has at most 255."
  @spec segments(binary()) :: pos_integer()
  def segments(packet), do: div(byte_size(packet), 255) + 1

  @spec max_segments() :: pos_integer()
  def max_segments, do: @max_segments

  @doc "Encodes a page of whole packets."
  @spec encode(t()) :: binary()
  def encode(%__MODULE__{rest: ""} = page) do
    lacing = for packet <- page.packets, into: <<>>, do: lacing(byte_size(packet))
    flags = bit(page.last?) <<< 2 ||| bit(page.first?) <<< 1 ||| bit(page.continued?)

    before =
      <<"OggS", 0, flags, page.granule::little-64, page.serial::little-32,
        page.number::little-32>>

    behind = IO.iodata_to_binary([byte_size(lacing), lacing | page.packets])
    crc = crc(behind, crc(<<before::binary, 0::32>>, 0))
    <<before::binary, crc::little-32, behind::binary>>
  end

  defp lacing(size) when size >= 255, do: <<255, lacing(size - 255)::binary>>
  defp lacing(size), do: <<size>>

  defp bit(true), do: 1
  defp bit(false), do: 0

  @doc "Reads the next page of a file."
  @spec read(File.io_device()) :: {:ok, t()} | :eof | {:error, term()}
  def read(file) do
    with {:ok, <<"OggS", 0, _::binary-size(21), count>> = header} <- :file.read(file, 27),
         {:ok, lacing} <- FileBytes.take(file, count),
         size = Enum.sum(:binary.bin_to_list(lacing)),
         {:ok, data} <- FileBytes.take(file, size) do
      decode(header, lacing, data)
    else
      :eof -> :eof
      {:error, reason} -> {:error, reason}
      _invalid -> {:error, :invalid_file}
    end
  end

  defp decode(header, lacing, data) do
    <<before::binary-size(22), crc::little-32, count>> = header
    <<"OggS", 0, _::5, last::1, first::1, continued::1, rest::binary>> = before
    <<granule::little-64, serial::little-32, number::little-32>> = rest

    if crc(<<count, lacing::binary, data::binary>>, crc(<<before::binary, 0::32>>, 0)) == crc do
      {packets, rest} = split(lacing, data, 0, [])

      {:ok,
       %__MODULE__{
         continued?: continued == 1,
         first?: first == 1,
         last?: last == 1,
         granule: granule,
         serial: serial,
         number: number,
         packets: packets,
         rest: rest
       }}
    else
      {:error, :invalid_file}
    end
  end

  # A segment below 255 bytes ends a packet.
  defp split(<<255, lacing::binary>>, data, size, packets),
    do: split(lacing, data, size + 255, packets)

  defp split(<<last, lacing::binary>>, data, size, packets) do
    size = size + last
    <<packet::binary-size(size), data::binary>> = data
    split(lacing, data, 0, [packet | packets])
  end

  defp split("", rest, _size, packets), do: {Enum.reverse(packets), rest}

  defp crc(<<byte, rest::binary>>, crc) do
    crc(rest, bxor(crc <<< 8 &&& 0xFFFFFFFF, elem(@table, bxor(crc >>> 24, byte))))
  end

  defp crc("", crc), do: crc
end
