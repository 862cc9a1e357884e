defmodule ExWebRTC.RTP.VP9.Payloader do
  @moduledoc false
  # RFC 9628, non-flexible mode, one layer: each packet has the picture id, which starts at random
  # and goes up by one.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.Media.VP9
  alias ExWebRTC.RTP.Chunks

  @descriptor_size 3

  @impl true
  def init(_codec), do: :rand.uniform(0x8000) - 1

  @impl true
  def payload(picture_id, frame, max_payload_size) do
    predicted = if VP9.keyframe?(frame), do: 0, else: 1

    payloads =
      Chunks.map(frame, max_payload_size - @descriptor_size, fn piece, first, final ->
        <<1::1, predicted::1, 0::2, first::1, final::1, 0::2, 1::1, picture_id::15,
          piece::binary>>
      end)

    {payloads, Bitwise.band(picture_id + 1, 0x7FFF)}
  end
end
