defmodule ExWebRTC.RTP.H264.Payloader do
  @moduledoc false
  # RFC 6184 in packetization mode 1: NAL units that fit one packet together go as STAP-A, those that
  # fit alone go alone, larger ones in FU-A fragments. Mode 0, also where no mode is given (section 8.1),
  # has single units only; there is no other way to send a large one, and receivers take FU-A in
  # practice, so only STAP-A is left out.

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.RTP.{Chunks, NALPackets}

  @stap_a 24
  @fu_a 28
  @stap_header_size 1
  @fu_headers_size 2

  @impl true
  def init(codec),
    do: %{
      aggregate?: to_string(codec.sdp_fmtp_line) =~ ~r/(^|[;\s])packetization-mode=1(;|\s|$)/i
    }

  @impl true
  def payload(%{aggregate?: true} = state, units, max_payload_size) do
    groups = NALPackets.group(units, @stap_header_size, max_payload_size)
    {Enum.flat_map(groups, &payloads(&1, max_payload_size)), state}
  end

  def payload(state, units, max_payload_size),
    do: {Enum.flat_map(units, &payloads([&1], max_payload_size)), state}

  defp payloads([unit], max_payload_size) when byte_size(unit) <= max_payload_size, do: [unit]

  defp payloads([<<f::1, nri::2, type::5, data::binary>>], max_payload_size) do
    Chunks.map(data, max_payload_size - @fu_headers_size, fn piece, first, final ->
      <<f::1, nri::2, @fu_a::5, first::1, final::1, 0::1, type::5, piece::binary>>
    end)
  end

  # F is set if one of the units has it; NRI is the highest (RFC 6184 section 5.7).
  defp payloads(units, _max_payload_size) do
    {f, nri} =
      Enum.reduce(units, {0, 0}, fn <<f::1, nri::2, _type::5, _::binary>>, {f_all, nri_all} ->
        {max(f, f_all), max(nri, nri_all)}
      end)

    [IO.iodata_to_binary([<<f::1, nri::2, @stap_a::5>> | NALPackets.aggregate(units)])]
  end
end
