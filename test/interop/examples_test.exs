defmodule ExWebRTC.Interop.ExamplesTest do
  # Every script of `examples/`, with Chromium.
  use ExUnit.Case, async: false

  import ExWebRTC.Interop, only: [chromium: 3]
  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{Example, FFmpeg}
  alias ExWebRTC.Interop.Browser

  @moduletag :interop
  @moduletag :tmp_dir
  @moduletag timeout: 180_000

  setup_all do
    start_supervised!(Browser)
    :ok
  end

  test "every example is in the README and in this file" do
    directory = Path.expand("../../examples", __DIR__)
    scripts = for "examples/" <> name <- Path.wildcard("examples/*.exs"), do: name
    readme = File.read!(Path.join(directory, "README.md"))
    tests = File.read!(__ENV__.file)

    for name <- scripts -- ["web.exs"] do
      assert readme =~ "mix run examples/#{name}"
      assert tests =~ ~s(Example.start("#{name}")
      assert File.read!(Path.join(directory, name)) =~ "mix run examples/#{name}"
    end
  end

  test "echo: camera and messages come back" do
    {base, _printed, _port} = Example.start("echo.exs")
    result = chromium("exampleEcho", base, %{})
    assert result["answer"] == "Hello, Elixir!"
    assert result["width"] > 0
    assert result["time"] > 2
  end

  test "chat: what one browser says all of them see" do
    {base, _printed, _port} = Example.start("chat.exs")
    result = chromium("exampleChat", base, %{})
    expected = for n <- 0..2, do: "Browser #{n}: hello"
    assert [^expected, later, latest] = result["said"]
    # Who comes later sees what is said from then on; all three were there.
    assert later == expected and latest == expected
  end

  describe "play" do
    for {mime_type, encoder} <- [
          {"video/VP8", ~w(libvpx -deadline realtime -cpu-used 8)},
          {"video/VP9", ~w(libvpx-vp9 -deadline realtime -cpu-used 8)},
          {"video/H264", ~w(libx264 -preset ultrafast -tune zerolatency -profile:v baseline)},
          {"video/AV1", ~w(libaom-av1 -usage realtime -cpu-used 8)}
        ] do
      @mime_type mime_type
      @encoder encoder

      test "#{mime_type} and Opus of a file: Chromium decodes them", %{tmp_dir: directory} do
        path = Path.join(directory, "film.mkv")
        film(path, @encoder, ~w(libopus -ac 2))
        {base, _printed, _port} = Example.start("play.exs", [path])
        result = chromium("examplePlay", base, %{frames: 90, audioPackets: 200})
        assert result["videoCodec"] == @mime_type
        assert result["audioCodec"] == "audio/opus"
        assert {result["width"], result["height"]} == {320, 240}
        assert result["frames"] >= 90
        assert result["keyframes"] >= 3
        # The decoder never asked for what it could not have.
        assert result["lost"] == 0
        assert result["asked"] <= 1
        assert_sound(result)
      end

      test "#{mime_type} of a file with 5 % loss: the picture goes on", %{tmp_dir: directory} do
        path = Path.join(directory, "film.mkv")
        film(path, @encoder, ~w(libopus -ac 2))
        {base, _printed, _port} = Example.start("play.exs", [path, "--loss", "5"])
        result = chromium("examplePlay", base, %{frames: 90, audioPackets: 190})
        assert result["videoCodec"] == @mime_type
        assert result["frames"] >= 90
        assert {result["width"], result["height"]} == {320, 240}
      end
    end

    for {name, encoder, rate} <- [
          {"PCMU", "pcm_mulaw", 8000},
          {"PCMA", "pcm_alaw", 8000},
          {"G722", "g722", 16_000}
        ] do
      @audio {name, encoder, rate}

      test "#{name} of a file: Chromium plays it", %{tmp_dir: directory} do
        {name, encoder, rate} = @audio
        path = Path.join(directory, "tone.mkv")
        sound = ~w(#{encoder} -ac 1 -ar #{rate})
        film(path, ~w(libvpx -deadline realtime -cpu-used 8), sound)
        {base, _printed, _port} = Example.start("play.exs", [path])
        result = chromium("examplePlay", base, %{frames: 30, audioPackets: 100})
        assert result["audioCodec"] == "audio/#{name}"
        assert_sound(result)
      end
    end
  end

  # Four seconds with a keyframe each, and a tone.
  defp film(path, video, audio) do
    FFmpeg.run!(
      ~w(-f lavfi -i testsrc=size=320x240:rate=30:duration=4 -f lavfi -i sine=frequency=440:duration=4) ++
        ~w(-pix_fmt yuv420p -g 30 -b:v 500k -c:v) ++ video ++ ["-c:a" | audio] ++ [path]
    )
  end

  # A tone has much energy; what is made up for missing packets has none of it.
  defp assert_sound(result) do
    assert result["energy"] > 1.0e-4
    assert result["concealed"] - result["silent"] < result["samples"] * 0.1
  end

  test "dtmf: keys are heard, in their order" do
    {base, _printed, _port} = Example.start("dtmf.exs")
    assert %{"heard" => "159*0#"} = chromium("exampleDTMF", base, %{keys: "159*0#"})
  end

  test "rtp_in: what ffmpeg sends is seen" do
    {base, printed, _port} = Example.start("rtp_in.exs")
    [_all, command] = Regex.run(~r/^Run: ffmpeg (.*)$/m, printed)
    options = [:binary, {:args, ["-nostdin", "-loglevel", "error" | String.split(command)]}]
    ffmpeg = Port.open({:spawn_executable, System.find_executable("ffmpeg")}, options)
    {:os_pid, os_pid} = Port.info(ffmpeg, :os_pid)
    on_exit(fn -> System.cmd("kill", ["#{os_pid}"], stderr_to_stdout: true) end)

    result = chromium("exampleFeed", base, %{frames: 60, audioPackets: 0})
    assert result["frames"] >= 60
    assert {result["width"], result["height"]} == {640, 360}
  end

  test "snapshot: a picture is taken of the video", %{tmp_dir: directory} do
    path = Path.join(directory, "snapshot.jpg")
    {base, _printed, _port} = Example.start("snapshot.exs", [path])
    assert %{"width" => width, "height" => height} = chromium("exampleSnapshot", base, %{})
    assert width >= 320 and height >= 240

    assert [%{"codec_name" => "mjpeg", "width" => in_file}] =
             FFmpeg.probe(path, "stream=codec_name,width")

    assert in_file == "#{width}"
  end

  describe "record" do
    for {codec, loss} <- [{"VP8", 0}, {"VP8", 5}, {"VP9", 0}, {"H264", 5}, {"AV1", 0}] do
      @codec codec
      @loss loss

      test "#{codec} with #{loss} % loss: in sync, seekable, and played by Chromium", context do
        {base, _printed, _port} =
          Example.start("record.exs", [context.tmp_dir, "--loss", "#{@loss}"])

        %{"sent" => sent} = chromium("exampleRecord", base, %{codec: @codec, seconds: 8})
        sent = Map.new(sent, &{&1["kind"], &1})
        assert sent["video"]["codec"] == "video/#{@codec}"

        # The index is written when the recorder closes the file.
        eventually(fn -> Enum.any?(Path.wildcard(context.tmp_dir <> "/*"), &indexed?/1) end)
        assert [path] = Path.wildcard(context.tmp_dir <> "/*")
        assert Path.extname(path) == if(@codec == "H264", do: ".mkv", else: ".webm")

        streams =
          FFmpeg.probe(path, "stream=codec_type,start_time,nb_read_packets", ~w(-count_packets))

        %{"audio" => [audio], "video" => [video]} = Enum.group_by(streams, & &1["codec_type"])

        # Nearly all that was sent; repairs bring back most of what was lost.
        share = if @loss == 0, do: 0.95, else: 0.85
        assert String.to_integer(video["nb_read_packets"]) >= sent["video"]["frames"] * share
        assert String.to_integer(audio["nb_read_packets"]) >= sent["audio"]["packets"] * share

        [%{"duration" => duration}] = FFmpeg.probe(path, "format=duration")
        assert_in_delta String.to_float(duration), 8.0, 1.5

        # Audio and video cover the same time.
        assert_in_delta last_time(path, "a"), last_time(path, "v"), 0.2

        # Every frame decodes, without a complaint.
        pictures = FFmpeg.decoded(path, ~w(-map 0:v))
        assert length(pictures) >= String.to_integer(video["nb_read_packets"]) - 1
        assert_seekable(path, String.to_float(duration))

        # What WebM has, browsers play.
        if Path.extname(path) == ".webm" do
          seen = chromium("videoFile", base, %{path: path, seeks: [0.2, 0.5, 0.8]})
          assert_in_delta seen["duration"], String.to_float(duration), 0.1

          for {at, time} <- Enum.zip([0.2, 0.5, 0.8], seen["times"]),
              do: assert_in_delta(time, at * seen["duration"], 0.1)

          assert seen["different"] == 3
          assert seen["width"] > 0
          assert seen["frames"] > 30
        end
      end
    end

    for loss <- [0, 5] do
      @loss loss

      test "what is seen and heard at one moment is at one of the file, within 40 ms, #{loss} % lost",
           context do
        assert_in_sync(context.tmp_dir, @loss)
      end
    end

    defp assert_in_sync(directory, loss) do
      {base, _printed, _port} = Example.start("record.exs", [directory, "--loss", "#{loss}"])
      options = %{codec: "VP8", seconds: 12, timed: true}
      %{"captured" => captured} = chromium("exampleRecord", base, options)
      eventually(fn -> Enum.any?(Path.wildcard(directory <> "/*"), &indexed?/1) end)
      [path] = Path.wildcard(directory <> "/*")

      {in_file, in_tracks} = {apart(pictures(path), tones(path)), apart(captured)}

      assert_in_delta in_file,
                      in_tracks,
                      0.04,
                      "#{in_file} s in the file, #{in_tracks} s captured"
    end

    defp apart(%{"pictures" => pictures, "tones" => tones}) do
      pictures = for [time, says] <- pictures, do: {time / 1000, says}
      apart(pictures, Enum.map(tones, &(&1 / 1000)))
    end

    # How much later, in seconds, tones are heard than what is drawn as they begin is seen: they
    # begin at whole seconds, and pictures say the ms at which they were drawn.
    defp apart(pictures, tones) do
      assert length(pictures) >= 60
      assert length(tones) >= 6
      seen = median(for {time, says} <- pictures, do: time - says / 1000)
      median(for tone <- tones, do: tone - seen - round(tone - seen))
    end

    defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

    # When each picture is shown, in seconds of the file, and what it says.
    defp pictures(path) do
      {pixels, 0} =
        System.cmd(
          "ffmpeg",
          ~w(-nostdin -loglevel fatal -i #{path} -map 0:v -vsync passthrough) ++
            ~w(-vf scale=16:1:flags=area,format=gray -f rawvideo -)
        )

      says =
        for <<columns::binary-size(16) <- pixels>> do
          bits =
            for <<column <- columns>>, into: <<>>, do: <<if(column > 128, do: 1, else: 0)::1>>

          <<milliseconds::16>> = bits
          milliseconds
        end

      times = path |> FFmpeg.probe("packet=pts_time", ~w(-select_streams v)) |> Enum.map(&time/1)
      Enum.zip(times, says)
    end

    # When silence ends. The samples begin with the file; what is lost is silence, so that those behind
    # it are in their place.
    defp tones(path) do
      {samples, 0} =
        System.cmd(
          "ffmpeg",
          ~w(-nostdin -loglevel error -i #{path} -map 0:a) ++
            ~w(-af aresample=async=1:min_hard_comp=0.005:first_pts=0 -ac 1 -ar 8000 -f s16le -)
        )

      # Of 5 ms each.
      for(<<block::binary-size(80) <- samples>>, do: loudest(block))
      |> Enum.with_index(&{&1, &2 * 0.005})
      |> onsets(&(elem(&1, 0) > 3000))
    end

    defp loudest(block), do: for(<<s::signed-little-16 <- block>>, do: abs(s)) |> Enum.max()

    defp time(packet), do: String.to_float(packet["pts_time"])

    # The times at which it begins to hold, having not held for a while.
    defp onsets(timed, holds?) do
      {times, _last} =
        Enum.flat_map_reduce(timed, nil, fn {_value, time} = entry, last ->
          cond do
            not holds?.(entry) -> {[], last}
            last != nil and time - last > 0.4 -> {[time], time}
            true -> {[], time}
          end
        end)

      times
    end

    defp indexed?(path),
      do: path |> File.read!() |> :binary.matches(<<0x1C, 0x53, 0xBB, 0x6B>>) |> length() > 1

    defp last_time(path, kind) do
      path
      |> FFmpeg.probe("packet=pts_time", ["-select_streams", kind])
      |> Enum.map(&String.to_float(&1["pts_time"]))
      |> Enum.max()
    end

    # A keyframe is found through the index, within the interval at which they were asked for.
    defp assert_seekable(path, duration) do
      at = duration * 0.75

      assert [%{"pts_time" => time, "flags" => "K" <> _} | _] =
               FFmpeg.probe(path, "packet=pts_time,flags", [
                 "-select_streams",
                 "v",
                 "-read_intervals",
                 "#{at}%+#1"
               ])

      assert String.to_float(time) <= at and String.to_float(time) >= at - 4
    end
  end
end
