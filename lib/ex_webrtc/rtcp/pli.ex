defmodule ExWebRTC.RTCP.PLI do
  @moduledoc """
  Picture loss indication: a receiver needs a keyframe (RFC 4585 section 6.3.1).
  """

  @behaviour ExWebRTC.RTCP.Body

  @type t() :: %__MODULE__{sender_ssrc: 0..0xFFFFFFFF, media_ssrc: 0..0xFFFFFFFF}

  @enforce_keys [:sender_ssrc, :media_ssrc]
  defstruct @enforce_keys

  @impl true
  def encode_body(%__MODULE__{} = pli),
    do: {{1, 206}, <<pli.sender_ssrc::32, pli.media_ssrc::32>>}

  @impl true
  def decode_body(_format, <<sender_ssrc::32, media_ssrc::32, _rest::binary>>),
    do: {:ok, %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc}}

  def decode_body(_format, _body), do: :error
end
