defmodule ExWebRTC.RecorderTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.{
    FFmpeg,
    MediaStreamTrack,
    PeerConnection,
    Peers,
    Player,
    Recorder,
    RTPCodecParameters
  }

  alias ExWebRTC.Media.{IVF, Opus}
  alias ExWebRTC.RTCP.SenderReport
  alias ExWebRTC.RTP.{Packet, Payloader}

  @moduletag :tmp_dir

  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
  @opus %RTPCodecParameters{
    payload_type: 111,
    mime_type: "audio/opus",
    clock_rate: 48_000,
    channels: 2
  }

  # 20 ms of silence.
  @silence <<0xFC, 0xFF, 0xFE>>

  defp tracks do
    stream = MediaStreamTrack.generate_stream_id()
    {MediaStreamTrack.new(:audio, [stream]), MediaStreamTrack.new(:video, [stream])}
  end

  # `{milliseconds, packet}` for each packet; timestamps and sequence numbers wrap on the way.
  defp audio_packets(seconds) do
    for n <- 0..(seconds * 50 - 1) do
      {n * 20,
       Packet.new(@silence,
         payload_type: 111,
         sequence_number: Bitwise.band(65_530 + n, 0xFFFF),
         timestamp: Bitwise.band(0xFFFFF000 + n * 960, 0xFFFFFFFF)
       )}
    end
  end

  defp video_packets(directory) do
    {:ok, _header, reader} = directory |> FFmpeg.video!("video/VP8") |> IVF.Reader.open()
    {:ok, payloader} = Payloader.new(@vp8)

    {packets, _state} =
      Stream.repeatedly(fn -> IVF.Reader.next_frame(reader) end)
      |> Enum.take_while(&(&1 != :eof))
      |> Enum.with_index()
      |> Enum.flat_map_reduce({payloader, 0}, fn {{:ok, frame}, index}, {payloader, number} ->
        {packets, payloader} = Payloader.payload(payloader, frame.data)

        packets =
          for {packet, offset} <- Enum.with_index(packets, number) do
            {div(index * 1000, 15), %{packet | sequence_number: offset, timestamp: index * 6000}}
          end

        {packets, {payloader, number + length(packets)}}
      end)

    packets
  end

  defp report(milliseconds, rtp) do
    %SenderReport{
      ssrc: 0,
      ntp_timestamp: div(milliseconds * 0x100000000, 1000),
      rtp_timestamp: Bitwise.band(rtp, 0xFFFFFFFF),
      packet_count: 0,
      octet_count: 0
    }
  end

  defp feed(recorder, track, packets, start) do
    for {at, packet} <- packets, do: Recorder.record(recorder, track.id, nil, packet, start + at)
  end

  test "a recorder is the child of a supervisor, with its options or all arguments",
       %{tmp_dir: directory} do
    options = [base_dir: directory, controlling_process: self()]

    for {arguments, id} <- [{options, :options}, {[options, [name: __MODULE__]], :arguments}] do
      recorder = start_supervised!({Recorder, arguments}, id: id)
      assert {:ok, %{}, nil} = Recorder.end_tracks(recorder, [])
    end

    assert is_pid(Process.whereis(__MODULE__))
  end

  test "audio alone becomes a file with every packet, in order", %{tmp_dir: directory} do
    {:ok, recorder} = Recorder.start_link(base_dir: directory)
    {audio, _video} = tracks()
    assert {:ok, %{}} = Recorder.add_tracks(recorder, [audio])

    packets = for pair <- Enum.chunk_every(audio_packets(2), 2), do: Enum.reverse(pair)
    feed(recorder, audio, List.flatten(packets), 1000)
    id = audio.id

    assert {:ok, %{^id => %{location: path, kind: :audio, gaps: []}}, nil} =
             Recorder.end_tracks(recorder, [id])

    assert Path.extname(path) == ".webm"
    # Each packet is in the file once.
    assert path |> File.read!() |> :binary.matches(@silence) |> length() == 100
    assert {:error, :track_not_found} == Recorder.end_tracks(recorder, [id])
  end

  test "lost packets are told as gaps", %{tmp_dir: directory} do
    {:ok, recorder} = Recorder.start_link(base_dir: directory, latency: 0)
    {audio, _video} = tracks()
    {:ok, _manifest} = Recorder.add_tracks(recorder, [{audio, @opus}])
    {before, [_lost | behind]} = Enum.split(audio_packets(2), 30)
    feed(recorder, audio, before, 0)
    # The jitter buffer has begun when its timer has fired.
    wait_for_file(directory)
    feed(recorder, audio, behind, 0)
    wait_until_quiet(recorder)
    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    assert [{580, 620}] == manifest[audio.id].gaps
    assert File.read!(manifest[audio.id].location) =~ "1:580-620"
  end

  test "gaps behind which packets still wait when a track ends are told, each in its place", %{
    tmp_dir: directory
  } do
    {:ok, recorder} = Recorder.start_link(base_dir: directory, latency: 60_000)
    {audio, _video} = tracks()
    {:ok, _manifest} = Recorder.add_tracks(recorder, [{audio, @opus}])

    packets =
      for {packet, n} <- Enum.with_index(audio_packets(2)),
          n != 30 and n not in 60..69,
          do: packet

    feed(recorder, audio, packets, 0)
    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    assert [{580, 620}, {1180, 1400}] == manifest[audio.id].gaps
    assert File.read!(manifest[audio.id].location) =~ "1:580-620;1:1180-1400"
  end

  test "a loss found when a track ends asks for no keyframe", %{tmp_dir: directory} do
    parent = self()
    options = [latency: 60_000, request_keyframe: &send(parent, {:keyframe, &1, &2})]
    {:ok, recorder} = Recorder.start_link([base_dir: directory] ++ options)
    {_audio, %{id: id} = video} = tracks()
    {:ok, _manifest} = Recorder.add_tracks(recorder, [{video, @vp8}])

    frame = fn n, header ->
      payload = <<0x10, header, 0, 0, 0x9D, 0x01, 0x2A, 160::little-16, 120::little-16, n>>
      fields = [payload_type: 96, sequence_number: n, timestamp: n * 3600, marker: true]
      {n * 40, Packet.new(payload, fields)}
    end

    feed(recorder, video, [frame.(0, 0)], 0)
    # The first packet has waited long enough: as the timer says it.
    send(recorder, {:jitter_buffer, {id, nil}})
    feed(recorder, video, for(n <- 50..60, do: frame.(n, 1)), 0)
    assert {:ok, %{^id => %{gaps: [{0, 2000}]}}, nil} = Recorder.end_tracks(recorder, [id])
    refute_received {:keyframe, _track, _rid}
  end

  # The timers of the recorder fire in the order in which they were set, and so does ours.
  defp wait_until_quiet(recorder) do
    :sys.get_state(recorder)
    Process.send_after(self(), :timers_have_fired, 20)
    assert_receive :timers_have_fired, 1000
    :sys.get_state(recorder)
  end

  defp wait_for_file(directory) do
    if Path.wildcard(directory <> "/*.webm") == [] do
      Process.send_after(self(), :look_again, 5)
      assert_receive :look_again, 1000
      wait_for_file(directory)
    end
  end

  test "what is no track, or in no known codec, is ignored", %{tmp_dir: directory} do
    {:ok, recorder} = Recorder.start_link(base_dir: directory, on_start: fn -> [] end)
    {audio, _video} = tracks()
    Recorder.record(recorder, audio.id, nil, Packet.new("x", payload_type: 111))
    {:ok, _manifest} = Recorder.add_tracks(recorder, [audio])
    Recorder.record(recorder, audio.id, nil, Packet.new("x", payload_type: 5))
    Recorder.record_rtcp(recorder, [{nil, report(0, 0)}, {audio.id, report(0, 0)}])
    {:ok, _manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    assert [] == File.ls!(directory)
  end

  test "wrong options raise" do
    assert_raise ArgumentError, fn -> Recorder.start_link(directory: "x") end
    assert_raise ArgumentError, fn -> Recorder.start_link(files: :one) end
  end

  describe "with real video" do
    @describetag :interop

    test "audio that arrives late is in sync by the sender reports", %{tmp_dir: directory} do
      for reports? <- [true, false] do
        base = Path.join(directory, "#{reports?}")
        {:ok, recorder} = Recorder.start_link(base_dir: base)
        {audio, video} = tracks()
        {:ok, _manifest} = Recorder.add_tracks(recorder, [audio, video])
        feed(recorder, video, video_packets(directory), 0)
        # 300 ms later, of the same moments.
        feed(recorder, audio, audio_packets(2), 300)

        if reports? do
          # 1.5 s into the call.
          Recorder.record_rtcp(recorder, [{video.id, report(11_500, 135_000)}])
          Recorder.record_rtcp(recorder, [{audio.id, report(11_500, 0xFFFFF000 + 72_000)}])
        end

        {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id, video.id])
        path = manifest[audio.id].location
        assert path == manifest[video.id].location

        assert [%{"nb_read_packets" => "100"} = sound, %{"nb_read_packets" => "30"} = picture] =
                 FFmpeg.probe(path, "stream=start_time,nb_read_packets", ~w(-count_packets))

        apart = String.to_float(sound["start_time"]) - String.to_float(picture["start_time"])
        assert_in_delta apart, if(reports?, do: 0.0, else: 0.3), 0.04

        assert [%{"duration" => duration}] = FFmpeg.probe(path, "format=duration")
        assert_in_delta String.to_float(duration), 2.0, 0.35
        assert length(FFmpeg.decoded(path, ~w(-map 0:v))) == 30
      end
    end

    test "loss leaves out frames and nothing else", %{tmp_dir: directory} do
      {:ok, recorder} = Recorder.start_link(base_dir: directory)
      {_audio, video} = tracks()
      {:ok, _manifest} = Recorder.add_tracks(recorder, [video])
      packets = video_packets(directory)
      :rand.seed(:exsss, {1, 2, 3})
      kept = Enum.filter(packets, fn {at, _packet} -> at == 0 or :rand.uniform() > 0.05 end)

      whole =
        packets
        |> Enum.group_by(&elem(&1, 1).timestamp)
        |> Enum.count(fn {_timestamp, frame} -> frame -- kept == [] end)

      assert whole < 30
      feed(recorder, video, Enum.shuffle(kept) |> Enum.sort_by(&div(elem(&1, 0), 100)), 0)
      {:ok, manifest, nil} = Recorder.end_tracks(recorder, [video.id])

      assert [%{"nb_read_packets" => count}] =
               FFmpeg.probe(
                 manifest[video.id].location,
                 "stream=nb_read_packets",
                 ~w(-count_packets)
               )

      assert count == "#{whole}"
    end

    @tag timeout: 60_000
    test "a file that is played over a connection is recorded as it was", %{tmp_dir: directory} do
      source = FFmpeg.video!(directory, "video/VP8")
      sound = FFmpeg.audio!(directory, "tone.ogg", ~w(-c:a libopus -ac 2))
      film = Path.join(directory, "film.webm")
      FFmpeg.run!(["-i", source, "-i", sound, "-c", "copy", film])
      {audio, video} = tracks()
      {sender, receiver} = Peers.start([], [])
      {:ok, _sender} = PeerConnection.add_track(sender, audio)
      {:ok, _sender} = PeerConnection.add_track(sender, video)
      :ok = Peers.connect(sender, receiver)
      assert_receive {:ex_webrtc, ^receiver, {:track, %{kind: :audio} = got_audio}}
      assert_receive {:ex_webrtc, ^receiver, {:track, %{kind: :video} = got_video}}

      {:ok, recorder} = Recorder.start_link(base_dir: Path.join(directory, "out"))
      {:ok, _manifest} = Recorder.add_tracks(recorder, [got_audio, got_video])

      # One player, so that what it sends is in sync.
      played =
        for {codec, track} <- [{@vp8, video}, {@opus, audio}],
            do: %{codec: codec, to: {sender, track.id}}

      {:ok, player} = Player.start_link(path: film, tracks: played)

      record_until_finished(receiver, recorder, [player])
      ids = [got_audio.id, got_video.id]
      {:ok, manifest, nil} = Recorder.end_tracks(recorder, ids)
      path = manifest[got_video.id].location
      assert path == manifest[got_audio.id].location
      assert FFmpeg.decoded(path, ~w(-map 0:v)) == FFmpeg.decoded(source)

      streams = FFmpeg.probe(path, "stream=codec_name,start_time")
      assert Enum.map(streams, & &1["codec_name"]) |> Enum.sort() == ["opus", "vp8"]
      [one, other] = for stream <- streams, do: String.to_float(stream["start_time"])
      assert_in_delta one, other, 0.04
    end

    defp record_until_finished(_receiver, _recorder, []), do: :ok

    defp record_until_finished(receiver, recorder, players) do
      receive do
        {:ex_webrtc, ^receiver, {:rtp, id, rid, packet}} ->
          Recorder.record(recorder, id, rid, packet)
          record_until_finished(receiver, recorder, players)

        {:ex_webrtc, ^receiver, {:rtcp, packets}} ->
          Recorder.record_rtcp(recorder, packets)
          record_until_finished(receiver, recorder, players)

        {:ex_webrtc_player, player, result} ->
          assert result == :finished
          # What was sent last is still on its way.
          Process.send_after(self(), {:gone, player}, 300)
          record_until_finished(receiver, recorder, players)

        {:gone, player} ->
          record_until_finished(receiver, recorder, List.delete(players, player))
      after
        20_000 -> flunk("the players did not finish")
      end
    end

    test "a looped file goes on with its numbers and times", %{tmp_dir: directory} do
      source = FFmpeg.audio!(directory, "tone.ogg", ~w(-c:a libopus -frame_duration 60 -t 0.3))
      test = self()

      {:ok, player} =
        Player.start_link(path: source, codec: @opus, to: &send(test, {:packet, &1}), loop: true)

      packets =
        for _n <- 1..12 do
          assert_receive {:packet, packet}, 2000
          packet
        end

      :ok = GenServer.stop(player)

      for [a, b] <- Enum.chunk_every(packets, 2, 1, :discard) do
        assert Bitwise.band(b.sequence_number - a.sequence_number, 0xFFFF) == 1
        {:ok, samples} = Opus.samples(a.payload)
        assert Bitwise.band(b.timestamp - a.timestamp, 0xFFFFFFFF) == samples
      end
    end
  end
end
