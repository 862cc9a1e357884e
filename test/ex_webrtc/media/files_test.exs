defmodule ExWebRTC.Media.FilesTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.Media.{AnnexB, AV1, H264, H265, IVF, Ogg, Opus, Video, VP8, VP9, WAV, WebM}

  doctest AnnexB
  doctest AV1
  doctest IVF.Header
  doctest Opus
  doctest Video
  doctest VP8
  doctest WebM.Track

  @moduletag :tmp_dir

  property "random bytes never raise in any parser", [data <- :proper_types.binary()] do
    for module <- [AV1, H264, H265, VP8, VP9], prefix <- prefixes(module) do
      frame = prefix <> data
      assert is_boolean(module.keyframe?(frame))

      case module.parse_keyframe(frame) do
        {:ok, info} -> assert is_integer(info.width) and is_integer(info.profile)
        :error -> :ok
      end
    end

    assert match?({:ok, _samples}, Opus.samples(data)) or Opus.samples(data) == :error
    assert AV1.layer(data) |> is_tuple()

    for size <- 1..4 do
      result = AnnexB.from_length_prefixed(data, size)
      assert result == :error or match?({:ok, _units}, result)
    end
  end

  # What leads a parser into the depth of its headers.
  defp prefixes(AV1), do: ["", <<0x0A, 30>>, <<0x08>>]
  defp prefixes(H264), do: ["", <<0, 0, 1, 0x67>>, <<0, 0, 1, 0x67, 100, 0, 31>>]
  defp prefixes(H265), do: ["", <<0, 0, 1, 0x42, 1>>, <<0, 0, 1, 0x42, 1, 0>>]
  defp prefixes(VP8), do: ["", <<0x10, 0, 0, 0x9D, 0x01, 0x2A>>]
  defp prefixes(VP9), do: ["", <<0x82, 0x49, 0x83, 0x42>>, <<0xB0, 0x24, 0xC1, 0xA1>>]

  property "random files never raise in any reader", [data <- :proper_types.binary()] do
    path = Path.join(System.tmp_dir!(), "random-#{System.unique_integer([:positive])}")

    ogg = %Ogg.Page{granule: 0, serial: 1, number: 0, first?: true, packets: [Opus.head(1)]}
    tags = %{ogg | first?: false, number: 1, packets: ["OpusTags"]}
    packets = %{tags | number: 2, packets: [data, ""], continued?: rem(byte_size(data), 2) == 0}

    format =
      WAV.Header.encode_format(%WAV.Header{format: :pcmu, sample_rate: 8000, channels: 1, bits: 8})

    wav = ["RIFF----WAVE", "fmt ", <<16::little-32>>, format, "data", <<9::little-32>>]

    for prefix <- [
          "",
          "DKIF",
          IVF.Header.encode(ivf_header()),
          "RIFF----WAVE",
          wav,
          Ogg.Page.encode(ogg),
          # Behind whole headers: pages that are none, and packets that are not Opus.
          [Ogg.Page.encode(ogg), Ogg.Page.encode(tags)],
          [Ogg.Page.encode(ogg), Ogg.Page.encode(tags), Ogg.Page.encode(packets)]
        ] do
      File.write!(path, [prefix, data])

      with {:ok, _header, reader} <- IVF.Reader.open(path) do
        assert {:error, :invalid_file} == last(fn -> IVF.Reader.next_frame(reader) end) or
                 data == ""

        IVF.Reader.close(reader)
      end

      with {:ok, reader} <- Ogg.Reader.open(path), do: read_ogg(reader)
      with {:ok, _header, reader} <- WAV.Reader.open(path), do: read_wav(reader)

      {:ok, reader} = AnnexB.Reader.open(path, :h264)
      read_all(reader)
    end

    File.rm!(path)
  end

  defp read_ogg(reader) do
    case Ogg.Reader.next_packet(reader) do
      {:ok, {packet, duration}, reader} ->
        assert is_binary(packet) and duration in 0..120
        read_ogg(reader)

      other ->
        Ogg.Reader.close(reader)
        assert other in [:eof, {:error, :invalid_file}]
    end
  end

  defp read_wav(reader) do
    case WAV.Reader.read(reader, 3) do
      {:ok, samples, reader} ->
        assert samples != ""
        read_wav(reader)

      other ->
        WAV.Reader.close(reader)
        assert other == :eof
    end
  end

  defp last(next) do
    case next.() do
      {:ok, _frame} -> last(next)
      :eof -> {:error, :invalid_file}
      error -> error
    end
  end

  defp read_all(reader) do
    case AnnexB.Reader.next_frame(reader) do
      {:ok, _frame, reader} -> read_all(reader)
      other -> assert other == :eof or other == {:error, :invalid_file}
    end
  end

  defp ivf_header do
    %IVF.Header{
      fourcc: IVF.Header.fourcc("VP80"),
      width: 2,
      height: 2,
      timebase_denum: 30,
      timebase_num: 1,
      num_frames: 0
    }
  end

  test "IVF: what is written is read, and the header counts the frames", %{tmp_dir: directory} do
    path = Path.join(directory, "video.ivf")
    {:ok, writer} = IVF.Writer.open(path, fourcc: "AV01", width: 6, height: 4, num_frames: 2)

    frames = for n <- 0..4, do: %IVF.Frame{timestamp: n * 3000, data: :binary.copy("x", n)}

    writer =
      for frame <- frames, reduce: writer do
        writer ->
          {:ok, writer} = IVF.Writer.write_frame(writer, frame)
          writer
      end

    assert {:ok, %IVF.Header{num_frames: 6}, _reader} = IVF.Reader.open(path)
    :ok = IVF.Writer.close(writer)

    assert {:ok, %IVF.Header{num_frames: 5, width: 6, height: 4} = header, reader} =
             IVF.Reader.open(path)

    assert header.fourcc == IVF.Header.fourcc("AV01")
    assert frames == for(_frame <- frames, do: elem(IVF.Reader.next_frame(reader), 1))
    assert :eof == IVF.Reader.next_frame(reader)

    File.write!(path, binary_part(File.read!(path), 0, File.stat!(path).size - 1))
    {:ok, _header, reader} = IVF.Reader.open(path)
    for _frame <- 1..4, do: {:ok, _} = IVF.Reader.next_frame(reader)
    assert {:error, :invalid_file} == IVF.Reader.next_frame(reader)
  end

  property "Ogg: packets of any size and number come back", [
    sizes <- :proper_types.list(:proper_types.integer(1, 2000))
  ] do
    path = Path.join(System.tmp_dir!(), "ogg-#{System.unique_integer([:positive])}")
    packets = for size <- sizes, do: <<0xF8, 0::size(size)-unit(8)>>
    {:ok, writer} = Ogg.Writer.open(path)

    writer =
      for packet <- packets, reduce: writer do
        writer ->
          {:ok, writer} = Ogg.Writer.write_packet(writer, packet)
          writer
      end

    assert {:error, :invalid_packet} == Ogg.Writer.write_packet(writer, "")
    :ok = Ogg.Writer.close(writer)
    {:ok, reader} = Ogg.Reader.open(path)

    reader =
      for packet <- packets, reduce: reader do
        reader ->
          assert {:ok, {^packet, 20}, reader} = Ogg.Reader.next_packet(reader)
          reader
      end

    assert :eof == Ogg.Reader.next_packet(reader)
    File.rm!(path)
  end

  test "Ogg: a changed byte is found", %{tmp_dir: directory} do
    path = Path.join(directory, "audio.ogg")
    {:ok, writer} = Ogg.Writer.open(path)
    {:ok, writer} = Ogg.Writer.write_packet(writer, <<0xF8, 1, 2, 3>>)
    :ok = Ogg.Writer.close(writer)
    size = File.stat!(path).size - 1
    <<start::binary-size(size), last>> = File.read!(path)
    File.write!(path, [start, last + 1])
    {:ok, reader} = Ogg.Reader.open(path)
    assert {:error, :invalid_file} == Ogg.Reader.next_packet(reader)
  end

  property "Annex B: pictures come back from any file", [
    slices <- :proper_types.list(:proper_types.binary(10))
  ] do
    path = Path.join(System.tmp_dir!(), "annexb-#{System.unique_integer([:positive])}")

    frames =
      for {data, index} <- Enum.with_index(slices) do
        data = for <<byte <- data>>, into: <<>>, do: <<Bitwise.bor(byte, 1)>>
        sps = if rem(index, 3) == 0, do: [<<0x67, 1>>, <<0x68, 1>>], else: []
        AnnexB.join(sps ++ [<<0x41, 0x80, data::binary, 1>>, <<0x41, 0x01, data::binary, 1>>])
      end

    File.write!(path, frames)
    {:ok, reader} = AnnexB.Reader.open(path, :h264)
    assert read_frames(reader) == frames
    File.rm!(path)
  end

  defp read_frames(reader) do
    case AnnexB.Reader.next_frame(reader) do
      {:ok, frame, reader} -> [frame | read_frames(reader)]
      :eof -> []
    end
  end

  test "what a header cannot say raises before there is a file, and is named", %{
    tmp_dir: directory
  } do
    path = Path.join(directory, "none")
    ivf = [fourcc: "VP80", width: 1, height: 1]

    for {writer, opts, name, wrong} <- [
          {IVF.Writer, ivf, :fourcc, "VP800"},
          {IVF.Writer, ivf, :fourcc, nil},
          {IVF.Writer, ivf, :width, 70_000},
          {IVF.Writer, ivf, :height, -1},
          {IVF.Writer, ivf, :num_frames, 0},
          {IVF.Writer, ivf, :timebase_num, 0},
          {IVF.Writer, ivf, :timebase_denum, nil},
          {Ogg.Writer, [], :channel_count, 0},
          {Ogg.Writer, [], :channel_count, 300},
          {Ogg.Writer, [], :sample_rate, -1},
          {Ogg.Writer, [], :pre_skip, 65_536},
          {WAV.Writer, [], :format, :mp3},
          {WAV.Writer, [], :bits, 12},
          {WAV.Writer, [format: :pcmu], :bits, 16},
          {WAV.Writer, [], :sample_rate, 0},
          {WAV.Writer, [], :channels, 0}
        ] do
      assert_raise ArgumentError,
                   ~r/expected #{inspect(name)} to be .*, got: #{inspect(wrong)}/,
                   fn ->
                     writer.open(path, Keyword.put(opts, name, wrong))
                   end

      refute File.exists?(path)
    end

    assert_raise ArgumentError, ~r/:width/, fn -> IVF.Writer.open(path, fourcc: 1, height: 1) end
  end

  test "a file that is not there is an error of its own", %{tmp_dir: directory} do
    path = Path.join(directory, "none")
    assert {:error, :enoent} == IVF.Reader.open(path)
    assert {:error, :enoent} == Ogg.Reader.open(path)
    assert {:error, :enoent} == WAV.Reader.open(path)
    File.write!(path, "nothing")
    assert {:error, :invalid_file} == IVF.Reader.open(path)
    assert {:error, :invalid_file} == Ogg.Reader.open(path)
    assert {:error, :invalid_file} == WAV.Reader.open(path)
  end

  test "the durations of Opus packets" do
    # SILK 60 ms, hybrid 10 ms, CELT 2.5 ms; two frames; a counted number.
    assert {:ok, 2880} == Opus.samples(<<3::5, 0::3>>)
    assert {:ok, 480} == Opus.samples(<<12::5, 0::3>>)
    assert {:ok, 120} == Opus.samples(<<16::5, 0::3>>)
    assert {:ok, 1920} == Opus.samples(<<31::5, 1::3>>)
    assert {:ok, 2880} == Opus.samples(<<31::5, 3::3, 3>>)
    # More than 120 ms, and none.
    assert :error == Opus.samples(<<3::5, 3::3, 3>>)
    assert :error == Opus.samples(<<31::5, 3::3, 0>>)
    assert 2 == Opus.channels(<<0xFC>>)
  end
end
