defmodule ExWebRTC.RTP.VP9 do
  @moduledoc """
  What can be read from RTP payloads of VP9 (RFC 9628) without decoding.
  """

  @doc """
  Whether the payload begins a keyframe.
  """
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(payload) when is_binary(payload) do
    # Not inter-picture predicted, and the beginning of the first spatial layer.
    match?(<<_i::1, 0::1, _rest::6, _::binary>>, payload) and
      match?({:first, _data}, split(payload))
  end

  @doc false
  # The payload without its descriptor (RFC 9628 section 4.2); `:first` begins a picture.
  @spec split(binary()) :: {:first | :next, binary()} | :invalid
  def split(<<i::1, p::1, l::1, f::1, b::1, _e::1, v::1, _z::1, rest::binary>>) do
    with {:ok, rest} <- skip_picture_id(i, rest),
         {:ok, spatial_layer, rest} <- layer(l, f, rest),
         {:ok, rest} <- skip_references(Bitwise.band(f, p), rest, 3),
         {:ok, data} when data != "" <- skip_structure(v, rest) do
      {if(b == 1 and spatial_layer == 0, do: :first, else: :next), data}
    else
      _too_short -> :invalid
    end
  end

  def split(_payload), do: :invalid

  defp skip_picture_id(0, rest), do: {:ok, rest}
  defp skip_picture_id(1, <<1::1, _id::15, rest::binary>>), do: {:ok, rest}
  defp skip_picture_id(1, <<0::1, _id::7, rest::binary>>), do: {:ok, rest}
  defp skip_picture_id(1, _rest), do: :error

  defp layer(0, _flexible, rest), do: {:ok, 0, rest}
  defp layer(1, 1, <<_tid::3, _u::1, sid::3, _d::1, rest::binary>>), do: {:ok, sid, rest}

  # Outside of flexible mode TL0PICIDX follows.
  defp layer(1, 0, <<_tid::3, _u::1, sid::3, _d::1, _tl0picidx, rest::binary>>),
    do: {:ok, sid, rest}

  defp layer(1, _flexible, _rest), do: :error

  # Up to three references; the last bit of each says whether another follows.
  defp skip_references(0, rest, _left), do: {:ok, rest}

  defp skip_references(1, <<_diff::7, more::1, rest::binary>>, left) when left > 0,
    do: skip_references(more, rest, left - 1)

  defp skip_references(1, _rest, _left), do: :error

  defp skip_structure(0, rest), do: {:ok, rest}

  defp skip_structure(1, <<layers::3, y::1, g::1, _reserved::3, rest::binary>>) do
    with {:ok, rest} <- skip_bytes(y * 4 * (layers + 1), rest), do: skip_pictures(g, rest)
  end

  defp skip_structure(1, _rest), do: :error

  defp skip_pictures(0, rest), do: {:ok, rest}
  defp skip_pictures(1, <<count, rest::binary>>), do: skip_picture(count, rest)
  defp skip_pictures(1, _rest), do: :error

  defp skip_picture(0, rest), do: {:ok, rest}

  defp skip_picture(count, <<_tid::3, _u::1, references::2, _reserved::2, rest::binary>>) do
    with {:ok, rest} <- skip_bytes(references, rest), do: skip_picture(count - 1, rest)
  end

  defp skip_picture(_count, _rest), do: :error

  defp skip_bytes(count, rest) do
    case rest do
      <<_skipped::binary-size(count), rest::binary>> -> {:ok, rest}
      _too_short -> :error
    end
  end
end
