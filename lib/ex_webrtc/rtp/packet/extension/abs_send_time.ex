defmodule ExWebRTC.RTP.Packet.Extension.AbsSendTime do
  @moduledoc """
  When a packet was sent, `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.

  The time is in units of 2⁻¹⁸ seconds (3.8 µs) and wraps every 64 seconds.
  """

  @behaviour ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.{Extension, Wire}

  @type t() :: %__MODULE__{timestamp: 0..0xFFFFFF}

  @enforce_keys [:timestamp]
  defstruct @enforce_keys

  @doc "Makes an extension; see `t:t/0`."
  @spec new(0..0xFFFFFF) :: t()
  def new(timestamp) when timestamp in 0..0xFFFFFF, do: %__MODULE__{timestamp: timestamp}

  @impl true
  def from_raw(%_raw{data: <<timestamp::24>>}), do: {:ok, %__MODULE__{timestamp: timestamp}}
  def from_raw(%_raw{data: _}), do: {:error, :invalid_extension}

  @impl true
  def to_raw(%__MODULE__{timestamp: timestamp}, id) when timestamp in 0..0xFFFFFF,
    do: %Extension{id: id, data: <<timestamp::24>>}

  def to_raw(%__MODULE__{} = extension, _id),
    do: Wire.raise_wrong_field!(extension, timestamp: 0..0xFFFFFF)
end
