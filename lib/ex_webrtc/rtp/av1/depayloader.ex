defmodule ExWebRTC.RTP.AV1.Depayloader do
  @moduledoc false
  # AOM RTP 1.0 section 4, to a temporal unit in the low overhead format: a temporal delimiter, then
  # OBUs with size fields.

  @behaviour ExWebRTC.RTP.Depayloader.Codec

  alias ExWebRTC.Media
  alias ExWebRTC.Media.LEB128

  @temporal_delimiter <<0x12, 0x00>>
  # OBU types that receivers must ignore (AOM RTP 1.0 section 5): temporal delimiters, tile lists.
  @ignored [2, 8]

  @impl true
  def parse(<<z::1, y::1, count::2, _n::1, _reserved::3, data::binary>>) when data != "" do
    case elements(count, data, []) do
      {:ok, elements} when z == 1 -> {:next, {true, y == 1, elements}}
      # A new frame need not begin a new coded video sequence.
      {:ok, elements} -> {:any, {false, y == 1, elements}}
      :error -> :invalid
    end
  end

  def parse(_payload), do: :invalid

  # W = 0: each element has its length. Otherwise the last of W elements has none.
  defp elements(0, "", [_ | _] = elements), do: {:ok, Enum.reverse(elements)}
  defp elements(1, data, elements) when data != "", do: {:ok, Enum.reverse([data | elements])}

  defp elements(count, data, elements) do
    with {:ok, element, rest} <- LEB128.take_sized(data),
         do: elements(max(count - 1, 0), rest, [element | elements])
  end

  @impl true
  def join(parts), do: join(parts, nil, [@temporal_delimiter])

  # `open` is the OBU whose end is still to come.
  defp join([], nil, [@temporal_delimiter]), do: nil
  defp join([], nil, unit), do: IO.iodata_to_binary(unit)

  defp join([{continues?, continued?, elements} | parts], open, unit)
       when continues? == (open != nil) do
    [first | rest] = elements
    elements = if continues?, do: [open <> first | rest], else: elements
    {whole, open} = if continued?, do: split_last(elements), else: {elements, nil}

    case sized_obus(whole, []) do
      {:ok, []} -> join(parts, open, unit)
      {:ok, obus} -> join(parts, open, [unit | obus])
      :error -> nil
    end
  end

  defp join(_parts, _open, _unit), do: nil

  @impl true
  def describe(_payload, frame) do
    {temporal_id, spatial_id} = Media.AV1.layer(frame)
    [keyframe?: Media.AV1.keyframe?(frame), spatial_id: spatial_id, temporal_id: temporal_id]
  end

  defp split_last(elements) do
    {whole, [open]} = Enum.split(elements, -1)
    {whole, open}
  end

  defp sized_obus([], obus), do: {:ok, Enum.reverse(obus)}

  defp sized_obus([<<_f::1, type::4, _rest::bitstring>> | elements], obus)
       when type in @ignored,
       do: sized_obus(elements, obus)

  defp sized_obus([element | elements], obus) do
    case sized_obu(element) do
      nil -> :error
      obu -> sized_obus(elements, [obu | obus])
    end
  end

  # With a size field, as it came or added.
  defp sized_obu(<<_f::1, _type::4, _x::1, 1::1, _r::1, _::binary>> = obu), do: obu

  defp sized_obu(<<f::1, type::4, extension::1, 0::1, reserved::1, rest::binary>>) do
    case rest do
      <<extension_header::binary-size(extension), data::binary>> ->
        header = <<f::1, type::4, extension::1, 1::1, reserved::1>>
        [header, extension_header, LEB128.encode(byte_size(data)), data]

      _too_short ->
        nil
    end
  end

  defp sized_obu(""), do: nil
end
