defmodule ExWebRTC.MediaStreamTrack do
  @moduledoc """
  A track: one source of audio or video packets, sent or received.

  W3C: [MediaStreamTrack](https://www.w3.org/TR/mediacapture-streams/#mediastreamtrack).
  """

  @typedoc "Identifies the track on this node. Not the track id of SDP."
  @type id() :: integer()

  @typedoc "Identifies a `MediaStream`; travels in `a=msid` (RFC 8830)."
  @type stream_id() :: String.t()

  @typedoc "The RTP stream id of a simulcast layer (RFC 8851)."
  @type rid() :: String.t()

  @type kind() :: :audio | :video

  @typedoc """
  - `streams`: ids of the media streams it belongs to; tracks of one stream are played in sync
  - `rids`: the layers that a remote track arrives in, in the order of SDP; `nil` without simulcast
  """
  @type t() :: %__MODULE__{
          id: id(),
          kind: kind(),
          streams: [stream_id()],
          rids: [rid()] | nil
        }

  @enforce_keys [:id, :kind]
  defstruct @enforce_keys ++ [streams: [], rids: nil]

  # Ids cross the border as 64-bit integers.
  @id_bits 63
  @stream_id_bytes 20

  @doc """
  Makes a track of this kind that belongs to these streams.

  Give the ids of the same streams to all tracks that are to be played in sync;
  `generate_stream_id/0` makes one.
  """
  @spec new(kind(), [stream_id()]) :: t()
  def new(kind, streams \\ []) when kind in [:audio, :video] and is_list(streams) do
    %__MODULE__{id: random(@id_bits), kind: kind, streams: streams}
  end

  @doc """
  Makes a stream id: 20 random bytes in URL-safe Base64, all of which `a=msid` may carry.
  """
  @spec generate_stream_id() :: stream_id()
  def generate_stream_id do
    Base.url_encode64(:rand.bytes(@stream_id_bytes), padding: false)
  end

  defp random(bits), do: :rand.uniform(Bitwise.bsl(1, bits)) - 1
end
