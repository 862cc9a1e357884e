defmodule ExWebRTC.RTP.H264 do
  @moduledoc """
  What can be read from RTP payloads of H264 (RFC 6184) without decoding.
  """

  alias ExWebRTC.RTP.NALPackets

  # NAL unit types (ITU-T H.264 table 7-1) and packet types (RFC 6184 table 1).
  @idr 5
  @sps 7
  @stap_a 24
  @fu_a 28

  @typedoc "A packet of ours or of `ex_rtp`."
  @type packet() :: %{:payload => binary(), optional(atom()) => term()}

  @doc """
  Whether a packet, or the payload of one, begins a keyframe: it has a sequence parameter set, or
  the beginning of an IDR slice.
  """
  @spec keyframe?(packet() | binary()) :: boolean()
  def keyframe?(%{payload: payload}), do: keyframe?(payload)

  def keyframe?(<<_f::1, _nri::2, type::5, _rest::binary>>) when type in [@idr, @sps], do: true

  def keyframe?(<<_f::1, _nri::2, @stap_a::5, units::binary>>) do
    case NALPackets.aggregated(units) do
      {:ok, units} -> Enum.any?(units, &keyframe_unit?/1)
      :error -> false
    end
  end

  def keyframe?(<<_f::1, _nri::2, @fu_a::5, 1::1, _e::1, _r::1, type::5, _rest::binary>>),
    do: type in [@idr, @sps]

  def keyframe?(payload) when is_binary(payload), do: false

  defp keyframe_unit?(<<_f::1, _nri::2, type::5, _rest::binary>>), do: type in [@idr, @sps]
end
