defmodule ExWebRTC.RTP.VP9 do
  @moduledoc """
  What can be read from RTP payloads of VP9 (RFC 9628) without decoding.

  See `ExWebRTC.RTP.VP9.Descriptor` for picture ids and layers.
  """

  alias ExWebRTC.RTP.VP9.Descriptor

  @typedoc "A packet of ours or of `ex_rtp`."
  @type packet() :: %{:payload => binary(), optional(atom()) => term()}

  @doc """
  Whether a packet, or the payload of one, begins a keyframe.
  """
  @spec keyframe?(packet() | binary()) :: boolean()
  def keyframe?(%{payload: payload}), do: keyframe?(payload)

  def keyframe?(payload) when is_binary(payload) do
    # Not inter-picture predicted, and the beginning of the first spatial layer.
    match?(<<_i::1, 0::1, _rest::6, _::binary>>, payload) and
      match?({:first, _data}, split(payload))
  end

  @doc false
  # The payload without its descriptor; `:first` begins a picture.
  @spec split(binary()) :: {:first | :next, binary()} | :invalid
  def split(payload) do
    case Descriptor.parse(payload) do
      {:ok, %{start: true, spatial_id: id, data: data}} when id in [nil, 0] -> {:first, data}
      {:ok, %{data: data}} -> {:next, data}
      :error -> :invalid
    end
  end
end
