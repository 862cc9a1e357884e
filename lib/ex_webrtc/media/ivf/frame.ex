defmodule ExWebRTC.Media.IVF.Frame do
  @moduledoc """
  A frame of an IVF file. `timestamp` counts the time base of the file, see
  `ExWebRTC.Media.IVF.Header`.
  """

  @type t() :: %__MODULE__{timestamp: non_neg_integer(), data: binary()}

  @enforce_keys [:timestamp, :data]
  defstruct @enforce_keys
end
