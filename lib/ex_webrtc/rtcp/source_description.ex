defmodule ExWebRTC.RTCP.SourceDescription do
  @moduledoc """
  Source descriptions (RFC 3550 section 6.5): names of sources, such as the CNAME that ties audio
  and video of one sender together.
  """

  @behaviour ExWebRTC.RTCP.Body

  alias ExWebRTC.RTCP.SourceDescription.Chunk

  @typedoc "`chunks`: one for each source, 31 at most."
  @type t() :: %__MODULE__{chunks: [Chunk.t()]}

  @enforce_keys [:chunks]
  defstruct @enforce_keys

  @impl true
  def encode_body(%__MODULE__{chunks: chunks}),
    do: {{length(chunks), 202}, for(chunk <- chunks, into: <<>>, do: Chunk.encode(chunk))}

  @impl true
  def decode_body(count, body), do: decode_chunks(count, body, [])

  defp decode_chunks(0, _rest, chunks), do: {:ok, %__MODULE__{chunks: Enum.reverse(chunks)}}

  defp decode_chunks(count, data, chunks) do
    with {:ok, chunk, rest} <- Chunk.decode(data) do
      decode_chunks(count - 1, rest, [chunk | chunks])
    end
  end
end
