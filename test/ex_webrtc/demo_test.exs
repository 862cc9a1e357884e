defmodule ExWebRTC.DemoTest do
  # The demo as its clients meet it: over HTTP, with connections that really connect.
  use ExUnit.Case, async: false

  import ExWebRTC.HTTPClient, only: [request: 3, request: 5]
  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{DataChannel, Demo, HTTPClient, Native, PeerConnection, SessionDescription}

  @sdp [{"Content-Type", "application/sdp"}]
  @fragment [{"Content-Type", "application/trickle-ice-sdpfrag"}]

  setup context do
    name = Module.concat(__MODULE__, "Demo#{:erlang.phash2(context.test)}")
    # Those of the test before are on their way out.
    eventually(fn -> Native.connections() == 0 end)
    start_supervised!({Demo, name: name, port: 0})
    %{demo: name, port: Demo.port(name)}
  end

  describe "a client's session" do
    setup :connected

    test "echoes, describes itself, and ends by DELETE with all it had", context do
      %{port: port, location: location, pc: pc, channel: channel} = context
      assert_echo(pc, channel, "hello")

      assert {200, %{"content-type" => "application/json"}, json} = request(port, "GET", location)
      assert %{"inbound" => [%{"kind" => "video", "mid" => _mid}]} = decode(json)

      assert {200, _, json} = request(port, "GET", location <> "/stats")
      assert %{"connection_state" => "connected", "stats" => [_ | _]} = decode(json)

      assert {200, _, ""} = request(port, "DELETE", location)
      assert_receive {:ex_webrtc, ^pc, {:dtls_transport_state_change, :closed}}, 2_000
      assert Demo.sessions(context.demo) == 0
      # Ours is the one that is left.
      eventually(fn -> Native.connections() == 1 end)
      for method <- ["GET", "DELETE"], do: assert({404, _, _} = request(port, method, location))
    end

    test "takes candidates of its ICE session and of no other", context do
      %{port: port, location: location, etag: etag, pc: pc, channel: channel} = context
      [ufrag] = local(pc, "ice-ufrag")

      candidate =
        "a=ice-ufrag:#{ufrag}\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" <>
          "a=candidate:99 1 udp 1 192.0.2.77 4711 typ host\r\na=end-of-candidates\r\n"

      for matching <- [[], [{"If-Match", etag}]] do
        assert {204, %{"etag" => ^etag}, ""} =
                 request(port, "PATCH", location, @fragment ++ matching, candidate)
      end

      other = @fragment ++ [{"If-Match", ~s("other")}]
      assert {412, _, _} = request(port, "PATCH", location, other, candidate)
      late = String.replace(candidate, ufrag, "before")
      assert {412, _, _} = request(port, "PATCH", location, @fragment, late)

      for bad <- ["", "nonsense", "a=candidate:no candidate at all\r\n", <<0xFF, 0>>] do
        assert {400, _, _} = request(port, "PATCH", location, @fragment, bad)
      end

      assert_echo(pc, channel, "still here")
    end

    test "answers a new offer, and stays as it was after a bad one", context do
      %{port: port, location: location, pc: pc, channel: channel} = context

      for bad <- ["", "v=0", "nonsense", String.duplicate("a=x\r\n", 1_000)] do
        assert {400, _, _} = request(port, "PATCH", location, @sdp, bad)
      end

      assert {413, _, _} = request(port, "PATCH", location, @sdp, String.duplicate("a", 300_000))
      assert {415, _, _} = request(port, "PATCH", location, [{"Content-Type", "text/html"}], "x")
      assert_echo(pc, channel, "after bad offers")

      {:ok, _audio} = PeerConnection.add_transceiver(pc, :audio)
      assert {200, %{"content-type" => "application/sdp"}, answer} = reoffer(context, [])
      assert answer =~ "m=audio"
      {_status, _headers, json} = request(port, "GET", location)

      assert decode(json)["inbound"] |> Enum.map(& &1["kind"]) |> Enum.sort() == [
               "audio",
               "video"
             ]

      assert_echo(pc, channel, "after a new offer")
    end

    test "restarts ICE by an offer and goes on", context do
      %{pc: pc, channel: channel} = context
      [before] = local(pc, "ice-ufrag")
      assert {200, _, _answer} = reoffer(context, ice_restart: true)
      refute local(pc, "ice-ufrag") == [before]
      assert_echo(pc, channel, "after the restart")
    end

    test "ends when its client closes", context do
      :ok = PeerConnection.close(context.pc)
      assert_gone(context)
    end

    test "ends when its client's process is killed", context do
      Process.unlink(context.pc)
      Process.exit(context.pc, :kill)
      assert_gone(context)
    end

    test "takes its connection along when it is killed itself", context do
      [{session, _value}] =
        Registry.lookup(Module.concat(context.demo, "WHIP.Registry"), key(context.location))

      ExUnit.CaptureLog.capture_log(fn ->
        Process.exit(session, :kill)
        eventually(fn -> Native.connections() == 1 end)
      end)

      assert Demo.sessions(context.demo) == 0
      assert {404, _, _} = request(context.port, "GET", context.location)
    end

    test "does not notice what others do wrong", context do
      %{port: port, location: location, pc: pc, channel: channel, demo: demo} = context
      good = offer(client())
      processes = length(Process.list())
      connections = Native.connections()
      :rand.seed(:exsss, {20, 26, 11})

      for n <- 1..60 do
        assert {status, _, _} = request(port, "POST", "/echo", @sdp, mangle(good, n))
        assert status in [201, 400]
        if rem(n, 20) == 0, do: assert_echo(pc, channel, "still #{n}")
      end

      for _ <- 1..40 do
        socket = HTTPClient.connect(port)
        _ = :gen_tcp.send(socket, :rand.bytes(:rand.uniform(2_000)))
        :gen_tcp.close(socket)
      end

      assert {413, _, _} =
               HTTPClient.raw(
                 port,
                 HTTPClient.head("POST", "/echo", @sdp ++ [{"Content-Length", 1_000_000_000}])
               )

      # What was taken for an offer has a session like any other; the rest has left nothing.
      for other <- sessions(demo), other != key(location) do
        {endpoint, id} = other
        assert {200, _, _} = request(port, "DELETE", "/#{endpoint}/#{id}")
      end

      assert_echo(pc, channel, "after all")
      eventually(fn -> Native.connections() == connections end)
      eventually(fn -> length(Process.list()) <= processes end)
    end
  end

  describe "requests that are answered without a connection" do
    test "have the status that says what is wrong", %{port: port} do
      offer = offer(client())

      for {status, method, path, headers, body} <- [
            {400, "POST", "/echo", @sdp, "no offer"},
            {400, "POST", "/echo", @sdp, ""},
            {400, "POST", "/echo", @sdp,
             "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=\r\n"},
            {400, "POST", "/echo?negotiated=x", @sdp, offer},
            {400, "POST", "/whip?stream=a%20b", @sdp, offer},
            {404, "POST", "/whep?stream=nobody", @sdp, offer},
            {404, "POST", "/other", @sdp, offer},
            {404, "GET", "/echo/guessed", [], ""},
            {404, "PATCH", "/echo/guessed", @sdp, offer},
            {404, "PATCH", "/echo/guessed", @fragment, "a=end-of-candidates\r\n"},
            {404, "DELETE", "/echo/guessed", [], ""},
            {405, "GET", "/whip", [], ""},
            {405, "PUT", "/whep", @sdp, offer},
            {405, "POST", "/echo/guessed", @sdp, offer},
            {413, "POST", "/echo", @sdp, String.duplicate("a", 300_000)},
            {415, "POST", "/whip", [{"Content-Type", "application/json"}], offer},
            {415, "PATCH", "/echo/guessed", [{"Content-Type", "application/json"}], "{}"}
          ] do
        assert {{^status, response, _body}, _what} =
                 {request(port, method, path, headers, body), {status, method, path}}

        assert response["access-control-allow-origin"] == "*"
      end

      # The offering client's.
      eventually(fn -> Native.connections() == 1 end)
    end

    test "one publisher has a stream, until it is gone", %{port: port, demo: demo} do
      [first, second] = for _ <- 1..2, do: offer(client())

      assert {201, %{"location" => "/whip/" <> _ = location}, _} =
               request(port, "POST", "/whip?stream=a", @sdp, first)

      assert {409, _, _} = request(port, "POST", "/whip?stream=a", @sdp, second)
      assert {201, _, answer} = request(port, "POST", "/whep?stream=a", @sdp, second)
      assert answer =~ "m=video"
      assert {200, _, _} = request(port, "DELETE", location)
      # The viewer ends with what it watches.
      eventually(fn -> Demo.sessions(demo) == 0 end)
      assert {201, _, _} = request(port, "POST", "/whip?stream=a", @sdp, first)
    end

    test "pages of other origins may ask what they may do", %{port: port} do
      for {path, methods} <- [{"/whip", ["POST"]}, {"/whip/any", ["GET", "PATCH", "DELETE"]}] do
        assert {204, headers, ""} =
                 request(port, "OPTIONS", path, [{"Origin", "https://a.example"}], "")

        assert headers["access-control-allow-origin"] == "*"
        assert headers["access-control-allow-headers"] =~ "if-match"
        for one <- methods, do: assert(headers["access-control-allow-methods"] =~ one)
      end
    end
  end

  # ---- a client

  defp client do
    {:ok, pc} = PeerConnection.start_link()
    {:ok, _video} = PeerConnection.add_transceiver(pc, :video)
    pc
  end

  # An offer with its candidates.
  defp offer(pc, options \\ []) do
    {:ok, offer} = PeerConnection.create_offer(pc, options)
    :ok = PeerConnection.set_local_description(pc, offer)
    eventually(fn -> PeerConnection.get_ice_gathering_state(pc) == :complete end)
    PeerConnection.get_local_description(pc).sdp
  end

  defp connected(%{port: port} = context) do
    pc = client()
    {:ok, %DataChannel{ref: channel}} = PeerConnection.create_data_channel(pc, "test")
    offer = offer(pc)
    assert {201, headers, answer} = request(port, "POST", "/echo", @sdp, offer)
    assert headers["content-type"] == "application/sdp"
    assert answer =~ "a=candidate:"
    set_answer(pc, answer)
    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ^channel, :open}}, 5_000

    Map.merge(context, %{
      pc: pc,
      channel: channel,
      location: headers["location"],
      etag: headers["etag"]
    })
  end

  defp reoffer(%{port: port, location: location, pc: pc}, options) do
    offer = offer(pc, options)
    {status, headers, answer} = request(port, "PATCH", location, @sdp, offer)
    set_answer(pc, answer)
    {status, headers, answer}
  end

  defp set_answer(pc, sdp) do
    answer = %SessionDescription{type: :answer, sdp: sdp}
    assert PeerConnection.set_remote_description(pc, answer) == :ok
  end

  defp assert_echo(pc, channel, text) do
    :ok = PeerConnection.send_data(pc, channel, text)
    assert_receive {:ex_webrtc, ^pc, {:data, ^channel, ^text}}, 5_000
  end

  defp assert_gone(%{demo: demo, port: port, location: location}) do
    eventually(fn -> Demo.sessions(demo) == 0 end)
    eventually(fn -> Native.connections() <= 1 end)
    assert {404, _, _} = request(port, "GET", location)
  end

  defp local(pc, attribute) do
    ~r/^a=#{attribute}:(\S+)/m
    |> Regex.scan(PeerConnection.get_local_description(pc).sdp, capture: :all_but_first)
    |> List.flatten()
    |> Enum.uniq()
  end

  # One line lost, doubled, cut, or with a few of its bytes changed.
  defp mangle(sdp, n) do
    lines = String.split(sdp, "\r\n", trim: true)
    at = :rand.uniform(length(lines)) - 1
    line = Enum.at(lines, at)

    changed =
      case rem(n, 4) do
        0 -> []
        1 -> [line, line]
        2 -> [binary_part(line, 0, :rand.uniform(byte_size(line)) - 1)]
        3 -> [String.replace(line, ~r/[0-9a-z]/, "~", global: false)]
      end

    lines |> List.replace_at(at, changed) |> List.flatten() |> Enum.map_join(&(&1 <> "\r\n"))
  end

  defp sessions(demo) do
    Registry.select(Module.concat(demo, "WHIP.Registry"), [{{:"$1", :_, :_}, [], [:"$1"]}])
  end

  defp key(location) do
    ["", endpoint, id] = String.split(location, "/")
    {endpoint, id}
  end

  defp decode(json), do: ExWebRTC.JSONReader.decode!(json)
end
