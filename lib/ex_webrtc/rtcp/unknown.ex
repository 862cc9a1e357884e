defmodule ExWebRTC.RTCP.Unknown do
  @moduledoc """
  An RTCP packet of a type or format that has no struct here: its header and bytes.
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @typedoc "`count`: the five bits of the header that are a count or a format; `body`: whole words."
  @type t() :: %__MODULE__{type: 0..255, count: 0..31, body: binary()}

  @enforce_keys [:type, :body]
  defstruct @enforce_keys ++ [count: 0]

  @impl true
  def encode_body(%__MODULE__{type: type, count: count, body: body})
      when is_uint8(type) and count in 0..31 and is_binary(body),
      do: {{count, type}, body}

  def encode_body(%__MODULE__{} = packet),
    do: raise_wrong_field!(packet, type: 0..255, count: 0..31, body: :binary)

  # `ExWebRTC.RTCP.decode/1` fills in the type.
  @impl true
  def decode_body(count, body), do: {:ok, %__MODULE__{type: 0, count: count, body: body}}
end
