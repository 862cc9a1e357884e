defmodule ExWebRTC.RTP.VP9.Payloader do
  @moduledoc false
  # RFC 9628, non-flexible mode, one layer: each packet has the picture id, which starts at random
  # and goes up by one.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.Chunks

  @descriptor_size 3

  @impl true
  def init, do: :rand.uniform(0x8000) - 1

  @impl true
  def payload(picture_id, frame, max_payload_size) do
    predicted = if keyframe?(frame), do: 0, else: 1
    pieces = Chunks.split(frame, max_payload_size - @descriptor_size)
    last = length(pieces) - 1

    payloads =
      Enum.with_index(pieces, fn piece, index ->
        first = if index == 0, do: 1, else: 0
        final = if index == last, do: 1, else: 0

        <<1::1, predicted::1, 0::2, first::1, final::1, 0::2, 1::1, picture_id::15,
          piece::binary>>
      end)

    {payloads, Bitwise.band(picture_id + 1, 0x7FFF)}
  end

  # The uncompressed header (VP9 bitstream specification, section 6.2): frame marker, profile with a
  # reserved bit in profile 3, show_existing_frame, frame_type.
  defp keyframe?(<<2::2, 1::1, 1::1, _reserved::1, 0::1, type::1, _::bitstring>>), do: type == 0
  defp keyframe?(<<2::2, low::1, high::1, _::bitstring>>) when low == 1 and high == 1, do: false
  defp keyframe?(<<2::2, _profile::2, 0::1, type::1, _::bitstring>>), do: type == 0
  defp keyframe?(_frame), do: false
end
