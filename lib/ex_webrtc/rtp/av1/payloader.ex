defmodule ExWebRTC.RTP.AV1.Payloader do
  @moduledoc false
  # AOM RTP 1.0 section 4: OBUs lose their size field and fill packets, each behind its length; what
  # does not fit continues in the next packet. Temporal delimiters and tile lists are not sent
  # (section 5).

  @behaviour ExWebRTC.RTP.Payloader.Codec

  alias ExWebRTC.Media.LEB128

  @sequence_header 1
  @temporal_delimiter 2
  @tile_list 8

  @aggregation_header_size 1
  # Lengths below 16,384 take two bytes at most.
  @length_size 2
  # A fragment smaller than this is not worth its length.
  @min_fragment 4

  @impl true
  def init(_codec), do: nil

  @impl true
  def payload(nil, temporal_unit, max_payload_size) do
    obus = obus(temporal_unit)
    starts? = Enum.any?(obus, &(type(&1) == @sequence_header))
    room = max_payload_size - @aggregation_header_size

    payloads =
      obus
      |> fill(room, room, [], [])
      |> Enum.with_index(fn {continues?, continued?, elements}, index ->
        first_of_sequence = if starts? and index == 0, do: 1, else: 0
        elements = Enum.map(elements, &[LEB128.encode(byte_size(&1)), &1])

        # W = 0: every element has its length.
        header = <<bit(continues?)::1, bit(continued?)::1, 0::2, first_of_sequence::1, 0::3>>

        IO.iodata_to_binary([header | elements])
      end)

    {payloads, nil}
  end

  defp bit(true), do: 1
  defp bit(false), do: 0

  # Packets as {begins with a fragment, ends with a fragment, elements}.
  defp fill(obus, room, left, elements, packets, continues? \\ false)

  defp fill([], _room, _left, [], packets, _continues?), do: Enum.reverse(packets)

  defp fill([], _room, _left, elements, packets, continues?),
    do: Enum.reverse([{continues?, false, Enum.reverse(elements)} | packets])

  defp fill([obu | obus], room, left, elements, packets, continues?) do
    usable = min(left - @length_size, 16_383)

    cond do
      byte_size(obu) <= usable ->
        left = left - @length_size - byte_size(obu)
        fill(obus, room, left, [obu | elements], packets, continues?)

      elements != [] and usable < @min_fragment ->
        packet = {continues?, false, Enum.reverse(elements)}
        fill([obu | obus], room, room, [], [packet | packets], false)

      true ->
        <<fragment::binary-size(usable), rest::binary>> = obu
        packet = {continues?, true, Enum.reverse([fragment | elements])}
        fill([rest | obus], room, room, [], [packet | packets], true)
    end
  end

  # The OBUs to send, without their size fields (AV1 specification section 5.3).
  defp obus(<<f::1, type::4, extension::1, has_size::1, reserved::1, rest::binary>>) do
    with <<extension_header::binary-size(extension), rest::binary>> <- rest,
         {:ok, data, rest} <- sized(has_size, rest) do
      obu =
        <<f::1, type::4, extension::1, 0::1, reserved::1, extension_header::binary, data::binary>>

      if type in [@temporal_delimiter, @tile_list], do: obus(rest), else: [obu | obus(rest)]
    else
      # Cut off: nothing after this can be found.
      _incomplete -> []
    end
  end

  defp obus(_rest), do: []

  defp sized(1, data), do: LEB128.take_sized(data)
  # Only the last OBU can be without a size.
  defp sized(0, data), do: {:ok, data, ""}

  defp type(<<_f::1, type::4, _::bitstring>>), do: type
end
