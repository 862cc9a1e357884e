defmodule ExWebRTC.RTP.H264 do
  @moduledoc """
  What can be read from RTP payloads of H264 (RFC 6184) without decoding.
  """

  # NAL unit types (ITU-T H.264 table 7-1) and packet types (RFC 6184 table 1).
  @idr 5
  @sps 7
  @stap_a 24
  @fu_a 28

  @doc """
  Whether the payload begins a keyframe: it has a sequence parameter set, or the beginning of an IDR
  slice.
  """
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(<<_f::1, _nri::2, type::5, _rest::binary>>) when type in [@idr, @sps], do: true

  def keyframe?(<<_f::1, _nri::2, @stap_a::5, units::binary>>) do
    case aggregated(units, []) do
      {:ok, units} -> Enum.any?(units, &keyframe?/1)
      :error -> false
    end
  end

  def keyframe?(<<_f::1, _nri::2, @fu_a::5, 1::1, _e::1, _r::1, type::5, _rest::binary>>),
    do: type in [@idr, @sps]

  def keyframe?(payload) when is_binary(payload), do: false

  @doc false
  # The NAL units of an aggregation packet (RFC 6184 section 5.7.1).
  @spec aggregated(binary(), [binary()]) :: {:ok, [binary(), ...]} | :error
  def aggregated(<<size::16, unit::binary-size(size), rest::binary>>, units) when size > 0,
    do: aggregated(rest, [unit | units])

  def aggregated("", [_ | _] = units), do: {:ok, Enum.reverse(units)}
  def aggregated(_rest, _units), do: :error

  @doc false
  # The NAL units of a frame in Annex B format, whose start codes have three bytes or four.
  @spec annex_b_units(binary()) :: [binary()]
  def annex_b_units(frame) do
    case :binary.matches(frame, <<0, 0, 1>>) do
      [] -> []
      codes -> units(frame, codes)
    end
  end

  defp units(frame, [{start, 3} | codes]) do
    start = start + 3
    stop = if codes == [], do: byte_size(frame), else: codes |> hd() |> elem(0)
    unit = frame |> binary_part(start, stop - start) |> trim_zeros()
    rest = if codes == [], do: [], else: units(frame, codes)
    if unit == "", do: rest, else: [unit | rest]
  end

  # No NAL unit ends with a zero byte: these belong to the next start code, or fill.
  defp trim_zeros(""), do: ""

  defp trim_zeros(unit) do
    size = byte_size(unit) - 1

    case unit do
      <<shorter::binary-size(size), 0>> -> trim_zeros(shorter)
      _other -> unit
    end
  end
end
