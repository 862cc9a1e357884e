defmodule ExWebRTC.RTCP.REMB do
  @moduledoc """
  Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
  """

  @behaviour ExWebRTC.RTCP.Body

  import Bitwise
  import ExWebRTC.RTP.Packet.Wire

  @typedoc """
  - `bitrate`: bits per second for all of `ssrcs` together. 18 bits and an exponent are sent, so
    large values are rounded down.
  - `ssrcs`: 255 at most
  """
  @type t() :: %__MODULE__{
          sender_ssrc: 0..0xFFFFFFFF,
          media_ssrc: 0..0xFFFFFFFF,
          bitrate: non_neg_integer(),
          ssrcs: [0..0xFFFFFFFF]
        }

  @enforce_keys [:sender_ssrc, :bitrate, :ssrcs]
  defstruct @enforce_keys ++ [media_ssrc: 0]

  # The exponent has six bits.
  @max_bitrate (1 <<< (18 + 63)) - 1

  @impl true
  def encode_body(
        %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc, bitrate: bitrate} = remb
      )
      when is_uint32(sender_ssrc) and is_uint32(media_ssrc) and
             bitrate in 0..@max_bitrate do
    {exponent, mantissa} = split(bitrate, 0)
    ssrcs = uint32s(remb.ssrcs, :ssrcs)
    count = div(byte_size(ssrcs), 4)

    if count > 255, do: raise(ArgumentError, "a REMB has at most 255 :ssrcs, got: #{count}")

    body =
      <<sender_ssrc::32, media_ssrc::32, "REMB", count, exponent::6, mantissa::18, ssrcs::binary>>

    {{15, 206}, body}
  end

  def encode_body(%__MODULE__{} = remb) do
    raise_wrong_field!(remb,
      sender_ssrc: 0..0xFFFFFFFF,
      media_ssrc: 0..0xFFFFFFFF,
      bitrate: 0..@max_bitrate
    )
  end

  defp split(mantissa, exponent) when mantissa <= 0x3FFFF, do: {exponent, mantissa}
  defp split(mantissa, exponent), do: split(mantissa >>> 1, exponent + 1)

  @impl true
  def decode_body(
        _format,
        <<sender_ssrc::32, media_ssrc::32, "REMB", count, exponent::6, mantissa::18,
          ssrcs::binary-size(count)-unit(32), _rest::binary>>
      ) do
    {:ok,
     %__MODULE__{
       sender_ssrc: sender_ssrc,
       media_ssrc: media_ssrc,
       bitrate: mantissa <<< exponent,
       ssrcs: for(<<ssrc::32 <- ssrcs>>, do: ssrc)
     }}
  end

  def decode_body(_format, _body), do: :error
end
