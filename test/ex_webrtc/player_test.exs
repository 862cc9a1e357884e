defmodule ExWebRTC.PlayerTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, Player, RTPCodecParameters}
  alias ExWebRTC.Media.{IVF, WebM}
  alias ExWebRTC.Player.Pace

  @moduletag :tmp_dir

  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
  @opus %RTPCodecParameters{payload_type: 111, mime_type: "audio/opus", clock_rate: 48_000}
  @silence <<0xFC, 0xFF, 0xFE>>
  @vp8_key <<0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 1, 240, 0>>

  defp webm(directory, pictures \\ 6) do
    path = Path.join(directory, "film.webm")
    {:ok, audio} = WebM.Track.audio("audio/opus", channels: 2)
    {:ok, video} = WebM.Track.video("video/VP8", @vp8_key)
    {:ok, writer} = WebM.Writer.open(path, [audio, video])

    # A tick of a file is a millisecond: what follows closely is rounded.
    frames =
      for(n <- 0..(pictures * 2 - 1), do: {1, @silence, n * 20 + rem(n, 2)}) ++
        for n <- 0..(pictures - 1), do: {2, @vp8_key <> <<n>>, n * 40}

    writer =
      for {number, data, time} <- Enum.sort_by(frames, &elem(&1, 2)), reduce: writer do
        writer ->
          {:ok, writer} = WebM.Writer.write(writer, number, data, time, keyframe?: true)
          writer
      end

    :ok = WebM.Writer.close(writer)
    path
  end

  defp to_test(tag) do
    test = self()
    &send(test, {tag, &1})
  end

  defp both, do: [%{codec: @vp8, to: to_test(:video)}, %{codec: @opus, to: to_test(:audio)}]

  defp receive_all(tag, count) do
    for _n <- 1..count do
      assert_receive {^tag, packet}, 2000
      packet
    end
  end

  defp apart([a, b], field, bits),
    do: Bitwise.band(Map.fetch!(b, field) - Map.fetch!(a, field), Bitwise.bsl(1, bits) - 1)

  test "audio and video of one file go to their tracks, each with its own times", context do
    {:ok, player} = Player.start_link(path: webm(context.tmp_dir), tracks: both())
    audio = receive_all(:audio, 12)
    video = receive_all(:video, 6)
    assert_receive {:ex_webrtc_player, ^player, :finished}, 2000

    assert Enum.all?(audio, &(&1.payload == @silence and &1.payload_type == 111))
    assert Enum.all?(video, &(&1.payload_type == 96))

    for pair <- Enum.chunk_every(audio, 2, 1, :discard) do
      # The rounding of the file is gone: a gap of a millisecond would be heard.
      assert apart(pair, :timestamp, 32) == 960
      assert apart(pair, :sequence_number, 16) == 1
    end

    for pair <- Enum.chunk_every(video, 2, 1, :discard),
        do: assert(apart(pair, :timestamp, 32) == 3600)
  end

  test "a loop goes on where the longest track ended", context do
    {:ok, player} = Player.start_link(path: webm(context.tmp_dir, 3), tracks: both(), loop: true)
    audio = receive_all(:audio, 15)
    video = receive_all(:video, 8)
    :ok = GenServer.stop(player)

    for {packets, step} <- [{audio, 960}, {video, 3600}],
        pair <- Enum.chunk_every(packets, 2, 1, :discard) do
      assert_in_delta apart(pair, :timestamp, 32), step, 100
      assert apart(pair, :sequence_number, 16) == 1
    end
  end

  test "one track of a file can be played alone", context do
    {:ok, player} =
      Player.start_link(path: webm(context.tmp_dir, 2), codec: @opus, to: to_test(:audio))

    receive_all(:audio, 4)
    assert_receive {:ex_webrtc_player, ^player, :finished}, 2000
  end

  test "a file without the codec is refused, and so are files of no or a broken format",
       context do
    Process.flag(:trap_exit, true)
    h264 = %{@vp8 | mime_type: "video/H264"}
    path = webm(context.tmp_dir)
    start = fn path, codec -> Player.start_link(path: path, codec: codec, to: to_test(:none)) end

    assert {:error, :codec_not_in_file} == start.(path, h264)
    assert {:error, :no_payloader_for_codec} == start.(path, %{@vp8 | mime_type: "video/x"})
    assert {:error, :unknown_format} == start.("film.avi", @vp8)
    assert {:error, :enoent} == start.(path <> ".ivf", @vp8)

    ivf = Path.join(context.tmp_dir, "video.ivf")
    {:ok, writer} = IVF.Writer.open(ivf, fourcc: "VP90", width: 2, height: 2)
    :ok = IVF.Writer.close(writer)
    assert {:error, :codec_not_in_file} == start.(ivf, @vp8)

    File.write!(path, "nothing")
    assert {:error, :invalid_file} == start.(path, @vp8)
  end

  test "wrong options raise in the caller", context do
    path = webm(context.tmp_dir)

    for opts <- [
          [path: path],
          [path: path, codec: @vp8],
          [path: path, tracks: []],
          [path: path, tracks: [%{codec: @vp8}]],
          [path: path, tracks: [%{codec: :vp8, to: to_test(:x)}]],
          [path: path, codec: @vp8, to: self()],
          [path: path, codec: @vp8, to: to_test(:x), tracks: both()],
          [path: path, codec: @vp8, to: to_test(:x), speed: 2]
        ] do
      assert_raise ArgumentError, fn -> Player.start_link(opts) end
    end

    right = [path: path, codec: @vp8, to: to_test(:x)]

    for {name, wrong} <- [
          path: nil,
          path: :file,
          loop: 1,
          frame_rate: 0,
          frame_rate: "30",
          max_payload_size: 1,
          max_payload_size: nil
        ] do
      assert_raise ArgumentError, ~r/expected #{inspect(name)} to be/, fn ->
        Player.start_link(Keyword.put(right, name, wrong))
      end
    end
  end

  test "a file that breaks on the way is told", context do
    path = webm(context.tmp_dir)
    {at, _length} = path |> File.read!() |> :binary.matches(@silence) |> List.last()
    File.write!(path, binary_part(File.read!(path), 0, at + 1))
    {:ok, player} = Player.start_link(path: path, tracks: both())
    assert_receive {:ex_webrtc_player, ^player, {:error, :invalid_file}}, 2000
    monitor = Process.monitor(player)
    assert_receive {:DOWN, ^monitor, :process, _pid, reason}, 2000
    assert reason in [:normal, :noproc]
  end

  test "a player stops with the connection that it plays to", context do
    {:ok, pc} = PeerConnection.start_link()
    track = MediaStreamTrack.new(:video)
    path = webm(context.tmp_dir)

    {:ok, player} = Player.start_link(path: path, codec: @vp8, to: {pc, track.id}, loop: true)
    monitor = Process.monitor(player)
    :ok = PeerConnection.stop(pc)
    assert_receive {:ex_webrtc_player, ^player, {:error, :connection_ended}}, 5000
    assert_receive {:DOWN, ^monitor, :process, ^player, :normal}, 5000

    # A connection that is closed has its process still.
    {:ok, pc} = PeerConnection.start_link()
    {:ok, player} = Player.start_link(path: path, codec: @vp8, to: {pc, track.id}, loop: true)
    :ok = PeerConnection.close(pc)
    assert_receive {:ex_webrtc_player, ^player, {:error, :connection_ended}}, 5000

    Process.flag(:trap_exit, true)
    opts = [path: path, codec: @vp8, to: {:no_such_connection, track.id}]
    assert {:error, :connection_ended} == Player.start_link(opts)
  end

  test "a player stops with the process that started it", context do
    path = webm(context.tmp_dir)
    test = self()

    {owner, down} =
      spawn_monitor(fn ->
        {:ok, player} = Player.start_link(path: path, codec: @vp8, to: & &1, loop: true)
        send(test, {:player, player})
        receive do: (:end -> :ok)
      end)

    assert_receive {:player, player}, 2000
    monitor = Process.monitor(player)
    send(owner, :end)
    assert_receive {:DOWN, ^down, :process, ^owner, :normal}, 2000
    assert_receive {:DOWN, ^monitor, :process, ^player, :normal}, 2000
  end

  property "however late timers fire, nothing is late for longer than its own timer was", [
    lates <- :proper_types.list(:proper_types.integer(0, 900)),
    start <- :proper_types.integer(-1_000_000, 1_000_000)
  ] do
    lates
    |> Enum.with_index()
    |> Enum.reduce({Pace.new(start), start}, fn {late, n}, {pace, now} ->
      at = n * 20
      {wait, pace} = Pace.wait(pace, at, now)
      played = if wait == 0, do: now, else: now + wait + late
      assert played >= start + at
      # No earlier lateness adds to it: what is due is played at once.
      assert played - (start + at) <= max(late, now - (start + at))
      {pace, played}
    end)
  end

  test "after a long sleep the rest goes on from then" do
    {0, pace} = Pace.wait(Pace.new(0), 0, 0)
    assert {0, pace} = Pace.wait(pace, 20, 60_000)
    assert {20, _pace} = Pace.wait(pace, 40, 60_000)
  end
end
