defmodule ExWebRTC.Native.TermsTest do
  # The terms that the native side builds for packets, against what the modules of the media
  # toolkit make of the same bytes.
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.{Native, RTCP}
  alias ExWebRTC.RTP.Packet

  # The header that `Native.test_rtp_term/4` uses, around this extension and payload.
  defp datagram(profile, extension, payload) do
    extension_header =
      if profile,
        do: <<profile::16, div(byte_size(extension), 4)::16, extension::binary>>,
        else: <<>>

    <<2::2, 1::1, bit(profile)::1, 2::4, 1::1, 96::7, 0xFFFF::16, 0x80000000::32, 0xFFFFFFFF::32,
      1::32, 0xFFFFFFFF::32, extension_header::binary, payload::binary, 0, 0, 0, 4>>
  end

  defp bit(nil), do: 0
  defp bit(_profile), do: 1

  defp native_rtp(profile, extension, payload) do
    {packet, _nanoseconds} = Native.test_rtp_term(profile, extension, payload, 1)
    packet
  end

  defp assert_same_rtp(profile, extension, payload) do
    assert {:ok, packet} = Packet.decode(datagram(profile, extension, payload))
    assert native_rtp(profile, extension, payload) == packet
  end

  test "a packet without extensions" do
    assert_same_rtp(nil, <<>>, "payload")
    assert_same_rtp(nil, <<>>, <<>>)
  end

  test "one-byte extensions, with padding between and behind" do
    assert_same_rtp(0xBEDE, <<1::4, 0::4, "a", 0, 2::4, 3::4, "bcde", 0, 0, 0, 0>>, "payload")
  end

  test "one-byte extensions end at id 15" do
    assert_same_rtp(
      0xBEDE,
      <<1::4, 0::4, "a", 15::4, 0::4, "b", 2::4, 0::4, "c", 0, 0>>,
      "payload"
    )
  end

  test "two-byte extensions, of no length too" do
    assert_same_rtp(0x1000, <<1, 0, 200, 3, "abc", 0>>, "payload")
    assert_same_rtp(0x1007, <<1, 0, 0, 0>>, "payload")
  end

  test "the extension of an unknown profile is kept as it is" do
    assert_same_rtp(0xABCD, <<1, 2, 3, 4>>, "payload")
  end

  property "random header extensions are read as ExWebRTC.RTP.Packet reads them, or fail there", [
    profile <- :proper_types.oneof([0xBEDE, 0x1000, 0x100F, 0x1234]),
    words <- :proper_types.list(:proper_types.binary(4))
  ] do
    extension = IO.iodata_to_binary(words)

    case Packet.decode(datagram(profile, extension, "payload")) do
      {:ok, packet} ->
        assert native_rtp(profile, extension, "payload") == packet

      {:error, _reason} ->
        assert %Packet{payload: "payload"} = native_rtp(profile, extension, "payload")
    end
  end

  @rtcp [
    %RTCP.SenderReport{
      ssrc: 1,
      ntp_timestamp: 0xFEDCBA9876543210,
      rtp_timestamp: 2,
      packet_count: 3,
      octet_count: 4,
      reports: [
        %RTCP.ReceptionReport{
          ssrc: 5,
          fraction_lost: 6,
          total_lost: -7,
          last_sequence_number: 8,
          jitter: 9,
          last_sr: 10,
          delay: 11
        }
      ],
      profile_extension: <<1, 2, 3, 4>>
    },
    %RTCP.ReceiverReport{ssrc: 1},
    %RTCP.SourceDescription{
      chunks: [
        %RTCP.SourceDescription.Chunk{
          ssrc: 1,
          items: [
            %RTCP.SourceDescription.Item{type: :cname, text: "name"},
            %RTCP.SourceDescription.Item{type: :mid, text: "0"},
            %RTCP.SourceDescription.Item{type: 99, text: ""}
          ]
        },
        %RTCP.SourceDescription.Chunk{ssrc: 2, items: []}
      ]
    },
    %RTCP.Goodbye{sources: [1, 2], reason: "tired"},
    %RTCP.Goodbye{sources: [1]},
    %RTCP.APP{ssrc: 1, name: "test", subtype: 3, data: "data"},
    %RTCP.NACK{sender_ssrc: 1, media_ssrc: 2, nacks: [%{pid: 3, blp: <<0x80, 1>>}]},
    %RTCP.TransportCC{
      sender_ssrc: 1,
      media_ssrc: 2,
      base_sequence_number: 65_530,
      packet_status_count: 12,
      reference_time: -5,
      fb_pkt_count: 255,
      packet_chunks: [
        %RTCP.TransportCC.RunLength{status_symbol: :small_delta, run_length: 3},
        %RTCP.TransportCC.StatusVector{
          symbols: [
            :not_received,
            :small_delta,
            :large_delta,
            :no_delta,
            :not_received,
            :not_received,
            :small_delta
          ]
        },
        %RTCP.TransportCC.RunLength{status_symbol: :not_received, run_length: 2}
      ],
      recv_deltas: [0, 1, 255, 4, -300, 7]
    },
    %RTCP.PLI{sender_ssrc: 1, media_ssrc: 2},
    %RTCP.FIR{sender_ssrc: 1, entries: [%{ssrc: 2, seq_nr: 255}]},
    %RTCP.REMB{sender_ssrc: 1, bitrate: 1_000_000, ssrcs: [2, 3]},
    %RTCP.XR{
      ssrc: 1,
      blocks: [
        %RTCP.XR.ReceiverReferenceTime{ntp_timestamp: 2},
        %RTCP.XR.DLRR{reports: [%{ssrc: 3, last_rr: 4, delay: 5}]},
        %{type: 200, type_specific: 1, data: <<1, 2, 3, 4>>}
      ]
    },
    %RTCP.Unknown{type: 250, count: 3, body: <<1, 2, 3, 4>>}
  ]

  for packet <- @rtcp do
    name = packet.__struct__ |> Module.split() |> List.last()

    test "#{name} is what it was encoded from (#{:erlang.phash2(packet)})" do
      packet = unquote(Macro.escape(packet))
      assert Native.test_rtcp_term(RTCP.encode(packet)) == packet
    end
  end

  property "random RTCP is read as ExWebRTC.RTCP reads it, and kept where that fails", [
    type <- :proper_types.integer(195, 210),
    count <- :proper_types.integer(0, 31),
    words <- :proper_types.list(:proper_types.binary(4))
  ] do
    body = IO.iodata_to_binary(words)
    packet = <<2::2, 0::1, count::5, type, length(words)::16, body::binary>>

    case RTCP.decode(packet) do
      {:ok, [decoded]} ->
        assert Native.test_rtcp_term(packet) == decoded

      {:error, _reason} ->
        assert Native.test_rtcp_term(packet) == %RTCP.Unknown{
                 type: type,
                 count: count,
                 body: body
               }
    end
  end

  property "bytes that are no packet are kept", [bytes <- :proper_types.binary()] do
    assert %_module{} = Native.test_rtcp_term(bytes)
  end
end
