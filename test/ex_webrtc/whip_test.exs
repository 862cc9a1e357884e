defmodule ExWebRTC.WHIPTest do
  use ExUnit.Case, async: true

  import ExWebRTC.HTTPClient, only: [request: 3, request: 5]
  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{Demo, FakePeerConnection}
  alias ExWebRTC.RTCP.PLI
  alias ExWebRTC.RTP.Packet

  @offer "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" <>
           "a=ice-ufrag:theirs\r\na=ice-pwd:secret\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"
  @sdp [{"Content-Type", "application/sdp"}]
  @fragment [{"Content-Type", "application/trickle-ice-sdpfrag"}]

  setup context do
    name = Module.concat(__MODULE__, "Demo#{:erlang.phash2(context.test)}")

    start_supervised!(
      {Demo,
       name: name,
       port: 0,
       peer_connection: FakePeerConnection,
       max_sessions: context[:max_sessions] || 100}
    )

    %{demo: name, port: Demo.port(name)}
  end

  describe "a new session" do
    test "answers an offer with candidates and a place of its own", %{port: port, demo: demo} do
      assert {201, headers, answer} = request(port, "POST", "/echo", @sdp, @offer)
      assert headers["content-type"] == "application/sdp"
      assert "/echo/" <> _id = headers["location"]
      assert headers["etag"] =~ ~r/^"[^"]+"$/
      assert headers["access-control-allow-origin"] == "*"
      assert headers["access-control-expose-headers"] =~ "location"
      assert answer =~ "a=candidate:"
      assert Demo.sessions(demo) == 1
    end

    test "takes parameters in the content type", %{port: port} do
      headers = [{"Content-Type", "Application/SDP; charset=utf-8"}]
      assert {201, _headers, _answer} = request(port, "POST", "/echo", headers, @offer)
    end

    test "refuses what is no offer and keeps nothing of it", %{port: port, demo: demo} do
      assert {400, _, text} = request(port, "POST", "/echo", @sdp, "hello")
      assert text =~ "invalid_sdp_syntax"
      assert {400, _, _} = request(port, "POST", "/echo", @sdp, "")
      assert {400, _, _} = request(port, "POST", "/echo", @sdp, <<0xFF, 0xFE>>)
      assert {413, _, _} = request(port, "POST", "/echo", @sdp, String.duplicate("a", 300_000))
      eventually(fn -> Demo.sessions(demo) == 0 end)
    end

    test "refuses other types, methods and places", %{port: port} do
      assert {415, %{"accept-post" => "application/sdp"}, _} =
               request(port, "POST", "/echo", [{"Content-Type", "text/plain"}], @offer)

      assert {415, _, _} = request(port, "POST", "/echo", [], @offer)

      for method <- ["GET", "PUT", "DELETE", "PATCH"] do
        assert {405, %{"allow" => "POST, OPTIONS"}, _} = request(port, method, "/whip")
      end

      assert {404, _, _} = request(port, "POST", "/elsewhere", @sdp, @offer)
      assert {404, _, _} = request(port, "POST", "/echo/a/b/c", @sdp, @offer)
    end

    test "lets pages of any origin ask first", %{port: port} do
      assert {204, headers, ""} = request(port, "OPTIONS", "/whip")
      assert headers["access-control-allow-origin"] == "*"
      assert headers["access-control-allow-methods"] =~ "POST"
      assert headers["access-control-allow-headers"] =~ "content-type"
      assert headers["accept-post"] == "application/sdp"

      assert {204, headers, ""} = request(port, "OPTIONS", "/whip/some")
      assert headers["access-control-allow-methods"] =~ "PATCH"
      assert headers["accept-patch"] =~ "application/trickle-ice-sdpfrag"
    end

    @tag max_sessions: 2
    test "is refused when there are too many", %{port: port} do
      for _ <- 1..2, do: assert({201, _, _} = request(port, "POST", "/echo", @sdp, @offer))
      assert {503, _, _} = request(port, "POST", "/echo", @sdp, @offer)
    end
  end

  describe "a session" do
    setup %{port: port} do
      {201, %{"location" => location, "etag" => etag}, _} =
        request(port, "POST", "/echo", @sdp, @offer)

      %{location: location, etag: etag}
    end

    test "takes candidates", %{port: port, location: location, etag: etag, demo: demo} do
      body =
        "a=ice-ufrag:theirs\r\na=ice-pwd:secret\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" <>
          "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\na=end-of-candidates\r\n"

      assert {204, _, ""} =
               request(port, "PATCH", location, @fragment ++ [{"If-Match", etag}], body)

      assert [{:candidate, first}, {:candidate, last}] =
               demo |> pc() |> FakePeerConnection.calls()

      assert %{sdp_mid: "0", username_fragment: "theirs", candidate: "candidate:1 " <> _} = first
      assert last.candidate == ""
    end

    test "refuses bad candidates and those of another ICE session", %{
      port: port,
      location: location
    } do
      bad = "a=ice-ufrag:theirs\r\na=mid:0\r\na=candidate:bad\r\n"
      assert {400, _, _} = request(port, "PATCH", location, @fragment, bad)
      assert {400, _, _} = request(port, "PATCH", location, @fragment, "no sdp at all")
      assert {400, _, _} = request(port, "PATCH", location, @fragment, "")

      late = "a=ice-ufrag:before\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n"
      assert {412, _, _} = request(port, "PATCH", location, @fragment, late)

      good = "a=ice-ufrag:theirs\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n"
      headers = @fragment ++ [{"If-Match", ~s("other")}]
      assert {412, _, _} = request(port, "PATCH", location, headers, good)
      assert {204, _, _} = request(port, "PATCH", location, @fragment, good)
    end

    test "restarts ICE by a fragment with new credentials", context do
      %{port: port, location: location, etag: etag, demo: demo} = context

      body =
        "a=ice-ufrag:anew\r\na=ice-pwd:other\r\na=mid:0\r\na=candidate:9 1 udp 1 10.0.0.9 1 typ host\r\n"

      headers = @fragment ++ [{"If-Match", "*"}]
      assert {200, answer_headers, fragment} = request(port, "PATCH", location, headers, body)
      assert answer_headers["content-type"] == "application/trickle-ice-sdpfrag"
      assert answer_headers["etag"] != etag
      assert fragment =~ "a=ice-ufrag:ours2"
      assert fragment =~ "a=candidate:"

      remote = FakePeerConnection.get_remote_description(pc(demo)).sdp
      assert remote =~ "a=ice-ufrag:anew"
      assert remote =~ "10.0.0.9"
      refute remote =~ "theirs"

      stale = @fragment ++ [{"If-Match", etag}]

      assert {412, _, _} =
               request(
                 port,
                 "PATCH",
                 location,
                 stale,
                 "a=ice-ufrag:anew\r\na=end-of-candidates\r\n"
               )
    end

    test "answers a new offer, and stays as it was after a bad one", %{
      port: port,
      location: location
    } do
      more = @offer <> "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\n"
      assert {200, headers, _answer} = request(port, "PATCH", location, @sdp, more)
      assert headers["content-type"] == "application/sdp"
      assert {400, _, _} = request(port, "PATCH", location, @sdp, "nonsense")
      assert {415, _, _} = request(port, "PATCH", location, [{"Content-Type", "text/html"}], more)
      assert {200, _, json} = request(port, "GET", location)

      assert json ==
               ~s({"inbound":[{"kind":"audio","mid":"0","packets":0,"rid":null},) <>
                 ~s({"kind":"video","mid":"1","packets":0,"rid":null},) <>
                 ~s({"kind":"video","mid":"2","packets":0,"rid":null}]})
    end

    test "shows its statistics", %{port: port, location: location} do
      assert {200, %{"content-type" => "application/json"}, json} =
               request(port, "GET", location <> "/stats")

      assert json =~ ~s("connection_state":"connected")
      assert json =~ ~s("current_round_trip_time":0.001)
      assert {405, _, _} = request(port, "DELETE", location <> "/stats")
    end

    test "answers HEAD without a body", %{port: port, location: location} do
      assert {200, %{"content-length" => length}, ""} = request(port, "HEAD", location)
      assert String.to_integer(length) > 0
    end

    test "ends by DELETE and is gone", %{port: port, location: location, demo: demo} do
      pc = pc(demo)
      monitor = Process.monitor(pc)
      assert {200, _, ""} = request(port, "DELETE", location)
      assert_receive {:DOWN, ^monitor, :process, ^pc, _reason}
      assert Demo.sessions(demo) == 0

      for method <- ["GET", "DELETE"], do: assert({404, _, _} = request(port, method, location))
      assert {404, _, _} = request(port, "PATCH", location, @sdp, @offer)
      assert {404, _, _} = request(port, "GET", location <> "/stats")
    end

    test "ends when the peer fails or closes", %{port: port, location: location, demo: demo} do
      FakePeerConnection.emit(pc(demo), {:connection_state_change, :failed})
      eventually(fn -> Demo.sessions(demo) == 0 end)
      assert {404, _, _} = request(port, "GET", location)

      {201, _, _} = request(port, "POST", "/echo", @sdp, @offer)
      FakePeerConnection.emit(pc(demo), {:dtls_transport_state_change, :closed})
      eventually(fn -> Demo.sessions(demo) == 0 end)
    end

    test "ends alone when its connection crashes", %{port: port, location: location, demo: demo} do
      {201, %{"location" => other}, _} = request(port, "POST", "/echo", @sdp, @offer)
      [{first, _}] = Registry.lookup(registry(demo), key(location))

      ExUnit.CaptureLog.capture_log(fn ->
        Process.exit(:sys.get_state(first).pc, :kill)
        eventually(fn -> Demo.sessions(demo) == 1 end)
      end)

      assert {404, _, _} = request(port, "GET", location)
      assert {200, _, _} = request(port, "GET", other)
    end
  end

  describe "echo" do
    test "sends a packet back on its own transceiver, without header extensions", context do
      {pc, [_audio, video]} = session(context, "/echo")

      packet = %{packet(7) | extension: true, extension_profile: 0xBEDE, extensions: []}
      FakePeerConnection.emit(pc, {:rtp, video.receiver.track.id, nil, packet})

      sent = video.sender.track.id
      eventually(fn -> match?([{:rtp, ^sent, _}], FakePeerConnection.calls(pc)) end)
      assert [{:rtp, _, back}] = FakePeerConnection.calls(pc)
      assert back == %{packet | extension: false, extension_profile: nil, extensions: nil}
    end

    test "asks the track for the keyframe that its echo is asked for", context do
      {pc, [_audio, video]} = session(context, "/echo")
      pli = %PLI{sender_ssrc: 1, media_ssrc: 2}
      FakePeerConnection.emit(pc, {:rtcp, [{video.sender.track.id, pli}, {nil, pli}]})
      received = video.receiver.track.id
      eventually(fn -> FakePeerConnection.calls(pc) == [{:pli, received, nil}] end)
    end

    test "counts what it got, per layer", %{port: port} = context do
      {201, %{"location" => location}, _} = request(port, "POST", "/echo", @sdp, @offer)
      {pc, [audio, video]} = session(Map.put(context, :location, location), "/echo")

      for n <- 1..3,
          do: FakePeerConnection.emit(pc, {:rtp, audio.receiver.track.id, nil, packet(n)})

      for n <- 1..2,
          do: FakePeerConnection.emit(pc, {:rtp, video.receiver.track.id, "h", packet(n)})

      FakePeerConnection.emit(pc, {:rtp, video.receiver.track.id, "l", packet(1)})
      # Tracks that nobody negotiated count for nobody.
      FakePeerConnection.emit(pc, {:rtp, -1, nil, packet(1)})

      {200, _, json} = request(port, "GET", location)

      assert json ==
               ~s({"inbound":[{"kind":"audio","mid":"0","packets":3,"rid":null},) <>
                 ~s({"kind":"video","mid":"1","packets":2,"rid":"h"},) <>
                 ~s({"kind":"video","mid":"1","packets":1,"rid":"l"}]})
    end

    test "returns messages on their channel, text as text and binary as binary", context do
      {pc, _transceivers} = session(context, "/echo")
      ref = make_ref()
      FakePeerConnection.emit(pc, {:data, ref, {:string, "hello"}})
      FakePeerConnection.emit(pc, {:data, ref, {:binary, ""}})

      eventually(fn ->
        FakePeerConnection.calls(pc) == [
          {:data, ref, :string, "hello"},
          {:data, ref, :binary, ""}
        ]
      end)
    end

    test "loses no message and keeps their order while a buffer is full", context do
      {pc, _transceivers} = session(context, "/echo")
      ref = make_ref()
      FakePeerConnection.full(pc, true)
      for n <- 1..50, do: FakePeerConnection.emit(pc, {:data, ref, {:string, "#{n}"}})
      assert FakePeerConnection.calls(pc) == []
      FakePeerConnection.full(pc, false)
      expected = for n <- 1..50, do: {:data, ref, :string, "#{n}"}
      eventually(fn -> FakePeerConnection.calls(pc) == expected end)
    end

    test "makes a negotiated channel where it is asked to", %{port: port, demo: demo} do
      assert {201, _, _} = request(port, "POST", "/echo?negotiated=7", @sdp, @offer)
      assert [{:channel, _label, options}] = demo |> pc() |> FakePeerConnection.calls()
      assert options[:negotiated] == true
      assert options[:id] == 7

      for id <- ["seven", "-1", "65535", "7x", ""] do
        assert {400, _, _} = request(port, "POST", "/echo?negotiated=#{id}", @sdp, @offer)
      end
    end
  end

  describe "publishing and watching" do
    test "one publisher has a stream at a time, and its name is free afterwards", %{port: port} do
      assert {201, %{"location" => location}, _} =
               request(port, "POST", "/whip?stream=a", @sdp, @offer)

      assert {409, _, _} = request(port, "POST", "/whip?stream=a", @sdp, @offer)
      assert {201, _, _} = request(port, "POST", "/whip", @sdp, @offer)
      assert {200, _, ~s({"streams":["a","live"]})} = request(port, "GET", "/streams")
      assert {200, _, _} = request(port, "DELETE", location)
      assert {201, _, _} = request(port, "POST", "/whip?stream=a", @sdp, @offer)
      assert {400, _, _} = request(port, "POST", "/whip?stream=a%20b", @sdp, @offer)
      assert {400, _, _} = request(port, "POST", "/whip?stream=", @sdp, @offer)
    end

    test "a refused offer leaves the name free", %{port: port} do
      assert {400, _, _} = request(port, "POST", "/whip?stream=a", @sdp, "garbage")
      assert {201, _, _} = request(port, "POST", "/whip?stream=a", @sdp, @offer)
    end

    test "there is nothing to watch before somebody publishes", %{port: port} do
      assert {404, _, text} = request(port, "POST", "/whep?stream=a", @sdp, @offer)
      assert text =~ "nobody publishes a"
    end

    test "what is published is forwarded to every viewer, once", context do
      {publisher, [audio, video]} = session(context, "/whip")
      viewers = for _ <- 1..3, do: session(context, "/whep")

      expected =
        for {viewer, [viewer_audio, viewer_video]} <- viewers,
            {from, to} <- [{audio, viewer_audio}, {video, viewer_video}],
            do: {:forward, from.receiver.track.id, viewer, to.sender.id}

      eventually(fn -> Enum.sort(FakePeerConnection.calls(publisher)) == Enum.sort(expected) end)
    end

    test "viewers end with their publisher", %{port: port, demo: demo} = context do
      {201, %{"location" => publisher}, _} = request(port, "POST", "/whip", @sdp, @offer)
      {_viewer, _} = session(context, "/whep")
      assert Demo.sessions(demo) == 2
      assert {200, _, _} = request(port, "DELETE", publisher)
      eventually(fn -> Demo.sessions(demo) == 0 end)
    end
  end

  defp session(%{location: location, demo: demo}, _path) do
    [{session, _}] = Registry.lookup(registry(demo), key(location))
    pc = :sys.get_state(session).pc
    {pc, FakePeerConnection.get_transceivers(pc)}
  end

  defp session(%{port: port, demo: demo}, path) do
    {201, %{"location" => location}, _} = request(port, "POST", path, @sdp, @offer)
    session(%{location: location, demo: demo}, path)
  end

  # The connection of the only session.
  defp pc(demo) do
    [{_, session, _, _}] =
      demo |> Module.concat("WHIP.Sessions") |> DynamicSupervisor.which_children()

    :sys.get_state(session).pc
  end

  defp registry(demo), do: Module.concat(demo, "WHIP.Registry")

  defp key(location) do
    ["", endpoint, id] = String.split(location, "/")
    {endpoint, id}
  end

  defp packet(number) do
    %Packet{
      payload_type: 96,
      sequence_number: number,
      timestamp: 3_000 * number,
      ssrc: 1,
      payload: <<0x10, 0>>
    }
  end
end
