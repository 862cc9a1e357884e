defmodule ExWebRTC.RTP.VP8.Payloader do
  @moduledoc false
  # RFC 7741 with a picture id of 15 bits, which starts at random and goes up by one; one partition
  # as far as RTP knows.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.Chunks

  @descriptor_size 4

  @impl true
  def init(_codec), do: :rand.uniform(0x8000) - 1

  @impl true
  def payload(picture_id, frame, max_payload_size) do
    # X, then S in the first packet; I, then the id with its M bit.
    payloads =
      Chunks.map(frame, max_payload_size - @descriptor_size, fn piece, first, _final ->
        <<1::1, 0::2, first::1, 0::4, 0x80, 1::1, picture_id::15, piece::binary>>
      end)

    {payloads, Bitwise.band(picture_id + 1, 0x7FFF)}
  end
end
