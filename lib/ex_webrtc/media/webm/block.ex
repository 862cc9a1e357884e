defmodule ExWebRTC.Media.WebM.Block do
  @moduledoc false
  # A block (RFC 9559 section 10): a frame, or with lacing several, of a track.

  alias ExWebRTC.Media.WebM.EBML

  @type t() :: %{
          track: non_neg_integer(),
          offset: -0x8000..0x7FFF,
          keyframe?: boolean(),
          frames: [binary()]
        }

  @doc "Reads a block. The keyframe flag means something in simple blocks only."
  @spec decode(binary()) :: {:ok, t()} | :error
  def decode(data) do
    with {:ok, track, <<offset::signed-16, key::1, _::4, lacing::2, _::1, rest::binary>>}
         when is_integer(track) <- EBML.take_size(data),
         {:ok, frames} <- frames(lacing, rest) do
      {:ok, %{track: track, offset: offset, keyframe?: key == 1, frames: frames}}
    else
      _invalid -> :error
    end
  end

  # No lacing, Xiph, fixed size, EBML (section 10.3).
  defp frames(0, data), do: {:ok, [data]}

  defp frames(1, <<more, rest::binary>>) do
    with {:ok, sizes, rest} <- xiph_sizes(more, rest, []), do: cut(sizes, rest, [])
  end

  defp frames(2, <<more, rest::binary>>) when rem(byte_size(rest), more + 1) == 0,
    do: cut(List.duplicate(div(byte_size(rest), more + 1), more), rest, [])

  defp frames(3, <<0, rest::binary>>), do: {:ok, [rest]}

  defp frames(3, <<more, rest::binary>>) do
    with {:ok, first, rest} when is_integer(first) <- EBML.take_size(rest),
         {:ok, sizes, rest} <- ebml_sizes(more - 1, rest, [first]),
         do: cut(sizes, rest, [])
  end

  defp frames(_lacing, _cut_off), do: :error

  defp xiph_sizes(0, rest, sizes), do: {:ok, Enum.reverse(sizes), rest}

  defp xiph_sizes(more, rest, sizes) do
    with {:ok, size, rest} <- xiph_size(rest, 0), do: xiph_sizes(more - 1, rest, [size | sizes])
  end

  defp xiph_size(<<255, rest::binary>>, size), do: xiph_size(rest, size + 255)
  defp xiph_size(<<byte, rest::binary>>, size), do: {:ok, size + byte, rest}
  defp xiph_size("", _size), do: :error

  # Each size by its difference to the one before.
  defp ebml_sizes(0, rest, sizes), do: {:ok, Enum.reverse(sizes), rest}

  defp ebml_sizes(more, rest, [last | _] = sizes) do
    case EBML.take_difference(rest) do
      {:ok, difference, rest} when last + difference >= 0 ->
        ebml_sizes(more - 1, rest, [last + difference | sizes])

      _invalid ->
        :error
    end
  end

  # The last frame is what is left.
  defp cut([], data, frames), do: {:ok, Enum.reverse([data | frames])}

  defp cut([size | sizes], data, frames) do
    case data do
      <<frame::binary-size(size), rest::binary>> -> cut(sizes, rest, [frame | frames])
      _cut_off -> :error
    end
  end
end
