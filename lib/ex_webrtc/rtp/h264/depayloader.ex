defmodule ExWebRTC.RTP.H264.Depayloader do
  @moduledoc false
  # RFC 6184: single NAL units, STAP-A and FU-A, to Annex B. The payload does not say where a frame
  # begins, so the frame that follows a loss is taken to begin after the next marker. STAP-B, MTAP and
  # FU-B (section 5.4) are for the interleaved mode only, which is never negotiated: a frame with one of
  # them is dropped.

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.RTP.NALPackets

  @stap_a 24
  @fu_a 28

  @impl true
  def parse(<<_f::1, _nri::2, type::5, _rest::binary>> = unit) when type in 1..23,
    do: {:any, {:units, [unit]}}

  def parse(<<_f::1, _nri::2, @stap_a::5, units::binary>>) do
    case NALPackets.aggregated(units) do
      {:ok, units} -> {:any, {:units, units}}
      :error -> :invalid
    end
  end

  def parse(<<f::1, nri::2, @fu_a::5, first::1, final::1, _r::1, type::5, data::binary>>),
    do: NALPackets.fragment(first, final, <<f::1, nri::2, type::5>>, data)

  def parse(_payload), do: :invalid

  @impl true
  defdelegate join(parts), to: NALPackets

  @impl true
  def describe(_payload, frame), do: [keyframe?: ExWebRTC.Media.H264.keyframe?(frame)]
end
