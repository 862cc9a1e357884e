defmodule ExWebRTC.RTP.Packet.Extension.SourceDescription do
  @moduledoc """
  A source description item in the header (RFC 7941): the MID, the RID or the repaired RID.

  - `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143)
  - `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` and `:repaired-rtp-stream-id` (RFC 8852)
  """

  @behaviour ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.Extension

  @typedoc """
  `type` is for the reader, such as `:mid`, `:rtp_stream_id` or `:repaired_rtp_stream_id`: it is not encoded, and `nil`
  after `from_raw/1`, as only the negotiated id tells the items apart.
  """
  @type t() :: %__MODULE__{text: binary(), type: atom() | nil}

  @enforce_keys [:text]
  defstruct @enforce_keys ++ [:type]

  @doc "Makes an extension; see `t:t/0`."
  @spec new(binary(), atom() | nil) :: t()
  def new(text, type \\ nil) when is_binary(text), do: %__MODULE__{text: text, type: type}

  @impl true
  def from_raw(%_raw{data: text}), do: {:ok, %__MODULE__{text: text}}

  @impl true
  def to_raw(%__MODULE__{text: text}, id), do: %Extension{id: id, data: text}
end
