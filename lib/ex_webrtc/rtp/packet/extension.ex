defmodule ExWebRTC.RTP.Packet.Extension do
  @moduledoc """
  A header extension element of an RTP packet (RFC 8285): an id, which SDP maps to a URI, and data.

  The modules below this one give the data of well-known URIs a meaning. Each has `from_raw/1`,
  which reads an element, and `to_raw/2`, which makes one with the id that was negotiated.
  """

  @typedoc """
  - `id`: 1 to 14 in the one-byte form, 1 to 255 in the two-byte form; `nil` only outside a packet
  - `data`: 1 to 16 bytes in the one-byte form, up to 255 in the two-byte form
  """
  @type t() :: %__MODULE__{id: non_neg_integer() | nil, data: binary()}

  @enforce_keys [:id, :data]
  defstruct @enforce_keys

  @doc "Reads the data of an element, of ours or of `ex_rtp`."
  @callback from_raw(raw :: t() | struct()) :: {:ok, struct()} | {:error, :invalid_extension}

  @doc "Makes the element with this id, for `ExWebRTC.RTP.Packet.add_extension/2`."
  @callback to_raw(extension :: struct(), id :: non_neg_integer()) :: t()

  @doc "Makes an element."
  @spec new(non_neg_integer() | nil, binary()) :: t()
  def new(id, data) when is_binary(data), do: %__MODULE__{id: id, data: data}
end
