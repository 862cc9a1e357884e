defmodule ExWebRTC.RecorderFilesTest do
  # Which files there are, in which formats, and what happens when one cannot be written.
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{FFmpeg, MediaPackets, MediaStreamTrack, Recorder, RTPCodecParameters}
  alias ExWebRTC.Media.WebM
  alias ExWebRTC.Recorder.Lane
  alias ExWebRTC.RTCP.SenderReport
  alias ExWebRTC.RTP.{Packet, Payloader}

  @moduletag :tmp_dir

  @silence <<0xFC, 0xFF, 0xFE>>
  @vp8_key <<0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 1, 240, 0>>
  # Those that the names of codecs stand for.
  @payload_types %{
    "video/VP8" => 96,
    "video/VP9" => 100,
    "video/H264" => 99,
    "video/H265" => 102,
    "video/AV1" => 45
  }

  defp start(directory, opts \\ []) do
    {:ok, recorder} = Recorder.start_link([base_dir: directory, latency: 0] ++ opts)
    recorder
  end

  defp codec(mime_type) do
    %RTPCodecParameters{
      payload_type: @payload_types[mime_type],
      mime_type: mime_type,
      clock_rate: 90_000
    }
  end

  defp opus(count, first \\ 0) do
    for n <- first..(first + count - 1) do
      {n * 20, Packet.new(@silence, payload_type: 111, sequence_number: n, timestamp: n * 960)}
    end
  end

  defp vp8(count, first \\ 0) do
    {:ok, payloader} = Payloader.new(codec("video/VP8"))

    for n <- first..(first + count - 1) do
      {[packet], _payloader} = Payloader.payload(payloader, @vp8_key <> <<n>>)
      {n * 40, %{packet | sequence_number: n, timestamp: n * 3600}}
    end
  end

  defp feed(recorder, track, packets, rid \\ nil) do
    for {at, packet} <- packets, do: Recorder.record(recorder, track.id, rid, packet, at)
  end

  # The recorder waits a moment for what might have come before the first packet.
  defp flow(recorder, track, rid \\ nil) do
    eventually(fn ->
      match?(
        %{jitter_buffer: %{phase: :running}},
        :sys.get_state(recorder).lanes[{track.id, rid}]
      )
    end)
  end

  defp read(path) do
    {:ok, tracks, reader} = WebM.Reader.open(path)
    {tracks, frames(reader)}
  end

  defp frames(reader) do
    case WebM.Reader.next_frame(reader) do
      {:ok, frame, reader} -> [frame | frames(reader)]
      :eof -> []
    end
  end

  test "each layer of a simulcast track has a file", %{tmp_dir: directory} do
    recorder = start(directory)
    video = %{MediaStreamTrack.new(:video, ["call"]) | rids: ["h", "m", "l"]}
    {:ok, manifest} = Recorder.add_tracks(recorder, [video])
    assert %{rid_map: %{"h" => 0, "m" => 1, "l" => 2}, locations: []} = manifest[video.id]
    # A rid that only a packet names must not leave the directory.
    for rid <- ["h", "l", "../../up"], do: feed(recorder, video, vp8(5), rid)

    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [video.id])
    assert %{locations: locations, error: nil} = manifest[video.id]
    assert Enum.sort(locations) == Enum.sort(Path.wildcard(directory <> "/*.webm"))
    assert length(locations) == 3
    for path <- locations, do: assert({_tracks, [_, _, _, _, _]} = read(path))
  end

  test "a report is for the layer whose source it names", %{tmp_dir: directory} do
    recorder = start(directory)
    video = %{MediaStreamTrack.new(:video, ["call"]) | rids: ["h", "l"]}
    {:ok, _manifest} = Recorder.add_tracks(recorder, [video])

    for {rid, ssrc} <- [{"h", 1}, {"l", 2}],
        do: feed(recorder, video, for({at, p} <- vp8(5), do: {at, %{p | ssrc: ssrc}}), rid)

    report = %SenderReport{
      ssrc: 2,
      ntp_timestamp: 0,
      rtp_timestamp: 0,
      packet_count: 0,
      octet_count: 0
    }

    Recorder.record_rtcp(recorder, [{video.id, report}])
    lanes = :sys.get_state(recorder).lanes
    assert Lane.synchronized?(lanes[{video.id, "l"}])
    refute Lane.synchronized?(lanes[{video.id, "h"}])
    {:ok, _manifest, nil} = Recorder.end_tracks(recorder, [video.id])
  end

  test "tracks of a stream share a file, or each has its own", %{tmp_dir: directory} do
    for {files, count} <- [per_stream: 1, per_track: 2] do
      recorder = start(Path.join(directory, "#{files}"), files: files)
      [audio, video] = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind, ["call"])
      {:ok, _manifest} = Recorder.add_tracks(recorder, [audio, video])
      feed(recorder, audio, opus(10))
      feed(recorder, video, vp8(5))
      {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id, video.id])
      assert manifest |> Enum.map(&elem(&1, 1).location) |> Enum.uniq() |> length() == count
      assert length(Path.wildcard("#{directory}/#{files}/*")) == count
    end
  end

  test "a track that is added late gets a file of its own, one that is there stays as it is",
       %{tmp_dir: directory} do
    recorder = start(directory)
    [audio, video] = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind, ["call"])
    {:ok, first} = Recorder.add_tracks(recorder, [audio])
    feed(recorder, audio, opus(10))
    flow(recorder, audio)
    {:ok, second} = Recorder.add_tracks(recorder, [audio, video])
    assert first[audio.id] == second[audio.id]
    feed(recorder, video, vp8(5, 5))
    feed(recorder, audio, opus(10, 10))

    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id, video.id])
    assert {%{1 => %{kind: :audio}}, frames} = read(manifest[audio.id].location)
    assert length(frames) == 20
    assert {%{1 => %{kind: :video}}, frames} = read(manifest[video.id].location)
    assert length(frames) == 5
  end

  test "of tracks that end together with one that is not recorded none ends", context do
    recorder = start(context.tmp_dir)
    audio = MediaStreamTrack.new(:audio)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [audio])
    assert {:error, :track_not_found} == Recorder.end_tracks(recorder, [audio.id, audio.id + 1])
    feed(recorder, audio, opus(10))
    assert {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    assert {_tracks, frames} = read(manifest[audio.id].location)
    assert length(frames) == 10
  end

  test "telephone events among the audio are no gap", %{tmp_dir: directory} do
    recorder = start(directory)
    audio = MediaStreamTrack.new(:audio)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [audio])
    event = &%{Packet.new("tone", payload_type: 126) | sequence_number: &1}
    feed(recorder, audio, [{0, event.(-1 |> Bitwise.band(0xFFFF))}])
    feed(recorder, audio, opus(10))
    flow(recorder, audio)
    feed(recorder, audio, for(n <- 10..14, do: {200, event.(n)}))
    feed(recorder, audio, for({at, packet} <- opus(10, 15), do: {at, packet}))
    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    assert manifest[audio.id].gaps == []
    assert {_tracks, frames} = read(manifest[audio.id].location)
    assert length(frames) == 20
  end

  test "a track that changes its codec goes on in another file", %{tmp_dir: directory} do
    recorder = start(directory)
    video = MediaStreamTrack.new(:video)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [video])
    feed(recorder, video, vp8(5))
    {:ok, payloader} = Payloader.new(codec("video/VP9"))

    vp9 =
      for n <- 5..9 do
        # A keyframe of 320 x 240.
        {[packet], _payloader} =
          Payloader.payload(
            payloader,
            <<0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xF0, 0x0E, 0xF0, n>>
          )

        {n * 40, %{packet | sequence_number: n, timestamp: n * 3600}}
      end

    feed(recorder, video, vp9)
    feed(recorder, video, vp8(5, 10))
    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [video.id])
    assert [first, second, third] = manifest[video.id].locations

    assert ["video/vp8", "video/vp9", "video/vp8"] ==
             for(path <- [first, second, third], do: elem(read(path), 0)[1].mime_type)

    for path <- [first, second, third], do: assert({_tracks, [_, _, _, _, _]} = read(path))
  end

  test "a peer that goes on changing the codec does not fill the directory", context do
    recorder = start(context.tmp_dir)
    video = MediaStreamTrack.new(:video)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [video])

    packets =
      for {{at, packet}, n} <- Enum.with_index(vp8(200)),
          do: {at, %{packet | payload_type: Enum.at([96, 111], rem(n, 2))}}

    feed(recorder, video, packets)
    {:ok, _manifest, nil} = Recorder.end_tracks(recorder, [video.id])
    assert length(File.ls!(context.tmp_dir)) <= 17
  end

  test "a keyframe is asked for when the beginning or a packet is missing", %{tmp_dir: directory} do
    test = self()
    ask = &send(test, {:keyframe, &1, &2})
    recorder = start(directory, request_keyframe: ask)
    video = MediaStreamTrack.new(:video)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [video])
    {:ok, payloader} = Payloader.new(codec("video/VP8"))
    {[interframe], _payloader} = Payloader.payload(payloader, <<0x11, 0, 0, "x">>)

    packets =
      for n <- 0..99,
          do: {n * 40, %{interframe | sequence_number: n, timestamp: n * 3600}}

    feed(recorder, video, Enum.take(packets, 10))
    flow(recorder, video)
    refute_received {:keyframe, _id, _rid}
    # A second without a beginning, and another one.
    feed(recorder, video, Enum.slice(packets, 10, 41))
    :sys.get_state(recorder)
    id = video.id
    assert_received {:keyframe, ^id, nil}
    assert_received {:keyframe, ^id, nil}
    refute_received {:keyframe, _id, _rid}

    # The keyframe; then all is well until a packet is lost.
    [{at, key}] = vp8(1, 51)
    feed(recorder, video, [{at, key}])
    feed(recorder, video, Enum.slice(packets, 52, 30))
    :sys.get_state(recorder)
    refute_received {:keyframe, _id, _rid}
    feed(recorder, video, Enum.slice(packets, 83, 10))
    # The jitter buffer gives up on it.
    assert_receive {:keyframe, ^id, nil}, 5000
    {:ok, _manifest, nil} = Recorder.end_tracks(recorder, [video.id])
  end

  test "timestamps that jump do not stretch the file", %{tmp_dir: directory} do
    recorder = start(directory)
    audio = MediaStreamTrack.new(:audio)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [audio])
    feed(recorder, audio, opus(10))
    flow(recorder, audio)

    feed(
      recorder,
      audio,
      for(
        {at, packet} <- opus(10, 10),
        do: {at, %{packet | timestamp: packet.timestamp + 0x50000000}}
      )
    )

    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
    {_tracks, frames} = read(manifest[audio.id].location)
    assert length(frames) == 20
    assert Enum.max(Enum.map(frames, & &1.time)) <= 400
  end

  describe "what cannot be written" do
    test "a directory that cannot be made is an error of the start", %{tmp_dir: directory} do
      Process.flag(:trap_exit, true)
      file = Path.join(directory, "file")
      File.write!(file, "")
      assert {:error, :enotdir} == Recorder.start_link(base_dir: Path.join(file, "below"))
    end

    test "a file that cannot be made is told, and the others go on", %{tmp_dir: directory} do
      base = Path.join(directory, "recordings")
      recorder = start(base)
      [audio, video] = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind)
      {:ok, _manifest} = Recorder.add_tracks(recorder, [audio, video])
      feed(recorder, audio, opus(10))
      flow(recorder, audio)
      eventually(fn -> Path.wildcard(base <> "/*.webm") != [] end)
      [written] = Path.wildcard(base <> "/*.webm")
      kept = Path.join(directory, "kept.webm")
      File.rename!(written, kept)
      File.rm_rf!(base)

      log =
        capture_log(fn ->
          feed(recorder, video, vp8(5))
          id = video.id

          assert_receive {:ex_webrtc_recorder, ^recorder, {:error, [^id], location, :enoent}},
                         5000

          feed(recorder, video, vp8(5, 5))
          feed(recorder, audio, opus(10, 10))
          {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id, video.id])
          assert %{error: :enoent, location: ^location} = manifest[video.id]
          assert %{error: nil} = manifest[audio.id]
        end)

      assert log =~ "enoent"
      refute_received {:ex_webrtc_recorder, _recorder, _second_message}
      assert {_tracks, frames} = read(kept)
      assert length(frames) == 20
    end

    test "while the disk takes nothing, packets do not pile up", %{tmp_dir: directory} do
      recorder = start(directory)
      audio = MediaStreamTrack.new(:audio)
      {:ok, _manifest} = Recorder.add_tracks(recorder, [audio])
      packets = opus(15_000)
      feed(recorder, audio, Enum.take(packets, 10))
      flow(recorder, audio)
      # As in a write that does not return.
      :ok = :sys.suspend(recorder)
      feed(recorder, audio, Enum.slice(packets, 10, 14_000))

      log =
        capture_log(fn ->
          :ok = :sys.resume(recorder)
          :sys.get_state(recorder)
        end)

      assert log =~ "too slow"
      feed(recorder, audio, Enum.slice(packets, 14_010, 10))
      flow(recorder, audio)
      feed(recorder, audio, Enum.drop(packets, 14_020))
      {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id])
      {_tracks, frames} = read(manifest[audio.id].location)
      # The last are there again, where they belong.
      assert length(frames) in 1000..3000
      assert_in_delta List.last(frames).time, 299_980, 1
    end

    test "every writer says that a disk is full" do
      {:ok, track} = WebM.Track.audio("audio/opus")
      full = "/dev/full"
      alias ExWebRTC.Media.{IVF, Ogg, WAV}
      assert {:error, :enospc} == WebM.Writer.open(full, [track])
      assert {:error, :enospc} == IVF.Writer.open(full, fourcc: "VP80", width: 1, height: 1)
      assert {:error, :enospc} == Ogg.Writer.open(full)
      assert {:error, :enospc} == WAV.Writer.open(full)
    end
  end

  test "wrong options and tracks raise in the caller", %{tmp_dir: directory} do
    for opts <- [
          [base_dir: nil],
          [latency: -1],
          [sync_wait: nil],
          [codecs: [:vp8]],
          [controlling_process: :name],
          [on_start: 1]
        ] do
      assert_raise ArgumentError, ~r/#{opts |> hd() |> elem(0)}/, fn ->
        Recorder.start_link(opts)
      end
    end

    recorder = start(directory)
    assert_raise ArgumentError, ~r/track/, fn -> Recorder.add_tracks(recorder, [:track]) end
    assert {:ok, %{}} == Recorder.add_tracks(recorder, [])
  end

  describe "with real media" do
    @describetag :interop
    @describetag timeout: 120_000

    for mime_type <- FFmpeg.video_codecs() do
      @mime_type mime_type

      test "#{mime_type} is recorded as it was encoded", %{tmp_dir: directory} do
        source = FFmpeg.video!(directory, @mime_type)
        recorder = start(Path.join(directory, "out"))
        video = MediaStreamTrack.new(:video)
        {:ok, _manifest} = Recorder.add_tracks(recorder, [video])
        feed(recorder, video, MediaPackets.read(source, codec(@mime_type)))
        {:ok, manifest, nil} = Recorder.end_tracks(recorder, [video.id])
        path = manifest[video.id].location
        free? = @mime_type in ["video/VP8", "video/VP9", "video/AV1"]
        assert Path.extname(path) == if(free?, do: ".webm", else: ".mkv")
        assert FFmpeg.decoded(path) == FFmpeg.decoded(source)
      end
    end

    test "G.711 and G722 with H264 are a Matroska file that decodes", %{tmp_dir: directory} do
      source = FFmpeg.video!(directory, "video/H264")

      for {name, encoder, payload_type, rate} <- [
            {"pcmu", "pcm_mulaw", 0, 8000},
            {"pcma", "pcm_alaw", 8, 8000},
            {"g722", "g722", 9, 16_000}
          ] do
        tone = FFmpeg.audio!(directory, "#{name}.mka", ~w(-c:a #{encoder} -ac 1 -ar #{rate}))
        mime_type = "audio/#{String.upcase(name)}"

        audio_codec = %RTPCodecParameters{
          payload_type: payload_type,
          mime_type: mime_type,
          clock_rate: 8000
        }

        recorder = start(Path.join(directory, name))
        [audio, video] = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind, ["call"])
        {:ok, _manifest} = Recorder.add_tracks(recorder, [audio, video])
        feed(recorder, audio, MediaPackets.read(tone, audio_codec))
        feed(recorder, video, MediaPackets.read(source, codec("video/H264")))
        {:ok, manifest, nil} = Recorder.end_tracks(recorder, [audio.id, video.id])
        path = manifest[audio.id].location
        assert path == manifest[video.id].location
        assert Path.extname(path) == ".mkv"
        assert FFmpeg.decoded(path, ~w(-map 0:v)) == FFmpeg.decoded(source)

        assert FFmpeg.pcm(path) == FFmpeg.pcm(tone)
      end
    end

    test "a VM that is killed leaves a file up to its last second", %{tmp_dir: directory} do
      {port, os_pid} = spawn_recorder(directory, "")
      assert_receive {^port, {:data, {:eol, "recorded"}}}, 30_000
      {_output, 0} = System.cmd("kill", ["-9", "#{os_pid}"])
      assert_receive {^port, {:exit_status, 137}}, 10_000

      assert [path] = Path.wildcard(directory <> "/out/*")
      assert [%{"duration" => duration}] = FFmpeg.probe(path, "format=duration")
      assert String.to_float(duration) >= 9.0
      assert length(FFmpeg.decoded(path, ~w(-map 0:v))) >= 135

      counts = FFmpeg.probe(path, "stream=codec_type,nb_read_packets", ~w(-count_packets))
      assert %{"nb_read_packets" => audio} = Enum.find(counts, &(&1["codec_type"] == "audio"))
      assert String.to_integer(audio) >= 450
    end

    test "a full disk ends the file, not the recorder, and what is in it plays", context do
      # Blocks of 512 bytes; a file that would be larger is refused with EFBIG.
      limit = ~s(trap "" XFSZ; ulimit -f 100;)
      {port, _os_pid} = spawn_recorder(context.tmp_dir, limit)
      assert_receive {^port, {:data, {:eol, "failed efbig true"}}}, 30_000
      Port.close(port)
      assert [path] = Path.wildcard(context.tmp_dir <> "/out/*")
      assert File.stat!(path).size <= 100 * 512

      assert [%{"codec_name" => _}, %{"codec_name" => _}] =
               FFmpeg.probe(path, "stream=codec_name")

      assert [_ | _] = FFmpeg.probe(path, "packet=pts_time", ~w(-select_streams v))
    end

    defp spawn_recorder(directory, limit) do
      source = FFmpeg.video!(directory, "video/VP8")
      script = Path.expand("../fixtures/recorder.exs", __DIR__)
      elixir = System.find_executable("elixir")
      arguments = ["-pa", Mix.Project.compile_path(), script, Path.join(directory, "out"), source]

      port =
        Port.open({:spawn_executable, "/bin/sh"}, [
          :binary,
          :exit_status,
          {:line, 4096},
          {:args, ["-c", limit <> ~s( exec "$0" "$@"), elixir | arguments]}
        ])

      {:os_pid, os_pid} = Port.info(port, :os_pid)
      on_exit(fn -> System.cmd("kill", ["-9", "#{os_pid}"], stderr_to_stdout: true) end)
      {port, os_pid}
    end
  end
end
