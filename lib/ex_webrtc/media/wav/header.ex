defmodule ExWebRTC.Media.WAV.Header do
  @moduledoc """
  The format of a WAV file: linear PCM, or G.711 as it is in RTP.
  """

  @typedoc """
  - `format`: `:pcm` (little-endian samples), `:pcma` or `:pcmu`
  - `bits`: of a sample; 8 for G.711
  """
  @type t() :: %__MODULE__{
          format: :pcm | :pcma | :pcmu,
          sample_rate: pos_integer(),
          channels: pos_integer(),
          bits: 8 | 16 | 24 | 32
        }

  @enforce_keys [:format, :sample_rate, :channels, :bits]
  defstruct @enforce_keys

  # WAVE_FORMAT_PCM, WAVE_FORMAT_ALAW, WAVE_FORMAT_MULAW (RFC 2361).
  @formats %{pcm: 1, pcma: 6, pcmu: 7}
  @by_tag Map.new(@formats, fn {format, tag} -> {tag, format} end)
  # WAVE_FORMAT_EXTENSIBLE, whose format is the first 16 bits of a GUID.
  @extensible 0xFFFE

  @doc "The bytes of a sample of all channels."
  @spec block_size(t()) :: pos_integer()
  def block_size(%__MODULE__{} = header), do: div(header.channels * header.bits, 8)

  @doc false
  @spec encode_format(t()) :: binary()
  def encode_format(%__MODULE__{} = header) do
    block = block_size(header)

    <<Map.fetch!(@formats, header.format)::little-16, header.channels::little-16,
      header.sample_rate::little-32, header.sample_rate * block::little-32, block::little-16,
      header.bits::little-16>>
  end

  @doc false
  @spec decode_format(binary()) :: {:ok, t()} | :error
  def decode_format(
        <<tag::little-16, channels::little-16, sample_rate::little-32, _bytes_per_second::32,
          _block::16, bits::little-16, rest::binary>>
      )
      when channels > 0 and sample_rate > 0 and bits in [8, 16, 24, 32] do
    case Map.fetch(@by_tag, tag(tag, rest)) do
      {:ok, format} ->
        {:ok,
         %__MODULE__{format: format, sample_rate: sample_rate, channels: channels, bits: bits}}

      :error ->
        :error
    end
  end

  def decode_format(_other), do: :error

  defp tag(@extensible, <<_size::16, _bits::16, _mask::32, tag::little-16, _guid::binary>>),
    do: tag

  defp tag(tag, _rest), do: tag
end
