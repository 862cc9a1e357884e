defmodule ExWebRTC.StructsTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.{
    DataChannel,
    ICECandidate,
    MediaStreamTrack,
    RTPCodecParameters,
    RTPReceiver,
    RTPSender,
    RTPTransceiver,
    SDPAttribute,
    SessionDescription
  }

  doctest ICECandidate
  doctest RTPCodecParameters
  doctest SessionDescription

  describe "SessionDescription" do
    test "every type survives JSON" do
      for type <- [:offer, :answer, :pranswer, :rollback] do
        description = %SessionDescription{type: type, sdp: "v=0"}

        assert description ==
                 description |> SessionDescription.to_json() |> SessionDescription.from_json()
      end
    end

    test "a rollback needs no SDP, the others do" do
      assert %SessionDescription{type: :rollback, sdp: ""} ==
               SessionDescription.from_json(%{"type" => "rollback"})

      assert_raise ArgumentError, ~r/"sdp"/, fn ->
        SessionDescription.from_json(%{"type" => "offer"})
      end
    end

    test "a type that does not exist raises and makes no atom" do
      name = "no_such_type_#{System.unique_integer([:positive])}"

      assert_raise ArgumentError, ~r/"type"/, fn ->
        SessionDescription.from_json(%{"type" => name, "sdp" => ""})
      end

      assert_raise ArgumentError, fn -> String.to_existing_atom(name) end
    end
  end

  describe "ICECandidate" do
    test "survives JSON" do
      candidate = %ICECandidate{
        candidate: "candidate:1 1 udp 1 10.0.0.1 9 typ host",
        sdp_mid: "0",
        sdp_m_line_index: 0,
        username_fragment: "abcd"
      }

      assert candidate == candidate |> ICECandidate.to_json() |> ICECandidate.from_json()
    end

    test "what is missing in JSON is nil, and no candidate is the end of candidates" do
      assert %ICECandidate{candidate: ""} == ICECandidate.from_json(%{})
      assert %ICECandidate{candidate: ""} == ICECandidate.from_json(%{"candidate" => nil})
    end
  end

  describe "MediaStreamTrack" do
    test "tracks have ids of their own" do
      one = MediaStreamTrack.new(:audio)
      two = MediaStreamTrack.new(:video, ["stream"])
      assert %MediaStreamTrack{kind: :audio, streams: [], rids: nil} = one
      assert %MediaStreamTrack{kind: :video, streams: ["stream"], rids: nil} = two
      assert is_integer(one.id) and one.id != two.id
    end

    test "stream ids fit a=msid and differ" do
      ids = for _ <- 1..100, do: MediaStreamTrack.generate_stream_id()
      assert ids == Enum.uniq(ids)
      # RFC 8830 section 2: 1 to 64 token characters.
      assert Enum.all?(ids, &(&1 =~ ~r/^[A-Za-z0-9_-]{1,64}$/))
    end
  end

  describe "RTPCodecParameters" do
    @mapping %{payload_type: 96, encoding: "VP8", clock_rate: 90_000, params: nil}

    test "takes attributes of other libraries and drops their names" do
      fmtp = %SDPAttribute{text: "fmtp:96 max-fr=30;max-fs=3600"}
      feedbacks = [%SDPAttribute{text: "rtcp-fb:96 nack pli"}, "ccm fir", "a=rtcp-fb:* nack"]

      assert %RTPCodecParameters{
               payload_type: 96,
               mime_type: "video/VP8",
               clock_rate: 90_000,
               channels: nil,
               sdp_fmtp_line: "max-fr=30;max-fs=3600",
               rtcp_fbs: ["nack pli", "ccm fir", "nack"]
             } == RTPCodecParameters.new(:video, @mapping, fmtp, feedbacks)
    end

    test "the mapping may be a struct" do
      mapping = Map.put(@mapping, :__struct__, SDPAttribute)

      assert %RTPCodecParameters{mime_type: "video/VP8"} =
               RTPCodecParameters.new(:video, mapping, nil, [])
    end
  end

  test "the structs of a connection have the fields of the contract" do
    for {module, fields} <- %{
          RTPTransceiver =>
            ~w(id kind direction current_direction mid stopping stopped receiver sender header_extensions codecs)a,
          RTPSender => ~w(id track codec)a,
          RTPReceiver => ~w(id track codec)a,
          DataChannel =>
            ~w(ref id label ordered protocol ready_state max_packet_life_time max_retransmits negotiated)a
        } do
      assert Enum.sort(fields) == Enum.sort(Map.keys(module.__struct__()) -- [:__struct__])
    end
  end
end
