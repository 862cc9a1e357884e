defmodule ExWebRTC.RTP.Packet.Extension.AudioLevel do
  @moduledoc """
  How loud the audio of a packet is (RFC 6464), `urn:ietf:params:rtp-hdrext:ssrc-audio-level`.
  """

  @behaviour ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.{Extension, Wire}

  @typedoc "Decibels below overload: 0 is the loudest, 127 is silence."
  @type level() :: 0..127

  @typedoc "`voice`: the encoder believes that the packet has speech in it."
  @type t() :: %__MODULE__{voice: boolean(), level: level()}

  @enforce_keys [:voice, :level]
  defstruct @enforce_keys

  @doc "Makes an extension; see `t:t/0`."
  @spec new(boolean(), level()) :: t()
  def new(voice, level) when is_boolean(voice) and level in 0..127,
    do: %__MODULE__{voice: voice, level: level}

  # In the two-byte form a byte of padding may follow (RFC 6464 section 3).
  @impl true
  def from_raw(%_raw{data: <<voice::1, level::7, _padding::binary>>}),
    do: {:ok, %__MODULE__{voice: voice == 1, level: level}}

  def from_raw(%_raw{data: _}), do: {:error, :invalid_extension}

  @impl true
  def to_raw(%__MODULE__{voice: voice, level: level}, id)
      when is_boolean(voice) and level in 0..127 do
    voice = if voice, do: 1, else: 0
    %Extension{id: id, data: <<voice::1, level::7>>}
  end

  def to_raw(%__MODULE__{} = extension, _id),
    do: Wire.raise_wrong_field!(extension, voice: :boolean, level: 0..127)
end
