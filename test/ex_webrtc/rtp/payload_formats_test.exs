defmodule ExWebRTC.RTP.PayloadFormatsTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.Media.{AnnexB, LEB128}

  alias ExWebRTC.RTP.{
    AV1,
    Depayloader,
    Frame,
    H264,
    H265,
    JitterBuffer,
    Packet,
    Payloader,
    VP8,
    VP9
  }

  alias ExWebRTC.RTPCodecParameters

  doctest Payloader
  doctest VP8.Descriptor
  doctest VP9.Descriptor

  @max_payload_size 50
  # Close to the wrap. Never lost: who joins within a frame of H264 or AV1 cannot tell.
  @first_number 65_530
  @first_timestamp 0xFFFFFFFF - 10_000
  @video ["video/VP8", "video/VP9", "video/H264", "video/H265", "video/AV1"]
  @audio ["audio/opus", "audio/PCMU", "audio/PCMA", "audio/G722"]

  defp codec(mime_type) do
    %RTPCodecParameters{
      payload_type: 96,
      mime_type: mime_type,
      clock_rate: 90_000,
      sdp_fmtp_line: if(mime_type == "video/H264", do: "packetization-mode=1")
    }
  end

  defp depayloader(mime_type) do
    {:ok, depayloader} = Depayloader.new(codec(mime_type))
    depayloader
  end

  # Each frame with its packets.
  defp packetize(mime_type, frames, max_payload_size \\ @max_payload_size) do
    {:ok, payloader} = Payloader.new(codec(mime_type), max_payload_size: max_payload_size)

    {packetized, _state} =
      frames
      |> Enum.with_index()
      |> Enum.map_reduce({payloader, @first_number}, fn {frame, index}, {payloader, number} ->
        {packets, payloader} = Payloader.payload(payloader, frame)

        packets =
          for {packet, offset} <- Enum.with_index(packets) do
            sequence_number = Bitwise.band(number + offset, 0xFFFF)
            timestamp = Bitwise.band(@first_timestamp + index * 3000, 0xFFFFFFFF)
            %{packet | sequence_number: sequence_number, timestamp: timestamp}
          end

        {{frame, packets}, {payloader, number + length(packets)}}
      end)

    packetized
  end

  defp depayload(mime_type, packets, depayload \\ &Depayloader.depayload/2) do
    {frames, _depayloader} =
      Enum.flat_map_reduce(packets, depayloader(mime_type), fn packet, depayloader ->
        {frame, depayloader} = depayload.(depayloader, packet)
        {List.wrap(frame), depayloader}
      end)

    frames
  end

  # Frames in the form that the depayloader gives back.
  defp frame("video/H264"), do: frame_of(units(), &annex_b/1)
  defp frame("video/H265"), do: frame_of(units(), &annex_b_h265/1)
  defp frame("video/AV1"), do: frame_of(units(), &temporal_unit/1)
  defp frame(_vp8_or_vp9), do: frame_of(bytes(), & &1)

  defp frame_of(type, fun), do: :proper_types.bind(type, &fun.(&1), false)

  defp bytes do
    :proper_types.bind(
      :proper_types.integer(1, 400),
      &:proper_types.binary/1,
      false
    )
  end

  defp units,
    do: :proper_types.bind(:proper_types.integer(1, 5), &:proper_types.vector(&1, bytes()), false)

  # A NAL unit has no start code in it and does not end with a zero byte.
  defp annex_b(units) do
    for {data, index} <- Enum.with_index(units), into: <<>> do
      data = for <<byte <- data>>, into: <<>>, do: <<Bitwise.bor(byte, 1)>>
      <<0, 0, 0, 1, 3::3, rem(index, 12) + 1::5, data::binary>>
    end
  end

  defp annex_b_h265(units) do
    for {data, index} <- Enum.with_index(units), into: <<>> do
      data = for <<byte <- data>>, into: <<>>, do: <<Bitwise.bor(byte, 1)>>
      <<0, 0, 0, 1, 0::1, rem(index, 40)::6, 0::6, 1::3, data::binary>>
    end
  end

  defp temporal_unit(units) do
    for {data, index} <- Enum.with_index(units), into: <<0x12, 0>> do
      type = if index == 0, do: 1, else: 6
      <<0::1, type::4, 0::1, 1::1, 0::1, LEB128.encode(byte_size(data))::binary, data::binary>>
    end
  end

  for mime_type <- @video do
    property "#{mime_type}: without loss every frame comes back", [
      frames <- :proper_types.list(frame(unquote(mime_type)))
    ] do
      packetized = packetize(unquote(mime_type), frames)
      packets = Enum.flat_map(packetized, &elem(&1, 1))

      assert Enum.all?(packets, &(byte_size(&1.payload) <= @max_payload_size))
      assert frames == depayload(unquote(mime_type), packets)
    end

    property "#{mime_type}: frames and packets may have any size", [
      frames <- :proper_types.list(frame(unquote(mime_type))),
      size <- :proper_types.integer(16, 2000)
    ] do
      packets = unquote(mime_type) |> packetize(frames, size) |> Enum.flat_map(&elem(&1, 1))

      assert Enum.all?(packets, &(byte_size(&1.payload) <= size))
      assert frames == depayload(unquote(mime_type), packets)
    end

    property "#{mime_type}: after a loss exactly the frames that arrived whole come back", [
      frames <- :proper_types.list(frame(unquote(mime_type))),
      seed <- :proper_types.integer(0, 1_000_000)
    ] do
      packetized = packetize(unquote(mime_type), frames)
      random = :rand.seed_s(:exsss, seed)

      {received, _random} =
        Enum.map_reduce(packetized, random, fn {frame, packets}, random ->
          {kept, random} =
            Enum.flat_map_reduce(packets, random, fn packet, random ->
              {chance, random} = :rand.uniform_s(random)
              lost? = chance < 0.1 and packet.sequence_number != @first_number
              {if(lost?, do: [], else: [packet]), random}
            end)

          {{frame, packets, kept}, random}
        end)

      kept = Enum.flat_map(received, &elem(&1, 2))
      assert whole(unquote(mime_type), packetized, kept) == depayload(unquote(mime_type), kept)
    end

    property "#{mime_type}: behind a jitter buffer, reordering and loss cost only what was lost",
             [
               frames <- :proper_types.list(frame(unquote(mime_type))),
               seed <- :proper_types.integer(0, 1_000_000)
             ] do
      random = :rand.seed_s(:exsss, seed)
      packetized = packetize(unquote(mime_type), frames)
      sent = Enum.flat_map(packetized, &elem(&1, 1))

      {arrivals, _random} =
        sent
        |> Enum.with_index()
        |> Enum.flat_map_reduce(random, fn {packet, index}, random ->
          {delay, random} = :rand.uniform_s(8, random)
          {chance, random} = :rand.uniform_s(random)
          lost? = chance < 0.05 and packet.sequence_number != @first_number
          {if(lost?, do: [], else: [{index + delay, index, packet}]), random}
        end)

      # All within the latency; the buffer returns the rest when it is flushed.
      {received, buffer} =
        arrivals
        |> Enum.sort()
        |> Enum.flat_map_reduce(JitterBuffer.new(latency: 100), fn {_at, _index, packet},
                                                                   buffer ->
          {packets, _timer, buffer} = JitterBuffer.insert(buffer, packet, 0)
          {packets, buffer}
        end)

      {rest, nil, _buffer} = JitterBuffer.flush(buffer)
      kept = for {_at, _index, packet} <- arrivals, do: packet
      assert Enum.sort_by(kept, &Enum.find_index(sent, fn p -> p == &1 end)) == received ++ rest

      assert whole(unquote(mime_type), packetized, kept) ==
               depayload(unquote(mime_type), received ++ rest)
    end

    property "#{mime_type}: random payloads never raise", [
      payloads <- :proper_types.list({:proper_types.boolean(), :proper_types.binary()})
    ] do
      packets =
        for {{marker, payload}, number} <- Enum.with_index(payloads),
            do: Packet.new(payload, marker: marker, sequence_number: number)

      assert is_list(depayload(unquote(mime_type), packets))

      for packet <- packets,
          module <- [AV1, H264, H265, VP8, VP9],
          do: assert(module.keyframe?(packet) == module.keyframe?(packet.payload))
    end
  end

  test "keyframe?/1 takes packets, of ours and of ex_rtp, as well as payloads" do
    for {module, keyframe, other} <- [
          {VP8, <<0x10, 0x00, "data">>, <<0x10, 0x01, "data">>},
          {VP9, <<0x08, "data">>, <<0x48, "data">>},
          {H264, <<0x65, 1>>, <<0x41, 1>>},
          {H265, <<19::7, 1::9, 5>>, <<1::7, 1::9, 5>>},
          {AV1, <<0x18, 0x0A, 1>>, <<0x10, 0x32, 1>>}
        ],
        {payload, keyframe?} <- [{keyframe, true}, {other, false}],
        packet = Packet.new(payload) do
      assert module.keyframe?(payload) == keyframe?
      assert module.keyframe?(packet) == keyframe?
      assert module.keyframe?(%{packet | __struct__: ExRTP.Packet}) == keyframe?
    end
  end

  # The frames that a receiver can tell to be whole: all of their packets arrived, and it knows where
  # they begin. The payload formats of VP8 and VP9 say so. With the others the packet before must have
  # arrived, or the one that is missing must be known to be the end of the frame before: a frame behind
  # a longer gap may have lost its beginning.
  defp whole(mime_type, packetized, kept) do
    kept = MapSet.new(kept, & &1.sequence_number)
    there? = &MapSet.member?(kept, &1.sequence_number)

    {frames, _before} =
      Enum.flat_map_reduce(packetized, nil, fn {frame, packets}, before ->
        known? =
          mime_type in ["video/VP8", "video/VP9"] or
            case before do
              nil -> true
              [last | _] = before -> there?.(last) or Enum.any?(Enum.slice(before, 1, 1), there?)
            end

        {if(known? and Enum.all?(packets, there?), do: [frame], else: []), Enum.reverse(packets)}
      end)

    frames
  end

  test "an audio frame is a packet" do
    for mime_type <- @audio do
      frame = :binary.copy("a", 2000)
      assert [{^frame, [%Packet{payload: ^frame, marker: false}]}] = packetize(mime_type, [frame])
      assert [frame] == depayload(mime_type, [Packet.new(frame)])
    end
  end

  test "a codec without a payload format has none" do
    assert {:error, :no_payloader_for_codec} == Payloader.new(codec("video/theora"))
    assert {:error, :no_depayloader_for_codec} == Depayloader.new(codec("video/rtx"))
  end

  test "NAL units out of decoding order are refused where they are agreed on" do
    for {mime_type, fmtp} <- [
          {"video/H264", "level-asymmetry-allowed=1;packetization-mode=2"},
          {"video/H265", "profile-id=1; sprop-max-don-diff=3"}
        ] do
      codec = %{codec(mime_type) | sdp_fmtp_line: fmtp}
      assert {:error, :no_payloader_for_codec} == Payloader.new(codec)
      assert {:error, :no_depayloader_for_codec} == Depayloader.new(codec)
    end

    for {mime_type, fmtp} <- [
          {"video/H264", "packetization-mode=1;profile-level-id=42e01f"},
          {"video/H265", "sprop-max-don-diff=0"}
        ] do
      assert {:ok, _depayloader} = Depayloader.new(%{codec(mime_type) | sdp_fmtp_line: fmtp})
    end
  end

  test "a payload size that leaves no room, or that no datagram carries, raises" do
    for size <- [3, 15, 65_496, nil] do
      assert_raise ArgumentError, ~r/:max_payload_size to be in 16..65495/, fn ->
        Payloader.new(codec("video/VP8"), max_payload_size: size)
      end
    end
  end

  test "the largest payload that a datagram carries has units whose lengths fit" do
    for {mime_type, header} <- [{"video/H264", <<0x61>>}, {"video/H265", <<1::7, 1::9>>}],
        sizes <- [[65_480, 1], [65_491, 1], [65_535], [70_000, 1], [140_000]] do
      units = for size <- sizes, do: header <> :binary.copy(<<1>>, size)
      frame = AnnexB.join(units)
      {:ok, payloader} = Payloader.new(codec(mime_type), max_payload_size: 65_495)
      {packets, _payloader} = Payloader.payload(payloader, frame)
      assert Enum.all?(packets, &(byte_size(&1.payload) <= 65_495))
      numbered = for {packet, n} <- Enum.with_index(packets), do: %{packet | sequence_number: n}
      assert [frame] == depayload(mime_type, numbered)
    end
  end

  property "NAL units come back however they were separated", [
    units <- :proper_types.list(bytes())
  ] do
    units = for data <- units, do: <<0x61, data::binary, 1>>

    for size <- 2..4 do
      frame = AnnexB.length_prefixed(units, size)
      {:ok, payloader} = Payloader.new(codec("video/H264"), nal_units: {:length_prefixed, size})
      {packets, _payloader} = Payloader.payload(payloader, frame)
      numbered = for {packet, n} <- Enum.with_index(packets), do: %{packet | sequence_number: n}
      expected = if units == [], do: [], else: [AnnexB.join(units)]
      assert expected == depayload("video/H264", numbered)
    end
  end

  test "picture ids go on by one, over their wrap" do
    for {mime_type, descriptor} <- [{"video/VP8", VP8.Descriptor}, {"video/VP9", VP9.Descriptor}] do
      {:ok, payloader} = Payloader.new(codec(mime_type))

      {ids, _payloader} =
        Enum.map_reduce(1..0x8001, payloader, fn _n, payloader ->
          {[packet], payloader} = Payloader.payload(payloader, <<0x86, 0>>)
          {:ok, %{picture_id: id}} = descriptor.parse(packet.payload)
          {id, payloader}
        end)

      assert Enum.all?(Enum.zip(ids, tl(ids)), fn {a, b} -> b == rem(a + 1, 0x8000) end)
    end
  end

  test "one lost marker does not cost the frame that follows" do
    for mime_type <- @video do
      build =
        case mime_type do
          "video/H264" -> &annex_b/1
          "video/H265" -> &annex_b_h265/1
          _other -> &temporal_unit/1
        end

      frame = build.(["one"])
      long = build.([:binary.copy("x", 200)])

      [{_long, lossy}, {frame, packets}] = packetize(mime_type, [long, frame])
      assert [frame] == depayload(mime_type, Enum.drop(lossy, -1) ++ packets)
    end
  end

  test "a packet of padding only does not break a frame" do
    [{frame, [first | rest]}] = packetize("video/VP8", [:binary.copy("x", 120)])
    padding = Packet.new("", sequence_number: first.sequence_number + 1, padding: 10)
    rest = for packet <- rest, do: %{packet | sequence_number: packet.sequence_number + 1}
    assert [frame] == depayload("video/VP8", [first, padding | rest])
  end

  describe "VP8" do
    test "descriptors with every extension are read" do
      # X, S; I, L, T, K; 15-bit picture id; TL0PICIDX; TID and KEYIDX
      payload = <<0x90, 0xF0, 0x81, 0x02, 0x03, 0x04, 0x00, "data">>
      assert {:first, <<0, "data">>} == VP8.split(payload)
      assert VP8.keyframe?(payload)
      assert {:next, "data"} == VP8.split(<<0x91, 0x80, 0x01, "data">>)
      assert :invalid == VP8.split(<<0x90, 0x80>>)
    end

    test "an interframe and a later partition are no keyframes" do
      refute VP8.keyframe?(<<0x10, 0x01, "data">>)
      refute VP8.keyframe?(<<0x11, 0x00, "data">>)
      refute VP8.keyframe?("")
    end
  end

  describe "VP9" do
    test "a scalability structure and layer indices are skipped" do
      # I, L, B, V; 7-bit picture id; layer byte, TL0PICIDX; 2 layers with sizes, 1 picture with a
      # reference
      structure =
        <<1::3, 1::1, 1::1, 0::3, 1::16, 2::16, 3::16, 4::16, 1, 0::3, 0::1, 1::2, 0::2, 1>>

      payload = <<0xAA, 0x05, 0x00, 0x07, structure::binary, "data">>
      assert {:first, "data"} == VP9.split(payload)
      assert VP9.keyframe?(payload)
    end

    test "flexible references are skipped, and a fourth is invalid" do
      # I, P, F, B
      assert {:first, "data"} == VP9.split(<<0xD8, 0x05, 0x03, 0x05, 0x02, "data">>)
      assert :invalid == VP9.split(<<0xD8, 0x05, 0x03, 0x05, 0x03, "data">>)
    end

    test "the payloader tells keyframes by the frame header" do
      for {header, keyframe?} <- [{0x82, true}, {0x86, false}, {0x8A, false}, {0xB0, true}] do
        [{_frame, [packet | _]}] = packetize("video/VP9", [<<header, 0, 0>>])
        assert keyframe? == VP9.keyframe?(packet.payload)
      end
    end
  end

  describe "H264" do
    test "units share a packet only in packetization mode 1, which is not the default" do
      frame = AnnexB.join([<<0x67, 1>>, <<0x68, 2>>, <<0x65, 3>>])

      for {fmtp, count} <- [
            {nil, 3},
            {"profile-level-id=42e01f", 3},
            {"packetization-mode=0;profile-level-id=42e01f", 3},
            {"level-asymmetry-allowed=1;packetization-mode=1", 1},
            {"packetization-mode=1; profile-level-id=42e01f", 1}
          ] do
        {:ok, payloader} = Payloader.new(%{codec("video/H264") | sdp_fmtp_line: fmtp})
        {packets, _payloader} = Payloader.payload(payloader, frame)
        assert length(packets) == count
        numbered = for {packet, n} <- Enum.with_index(packets), do: %{packet | sequence_number: n}
        assert [frame] == depayload("video/H264", numbered)
      end
    end

    test "aggregated units become units of the frame" do
      stap_a = <<24, 2::16, 0x67, 1, 3::16, 0x68, 2, 3>>
      packet = Packet.new(stap_a, marker: true)

      assert [<<0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 3>>] ==
               depayload("video/H264", [packet])

      assert H264.keyframe?(stap_a)
    end

    test "keyframes are told alone, aggregated and fragmented" do
      assert H264.keyframe?(<<0x65, 1>>)
      assert H264.keyframe?(<<0x7C, 0x85, 1>>)
      refute H264.keyframe?(<<0x7C, 0x05, 1>>)
      refute H264.keyframe?(<<0x41, 1>>)
      refute H264.keyframe?(<<24, 9::16, 0x67>>)
    end

    test "packets of the interleaved mode cost their frame, and not the next" do
      # STAP-B, MTAP16, MTAP24, FU-B
      for type <- [25, 26, 27, 29] do
        packets = [
          Packet.new(<<0x61, 1>>, sequence_number: 1, timestamp: 1),
          Packet.new(<<0x60 + type, 0x80, 0, 1, 2, 0x61, 1>>, sequence_number: 2, timestamp: 1),
          Packet.new(<<0x61, 2>>, sequence_number: 3, timestamp: 1, marker: true),
          Packet.new(<<0x61, 3>>, sequence_number: 4, timestamp: 2, marker: true)
        ]

        assert [<<0, 0, 0, 1, 0x61, 3>>] == depayload("video/H264", packets)
        refute H264.keyframe?(<<0x60 + type, 0x80, 0, 1, 2, 0x65, 1>>)
      end
    end

    test "start codes of three bytes and of four are the same" do
      units = [<<0x67, 1>>, <<0x65, 2>>]
      assert units == AnnexB.units(<<0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 2, 0, 0>>)
      assert [] == AnnexB.units("no start code")
    end
  end

  describe "AV1" do
    test "temporal delimiters and tile lists that arrive are left out" do
      frame = <<0x30, "frame">>
      list = <<0x40, "tiles">>
      payload = fn obus -> for obu <- obus, into: <<0>>, do: <<byte_size(obu), obu::binary>> end
      sized = <<0x12, 0, 0x32, 5, "frame">>

      for obus <- [[<<0x10>>, frame], [<<0x12, 0>>, list, frame], [frame, list]] do
        assert [sized] == depayload("video/AV1", [Packet.new(payload.(obus), marker: true)])
      end

      # In pieces as well.
      pieces = [
        Packet.new(<<0x40, 3, 0x40, "ti">>, sequence_number: 1),
        Packet.new(<<0x80, 3, "les", 6, frame::binary>>, sequence_number: 2, marker: true)
      ]

      assert [sized] == depayload("video/AV1", pieces)
      # Nothing else in it: no frame.
      assert [] == depayload("video/AV1", [Packet.new(payload.([list]), marker: true)])
    end

    test "temporal delimiters are not sent and come back" do
      unit = temporal_unit(["sequence", "frame"])
      [{_unit, [packet]}] = packetize("video/AV1", [unit])
      # N, no fragments, then each OBU behind its length and without a size field.
      assert <<0x08, 9, 0x08, "sequence", 6, 0x30, "frame">> == packet.payload
      assert AV1.keyframe?(packet.payload)
      assert [unit] == depayload("video/AV1", [packet])
    end

    test "the last of a counted number of elements has no length" do
      packet = Packet.new(<<0x20, 9, 0x08, "sequence", 0x30, "frame">>, marker: true)
      assert [temporal_unit(["sequence", "frame"])] == depayload("video/AV1", [packet])
    end
  end

  describe "H265" do
    test "keyframes are told alone, aggregated and fragmented" do
      sps = <<33::7, 1::9, 5>>
      trail = <<1::7, 1::9, 5>>
      aggregated = <<48::7, 1::9, 3::16, trail::binary, 3::16, sps::binary>>
      assert H265.keyframe?(sps)
      assert H265.keyframe?(<<19::7, 1::9, 5>>)
      assert H265.keyframe?(aggregated)
      assert H265.keyframe?(<<49::7, 1::9, 1::1, 0::1, 19::6, 5>>)
      refute H265.keyframe?(<<49::7, 1::9, 0::1, 0::1, 19::6, 5>>)
      refute H265.keyframe?(trail)

      assert [<<0, 0, 0, 1, trail::binary, 0, 0, 0, 1, sps::binary>>] ==
               depayload("video/H265", [Packet.new(aggregated, marker: true)])
    end

    test "what is in a PACI packet is taken, its extension is not" do
      # Of three bytes, around an IDR slice and around both parts of a fragmented one.
      paci = &<<50::7, 1::9, 0::1, &1::6, 3::5, 1::3, 0::1, 7, 7, 7, &2::binary>>
      single = paci.(19, <<1, 2>>)
      assert H265.keyframe?(single)
      refute H265.keyframe?(paci.(1, <<1, 2>>))

      frame = <<0, 0, 0, 1, 19::7, 1::9, 1, 2>>
      assert [frame] == depayload("video/H265", [Packet.new(single, marker: true)])

      fragments = [
        Packet.new(paci.(49, <<0x80 + 19, 1>>), sequence_number: 1),
        Packet.new(paci.(49, <<0x40 + 19, 2>>), sequence_number: 2, marker: true)
      ]

      assert H265.keyframe?(hd(fragments).payload)
      assert [frame] == depayload("video/H265", fragments)

      for broken <- [<<50::7, 1::9>>, <<50::7, 1::9, 19::7, 9::5, 0::4, 1>>, paci.(50, <<1>>)] do
        assert [] == depayload("video/H265", [Packet.new(broken, marker: true)])
        refute H265.keyframe?(broken)
      end
    end

    test "small units share a packet" do
      units = [<<32::7, 1::9, 1>>, <<33::7, 1::9, 2>>, <<19::7, 1::9, 3>>]
      [{frame, [packet]}] = packetize("video/H265", [AnnexB.join(units)])
      assert <<48::7, 1::9, 3::16, _::binary>> = packet.payload
      assert [frame] == depayload("video/H265", [packet])
    end
  end

  describe "frames" do
    defp frames(mime_type, packets),
      do: depayload(mime_type, packets, &Depayloader.depayload_frame/2)

    test "tell their timestamp, whether they are keyframes, and their layers" do
      vp8 = Packet.new(<<0x90, 0xE0, 0x81, 0x02, 7, 0x40, 0x00>>, timestamp: 9, marker: true)

      assert [%Frame{timestamp: 9, keyframe?: true, temporal_id: 1, picture_id: 0x102}] =
               frames("video/VP8", [vp8])

      vp9 = Packet.new(<<0xAC, 0x05, 0x40, 7, 0x86>>, marker: true)

      assert [%Frame{keyframe?: false, spatial_id: 0, temporal_id: 2, picture_id: 5}] =
               frames("video/VP9", [vp9])

      h265 = Packet.new(<<19::7, 0::6, 2::3, 5>>, marker: true)
      assert [%Frame{keyframe?: true, temporal_id: 1}] = frames("video/H265", [h265])

      h264 = Packet.new(<<0x41, 5>>, marker: true)
      assert [%Frame{keyframe?: false, temporal_id: nil}] = frames("video/H264", [h264])

      # A frame OBU with temporal layer 1 and spatial layer 2.
      av1 = Packet.new(<<0x10, 0x34, 0x30, 1>>, marker: true)

      assert [%Frame{keyframe?: false, temporal_id: 1, spatial_id: 2}] =
               frames("video/AV1", [av1])

      assert [%Frame{data: "opus", keyframe?: true}] = frames("audio/opus", [Packet.new("opus")])
    end
  end
end
