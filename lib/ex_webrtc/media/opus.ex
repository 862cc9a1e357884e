defmodule ExWebRTC.Media.Opus do
  @moduledoc """
  What the first bytes of an Opus packet tell (RFC 6716 section 3), and Opus's header in files.
  """

  # Samples at 48 kHz of a frame, by the four configurations of SILK, two of hybrid and four of CELT
  # modes (RFC 6716 table 2).
  @silk {480, 960, 1920, 2880}
  @hybrid {480, 960}
  @celt {120, 240, 480, 960}

  # RFC 6716 section 3.4, rule R5: at most 120 ms.
  @max_samples 5760

  @doc """
  The duration of a packet in samples at 48 kHz.

      iex> ExWebRTC.Media.Opus.samples(<<0xF8, 1>>)
      {:ok, 960}
  """
  @spec samples(binary()) :: {:ok, pos_integer()} | :error
  def samples(<<config::5, _stereo::1, code::2, rest::binary>>) do
    with {:ok, frames} <- frames(code, rest),
         samples when samples in 1..@max_samples <- frames * frame_samples(config) do
      {:ok, samples}
    else
      _invalid -> :error
    end
  end

  def samples(""), do: :error

  @doc "The channels of a packet."
  @spec channels(binary()) :: 1 | 2
  def channels(<<_config::5, stereo::1, _code::2, _rest::binary>>), do: stereo + 1
  def channels(""), do: 1

  defp frames(0, _rest), do: {:ok, 1}
  defp frames(code, _rest) when code in 1..2, do: {:ok, 2}
  defp frames(3, <<_vbr::1, _padding::1, count::6, _rest::binary>>), do: {:ok, count}
  defp frames(3, ""), do: :error

  defp frame_samples(config) when config < 12, do: elem(@silk, rem(config, 4))
  defp frame_samples(config) when config < 16, do: elem(@hybrid, rem(config, 2))
  defp frame_samples(config), do: elem(@celt, rem(config, 4))

  @doc """
  The identification header of files (RFC 7845 section 5.1): `pre_skip` samples at 48 kHz are not to
  be played, `sample_rate` is that of the encoder's input.
  """
  @spec head(pos_integer(), non_neg_integer(), non_neg_integer()) :: binary()
  def head(channels, pre_skip \\ 0, sample_rate \\ 48_000) do
    <<"OpusHead", 1, channels, pre_skip::little-16, sample_rate::little-32, 0::16, 0>>
  end
end
