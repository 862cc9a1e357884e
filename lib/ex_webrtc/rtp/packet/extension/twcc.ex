defmodule ExWebRTC.RTP.Packet.Extension.TWCC do
  @moduledoc """
  The sequence number of a packet among all packets of its transport, for congestion control
  (draft-holmer-rmcat-transport-wide-cc-extensions-01).
  """

  @behaviour ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.{Extension, Wire}

  @type t() :: %__MODULE__{sequence_number: 0..65_535}

  @enforce_keys [:sequence_number]
  defstruct @enforce_keys

  @doc "Makes an extension; see `t:t/0`."
  @spec new(0..65_535) :: t()
  def new(sequence_number) when sequence_number in 0..65_535,
    do: %__MODULE__{sequence_number: sequence_number}

  @impl true
  def from_raw(%_raw{data: <<sequence_number::16, _feedback_request::binary>>}),
    do: {:ok, %__MODULE__{sequence_number: sequence_number}}

  def from_raw(%_raw{data: _}), do: {:error, :invalid_extension}

  @impl true
  def to_raw(%__MODULE__{sequence_number: sequence_number}, id)
      when sequence_number in 0..0xFFFF,
      do: %Extension{id: id, data: <<sequence_number::16>>}

  def to_raw(%__MODULE__{} = extension, _id),
    do: Wire.raise_wrong_field!(extension, sequence_number: 0..0xFFFF)
end
