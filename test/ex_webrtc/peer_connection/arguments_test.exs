defmodule ExWebRTC.PeerConnection.ArgumentsTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.{ICECandidate, MediaStreamTrack, RTPCodecParameters, SessionDescription}
  alias ExWebRTC.PeerConnection.Arguments

  describe "descriptions" do
    test "text that is no UTF-8 is an error, not an exception: it may come from a peer" do
      assert Arguments.description(%SessionDescription{type: :offer, sdp: <<"v=0", 0xFF>>}) ==
               {:error, :invalid_sdp_syntax}
    end

    test "the SDP of a rollback does not matter" do
      assert Arguments.description(%SessionDescription{type: :rollback, sdp: nil}) ==
               {:ok, {:rollback, ""}}
    end
  end

  describe "candidates" do
    test "nil, and a candidate without text, are the end of candidates" do
      for none <- [nil, %ICECandidate{}, %ICECandidate{candidate: "", sdp_mid: "0"}],
          do: assert(Arguments.candidate(none) == {:ok, nil})
    end

    test "fields of the wrong type are an error: they come from a peer's JSON" do
      for wrong <- [
            %ICECandidate{candidate: 1},
            %ICECandidate{candidate: <<0xFF>>},
            %ICECandidate{candidate: "candidate:1", sdp_mid: 0},
            %ICECandidate{candidate: "candidate:1", sdp_m_line_index: "0"},
            %ICECandidate{candidate: String.duplicate("1", 1_025)},
            %ICECandidate{candidate: "candidate:1", sdp_mid: String.duplicate("1", 1_025)},
            %ICECandidate{candidate: "candidate:1", sdp_m_line_index: -1},
            %ICECandidate{candidate: "candidate:1", sdp_m_line_index: 65_536},
            %ICECandidate{candidate: "candidate:1", username_fragment: %{}}
          ],
          do: assert(Arguments.candidate(wrong) == {:error, :invalid_candidate})
    end
  end

  describe "transceivers" do
    test "a track brings its kind" do
      track = MediaStreamTrack.new(:video)
      assert Arguments.transceiver(track, []) == {:add_transceiver, :video, track, :sendrecv, []}
    end

    test "layers are named by maps or strings" do
      assert {:add_transceiver, :video, nil, :sendonly, [%{rid: "h"}, %{rid: "l"}]} =
               Arguments.transceiver(:video,
                 direction: :sendonly,
                 send_encodings: [%{rid: "h"}, "l"]
               )
    end

    test "unknown directions, layers and options raise" do
      assert_raise ArgumentError, fn -> Arguments.transceiver(:audio, direction: :both) end
      assert_raise ArgumentError, fn -> Arguments.transceiver(:audio, directoin: :sendonly) end
    end
  end

  describe "codecs" do
    test "one that cannot be raises, with what is wrong" do
      codec = %RTPCodecParameters{payload_type: 128, mime_type: "video/VP8", clock_rate: 90_000}
      assert_raise ArgumentError, ~r/payload_type/, fn -> Arguments.codec!(codec) end
    end
  end

  describe "data channels" do
    test "every option is filled in" do
      assert Arguments.channel("chat", []) ==
               {:ok,
                %{
                  label: "chat",
                  ordered: true,
                  max_packet_life_time: nil,
                  max_retransmits: nil,
                  protocol: "",
                  negotiated: false,
                  id: nil
                }}
    end

    test "order is a boolean or a name" do
      for {value, ordered} <- [true: true, false: false, ordered: true, unordered: false] do
        assert {:ok, %{ordered: ^ordered}} = Arguments.channel("", ordered: value)
      end
    end

    test "unknown options and values out of range are invalid" do
      for opts <- [
            [order: true],
            [ordered: nil],
            [max_retransmits: -1],
            [max_packet_life_time: 65_536],
            [protocol: :chat],
            [negotiated: 1],
            [id: "7"]
          ],
          do: assert(Arguments.channel("chat", opts) == {:error, :invalid_option})

      assert Arguments.channel(<<0xFF>>, []) == {:error, :invalid_option}
    end
  end
end
