defmodule ExWebRTC.Media.WebMTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.FFmpeg
  alias ExWebRTC.Media.AnnexB
  alias ExWebRTC.Media.WebM.{Block, EBML, Frame, Reader, Track, Writer}

  @moduletag :tmp_dir

  # 20 ms of silence.
  @opus <<0xFC, 0xFF, 0xFE>>
  @vp8_key <<0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 1, 240, 0>>

  defp read_all(path) do
    {:ok, tracks, reader} = Reader.open(path)
    frames = read_frames(reader, [])
    {tracks, frames}
  end

  defp read_frames(reader, frames) do
    case Reader.next_frame(reader) do
      {:ok, frame, reader} ->
        read_frames(reader, [frame | frames])

      :eof ->
        :ok = Reader.close(reader)
        Enum.reverse(frames)
    end
  end

  defp tracks do
    {:ok, audio} = Track.audio("audio/opus", channels: 2)
    {:ok, video} = Track.video("video/VP8", @vp8_key)
    [audio, video]
  end

  defp write(path, tracks, frames, close? \\ true) do
    {:ok, writer} = Writer.open(path, tracks)

    writer =
      for {number, data, time, keyframe?} <- frames, reduce: writer do
        writer ->
          {:ok, writer} = Writer.write(writer, number, data, time, keyframe?: keyframe?)
          writer
      end

    if close?, do: :ok = Writer.close(writer)
  end

  # An element with a size, as a file from elsewhere might have it.
  defp file(directory, tracks, rest) do
    path = Path.join(directory, "other.mkv")

    File.write!(path, [
      EBML.element(0x1A45DFA3, EBML.element(0x4282, "matroska")),
      EBML.open(0x18538067),
      EBML.element(0x1654AE6B, tracks),
      rest
    ])

    path
  end

  defp entry(number, codec_id, more \\ []) do
    EBML.element(0xAE, [
      EBML.uint(0xD7, number),
      EBML.uint(0x83, 2),
      EBML.element(0x86, codec_id),
      more
    ])
  end

  test "what the writer wrote is read, in the order of time", %{tmp_dir: directory} do
    path = Path.join(directory, "call.webm")

    frames =
      Enum.sort_by(
        for(n <- 0..99, do: {1, @opus <> <<n>>, n * 20, true}) ++
          for(n <- 0..29, do: {2, <<n, "frame">>, n * 67, rem(n, 10) == 0}),
        &{elem(&1, 2), elem(&1, 0)}
      )

    write(path, tracks(), frames)
    {tracks, read} = read_all(path)

    assert %{
             1 => %Track{kind: :audio, mime_type: "audio/opus", channels: 2, sample_rate: 48_000},
             2 => %Track{kind: :video, mime_type: "video/vp8", width: 320, height: 240}
           } = tracks

    assert frames == for(f <- read, do: {f.track, f.data, round(f.time), f.keyframe?})
  end

  test "a file that was not closed is read as far as it is", %{tmp_dir: directory} do
    path = Path.join(directory, "killed.webm")
    frames = for n <- 0..99, do: {1, @opus, n * 20, true}
    write(path, Enum.take(tracks(), 1), frames, false)
    {_tracks, read} = read_all(path)
    # Up to the last second.
    assert length(read) in 50..99
  end

  test "a file that is cut off within a frame is broken there", %{tmp_dir: directory} do
    path = Path.join(directory, "cut.webm")
    write(path, Enum.take(tracks(), 1), [{1, @opus, 0, true}], true)
    [{at, _length}] = :binary.matches(File.read!(path), @opus)
    File.write!(path, binary_part(File.read!(path), 0, at + 1))
    {:ok, _tracks, reader} = Reader.open(path)
    assert {:error, :invalid_file} == Reader.next_frame(reader)
  end

  test "what is no such file is refused", %{tmp_dir: directory} do
    path = Path.join(directory, "none.webm")
    assert {:error, :enoent} == Reader.open(path)

    for data <- ["", "nothing", <<0x1A, 0x45, 0xDF, 0xA3, 0x80>>, :binary.copy(<<0>>, 100)] do
      File.write!(path, data)
      assert {:error, :invalid_file} == Reader.open(path)
    end
  end

  test "block groups, lacing, scales and unknown sizes of other programs are understood",
       context do
    block = fn flags, data -> [<<0x81, 5::16, flags>>, data] end

    path =
      file(context.tmp_dir, [entry(1, "A_OPUS"), entry(2, "V_THEORA"), entry(3, "A_OPUS")], [
        # Two milliseconds a tick.
        EBML.element(0x1549A966, EBML.uint(0x2AD7B1, 2_000_000)),
        EBML.void(20),
        EBML.open(0x1F43B675),
        EBML.uint(0xE7, 100),
        EBML.element(0xA0, [EBML.element(0xA1, block.(0, "one"))]),
        EBML.element(0xA0, [
          EBML.element(0xA1, block.(0, "two")),
          EBML.element(0xFB, <<0xFF>>)
        ]),
        # Of a codec that is not known, and of a track that there is not.
        EBML.element(0xA3, [<<0x82, 0::16, 0>>, "theora"]),
        EBML.element(0xA3, [<<0x89, 0::16, 0>>, "none"]),
        # Xiph: one of 256 bytes, then the rest. Opus packets say how long they are.
        EBML.element(0xA3, block.(0x82, [1, 255, 1, <<0xF8>>, :binary.copy("x", 255), "y"])),
        EBML.element(0x1F43B675, [EBML.uint(0xE7, 200)]),
        # Fixed sizes, then EBML: sizes 2, 2 - 1, rest.
        EBML.element(0xA3, [<<0x83, 0xFFFF::16, 0x84>>, 1, "abcd"]),
        EBML.element(0xA3, [<<0x83, 0::16, 0x86>>, 2, <<0x82, 0xBE>>, "ab", "c", "def"])
      ])

    {tracks, frames} = read_all(path)
    assert Map.keys(tracks) == [1, 3]

    assert [
             %Frame{track: 1, time: 210.0, keyframe?: true, data: "one"},
             %Frame{track: 1, time: 210.0, keyframe?: false, data: "two"},
             %Frame{track: 1, time: 210.0, data: <<0xF8, "xx", _::binary>>},
             %Frame{track: 1, time: 230.0, data: "y"},
             %Frame{track: 3, time: 398.0, data: "ab"},
             %Frame{track: 3, data: "cd"},
             %Frame{track: 3, time: 400.0, data: "ab"},
             %Frame{data: "c"},
             %Frame{data: "def"}
           ] = frames
  end

  test "what a block announces and has not is an error", %{tmp_dir: directory} do
    for block <- [
          <<0x81, 0::16>>,
          # More sizes, or larger ones, than there is data for.
          <<0x81, 0::16, 0x82, 3, 255>>,
          <<0x81, 0::16, 0x82, 1, 9, "abc">>,
          <<0x81, 0::16, 0x84, 2, "ab">>,
          <<0x81, 0::16, 0x86, 1, 0x89, "abc">>,
          # A size below zero.
          <<0x81, 0::16, 0x86, 2, 0x81, 0x81, "abc">>,
          <<0x00>>
        ] do
      assert :error == Block.decode(block)

      path =
        file(directory, [entry(1, "A_OPUS")], [EBML.open(0x1F43B675), EBML.element(0xA3, block)])

      {:ok, _tracks, reader} = Reader.open(path)
      assert {:error, :invalid_file} == Reader.next_frame(reader)
    end
  end

  test "a block that announces gigabytes takes no memory", %{tmp_dir: directory} do
    rest = [EBML.open(0x1F43B675), EBML.id(0xA3), EBML.size8(0xFFFFFFFFFF), "x"]
    {:ok, _tracks, reader} = directory |> file([entry(1, "A_OPUS")], rest) |> Reader.open()
    # It is passed over like what is not known, and the file ends before it does.
    assert Reader.next_frame(reader) in [:eof, {:error, :invalid_file}]
  end

  property "sizes come back", [size <- :proper_types.integer(0, 0xFFFFFFFFFFFFF)] do
    assert {:ok, size, "x"} == EBML.take_size(EBML.size(size) <> "x")
  end

  property "random bytes are never read to an exception", [
    data <- :proper_types.binary(),
    at <- :proper_types.integer(0, 10_000),
    length <- :proper_types.integer(0, 10_000)
  ] do
    path = Path.join(System.tmp_dir!(), "random-#{System.unique_integer([:positive])}.webm")
    whole = whole_file()

    {start, rest} = split(whole, rem(at, byte_size(whole)))
    {_dropped, rest} = split(rest, min(length, byte_size(rest)))

    for bytes <- [data, start <> data <> rest] do
      File.write!(path, bytes)

      with {:ok, _tracks, reader} <- Reader.open(path) do
        read_to_end(reader)
      end
    end

    File.rm!(path)
  end

  defp split(data, at) do
    <<first::binary-size(at), rest::binary>> = data
    {first, rest}
  end

  defp read_to_end(reader) do
    case Reader.next_frame(reader) do
      {:ok, %Frame{data: data}, reader} ->
        assert is_binary(data)
        read_to_end(reader)

      other ->
        Reader.close(reader)
        assert other in [:eof, {:error, :invalid_file}]
    end
  end

  # With every codec whose description is more than a name.
  defp whole_file do
    avc = <<1, 66, 0, 31, 0xFF, 0xE1, 4::16, 0x67, 66, 0, 31, 1, 2::16, 0x68, 1>>
    hevc = <<1, 0::160, 3, 1, 33, 1::16, 3::16, 33::7, 1::9, 5>>

    IO.iodata_to_binary([
      EBML.element(0x1A45DFA3, EBML.element(0x4282, "matroska")),
      EBML.open(0x18538067),
      EBML.element(0x1654AE6B, [
        entry(1, "A_OPUS", EBML.element(0xE1, EBML.float(0xB5, 48_000.0))),
        entry(2, "V_MPEG4/ISO/AVC", EBML.element(0x63A2, avc)),
        entry(3, "V_MPEGH/ISO/HEVC", EBML.element(0x63A2, hevc)),
        entry(4, "V_AV1", EBML.element(0x63A2, <<0x81, 0, 0, 0, 0x0A, 1, 0>>))
      ]),
      EBML.element(0x1F43B675, [
        EBML.uint(0xE7, 0),
        for(
          track <- 1..4,
          do: EBML.element(0xA3, [<<1::1, track::7, 0::16, 0x80>>, 0, 0, 0, 2, 0x65, 1])
        ),
        EBML.element(0xA3, [<<0x81, 0::16, 0x86, 1, 0x81>>, "abc"])
      ])
    ])
  end

  test "parameter sets that only the track has come before its keyframes", %{tmp_dir: directory} do
    avc = <<1, 66, 0, 31, 0xFF, 0xE1, 4::16, 0x67, 66, 0, 31, 1, 2::16, 0x68, 1>>

    block = fn unit ->
      EBML.element(0xA3, [<<0x81, 0::16, 0x80>>, <<byte_size(unit)::32>>, unit])
    end

    path =
      file(directory, [entry(1, "V_MPEG4/ISO/AVC", EBML.element(0x63A2, avc))], [
        EBML.element(0x1F43B675, [EBML.uint(0xE7, 0), block.(<<0x65, 1>>), block.(<<0x41, 1>>)])
      ])

    {_tracks, frames} = read_all(path)
    parameters = [<<0x67, 66, 0, 31>>, <<0x68, 1>>]

    assert [AnnexB.join(parameters ++ [<<0x65, 1>>]), AnnexB.join([<<0x41, 1>>])] ==
             Enum.map(frames, & &1.data)
  end

  describe "files of ffmpeg" do
    @describetag :interop
    @describetag timeout: 120_000

    for mime_type <- FFmpeg.video_codecs() do
      @mime_type mime_type

      test "#{mime_type}: every frame is read, and decodes alike", %{tmp_dir: directory} do
        source = FFmpeg.video!(directory, @mime_type)
        mkv = Path.join(directory, "video.mkv")
        FFmpeg.run!(~w(-r #{FFmpeg.rate()} -i #{source} -c copy #{mkv}))

        assert {%{1 => %Track{width: 160, height: 120, kind: :video} = track}, frames} =
                 read_all(mkv)

        assert track.mime_type == String.downcase(@mime_type)
        assert length(frames) == FFmpeg.frames()
        assert for({%{keyframe?: true}, n} <- Enum.with_index(frames), do: n) == [0, 10, 20]

        # Through a file of ours, back to ffmpeg.
        again = Path.join(directory, "again.mkv")
        {:ok, track} = Track.video(@mime_type, hd(frames).data)
        write(again, [track], for(f <- frames, do: {1, f.data, round(f.time), f.keyframe?}))
        assert FFmpeg.decoded(again) == FFmpeg.decoded(source)
      end
    end

    test "audio: the packets of Opus, and G.711", %{tmp_dir: directory} do
      opus = FFmpeg.audio!(directory, "tone.webm", ~w(-c:a libopus -ac 2))
      assert {%{1 => %Track{mime_type: "audio/opus", channels: 2}}, frames} = read_all(opus)
      assert length(frames) in 100..102

      for {encoder, mime_type, rate} <- [
            {"pcm_mulaw", "audio/pcmu", 8000},
            {"pcm_alaw", "audio/pcma", 8000},
            {"g722", "audio/g722", 16_000}
          ] do
        path = FFmpeg.audio!(directory, "#{encoder}.mkv", ~w(-c:a #{encoder} -ac 1 -ar #{rate}))

        assert {%{1 => %Track{mime_type: ^mime_type, sample_rate: ^rate}}, frames} =
                 read_all(path)

        assert frames |> Enum.map(&byte_size(&1.data)) |> Enum.sum() == 16_000
      end
    end
  end
end
