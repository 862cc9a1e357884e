defmodule ExWebRTC.RTP.VP8 do
  @moduledoc """
  What can be read from RTP payloads of VP8 (RFC 7741) without decoding.

  See `ExWebRTC.RTP.VP8.Descriptor` for picture ids and layers.
  """

  alias ExWebRTC.RTP.VP8.Descriptor

  @typedoc "A packet of ours or of `ex_rtp`."
  @type packet() :: %{:payload => binary(), optional(atom()) => term()}

  @doc """
  Whether a packet, or the payload of one, begins a keyframe.
  """
  @spec keyframe?(packet() | binary()) :: boolean()
  def keyframe?(%{payload: payload}), do: keyframe?(payload)

  def keyframe?(payload) when is_binary(payload) do
    case split(payload) do
      # The lowest bit of the frame header is 0 in keyframes (RFC 6386 section 9.1).
      {:first, <<_::7, 0::1, _rest::binary>>} -> true
      _other -> false
    end
  end

  @doc false
  # The payload without its descriptor; `:first` begins a frame.
  @spec split(binary()) :: {:first | :next, binary()} | :invalid
  def split(payload) do
    case Descriptor.parse(payload) do
      {:ok, %{start: true, partition: 0, data: data}} -> {:first, data}
      {:ok, %{data: data}} -> {:next, data}
      :error -> :invalid
    end
  end
end
