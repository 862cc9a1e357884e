defmodule ExWebRTC.UDPBridgeTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{FFmpeg, Player, RTCP, RTPCodecParameters, UDPBridge}
  alias ExWebRTC.RTP.Packet

  @loopback {127, 0, 0, 1}
  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
  @opus %RTPCodecParameters{
    payload_type: 111,
    mime_type: "audio/opus",
    clock_rate: 48_000,
    channels: 2,
    sdp_fmtp_line: "minptime=10;useinbandfec=1"
  }

  # An RTP port that was free a moment ago.
  defp free_port do
    {:ok, probe} = UDPBridge.start_link(tracks: [%{id: 0, codec: @vp8}])
    %{0 => port} = UDPBridge.ports(probe)
    :ok = GenServer.stop(probe)
    port
  end

  defp start(tracks) do
    {:ok, bridge} = UDPBridge.start_link(tracks: tracks)
    bridge
  end

  defp pair do
    inward = start([%{id: 1, codec: @vp8}])
    %{1 => port} = UDPBridge.ports(inward)
    {start([%{id: 7, codec: @vp8, remote: {@loopback, port}}]), inward, port}
  end

  defp socket do
    {:ok, socket} = :gen_udp.open(0, [:binary, ip: @loopback])
    socket
  end

  test "packets of RTP and RTCP come as they were sent" do
    {outward, inward, _port} = pair()
    packet = Packet.new("frame", payload_type: 5, sequence_number: 7, timestamp: 9, ssrc: 1)
    :ok = UDPBridge.send_rtp(outward, 7, packet)
    # With the payload type that the SDP names.
    expected = %{packet | payload_type: 96}
    assert_receive {:ex_webrtc_udp, ^inward, {:rtp, 1, ^expected}}, 2000

    pli = %RTCP.PLI{sender_ssrc: 1, media_ssrc: 2}
    :ok = UDPBridge.send_rtcp(outward, 7, [pli])
    assert_receive {:ex_webrtc_udp, ^inward, {:rtcp, 1, [^pli]}}, 2000
  end

  test "RTCP goes back to who is the remote of each" do
    [port, other] = [free_port(), free_port()]
    one = start([%{id: 1, codec: @vp8, port: port, remote: {@loopback, other}}])
    two = start([%{id: 2, codec: @vp8, port: other, remote: {@loopback, port}}])
    pli = %RTCP.PLI{sender_ssrc: 1, media_ssrc: 2}
    :ok = UDPBridge.send_rtcp(one, 1, [pli])
    assert_receive {:ex_webrtc_udp, ^two, {:rtcp, 2, [^pli]}}, 2000
    :ok = UDPBridge.send_rtcp(two, 2, [pli])
    assert_receive {:ex_webrtc_udp, ^one, {:rtcp, 1, [^pli]}}, 2000
  end

  test "RTCP on the port of RTP is told apart, and what is neither is dropped" do
    {_outward, inward, port} = pair()
    socket = socket()
    pli = %RTCP.PLI{sender_ssrc: 1, media_ssrc: 2}

    for data <- ["", "x", "no RTP at all", <<2::2, 0::6, 200, 9::16>>, RTCP.encode(pli)],
        do: :ok = :gen_udp.send(socket, @loopback, port, data)

    assert_receive {:ex_webrtc_udp, ^inward, {:rtcp, 1, [^pli]}}, 2000
    refute_received {:ex_webrtc_udp, ^inward, _other}
  end

  test "tracks that are unknown, or only received, are not sent" do
    {outward, inward, _port} = pair()
    packet = Packet.new("frame")
    :ok = UDPBridge.send_rtp(outward, 8, packet)
    :ok = UDPBridge.send_rtp(inward, 1, packet)
    :ok = UDPBridge.send_rtp(outward, 7, %{packet | payload: "last"})
    assert_receive {:ex_webrtc_udp, ^inward, {:rtp, 1, %{payload: "last"}}}, 2000
    refute_received {:ex_webrtc_udp, _bridge, _packet}
  end

  test "the SDP names what is sent where, and what is received at" do
    bridge = start([%{id: 1, codec: @opus, remote: {{10, 0, 0, 1}, 5004}}, %{id: 2, codec: @vp8}])
    %{2 => port} = UDPBridge.ports(bridge)

    assert UDPBridge.sdp(bridge) == """
           v=0\r
           o=- 0 0 IN IP4 127.0.0.1\r
           s=ExWebRTC\r
           t=0 0\r
           m=audio 5004 RTP/AVP 111\r
           c=IN IP4 10.0.0.1\r
           a=rtpmap:111 opus/48000/2\r
           a=fmtp:111 minptime=10;useinbandfec=1\r
           """

    assert UDPBridge.sdp(bridge, :in) =~
             "m=video #{port} RTP/AVP 96\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:96 VP8/90000\r\n"
  end

  test "wrong options raise in the caller, naming what was expected" do
    track = %{id: 1, codec: @vp8}

    for {expected, opts} <- [
          {":tracks to be a list", []},
          {":tracks to be a list", [tracks: %{}]},
          {":tracks to be maps", [tracks: [1]]},
          {":tracks to be maps", [tracks: [%{id: 1}]]},
          {":id to be the id", [tracks: [%{track | id: "1"}]]},
          {":id of :tracks once", [tracks: [track, track]]},
          {":codec to be a codec", [tracks: [%{track | codec: :vp8}]]},
          {":remote to be an IP address",
           [tracks: [Map.put(track, :remote, {"127.0.0.1", 5004})]]},
          {":remote to be an IP address",
           [tracks: [Map.put(track, :remote, {{127, 0, 0, 1}, 65_535})]]},
          {":port to be in 1..65534", [tracks: [Map.put(track, :port, 65_535)]]},
          {":ip to be an IP address", [tracks: [track], ip: "127.0.0.1"]},
          {"unknown keys", [tracks: [track], host: 1]}
        ] do
      assert_raise ArgumentError, ~r/#{expected}/, fn -> UDPBridge.start_link(opts) end
    end
  end

  test "a packet that none can carry raises in the caller, and the bridge goes on" do
    {outward, inward, _port} = pair()
    packet = Packet.new("a", sequence_number: 7, marker: true)

    assert_raise ArgumentError, ~r/:payload/, fn ->
      UDPBridge.send_rtp(outward, 7, %{packet | payload: nil})
    end

    assert_raise ArgumentError, ~r/RTCP/, fn -> UDPBridge.send_rtcp(outward, 7, [nil]) end
    :ok = UDPBridge.send_rtp(outward, 7, packet)
    received = %{packet | payload_type: 96}
    assert_receive {:ex_webrtc_udp, ^inward, {:rtp, 1, ^received}}, 2000
  end

  test "a port that is taken is an error" do
    Process.flag(:trap_exit, true)
    bridge = start([%{id: 1, codec: @vp8}])
    %{1 => port} = UDPBridge.ports(bridge)
    tracks = [%{id: 1, codec: @vp8, port: port}]
    assert {:error, :eaddrinuse} == UDPBridge.start_link(tracks: tracks)
  end

  test "an owner that does not read is not flooded, and gets the rest when it does" do
    # A process of its own that reads nothing until it is told to.
    test = self()

    owner =
      spawn_link(fn ->
        {:ok, bridge} = UDPBridge.start_link(tracks: [%{id: 1, codec: @vp8}])
        send(test, {:bridge, bridge, UDPBridge.ports(bridge)[1]})
        receive do: (:read -> read_on(test))
      end)

    assert_receive {:bridge, bridge, target}, 2000
    socket = socket()
    data = Packet.encode(Packet.new("x"))

    # More than the owner may have waiting, faster than nobody reads them.
    send_until = fn send_until ->
      for _n <- 1..1000, do: :gen_udp.send(socket, @loopback, target, data)
      :sys.get_state(bridge)
      {:message_queue_len, length} = Process.info(owner, :message_queue_len)
      if length <= 10_000, do: send_until.(send_until)
    end

    send_until.(send_until)
    for _n <- 1..20_000, do: :gen_udp.send(socket, @loopback, target, data)
    :sys.get_state(bridge)
    {:message_queue_len, length} = Process.info(owner, :message_queue_len)
    assert length in 10_000..10_200
    send(owner, :read)

    # The kernel may drop some while its buffer is full.
    eventually(fn ->
      :ok = :gen_udp.send(socket, @loopback, target, Packet.encode(Packet.new("last")))
      receive(do: (:last -> true), after: (0 -> false))
    end)
  end

  defp read_on(test) do
    receive do
      {:ex_webrtc_udp, _bridge, {:rtp, 1, %{payload: "last"}}} -> send(test, :last)
      _packet -> :ok
    end

    read_on(test)
  end

  test "a bridge stops with the process that started it" do
    test = self()

    {owner, down} =
      spawn_monitor(fn ->
        send(test, {:bridge, start([%{id: 1, codec: @vp8}])})
        receive do: (:end -> :ok)
      end)

    assert_receive {:bridge, bridge}, 2000
    monitor = Process.monitor(bridge)
    send(owner, :end)
    assert_receive {:DOWN, ^down, :process, ^owner, :normal}, 2000
    assert_receive {:DOWN, ^monitor, :process, ^bridge, :normal}, 2000
  end

  describe "ffmpeg" do
    @describetag :interop
    @describetag :tmp_dir
    @describetag timeout: 120_000

    # This ffmpeg is older than its AV1 over RTP.
    for mime_type <- FFmpeg.video_codecs() -- ["video/AV1"] do
      @mime_type mime_type

      test "receives #{mime_type} with nothing but the SDP, and decodes it", context do
        source = FFmpeg.video!(context.tmp_dir, @mime_type, arguments: ~w(-bf 0))
        codec = %{@vp8 | mime_type: @mime_type}
        {bridge, sdp} = sending([%{id: 1, codec: codec}], context.tmp_dir)
        play(bridge, source, [{1, codec}])
        out = Path.join(context.tmp_dir, "received.mkv")
        receive_with_ffmpeg(sdp, ~w(-c:v ffv1 -frames:v 20 #{out}))

        assert [%{"width" => "160", "height" => "120", "nb_read_packets" => "20"}] =
                 FFmpeg.probe(out, "stream=width,height,nb_read_packets", ~w(-count_packets))
      end
    end

    test "receives audio and video of one SDP", %{tmp_dir: directory} do
      video = FFmpeg.video!(directory, "video/VP8")
      both = Path.join(directory, "both.webm")

      FFmpeg.run!(
        ~w(-i #{video} -f lavfi -i sine=duration=2 -c:v copy -c:a libopus -ac 2 -shortest #{both})
      )

      {bridge, sdp} = sending([%{id: 1, codec: @vp8}, %{id: 2, codec: @opus}], directory)
      play(bridge, both, [{1, @vp8}, {2, @opus}])
      out = Path.join(directory, "received.mkv")
      receive_with_ffmpeg(sdp, ~w(-map 0 -c copy -t 2 #{out}))
      names = for %{"codec_name" => name} <- FFmpeg.probe(out, "stream=codec_name"), do: name
      assert Enum.sort(names) == ["opus", "vp8"]
    end

    for {name, encoder, payload_type, rate} <- [
          {"PCMU", "pcm_mulaw", 0, 8000},
          {"PCMA", "pcm_alaw", 8, 8000},
          {"G722", "g722", 9, 16_000}
        ] do
      @audio {name, encoder, payload_type, rate}

      test "receives #{name}", %{tmp_dir: directory} do
        {name, encoder, payload_type, rate} = @audio

        codec = %RTPCodecParameters{
          payload_type: payload_type,
          mime_type: "audio/#{name}",
          clock_rate: 8000
        }

        source = FFmpeg.audio!(directory, "tone.mka", ~w(-c:a #{encoder} -ac 1 -ar #{rate}))

        {bridge, sdp} = sending([%{id: 1, codec: codec}], directory)
        play(bridge, source, [{1, codec}])
        out = Path.join(directory, "received.mka")
        receive_with_ffmpeg(sdp, ~w(-c copy -t 1 #{out}))
        assert [%{"codec_name" => codec_name}] = FFmpeg.probe(out, "stream=codec_name")
        assert String.ends_with?(codec_name, encoder)
      end
    end

    test "as ffplay shows the picture", %{tmp_dir: directory} do
      source = FFmpeg.video!(directory, "video/VP8")
      {bridge, sdp} = sending([%{id: 1, codec: @vp8}], directory)
      play(bridge, source, [{1, @vp8}])

      # Without a screen; the filter tells of each picture that is shown.
      ffplay =
        Port.open({:spawn_executable, System.find_executable("ffplay")}, [
          :binary,
          :stderr_to_stdout,
          {:line, 4096},
          {:env, [{'SDL_VIDEODRIVER', 'dummy'}, {'SDL_AUDIODRIVER', 'dummy'}]},
          {:args, ~w(-hide_banner -protocol_whitelist file,udp,rtp -vf showinfo -i #{sdp})}
        ])

      {:os_pid, os_pid} = Port.info(ffplay, :os_pid)
      on_exit(fn -> System.cmd("kill", ["-9", "#{os_pid}"], stderr_to_stdout: true) end)
      assert shown(ffplay, 0) == 20
    end

    test "sends, with reports, and what comes in goes out again", %{tmp_dir: directory} do
      source = FFmpeg.video!(directory, "video/VP8")
      inward = start([%{id: 1, codec: @vp8}])
      %{1 => port} = UDPBridge.ports(inward)
      {outward, sdp} = sending([%{id: 1, codec: @vp8}], directory)
      out = Path.join(directory, "received.ivf")

      receiver =
        Task.async(fn -> receive_with_ffmpeg(sdp, ~w(-c copy -frames:v 20 -f ivf #{out})) end)

      sender =
        Task.async(fn ->
          FFmpeg.run!(~w(-re -stream_loop 3 -i #{source} -c copy -f rtp rtp://127.0.0.1:#{port}))
        end)

      assert relay(outward, receiver.ref, 0) > 0
      assert [%{"width" => "160"}] = FFmpeg.probe(out, "stream=width")
      Task.await(sender, 30_000)
    end

    # A bridge to a port that ffmpeg is to listen at, and the file that tells it.
    defp sending(tracks, directory) do
      tracks = for track <- tracks, do: Map.put(track, :remote, {@loopback, free_port()})
      bridge = start(tracks)
      path = Path.join(directory, "stream.sdp")
      File.write!(path, UDPBridge.sdp(bridge))
      {bridge, path}
    end

    defp play(bridge, path, tracks) do
      tracks =
        for {id, codec} <- tracks,
            do: %{codec: codec, to: &UDPBridge.send_rtp(bridge, id, &1)}

      {:ok, _player} =
        Player.start_link(path: path, tracks: tracks, loop: true, frame_rate: FFmpeg.rate())
    end

    # It joins a stream in the middle, and complains of what it cannot decode until the first keyframe.
    defp receive_with_ffmpeg(sdp, arguments) do
      {_complaints, 0} =
        System.cmd(
          "ffmpeg",
          ~w(-hide_banner -nostdin -loglevel error -y -protocol_whitelist file,udp,rtp -i #{sdp}) ++
            arguments,
          stderr_to_stdout: true
        )
    end

    defp shown(_ffplay, 20), do: 20

    defp shown(ffplay, count) do
      receive do
        {^ffplay, {:data, {_end, line}}} ->
          shown(ffplay, if(line =~ ~r/showinfo.* n: *\d+ /, do: count + 1, else: count))
      after
        30_000 -> count
      end
    end

    # Counts the reports.
    defp relay(outward, done, reports) do
      receive do
        {:ex_webrtc_udp, _bridge, {:rtp, id, packet}} ->
          UDPBridge.send_rtp(outward, id, packet)
          relay(outward, done, reports)

        {:ex_webrtc_udp, _bridge, {:rtcp, id, packets}} ->
          UDPBridge.send_rtcp(outward, id, packets)
          relay(outward, done, reports + Enum.count(packets, &match?(%RTCP.SenderReport{}, &1)))

        {^done, _output} ->
          Process.demonitor(done, [:flush])
          reports
      after
        30_000 -> flunk("ffmpeg received nothing")
      end
    end
  end
end
