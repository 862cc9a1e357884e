defmodule ExWebRTC.RTCP.Goodbye do
  @moduledoc """
  Sources leave (RFC 3550 section 6.6).
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @typedoc "`sources`: SSRCs and CSRCs, 31 at most; `reason`: at most 255 bytes of text."
  @type t() :: %__MODULE__{sources: [0..0xFFFFFFFF], reason: String.t() | nil}

  @enforce_keys [:sources]
  defstruct @enforce_keys ++ [:reason]

  @impl true
  def encode_body(%__MODULE__{sources: sources, reason: reason}) do
    ssrcs = uint32s(sources, :sources)
    {{div(byte_size(ssrcs), 4), 203}, ssrcs <> encode_reason(reason)}
  end

  defp encode_reason(nil), do: <<>>

  defp encode_reason(reason) when byte_size(reason) <= 255 do
    text = <<byte_size(reason), reason::binary>>
    zeros = rem(4 - rem(byte_size(text), 4), 4)
    <<text::binary, 0::size(zeros)-unit(8)>>
  end

  defp encode_reason(reason),
    do: raise_wrong!(:reason, "nil or at most 255 bytes", reason, __MODULE__)

  @impl true
  def decode_body(count, body) do
    case body do
      <<ssrcs::binary-size(count)-unit(32)>> ->
        {:ok, goodbye(ssrcs, nil)}

      <<ssrcs::binary-size(count)-unit(32), length, reason::binary-size(length), _zeros::binary>> ->
        {:ok, goodbye(ssrcs, reason)}

      _other ->
        :error
    end
  end

  defp goodbye(ssrcs, reason),
    do: %__MODULE__{sources: for(<<ssrc::32 <- ssrcs>>, do: ssrc), reason: reason}
end
