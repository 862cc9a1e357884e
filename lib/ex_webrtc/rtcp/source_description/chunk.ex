defmodule ExWebRTC.RTCP.SourceDescription.Chunk do
  @moduledoc """
  What a source description says about one source.
  """

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.SourceDescription.Item

  @type t() :: %__MODULE__{ssrc: 0..0xFFFFFFFF, items: [Item.t()]}

  @enforce_keys [:ssrc, :items]
  defstruct @enforce_keys

  @doc false
  @spec encode(t()) :: binary()
  def encode(%__MODULE__{ssrc: ssrc, items: items}) when is_uint32(ssrc) do
    items = for item <- items, into: <<>>, do: Item.encode(item)
    # A zero byte ends the items, more of them fill the word.
    zeros = 4 - rem(byte_size(items), 4)
    <<ssrc::32, items::binary, 0::size(zeros)-unit(8)>>
  end

  def encode(%__MODULE__{} = chunk), do: raise_wrong_field!(chunk, ssrc: 0..0xFFFFFFFF)

  @doc false
  @spec decode(binary()) :: {:ok, t(), binary()} | :error
  def decode(<<ssrc::32, data::binary>>) do
    with {:ok, items, size} <- decode_items(data, [], 0),
         # The zero byte is one of 1 to 4.
         size = size + 4 - rem(size, 4),
         <<_items::binary-size(size), rest::binary>> <- data do
      {:ok, %__MODULE__{ssrc: ssrc, items: items}, rest}
    else
      _incomplete -> :error
    end
  end

  def decode(_data), do: :error

  defp decode_items(<<0, _rest::binary>>, items, size), do: {:ok, Enum.reverse(items), size}

  defp decode_items(<<type, length, text::binary-size(length), rest::binary>>, items, size),
    do: decode_items(rest, [Item.new(type, text) | items], size + 2 + length)

  defp decode_items(_data, _items, _size), do: :error
end
