defmodule ExWebRTC.RTP.H264.Payloader do
  @moduledoc false
  # RFC 6184 in packetization mode 1: NAL units that fit go alone, larger ones in FU-A fragments.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.{Chunks, H264}

  @fu_a 28
  @fu_headers_size 2

  @impl true
  def init, do: nil

  @impl true
  def payload(nil, frame, max_payload_size) do
    payloads = frame |> H264.annex_b_units() |> Enum.flat_map(&payloads(&1, max_payload_size))

    {payloads, nil}
  end

  defp payloads(unit, max_payload_size) when byte_size(unit) <= max_payload_size, do: [unit]

  defp payloads(<<f::1, nri::2, type::5, data::binary>>, max_payload_size) do
    pieces = Chunks.split(data, max_payload_size - @fu_headers_size)
    last = length(pieces) - 1

    Enum.with_index(pieces, fn piece, index ->
      first = if index == 0, do: 1, else: 0
      final = if index == last, do: 1, else: 0
      <<f::1, nri::2, @fu_a::5, first::1, final::1, 0::1, type::5, piece::binary>>
    end)
  end
end
