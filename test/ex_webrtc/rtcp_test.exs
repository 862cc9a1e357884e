defmodule ExWebRTC.RTCPTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  import Bitwise

  alias ExWebRTC.RTCP

  alias ExWebRTC.RTCP.{
    APP,
    FIR,
    Goodbye,
    NACK,
    PLI,
    REMB,
    ReceiverReport,
    ReceptionReport,
    SenderReport,
    SourceDescription,
    TransportCC,
    Unknown,
    XR
  }

  alias ExWebRTC.RTCP.SourceDescription.{Chunk, Item}
  alias ExWebRTC.RTCP.TransportCC.{RunLength, StatusVector}
  alias ExWebRTC.RTCP.XR.{DLRR, ReceiverReferenceTime}
  alias ExWebRTC.RTP.Packet

  doctest RTCP
  doctest NACK

  defp report(fields \\ []) do
    struct!(
      %ReceptionReport{
        ssrc: 9,
        fraction_lost: 1,
        total_lost: 2,
        last_sequence_number: 3,
        jitter: 4,
        last_sr: 5,
        delay: 6
      },
      fields
    )
  end

  defp packets do
    [
      %SenderReport{
        ssrc: 1,
        ntp_timestamp: 0x0102030405060708,
        rtp_timestamp: 3,
        packet_count: 4,
        octet_count: 5,
        reports: [report(), report(total_lost: -1)],
        profile_extension: "more"
      },
      %ReceiverReport{ssrc: 1, reports: [report()]},
      %ReceiverReport{ssrc: 1},
      %SourceDescription{
        chunks: [
          %Chunk{ssrc: 1, items: [%Item{type: :cname, text: "a@b"}, %Item{type: 200, text: ""}]},
          %Chunk{ssrc: 2, items: []},
          %Chunk{ssrc: 3, items: [%Item{type: :mid, text: "0123456789"}]}
        ]
      },
      %Goodbye{sources: [1, 2]},
      %Goodbye{sources: [1], reason: "enough"},
      %Goodbye{sources: [], reason: ""},
      %APP{subtype: 3, ssrc: 1, name: "test", data: <<1, 2, 3, 4>>},
      %NACK{sender_ssrc: 1, media_ssrc: 2, nacks: [%{pid: 10, blp: <<0x80, 0x01>>}]},
      %PLI{sender_ssrc: 1, media_ssrc: 2},
      %FIR{sender_ssrc: 1, entries: [%{ssrc: 2, seq_nr: 255}]},
      %REMB{sender_ssrc: 1, bitrate: 1_000_000, ssrcs: [2, 3]},
      %XR{
        ssrc: 1,
        blocks: [
          %ReceiverReferenceTime{ntp_timestamp: 7},
          %DLRR{reports: [%{ssrc: 2, last_rr: 3, delay: 4}]},
          %{type: 6, type_specific: 1, data: <<1, 2, 3, 4>>}
        ]
      },
      %TransportCC{
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence_number: 65_530,
        packet_status_count: 13,
        reference_time: -5,
        fb_pkt_count: 9,
        packet_chunks: [
          %RunLength{status_symbol: :small_delta, run_length: 3},
          %StatusVector{
            symbols: [
              :large_delta,
              :not_received,
              :no_delta,
              :small_delta,
              :not_received,
              :large_delta,
              :not_received
            ]
          },
          %RunLength{status_symbol: :not_received, run_length: 3}
        ],
        recv_deltas: [0, 255, 7, -32_768, 8, 32_767]
      },
      %Unknown{type: 195, count: 2, body: <<1, 2, 3, 4>>}
    ]
  end

  test "every packet type survives encoding, alone and in a compound" do
    for packet <- packets() do
      assert {:ok, [packet]} == packet |> RTCP.encode() |> RTCP.decode()
    end

    assert {:ok, packets()} == packets() |> RTCP.encode() |> RTCP.decode()
  end

  test "a receiver report is laid out as in RFC 3550 section 6.4.2" do
    assert <<0x81, 201, 0, 7, 1::32, 9::32, 1, 2::24, 3::32, 4::32, 5::32, 6::32>> ==
             RTCP.encode(%ReceiverReport{ssrc: 1, reports: [report()]})
  end

  test "the items of a chunk end with a zero byte and fill the word" do
    packet = %SourceDescription{
      chunks: [%Chunk{ssrc: 1, items: [%Item{type: :cname, text: "ab"}]}]
    }

    assert <<0x81, 202, 0, 3, 1::32, 1, 2, "ab", 0, 0, 0, 0>> == RTCP.encode(packet)
  end

  test "the types of items have the names that ex_rtcp gives them" do
    names = [
      {1, :cname},
      {2, :name},
      {3, :email},
      {4, :phone},
      {5, :location},
      {6, :tool},
      {7, :note},
      {8, :priv},
      {12, :rtp_stream_id},
      {13, :repaired_rtp_stream_id},
      {15, :mid}
    ]

    for {number, name} <- names do
      bytes = <<0x81, 202, 0, 2, 1::32, number, 1, "a", 0>>
      assert {:ok, [packet]} = RTCP.decode(bytes)
      assert %{chunks: [%{items: [%{type: ^name, text: "a"}]}]} = packet
      assert RTCP.encode(packet) == bytes
    end
  end

  test "a goodbye has its reason behind the sources" do
    assert <<0x81, 203, 0, 2, 1::32, 2, "no", 0>> ==
             RTCP.encode(%Goodbye{sources: [1], reason: "no"})
  end

  test "a picture loss indication is format 1 of type 206" do
    assert <<0x81, 206, 0, 2, 1::32, 2::32>> == RTCP.encode(%PLI{sender_ssrc: 1, media_ssrc: 2})
  end

  test "a bitrate estimate has 18 bits and an exponent" do
    # 1,000,000 = 250,000 * 2^2
    assert <<0x8F, 206, 0, 5, 1::32, 0::32, "REMB", 1, 2::6, 250_000::18, 7::32>> ==
             RTCP.encode(%REMB{sender_ssrc: 1, bitrate: 1_000_000, ssrcs: [7]})
  end

  test "application layer feedback that is not REMB is kept" do
    bytes = <<0x8F, 206, 0, 3, 1::32, 2::32, "ABCD">>
    assert {:ok, [%Unknown{type: 206, count: 15} = packet]} = RTCP.decode(bytes)
    assert bytes == RTCP.encode(packet)
  end

  test "transport feedback reads the example of one byte per delta" do
    bytes =
      <<0x8F, 205, 0, 5, 1::32, 2::32, 100::16, 3::16, 4::24, 5, 0x2003::16, 10, 20, 30, 0, 0, 0>>

    assert {:ok,
            [
              %TransportCC{
                base_sequence_number: 100,
                reference_time: 4,
                fb_pkt_count: 5,
                packet_chunks: [%RunLength{status_symbol: :small_delta, run_length: 3}],
                recv_deltas: [10, 20, 30]
              }
            ]} = bytes |> fix_length() |> RTCP.decode()
  end

  test "a vector of 14 one-bit symbols is read, and only those that count have deltas" do
    bytes =
      fix_length(
        <<0x8F, 205, 0, 0, 1::32, 2::32, 0::16, 2::16, 0::24, 0, 0b10_11111111111111::16, 1, 2>>
      )

    assert {:ok, [%TransportCC{packet_chunks: [%StatusVector{symbols: symbols}]} = packet]} =
             RTCP.decode(bytes)

    assert symbols == List.duplicate(:small_delta, 14)
    assert packet.recv_deltas == [1, 2]
    assert bytes == RTCP.encode(packet)
  end

  test "padding is removed" do
    assert {:ok, [%PLI{sender_ssrc: 1, media_ssrc: 2}]} ==
             RTCP.decode(<<0xA1, 206, 0, 3, 1::32, 2::32, 0, 0, 0, 4>>)
  end

  describe "encode/1 raises for" do
    test "more reports than the header can count" do
      packet = %ReceiverReport{ssrc: 1, reports: List.duplicate(report(), 32)}
      assert_raise ArgumentError, fn -> RTCP.encode(packet) end
    end

    test "bodies that are not whole words" do
      for packet <- [
            %APP{ssrc: 1, name: "test", data: "abc"},
            %Unknown{type: 195, body: <<1>>},
            %ReceiverReport{ssrc: 1, profile_extension: "a"}
          ] do
        assert_raise ArgumentError, fn -> RTCP.encode(packet) end
      end
    end

    test "text over 255 bytes" do
      text = :binary.copy("a", 256)
      chunk = %Chunk{ssrc: 1, items: [%Item{type: :cname, text: text}]}
      assert_raise ArgumentError, fn -> RTCP.encode(%SourceDescription{chunks: [chunk]}) end
      assert_raise ArgumentError, fn -> RTCP.encode(%Goodbye{sources: [], reason: text}) end
    end

    test "numbers outside of their range, naming the field" do
      for packet <- packets(),
          {field, value} <- Map.from_struct(packet),
          is_integer(value),
          # A bitrate has an exponent.
          wrong <- [1 <<< 90, -(1 <<< 90), nil, 1.0] do
        assert_raise ArgumentError,
                     ~r/expected #{inspect(field)} of #{inspect(packet.__struct__)}/,
                     fn ->
                       RTCP.encode(Map.put(packet, field, wrong))
                     end
      end
    end

    test "the first number above and below the range of each field of a report" do
      for {field, last} <- [
            ssrc: 0xFFFFFFFF,
            fraction_lost: 255,
            total_lost: 0x7FFFFF,
            last_sequence_number: 0xFFFFFFFF,
            jitter: 0xFFFFFFFF,
            last_sr: 0xFFFFFFFF,
            delay: 0xFFFFFFFF
          ] do
        packet = %ReceiverReport{ssrc: 1, reports: [report([{field, last}])]}
        assert {:ok, [packet]} == packet |> RTCP.encode() |> RTCP.decode()
        first = if field == :total_lost, do: -0x800000, else: 0

        for wrong <- [last + 1, first - 1] do
          assert_raise ArgumentError,
                       ~r/#{inspect(field)} .*in #{first}\.\.#{last}, got: #{wrong}/,
                       fn ->
                         RTCP.encode(%{packet | reports: [report([{field, wrong}])]})
                       end
        end
      end
    end

    test "parts that are not what they should be, naming the field" do
      dlrr = %DLRR{reports: [%{ssrc: 2, last_rr: 3, delay: -1}]}

      for {field, packet} <- [
            nacks: %NACK{sender_ssrc: 1, media_ssrc: 2, nacks: [%{pid: 1, blp: 5}]},
            nacks: %NACK{sender_ssrc: 1, media_ssrc: 2, nacks: [%{pid: 65_536, blp: <<0, 0>>}]},
            sources: %Goodbye{sources: [-1]},
            reason: %Goodbye{sources: [], reason: :enough},
            entries: %FIR{sender_ssrc: 1, entries: [%{ssrc: 1, seq_nr: 256}]},
            ssrcs: %REMB{sender_ssrc: 1, bitrate: 1, ssrcs: [0x100000000]},
            reports: %ReceiverReport{ssrc: 1, reports: [nil]},
            profile_extension: %ReceiverReport{ssrc: 1, profile_extension: nil},
            ssrc: %SourceDescription{chunks: [%Chunk{ssrc: -1, items: []}]},
            data: %APP{ssrc: 1, name: "test", data: nil},
            ntp_timestamp: %XR{ssrc: 1, blocks: [%ReceiverReferenceTime{ntp_timestamp: -1}]},
            reports: %XR{ssrc: 1, blocks: [dlrr]},
            blocks: %XR{ssrc: 1, blocks: [%{type: 256, type_specific: 1, data: ""}]},
            body: %Unknown{type: 195, body: nil}
          ] do
        assert_raise ArgumentError, ~r/expected #{inspect(field)} /, fn -> RTCP.encode(packet) end
      end
    end

    test "a count of packets that the chunks do not have, or that leaves chunks over" do
      feedback = Enum.find(packets(), &is_struct(&1, TransportCC))

      # Two of the last three are not needed for 11, all three are too many for 10.
      assert RTCP.encode(%{feedback | packet_status_count: 11})

      for count <- [0, 10, 14] do
        assert_raise ArgumentError, ~r/packet_status_count/, fn ->
          RTCP.encode(%{feedback | packet_status_count: count})
        end
      end

      for {field, chunk} <- [
            {"run_length", %RunLength{status_symbol: :small_delta, run_length: 8192}},
            {"status_symbol", %RunLength{status_symbol: :lost, run_length: 13}},
            {"symbols", %StatusVector{symbols: List.duplicate(:lost, 14)}},
            {"packet_chunks", :small_delta}
          ] do
        assert_raise ArgumentError, ~r/#{field}/, fn ->
          RTCP.encode(%{feedback | packet_chunks: [chunk]})
        end
      end
    end

    test "what is no RTCP packet" do
      for wrong <- [
            nil,
            %URI{},
            :pli,
            [nil],
            %Packet{payload_type: 1, sequence_number: 1, timestamp: 1, ssrc: 1, payload: ""}
          ] do
        assert_raise ArgumentError, ~r/expected a packet of ExWebRTC.RTCP or ex_rtcp/, fn ->
          RTCP.encode(wrong)
        end
      end
    end

    test "types of items that there are not" do
      for type <- [:loc, 0, 256, nil] do
        chunk = %Chunk{ssrc: 1, items: [%Item{type: type, text: ""}]}

        assert_raise ArgumentError, ~r/:location, .*#{inspect(type)}/, fn ->
          RTCP.encode(%SourceDescription{chunks: [chunk]})
        end
      end
    end

    test "deltas that do not fit their symbols" do
      feedback = List.last(Enum.filter(packets(), &is_struct(&1, TransportCC)))

      for deltas <- [[], [256 | tl(feedback.recv_deltas)], [1 | feedback.recv_deltas]] do
        assert_raise ArgumentError, fn -> RTCP.encode(%{feedback | recv_deltas: deltas}) end
      end
    end
  end

  describe "decode/1 returns an error for" do
    test "nothing, and bytes that end too early" do
      bytes = RTCP.encode(%ReceiverReport{ssrc: 1, reports: [report()]})

      for size <- 0..(byte_size(bytes) - 1) do
        assert {:error, :not_enough_data} == bytes |> binary_part(0, size) |> RTCP.decode()
      end
    end

    test "another version" do
      assert {:error, :unsupported_version} == RTCP.decode(<<1::2, 0::30>>)
    end

    test "a padding count that cannot be" do
      assert {:error, :invalid_padding} == RTCP.decode(<<0xA1, 206, 0, 0>>)
      assert {:error, :invalid_padding} == RTCP.decode(<<0xA1, 206, 0, 1, 0, 0, 0, 5>>)
      assert {:error, :invalid_padding} == RTCP.decode(<<0xA1, 206, 0, 1, 0, 0, 0, 0>>)
    end

    test "counts of more than the packet has" do
      for type <- [200, 201, 202, 203] do
        assert {:error, :invalid_packet} == RTCP.decode(<<0x82, type, 0, 1, 0::32>>)
      end
    end

    test "runs of no packets, of which a small packet could have many" do
      bytes = <<0x8F, 205, 0, 5, 1::32, 2::32, 0::16, 5::16, 0::32, 0::32>>
      assert {:error, :invalid_packet} == RTCP.decode(bytes)
    end
  end

  property "sequence numbers survive a NACK", [
    start <- :proper_types.integer(0, 65_535),
    steps <- :proper_types.list(:proper_types.integer(1, 40))
  ] do
    numbers = steps |> Enum.scan(start, &+/2) |> Enum.map(&rem(&1, 65_536))
    nack = NACK.from_sequence_numbers(1, 2, numbers)
    assert numbers == NACK.to_sequence_numbers(nack)
    assert {:ok, [nack]} == nack |> RTCP.encode() |> RTCP.decode()
  end

  property "random bodies decode to an error or to packets that encode again", [
    type <- :proper_types.integer(198, 208),
    count <- :proper_types.integer(0, 31),
    padding <- :proper_types.integer(0, 1),
    body <- :proper_types.binary()
  ] do
    words = div(byte_size(body), 4)
    body = binary_part(body, 0, words * 4)

    case RTCP.decode(<<2::2, padding::1, count::5, type, words::16, body::binary>>) do
      {:ok, packets} -> assert {:ok, packets} == packets |> RTCP.encode() |> RTCP.decode()
      {:error, reason} -> assert reason in [:invalid_packet, :invalid_padding]
    end
  end

  property "random feedback formats decode to an error or to packets that encode again", [
    type <- :proper_types.oneof([205, 206]),
    format <- :proper_types.oneof([1, 4, 15]),
    name <- :proper_types.oneof(["REMB", "XXXX"]),
    body <- :proper_types.binary()
  ] do
    words = div(byte_size(body), 4)
    body = <<1::32, 2::32, name::binary, binary_part(body, 0, words * 4)::binary>>

    case RTCP.decode(<<2::2, 0::1, format::5, type, words + 3::16, body::binary>>) do
      {:ok, packets} -> assert {:ok, packets} == packets |> RTCP.encode() |> RTCP.decode()
      {:error, reason} -> assert reason == :invalid_packet
    end
  end

  property "random bytes never raise", [bytes <- :proper_types.binary()] do
    assert {tag, _value} = RTCP.decode(bytes)
    assert tag in [:ok, :error]
  end

  defp fix_length(<<header::16, _length::16, body::binary>>) do
    zeros = rem(4 - rem(byte_size(body), 4), 4)
    words = div(byte_size(body) + zeros, 4)
    <<header::16, words::16, body::binary, 0::size(zeros)-unit(8)>>
  end
end
