defmodule ExWebRTC.Media.WebM.Frame do
  @moduledoc """
  A frame of a WebM or Matroska file.
  """

  @typedoc """
  - `track`: the number of its track
  - `time`: milliseconds from the beginning of the file
  - `keyframe?`: whether a decoder can start here
  - `data`: in the form that `ExWebRTC.RTP.Payloader` takes
  """
  @type t() :: %__MODULE__{
          track: pos_integer(),
          time: float(),
          keyframe?: boolean(),
          data: binary()
        }

  @enforce_keys [:track, :time, :keyframe?, :data]
  defstruct @enforce_keys
end
