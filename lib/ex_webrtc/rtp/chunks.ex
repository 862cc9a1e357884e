defmodule ExWebRTC.RTP.Chunks do
  @moduledoc false
  # Cuts a frame for payload formats that put a header before each piece.

  @doc "Pieces of at most `size` bytes; none for no data."
  @spec split(binary(), pos_integer()) :: [binary()]
  def split("", _size), do: []
  def split(data, size) when byte_size(data) <= size, do: [data]

  def split(data, size) do
    <<piece::binary-size(size), rest::binary>> = data
    [piece | split(rest, size)]
  end
end
