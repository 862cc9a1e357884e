defmodule ExWebRTC.RTP.VP8 do
  @moduledoc """
  What can be read from RTP payloads of VP8 (RFC 7741) without decoding.
  """

  @doc """
  Whether the payload begins a keyframe.
  """
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(payload) when is_binary(payload) do
    case split(payload) do
      # The lowest bit of the frame header is 0 in keyframes (RFC 6386 section 9.1).
      {:first, <<_::7, 0::1, _rest::binary>>} -> true
      _other -> false
    end
  end

  @doc false
  # The payload without its descriptor (RFC 7741 section 4.2); `:first` begins a frame.
  @spec split(binary()) :: {:first | :next, binary()} | :invalid
  def split(<<extended::1, _r::1, _n::1, start::1, _r2::1, partition::3, rest::binary>>) do
    with {:ok, data} when data != "" <- skip_extension(extended, rest) do
      {if(start == 1 and partition == 0, do: :first, else: :next), data}
    else
      _too_short -> :invalid
    end
  end

  def split(_payload), do: :invalid

  defp skip_extension(0, data), do: {:ok, data}

  defp skip_extension(1, <<i::1, l::1, t::1, k::1, _reserved::4, rest::binary>>) do
    with {:ok, rest} <- skip_picture_id(i, rest),
         {:ok, rest} <- skip_bytes(l, rest),
         do: skip_bytes(Bitwise.bor(t, k), rest)
  end

  defp skip_extension(1, _rest), do: :error

  defp skip_picture_id(0, rest), do: {:ok, rest}
  defp skip_picture_id(1, <<1::1, _id::15, rest::binary>>), do: {:ok, rest}
  defp skip_picture_id(1, <<0::1, _id::7, rest::binary>>), do: {:ok, rest}
  defp skip_picture_id(1, _rest), do: :error

  defp skip_bytes(count, rest) do
    case rest do
      <<_skipped::binary-size(count), rest::binary>> -> {:ok, rest}
      _too_short -> :error
    end
  end
end
