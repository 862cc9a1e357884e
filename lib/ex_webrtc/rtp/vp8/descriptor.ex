defmodule ExWebRTC.RTP.VP8.Descriptor do
  @moduledoc """
  The payload descriptor of VP8 (RFC 7741 section 4.2): what is before the data in each packet.

      iex> {:ok, descriptor} = ExWebRTC.RTP.VP8.Descriptor.parse(<<0x90, 0x80, 0x81, 0x02, "data">>)
      iex> {descriptor.start, descriptor.picture_id, descriptor.data}
      {true, 0x102, "data"}
  """

  @typedoc """
  - `start`: begins a partition
  - `picture_id`, `picture_id_bits`: 7 or 15 bits
  - `tl0_picture_index`: TL0PICIDX, counts the frames of the lowest temporal layer
  - `temporal_id`: the temporal layer; `nil` without
  - `data`: the bytes behind the descriptor
  """
  @type t() :: %__MODULE__{
          non_reference: boolean(),
          start: boolean(),
          partition: 0..7,
          picture_id: 0..0x7FFF | nil,
          picture_id_bits: 0 | 7 | 15,
          tl0_picture_index: 0..255 | nil,
          temporal_id: 0..3 | nil,
          data: binary()
        }

  @enforce_keys [:non_reference, :start, :partition, :data]
  defstruct @enforce_keys ++
              [:picture_id, :tl0_picture_index, :temporal_id, picture_id_bits: 0]

  @doc "Reads the descriptor of a payload. `:error` if it is cut off, or no data follows."
  @spec parse(binary()) :: {:ok, t()} | :error
  def parse(<<0::1, _r::1, n::1, s::1, _r2::1, partition::3, data::binary>>) when data != "",
    do: {:ok, new(n, s, partition, data)}

  def parse(
        <<1::1, _r::1, n::1, s::1, _r2::1, partition::3, flags::binary-size(1), rest::binary>>
      ) do
    <<i::1, l::1, t::1, k::1, _reserved::4>> = flags

    with {:ok, bits, picture_id, rest} <- picture_id(i, rest),
         {:ok, tl0_picture_index, rest} <- byte(l, rest),
         {:ok, layer, data} when data != "" <- byte(Bitwise.bor(t, k), rest) do
      {:ok,
       %{
         new(n, s, partition, data)
         | picture_id: picture_id,
           picture_id_bits: bits,
           tl0_picture_index: tl0_picture_index,
           temporal_id: if(t == 1, do: Bitwise.bsr(layer, 6))
       }}
    else
      _cut_off -> :error
    end
  end

  def parse(payload) when is_binary(payload), do: :error

  defp new(n, s, partition, data),
    do: %__MODULE__{non_reference: n == 1, start: s == 1, partition: partition, data: data}

  defp picture_id(0, rest), do: {:ok, 0, nil, rest}
  defp picture_id(1, <<1::1, id::15, rest::binary>>), do: {:ok, 15, id, rest}
  defp picture_id(1, <<0::1, id::7, rest::binary>>), do: {:ok, 7, id, rest}
  defp picture_id(1, _rest), do: :error

  defp byte(0, rest), do: {:ok, nil, rest}
  defp byte(1, <<byte, rest::binary>>), do: {:ok, byte, rest}
  defp byte(1, _rest), do: :error

  @doc """
  The payload with another picture id and TL0PICIDX in place of those that it has; what it does not
  have is not added. Numbers are cut to the bits that they have.
  """
  @spec replace(binary(), integer(), integer()) :: binary()
  # One clause for each form, as each then is one copy: X, I and L set, then M.
  def replace(<<1::1, a::7, 3::2, b::6, 1::1, _::15, _, rest::binary>>, id, tl0),
    do: <<1::1, a::7, 3::2, b::6, 1::1, id::15, tl0, rest::binary>>

  def replace(<<1::1, a::7, 3::2, b::6, 0::1, _::7, _, rest::binary>>, id, tl0),
    do: <<1::1, a::7, 3::2, b::6, 0::1, id::7, tl0, rest::binary>>

  def replace(<<1::1, a::7, 2::2, b::6, 1::1, _::15, rest::binary>>, id, _tl0),
    do: <<1::1, a::7, 2::2, b::6, 1::1, id::15, rest::binary>>

  def replace(<<1::1, a::7, 2::2, b::6, 0::1, _::7, rest::binary>>, id, _tl0),
    do: <<1::1, a::7, 2::2, b::6, 0::1, id::7, rest::binary>>

  def replace(<<1::1, a::7, 1::2, b::6, _, rest::binary>>, _id, tl0),
    do: <<1::1, a::7, 1::2, b::6, tl0, rest::binary>>

  def replace(payload, _id, _tl0), do: payload
end
