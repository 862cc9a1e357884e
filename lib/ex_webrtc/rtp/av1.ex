defmodule ExWebRTC.RTP.AV1 do
  @moduledoc """
  What can be read from RTP payloads of AV1 (AOM, RTP payload format for AV1, version 1.0) without
  decoding.
  """

  @typedoc "A packet of ours or of `ex_rtp`."
  @type packet() :: %{:payload => binary(), optional(atom()) => term()}

  @doc """
  Whether a packet, or the payload of one, begins a coded video sequence, which begins with a
  keyframe.
  """
  @spec keyframe?(packet() | binary()) :: boolean()
  def keyframe?(%{payload: payload}), do: keyframe?(payload)
  def keyframe?(<<0::1, _y::1, _w::2, 1::1, _reserved::3, _rest::binary>>), do: true
  def keyframe?(payload) when is_binary(payload), do: false
end
