defmodule ExWebRTC.RTP.H264.Depayloader do
  @moduledoc false
  # RFC 6184: single NAL units, STAP-A and FU-A, to Annex B. The payload does not say where a frame
  # begins, so the frame that follows a loss is taken to begin after the next marker.

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.RTP.H264

  @stap_a 24
  @fu_a 28
  @start_code <<0, 0, 0, 1>>

  @impl true
  def parse(<<_f::1, _nri::2, type::5, _rest::binary>> = unit) when type in 1..23,
    do: {:any, {:unit, unit}}

  def parse(<<_f::1, _nri::2, @stap_a::5, units::binary>>) do
    case H264.aggregated(units, []) do
      {:ok, units} -> {:any, {:units, units}}
      :error -> :invalid
    end
  end

  def parse(<<f::1, nri::2, @fu_a::5, first::1, final::1, _r::1, type::5, data::binary>>)
      when data != "" and not (first == 1 and final == 1) do
    case {first, final} do
      {1, 0} -> {:any, {:begin, <<f::1, nri::2, type::5, data::binary>>}}
      {0, 0} -> {:next, {:middle, data}}
      {0, 1} -> {:next, {:end, data}}
    end
  end

  def parse(_payload), do: :invalid

  @impl true
  def join(parts), do: join(parts, :outside, [])

  defp join([{:unit, unit} | parts], :outside, frame),
    do: join(parts, :outside, [frame, @start_code, unit])

  defp join([{:units, units} | parts], :outside, frame),
    do: join(parts, :outside, [frame | Enum.map(units, &[@start_code, &1])])

  defp join([{:begin, data} | parts], :outside, frame),
    do: join(parts, :inside, [frame, @start_code, data])

  defp join([{:middle, data} | parts], :inside, frame), do: join(parts, :inside, [frame, data])
  defp join([{:end, data} | parts], :inside, frame), do: join(parts, :outside, [frame, data])
  defp join([], :outside, frame), do: IO.iodata_to_binary(frame)
  # A fragment without its beginning or its end.
  defp join(_parts, _state, _frame), do: nil
end
