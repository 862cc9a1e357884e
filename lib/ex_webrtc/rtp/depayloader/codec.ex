defmodule ExWebRTC.RTP.Depayloader.Codec do
  @moduledoc false
  # What `ExWebRTC.RTP.Depayloader` asks of a payload format.

  @typedoc """
  What a payload is to the frame that it belongs to: `:first` begins one, `:next` continues one, and
  `:any` may do either, where the payload format does not tell.
  """
  @type part() :: {:first | :next | :any, data :: term()} | :invalid

  @doc "Reads a payload."
  @callback parse(payload :: binary()) :: part()

  @doc "The frame that these parts make, or `nil` if they make none."
  @callback join(parts :: [term(), ...]) :: binary() | nil

  @doc """
  What `ExWebRTC.RTP.Frame` tells of a frame, read from the payload of its first packet and the frame
  itself; `keyframe?` always.
  """
  @callback describe(payload :: binary(), frame :: binary()) :: keyword()
end
