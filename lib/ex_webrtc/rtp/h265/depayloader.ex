defmodule ExWebRTC.RTP.H265.Depayloader do
  @moduledoc false
  # RFC 7798 without decoding order numbers: single NAL units, aggregation and fragmentation, also with
  # the extensions of PACI packets around them, to Annex B. As with H264 the payload does not say where a
  # frame begins.

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.RTP.{H265, NALPackets}

  @aggregation 48
  @fragmentation 49
  @paci 50

  @impl true
  def parse(<<_f::1, @paci::6, _::9, _rest::binary>> = payload) do
    case H265.unwrap(payload) do
      {:ok, payload} -> parse(payload)
      :error -> :invalid
    end
  end

  def parse(<<_f::1, type::6, _layer::6, _tid::3, rest::binary>> = unit)
      when type < @aggregation and rest != "",
      do: {:any, {:units, [unit]}}

  def parse(<<_f::1, @aggregation::6, _layer::6, _tid::3, units::binary>>) do
    case NALPackets.aggregated(units) do
      {:ok, units} -> {:any, {:units, units}}
      :error -> :invalid
    end
  end

  def parse(
        <<f::1, @fragmentation::6, layer::6, tid::3, first::1, final::1, type::6, data::binary>>
      ),
      do: NALPackets.fragment(first, final, <<f::1, type::6, layer::6, tid::3>>, data)

  def parse(_payload), do: :invalid

  @impl true
  defdelegate join(parts), to: NALPackets

  @impl true
  # The temporal id is sent plus one (ITU-T H.265 section 7.4.2.2); 0 is forbidden.
  def describe(<<_f::1, _type::6, layer::6, tid::3, _rest::binary>>, frame) do
    [
      keyframe?: ExWebRTC.Media.H265.keyframe?(frame),
      spatial_id: layer,
      temporal_id: max(tid - 1, 0)
    ]
  end
end
