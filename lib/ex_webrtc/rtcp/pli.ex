defmodule ExWebRTC.RTCP.PLI do
  @moduledoc """
  Picture loss indication: a receiver needs a keyframe (RFC 4585 section 6.3.1).
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @type t() :: %__MODULE__{sender_ssrc: 0..0xFFFFFFFF, media_ssrc: 0..0xFFFFFFFF}

  @enforce_keys [:sender_ssrc, :media_ssrc]
  defstruct @enforce_keys

  @impl true
  def encode_body(%__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc})
      when is_uint32(sender_ssrc) and is_uint32(media_ssrc),
      do: {{1, 206}, <<sender_ssrc::32, media_ssrc::32>>}

  def encode_body(%__MODULE__{} = pli),
    do: raise_wrong_field!(pli, sender_ssrc: 0..0xFFFFFFFF, media_ssrc: 0..0xFFFFFFFF)

  @impl true
  def decode_body(_format, <<sender_ssrc::32, media_ssrc::32, _rest::binary>>),
    do: {:ok, %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc}}

  def decode_body(_format, _body), do: :error
end
