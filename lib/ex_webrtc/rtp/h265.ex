defmodule ExWebRTC.RTP.H265 do
  @moduledoc """
  What can be read from RTP payloads of H265 (RFC 7798) without decoding.
  """

  alias ExWebRTC.RTP.NALPackets

  # NAL unit types (ITU-T H.265 table 7-1): the random access pictures, and the parameter sets that
  # come before one.
  @irap 16..21
  @vps 32
  @sps 33
  # Packet types (RFC 7798 section 4.4).
  @aggregation 48
  @fragmentation 49
  @paci 50

  @typedoc "A packet of ours or of `ex_rtp`."
  @type packet() :: %{:payload => binary(), optional(atom()) => term()}

  @doc """
  Whether a packet, or the payload of one, begins a keyframe: it has a video or sequence parameter
  set, or the beginning of a slice of a random access picture.
  """
  @spec keyframe?(packet() | binary()) :: boolean()
  def keyframe?(%{payload: payload}), do: keyframe?(payload)

  def keyframe?(<<_f::1, @aggregation::6, _layer::6, _tid::3, units::binary>>) do
    case NALPackets.aggregated(units) do
      {:ok, units} -> Enum.any?(units, &keyframe_unit?/1)
      :error -> false
    end
  end

  def keyframe?(
        <<_f::1, @fragmentation::6, _layer::6, _tid::3, 1::1, _e::1, type::6, _rest::binary>>
      ),
      do: keyframe_type?(type)

  def keyframe?(<<_f::1, @paci::6, _::9, _rest::binary>> = payload) do
    case unwrap(payload) do
      {:ok, payload} -> keyframe?(payload)
      :error -> false
    end
  end

  def keyframe?(payload) when is_binary(payload), do: keyframe_unit?(payload)

  @doc false
  # What is in a PACI packet (RFC 7798 section 4.4.4), with its header back; the extension is skipped.
  # One cannot be in another.
  @spec unwrap(binary()) :: {:ok, binary()} | :error
  def unwrap(
        <<_f::1, @paci::6, layer::6, tid::3, a::1, type::6, size::5, _flags::4,
          _extension::binary-size(size), rest::binary>>
      )
      when type != @paci,
      do: {:ok, <<a::1, type::6, layer::6, tid::3, rest::binary>>}

  def unwrap(payload) when is_binary(payload), do: :error

  defp keyframe_unit?(<<_f::1, type::6, _layer::6, _tid::3, _rest::binary>>),
    do: keyframe_type?(type)

  defp keyframe_unit?(_unit), do: false

  defp keyframe_type?(type), do: type in @irap or type in [@vps, @sps]
end
