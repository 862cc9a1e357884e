defmodule ExWebRTC.Forward do
  @moduledoc """
  What `ExWebRTC.PeerConnection.forward/5` returns: the name of a forward.

  It is the same wherever the forward is named, also on other nodes, and good as a key of a map.
  """

  alias ExWebRTC.Native

  @enforce_keys [:id, :source, :sink]
  defstruct @enforce_keys

  @typedoc """
  - `id`: tells the forwards of two connections apart
  - `source`: the connection that receives the track
  - `sink`: the connection whose sender sends it on
  """
  @type t() :: %__MODULE__{id: non_neg_integer(), source: pid(), sink: pid()}

  @doc false
  @spec new(pid(), pid()) :: t()
  def new(source, sink) do
    # 59 bits are a small integer on the BEAM.
    <<id::59, _rest::5>> = Native.random_bytes(8)
    %__MODULE__{id: id, source: source, sink: sink}
  end

  @doc false
  # What the native side gives back when it names the forward.
  @spec label(t()) :: binary()
  def label(%__MODULE__{} = forward), do: :erlang.term_to_binary(forward)
end
