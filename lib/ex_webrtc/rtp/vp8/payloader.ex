defmodule ExWebRTC.RTP.VP8.Payloader do
  @moduledoc false
  # RFC 7741 with the shortest descriptor: no picture id, one partition as far as RTP knows.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.Chunks

  @descriptor_size 1

  @impl true
  def init, do: nil

  @impl true
  def payload(nil, frame, max_payload_size) do
    payloads =
      frame
      |> Chunks.split(max_payload_size - @descriptor_size)
      |> Enum.with_index(fn
        piece, 0 -> <<0x10, piece::binary>>
        piece, _index -> <<0x00, piece::binary>>
      end)

    {payloads, nil}
  end
end
