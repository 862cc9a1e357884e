defmodule ExWebRTC.RTP.MungerTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.RTP.{Munger, Packet, VP8, VP9}
  alias ExWebRTC.RTP.Packet.Extension
  alias ExWebRTC.RTPCodecParameters

  doctest Munger

  defp packet(number, timestamp, payload \\ "x"),
    do: Packet.new(payload, sequence_number: number, timestamp: timestamp)

  defp munge(munger, packet, now) do
    {packet, munger} = Munger.munge(munger, packet, now)
    {{packet.sequence_number, packet.timestamp}, munger}
  end

  test "the first encoding keeps its numbers, losses stay losses" do
    munger = Munger.new(:opus, 48_000)
    assert {{65_535, 10}, munger} = munge(munger, packet(65_535, 10), 0)
    assert {{2, 20}, munger} = munge(munger, packet(2, 20), 1)
    assert {{1, 15}, munger} = munge(munger, packet(1, 15), 2)
    # After the highest, not after the last that came.
    assert {{3, _timestamp}, _munger} = munge(Munger.update(munger), packet(77, 0), 3)
  end

  test "timestamps go on by the time that has passed, over the wrap" do
    {_first, munger} = munge(Munger.new(:h264, 90_000), packet(1, 0xFFFFFFFF), 0)
    assert {{2, 1799}, munger} = munge(Munger.update(munger), packet(9, 5), 20)
    # At the same time: one tick, so that frames stay apart.
    assert {{3, 1800}, _munger} = munge(Munger.update(munger), packet(70, 5), 20)
  end

  test "codecs are known by name, atom and parameters" do
    for mime_type <- ~w(video/VP8 video/VP9 video/H264 video/H265 video/AV1 audio/opus audio/PCMU) do
      codec = %RTPCodecParameters{payload_type: 96, mime_type: mime_type, clock_rate: 90_000}
      assert %Munger{} = Munger.new(codec)
    end

    assert_raise ArgumentError, fn -> Munger.new(:theora, 90_000) end

    assert_raise ArgumentError, fn ->
      Munger.new(%RTPCodecParameters{payload_type: 1, mime_type: "video/rtx", clock_rate: 1})
    end
  end

  defp vp8(id, tl0), do: <<0x90, 0xE0, 1::1, id::15, tl0, 0x40, 0>>
  defp vp8_short(id, tl0), do: <<0x90, 0xE0, 0::1, id::7, tl0, 0x40, 0>>
  defp vp9(id, tl0), do: <<0xAC, 1::1, id::15, 0, tl0, 0x86>>

  test "picture ids and TL0PICIDX of VP8 and VP9 go on, over their wrap" do
    for {codec, build, module} <- [{:vp8, &vp8/2, VP8}, {:vp9, &vp9/2, VP9}] do
      {_packet, munger} =
        Munger.munge(Munger.new(codec, 90_000), packet(1, 0, build.(0x7FFF, 255)), 0)

      {switched, munger} = Munger.munge(Munger.update(munger), packet(9, 0, build.(700, 9)), 30)
      {next, munger} = Munger.munge(munger, packet(10, 3000, build.(701, 9)), 60)
      {back, _munger} = Munger.munge(Munger.update(munger), packet(5, 0, build.(0, 0)), 90)

      ids =
        for packet <- [switched, next, back] do
          {:ok, descriptor} = Module.concat(module, Descriptor).parse(packet.payload)
          {descriptor.picture_id, descriptor.tl0_picture_index}
        end

      assert ids == [{0, 0}, {1, 0}, {2, 1}]
    end
  end

  test "an encoding that counts in seven bits goes on in seven bits" do
    {_packet, munger} = Munger.munge(Munger.new(:vp8, 90_000), packet(1, 0, vp8(300, 1)), 0)
    {packet, _munger} = Munger.munge(Munger.update(munger), packet(9, 0, vp8_short(5, 1)), 30)
    assert {:ok, %{picture_id: id, picture_id_bits: 7}} = VP8.Descriptor.parse(packet.payload)
    assert id == rem(301, 128)
  end

  test "frame numbers of AV1's dependency descriptor go on" do
    av1 = fn number, frame ->
      Packet.add_extension(packet(number, 0), Extension.new(12, <<0xC0, frame::16, 7>>))
    end

    munger = Munger.new(:av1, 90_000, dependency_descriptor_id: 12)
    {_packet, munger} = Munger.munge(munger, av1.(1, 65_535), 0)
    {packet, _munger} = Munger.munge(Munger.update(munger), av1.(1, 40), 0)
    assert [%Extension{id: 12, data: <<0xC0, 0::16, 7>>}] = packet.extensions
  end

  property "any switches: sequence numbers have no gap, picture ids no jump", [
    starts <-
      :proper_types.non_empty(
        :proper_types.list(
          {:proper_types.integer(0, 65_535), :proper_types.integer(0, 0xFFFFFFFF),
           :proper_types.integer(0, 0x7FFF), :proper_types.integer(1, 5)}
        )
      )
  ] do
    {sent, _state} =
      Enum.flat_map_reduce(starts, {Munger.new(:vp8, 90_000), 0}, fn start, {munger, now} ->
        {number, timestamp, id, count} = start

        Enum.map_reduce(0..(count - 1), {Munger.update(munger), now}, fn i, {munger, now} ->
          packet =
            packet(
              Bitwise.band(number + i, 0xFFFF),
              Bitwise.band(timestamp + i * 3000, 0xFFFFFFFF),
              vp8(Bitwise.band(id + i, 0x7FFF), 0)
            )

          {packet, munger} = Munger.munge(munger, packet, now)
          {packet, {munger, now + 33}}
        end)
      end)

    for [a, b] <- Enum.chunk_every(sent, 2, 1, :discard) do
      assert Bitwise.band(b.sequence_number - a.sequence_number, 0xFFFF) == 1
      assert Bitwise.band(b.timestamp - a.timestamp, 0xFFFFFFFF) in 1..3000
      {:ok, first} = VP8.Descriptor.parse(a.payload)
      {:ok, second} = VP8.Descriptor.parse(b.payload)
      assert Bitwise.band(second.picture_id - first.picture_id, 0x7FFF) == 1
    end
  end

  property "random payloads never raise", [payload <- :proper_types.binary()] do
    for codec <- [:vp8, :vp9, :av1, :h265] do
      {packet, munger} = Munger.munge(Munger.new(codec, 90_000), packet(1, 1, payload), 0)
      {_packet, _munger} = Munger.munge(Munger.update(munger), packet, 1)
    end
  end
end
