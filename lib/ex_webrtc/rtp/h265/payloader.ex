defmodule ExWebRTC.RTP.H265.Payloader do
  @moduledoc false
  # RFC 7798 without decoding order numbers (sprop-max-don-diff is 0): NAL units that fit one packet
  # together go as aggregation packet, those that fit alone go alone, larger ones in fragments.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.{Chunks, NALPackets}

  @aggregation 48
  @fragmentation 49
  @header_size 2
  @fu_headers_size 3

  @impl true
  def init(_codec), do: nil

  @impl true
  def payload(nil, units, max_payload_size) do
    payloads =
      units
      # Shorter than a NAL unit header.
      |> Enum.filter(&(byte_size(&1) > @header_size))
      |> NALPackets.group(@header_size, max_payload_size)
      |> Enum.flat_map(&payloads(&1, max_payload_size))

    {payloads, nil}
  end

  defp payloads([unit], max_payload_size) when byte_size(unit) <= max_payload_size, do: [unit]

  defp payloads([<<f::1, type::6, layer::6, tid::3, data::binary>>], max_payload_size) do
    Chunks.map(data, max_payload_size - @fu_headers_size, fn piece, first, final ->
      <<f::1, @fragmentation::6, layer::6, tid::3, first::1, final::1, type::6, piece::binary>>
    end)
  end

  # F is set if one of the units has it; layer and temporal id are the lowest (RFC 7798 section
  # 4.4.2).
  defp payloads(units, _max_payload_size) do
    {f, layer, tid} =
      Enum.reduce(units, {0, 63, 7}, fn <<f::1, _type::6, layer::6, tid::3, _::binary>>, all ->
        {max(f, elem(all, 0)), min(layer, elem(all, 1)), min(tid, elem(all, 2))}
      end)

    header = <<f::1, @aggregation::6, layer::6, tid::3>>
    [IO.iodata_to_binary([header | NALPackets.aggregate(units)])]
  end
end
