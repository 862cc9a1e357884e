defmodule ExWebRTC.RTCP.ReceptionReport do
  @moduledoc """
  How well one source is received, as sender and receiver reports tell it (RFC 3550 section 6.4.1).
  """

  import ExWebRTC.RTP.Packet.Wire

  @typedoc """
  - `ssrc`: the source it is about
  - `fraction_lost`: packets lost since the last report, in 1/256
  - `total_lost`: packets lost so far, 24 bits; may be negative when there were duplicates
  - `last_sequence_number`: the highest sequence number received, with its wraps in the upper 16 bits
  - `jitter`: variation of the arrival times, in ticks of the RTP clock
  - `last_sr`: the middle 32 bits of the NTP time of the last sender report, 0 without
  - `delay`: time since that sender report, in 1/65,536 seconds
  """
  @type t() :: %__MODULE__{
          ssrc: 0..0xFFFFFFFF,
          fraction_lost: 0..255,
          total_lost: -0x800000..0x7FFFFF,
          last_sequence_number: 0..0xFFFFFFFF,
          jitter: 0..0xFFFFFFFF,
          last_sr: 0..0xFFFFFFFF,
          delay: 0..0xFFFFFFFF
        }

  @enforce_keys [
    :ssrc,
    :fraction_lost,
    :total_lost,
    :last_sequence_number,
    :jitter,
    :last_sr,
    :delay
  ]
  defstruct @enforce_keys

  @doc false
  @spec encode_all([t()]) :: binary()
  def encode_all(reports), do: for(report <- reports, into: <<>>, do: encode(report))

  defp encode(%__MODULE__{
         ssrc: ssrc,
         fraction_lost: fraction_lost,
         total_lost: total_lost,
         last_sequence_number: last_sequence_number,
         jitter: jitter,
         last_sr: last_sr,
         delay: delay
       })
       when is_uint32(ssrc) and is_uint8(fraction_lost) and total_lost in -0x800000..0x7FFFFF and
              is_uint32(last_sequence_number) and is_uint32(jitter) and is_uint32(last_sr) and
              is_uint32(delay) do
    <<ssrc::32, fraction_lost, total_lost::24, last_sequence_number::32, jitter::32, last_sr::32,
      delay::32>>
  end

  defp encode(%__MODULE__{} = report) do
    raise_wrong_field!(report,
      ssrc: 0..0xFFFFFFFF,
      fraction_lost: 0..255,
      total_lost: -0x800000..0x7FFFFF,
      last_sequence_number: 0..0xFFFFFFFF,
      jitter: 0..0xFFFFFFFF,
      last_sr: 0..0xFFFFFFFF,
      delay: 0..0xFFFFFFFF
    )
  end

  defp encode(other), do: raise_wrong!(:reports, "reception reports", other)

  @doc false
  # `count` reports and what follows them.
  @spec decode_all(0..31, binary()) :: {:ok, [t()], binary()} | :error
  def decode_all(count, data) do
    case data do
      <<reports::binary-size(count)-unit(192), rest::binary>> ->
        {:ok, for(<<report::binary-size(24) <- reports>>, do: decode(report)), rest}

      _too_short ->
        :error
    end
  end

  defp decode(
         <<ssrc::32, fraction_lost, total_lost::signed-24, last_sequence_number::32, jitter::32,
           last_sr::32, delay::32>>
       ) do
    %__MODULE__{
      ssrc: ssrc,
      fraction_lost: fraction_lost,
      total_lost: total_lost,
      last_sequence_number: last_sequence_number,
      jitter: jitter,
      last_sr: last_sr,
      delay: delay
    }
  end
end
