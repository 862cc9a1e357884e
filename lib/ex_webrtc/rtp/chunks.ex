defmodule ExWebRTC.RTP.Chunks do
  @moduledoc false
  # Cuts a frame for payload formats that put a header before each piece.

  @doc """
  Calls `fun` with each piece of at most `size` bytes, with 1 for the first and for the last one and
  0 otherwise; for no data not at all.
  """
  @spec map(binary(), pos_integer(), (binary(), 0..1, 0..1 -> piece)) :: [piece]
        when piece: term()
  def map("", _size, _fun), do: []
  def map(data, size, fun), do: map(data, size, 1, fun)

  defp map(data, size, first, fun) when byte_size(data) <= size, do: [fun.(data, first, 1)]

  defp map(data, size, first, fun) do
    <<piece::binary-size(size), rest::binary>> = data
    [fun.(piece, first, 0) | map(rest, size, 0, fun)]
  end
end
