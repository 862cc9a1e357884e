defmodule ExWebRTC.RTP.NALPackets do
  @moduledoc false
  # How H264 and H265 put NAL units into packets alike: small neighbours together, large ones in
  # pieces. What the headers look like is the codec's.

  # A unit in an aggregation packet is behind 16 bits of length (RFC 6184 section 5.7.1, RFC 7798
  # section 4.4.2).
  @length_size 2

  @doc """
  Whether these parameters stand for units that are not sent in their decoding order: the interleaved
  mode of H264 (RFC 6184 section 5.4), or decoding order numbers of H265 (RFC 7798 section 7.1). Both
  need buffers for reordering, which cost delay; no browser offers them, and neither do we.
  """
  @spec reordered?(ExWebRTC.RTPCodecParameters.t()) :: boolean()
  def reordered?(codec) do
    Regex.match?(
      ~r/(^|[;\s])(packetization-mode=2|sprop-max-don-diff=0*[1-9])/i,
      to_string(codec.sdp_fmtp_line)
    )
  end

  @doc """
  Groups of units in their order: units of one group fit `max_size` together with `header_size` and
  their lengths, which have 16 bits like `max_size`; a unit that does not fit is alone.
  """
  @spec group([binary()], non_neg_integer(), pos_integer()) :: [[binary(), ...]]
  def group(units, header_size, max_size),
    do: group(units, header_size, max_size, [], header_size)

  defp group([], _header_size, _max_size, [], _used), do: []
  defp group([], _header_size, _max_size, open, _used), do: [Enum.reverse(open)]

  defp group([unit | units], header_size, max_size, open, used) do
    size = @length_size + byte_size(unit)

    if open == [] or used + size <= max_size do
      group(units, header_size, max_size, [unit | open], used + size)
    else
      [Enum.reverse(open) | group([unit | units], header_size, max_size, [], header_size)]
    end
  end

  @doc "Units behind their lengths."
  @spec aggregate([binary()]) :: iodata()
  def aggregate(units), do: for(unit <- units, do: [<<byte_size(unit)::16>>, unit])

  @doc "The units of an aggregation packet, without its header."
  @spec aggregated(binary()) :: {:ok, [binary(), ...]} | :error
  def aggregated(data), do: aggregated(data, [])

  defp aggregated(<<size::16, unit::binary-size(size), rest::binary>>, units) when size > 0,
    do: aggregated(rest, [unit | units])

  defp aggregated("", [_ | _] = units), do: {:ok, Enum.reverse(units)}
  defp aggregated(_rest, _units), do: :error

  @doc """
  A fragment, with the two bits that say whether it is the first or the final one of its unit, for
  `join/1`. `unit_header` is the header that the unit has without fragments.
  """
  @spec fragment(0..1, 0..1, binary(), binary()) :: ExWebRTC.RTP.Depayloader.Codec.part()
  def fragment(_first, _final, _unit_header, ""), do: :invalid
  def fragment(1, 1, _unit_header, _data), do: :invalid
  def fragment(1, 0, unit_header, data), do: {:any, {:begin, unit_header <> data}}
  def fragment(0, 0, _unit_header, data), do: {:next, {:middle, data}}
  def fragment(0, 1, _unit_header, data), do: {:next, {:end, data}}

  @doc """
  Joins the parts of a frame to the byte stream format: `{:units, units}`, or a fragmented unit as
  `{:begin, data}`, `{:middle, data}` and `{:end, data}`. `nil` if a fragment lacks another.
  """
  @spec join([term(), ...]) :: binary() | nil
  def join(parts), do: join(parts, :outside, [])

  @start_code <<0, 0, 0, 1>>

  defp join([{:units, units} | parts], :outside, frame),
    do: join(parts, :outside, [frame | Enum.map(units, &[@start_code, &1])])

  defp join([{:begin, data} | parts], :outside, frame),
    do: join(parts, :inside, [frame, @start_code, data])

  defp join([{:middle, data} | parts], :inside, frame), do: join(parts, :inside, [frame, data])
  defp join([{:end, data} | parts], :inside, frame), do: join(parts, :outside, [frame, data])
  defp join([], :outside, frame), do: IO.iodata_to_binary(frame)
  defp join(_parts, _state, _frame), do: nil
end
