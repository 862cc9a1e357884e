defmodule ExWebRTC.Media.FFmpegTest do
  # Against real encoders and decoders.
  use ExUnit.Case, async: true

  alias ExWebRTC.FFmpeg
  alias ExWebRTC.Media.{AnnexB, IVF, Ogg, Opus, Video, WAV, WebM}
  alias ExWebRTC.RTP.{Depayloader, Packet, Payloader}
  alias ExWebRTC.RTPCodecParameters

  @moduletag :interop
  @moduletag :tmp_dir
  @moduletag timeout: 120_000

  @fourccs %{"video/VP8" => "VP80", "video/VP9" => "VP90", "video/AV1" => "AV01"}

  defp codec(mime_type, clock_rate \\ 90_000),
    do: %RTPCodecParameters{payload_type: 96, mime_type: mime_type, clock_rate: clock_rate}

  defp read_frames(path) do
    case Path.extname(path) do
      ".ivf" ->
        {:ok, header, reader} = IVF.Reader.open(path)
        assert header.width == 160 and header.height == 120

        frames =
          Stream.repeatedly(fn -> IVF.Reader.next_frame(reader) end)
          |> Enum.take_while(&(&1 != :eof))
          |> Enum.map(fn {:ok, frame} -> frame.data end)

        :ok = IVF.Reader.close(reader)
        frames

      extension ->
        {:ok, reader} = AnnexB.Reader.open(path, if(extension == ".h264", do: :h264, else: :h265))
        annex_b_frames(reader, [])
    end
  end

  defp annex_b_frames(reader, frames) do
    case AnnexB.Reader.next_frame(reader) do
      {:ok, frame, reader} ->
        annex_b_frames(reader, [frame | frames])

      :eof ->
        :ok = AnnexB.Reader.close(reader)
        Enum.reverse(frames)
    end
  end

  defp write_frames(path, mime_type, frames) do
    if mime_type in Map.keys(@fourccs) do
      {:ok, writer} =
        IVF.Writer.open(path,
          fourcc: @fourccs[mime_type],
          width: 160,
          height: 120,
          timebase_denum: FFmpeg.rate(),
          num_frames: 8
        )

      writer =
        for {frame, index} <- Enum.with_index(frames), reduce: writer do
          writer ->
            {:ok, writer} =
              IVF.Writer.write_frame(writer, %IVF.Frame{timestamp: index, data: frame})

            writer
        end

      :ok = IVF.Writer.close(writer)
    else
      {:ok, writer} = AnnexB.Writer.open(path)
      for frame <- frames, do: {:ok, ^writer} = AnnexB.Writer.write_frame(writer, frame)
      :ok = AnnexB.Writer.close(writer)
    end
  end

  defp packets(mime_type, frames, opts \\ []) do
    {:ok, payloader} = Payloader.new(codec(mime_type), opts)

    {packets, {_payloader, _number}} =
      frames
      |> Enum.with_index()
      |> Enum.flat_map_reduce({payloader, 65_500}, fn {frame, index}, {payloader, number} ->
        {packets, payloader} = Payloader.payload(payloader, frame)

        packets =
          for {packet, offset} <- Enum.with_index(packets, number) do
            %{packet | sequence_number: rem(offset, 65_536), timestamp: index * 6000}
          end

        {packets, {payloader, number + length(packets)}}
      end)

    packets
  end

  defp depayload(codec, packets) do
    {:ok, depayloader} = Depayloader.new(codec)

    {frames, _depayloader} =
      Enum.flat_map_reduce(packets, depayloader, fn packet, depayloader ->
        {frame, depayloader} = Depayloader.depayload_frame(depayloader, packet)
        {List.wrap(frame), depayloader}
      end)

    frames
  end

  for mime_type <- FFmpeg.video_codecs() do
    @mime_type mime_type

    test "#{mime_type}: an encoder's stream survives RTP, and files of ours decode alike",
         context do
      source = FFmpeg.video!(context.tmp_dir, @mime_type)
      frames = read_frames(source)
      assert length(frames) == FFmpeg.frames()

      assert {:ok, %{width: 160, height: 120}} = Video.parse_keyframe(@mime_type, hd(frames))

      received = depayload(codec(@mime_type), packets(@mime_type, frames))
      assert length(received) == length(frames)
      assert Enum.map(received, & &1.timestamp) == for(n <- 0..(length(frames) - 1), do: n * 6000)

      keyframes = for {frame, n} <- Enum.with_index(received), frame.keyframe?, do: n
      assert keyframes == [0, 10, 20]

      again = Path.join(context.tmp_dir, "again" <> Path.extname(source))
      write_frames(again, @mime_type, Enum.map(received, & &1.data))
      expected = FFmpeg.decoded(source)
      assert length(expected) == FFmpeg.frames()
      assert FFmpeg.decoded(again) == expected

      webm = Path.join(context.tmp_dir, "video.webm")
      {:ok, track} = WebM.Track.video(@mime_type, hd(frames))
      {:ok, writer} = WebM.Writer.open(webm, [track])

      writer =
        for frame <- received, reduce: writer do
          writer ->
            time = div(frame.timestamp, 90)

            {:ok, writer} =
              WebM.Writer.write(writer, 1, frame.data, time, keyframe?: frame.keyframe?)

            writer
        end

      # What a program that was killed leaves behind.
      killed = Path.join(context.tmp_dir, "killed.webm")
      File.cp!(webm, killed)
      assert length(FFmpeg.decoded(killed)) in 15..29

      :ok = WebM.Writer.close(writer, tags: %{"NOTE" => "a text"})
      assert FFmpeg.decoded(webm) == expected

      assert [%{"width" => "160", "height" => "120", "nb_read_packets" => "30"}] =
               FFmpeg.probe(webm, "stream=width,height,nb_read_packets", ~w(-count_packets))

      assert [format] = FFmpeg.probe(webm, "format=duration,start_time:format_tags=NOTE")
      assert_in_delta String.to_float(format["duration"]), 1.93, 0.1
      assert format["TAG:NOTE"] == "a text"

      # Seeking finds the keyframe before, through the index.
      assert [%{"pts_time" => "1.333000", "flags" => "K" <> _} | _] =
               FFmpeg.probe(webm, "packet=pts_time,flags", ~w(-read_intervals 1.6%+#1))
    end

    test "#{mime_type}: with 5 % loss, what is given decodes as if there had been none",
         context do
      source = FFmpeg.video!(context.tmp_dir, @mime_type, gop: 5, arguments: ~w(-bf 0))
      frames = read_frames(source)
      sent = packets(@mime_type, frames, max_payload_size: 400)
      assert length(sent) > 60
      :rand.seed(:exsss, {1, 5, 9})
      kept = Enum.filter(sent, &(&1 == hd(sent) or :rand.uniform() > 0.05))
      received = depayload(codec(@mime_type), kept)

      # Each is one that was sent, byte for byte, and few are missing that arrived whole: those whose
      # beginning nobody can tell.
      given = for frame <- received, do: {div(frame.timestamp, 6000), frame.data}
      given = for {index, data} <- given, do: {index, clean(@mime_type, data)}
      as_sent = frames |> Enum.map(&clean(@mime_type, &1)) |> Enum.with_index(&{&2, &1})
      assert given -- as_sent == []

      complete =
        sent
        |> Enum.group_by(& &1.timestamp)
        |> Enum.count(fn {_timestamp, packets} -> packets -- kept == [] end)

      assert length(given) in (complete - 3)..complete
      assert complete < length(frames)

      # A decoder needs what a frame refers to: up to the first that is missing in a group of pictures.
      indexes = MapSet.new(given, &elem(&1, 0))

      decodable =
        Enum.filter(0..29, fn index ->
          Enum.all?((index - rem(index, 5))..index, &MapSet.member?(indexes, &1))
        end)

      assert length(decodable) > 5
      again = Path.join(context.tmp_dir, "again" <> Path.extname(source))
      write_frames(again, @mime_type, for({index, data} <- given, index in decodable, do: data))
      hashes = FFmpeg.decoded(source)
      assert FFmpeg.decoded(again) == for(index <- decodable, do: Enum.at(hashes, index))
    end

    test "#{mime_type}: RTP of ffmpeg gives the encoder's frames", context do
      source = FFmpeg.video!(context.tmp_dir, @mime_type)

      case ffmpeg_rtp(source, context.tmp_dir) do
        {:ok, packets} ->
          received = depayload(codec(@mime_type), packets)
          again = Path.join(context.tmp_dir, "again" <> Path.extname(source))
          write_frames(again, @mime_type, Enum.map(received, & &1.data))
          assert FFmpeg.decoded(again) == FFmpeg.decoded(source)

          data = for frame <- received, do: clean(@mime_type, frame.data)
          assert data == source |> read_frames() |> Enum.map(&clean(@mime_type, &1))

        {:error, reason} ->
          # This ffmpeg may be older than its AV1 packetizer.
          assert @mime_type == "video/AV1" and reason =~ "Unsupported"
      end
    end
  end

  # ffmpeg leaves zeros between NAL units in the units.
  defp clean(mime_type, frame) when mime_type in ["video/H264", "video/H265"],
    do: frame |> AnnexB.units() |> AnnexB.join()

  defp clean(_mime_type, frame), do: frame

  # Sends a file as RTP to a socket of ours.
  defp ffmpeg_rtp(source, _directory) do
    {:ok, socket} =
      :gen_udp.open(0, [:binary, ip: {127, 0, 0, 1}, active: true, recbuf: 4_000_000])

    {:ok, port} = :inet.port(socket)

    FFmpeg.run!(
      ~w(-i #{source} -c copy -strict experimental -f rtp -payload_type 96 rtp://127.0.0.1:#{port}?pkt_size=1200)
    )

    {:ok, collect(socket, [])}
  rescue
    error in RuntimeError -> {:error, error.message}
  end

  defp collect(socket, packets) do
    receive do
      {:udp, ^socket, _ip, _port, data} ->
        {:ok, packet} = Packet.decode(data)
        collect(socket, [packet | packets])
    after
      200 -> Enum.reverse(packets)
    end
  end

  test "Opus of an encoder survives Ogg and WebM of ours", context do
    source = FFmpeg.audio!(context.tmp_dir, "tone.opus", ~w(-c:a libopus -b:a 48k -ac 2))
    {:ok, reader} = Ogg.Reader.open(source)
    assert Ogg.Reader.channels(reader) == 2
    packets = ogg_packets(reader, [])
    assert Enum.sum(Enum.map(packets, &elem(&1, 1))) in 2000..2040

    ogg = Path.join(context.tmp_dir, "again.ogg")
    {:ok, writer} = Ogg.Writer.open(ogg, channel_count: 2)
    {:ok, track} = WebM.Track.audio("audio/opus", channels: 2)
    webm = Path.join(context.tmp_dir, "again.webm")
    {:ok, webm_writer} = WebM.Writer.open(webm, [track])

    {writer, webm_writer, _time} =
      for {packet, duration} <- packets, reduce: {writer, webm_writer, 0} do
        {writer, webm_writer, time} ->
          {:ok, writer} = Ogg.Writer.write_packet(writer, packet)
          {:ok, webm_writer} = WebM.Writer.write(webm_writer, 1, packet, time)
          {writer, webm_writer, time + duration}
      end

    :ok = Ogg.Writer.close(writer)
    :ok = WebM.Writer.close(webm_writer)
    {:ok, reader} = Ogg.Reader.open(ogg)
    assert ogg_packets(reader, []) == packets

    for path <- [ogg, webm] do
      assert [%{"codec_name" => "opus", "channels" => "2"}] =
               FFmpeg.probe(path, "stream=codec_name,channels")

      assert [%{"duration" => duration}] = FFmpeg.probe(path, "format=duration")
      assert_in_delta String.to_float(duration), 2.0, 0.05
      assert FFmpeg.decoded(path) != []
    end
  end

  defp ogg_packets(reader, packets) do
    case Ogg.Reader.next_packet(reader) do
      {:ok, packet, reader} ->
        assert {:ok, _samples} = Opus.samples(elem(packet, 0))
        ogg_packets(reader, [packet | packets])

      :eof ->
        :ok = Ogg.Reader.close(reader)
        Enum.reverse(packets)
    end
  end

  test "WAV files of an encoder are read, and ours are decoded alike", context do
    for {encoder, format, bits} <- [
          {"pcm_s16le", :pcm, 16},
          {"pcm_alaw", :pcma, 8},
          {"pcm_mulaw", :pcmu, 8}
        ] do
      source = FFmpeg.audio!(context.tmp_dir, "#{format}.wav", ["-c:a", encoder, "-ar", "8000"])

      {:ok, header, reader} = WAV.Reader.open(source)
      assert %WAV.Header{format: ^format, sample_rate: 8000, channels: 1, bits: ^bits} = header
      {:ok, samples, reader} = WAV.Reader.read(reader, 20_000)
      assert byte_size(samples) == 16_000 * div(bits, 8)
      assert :eof == WAV.Reader.read(reader, 1)

      again = Path.join(context.tmp_dir, "again.wav")
      {:ok, writer} = WAV.Writer.open(again, format: format)
      {:ok, writer} = WAV.Writer.write(writer, samples)
      # Also before it is closed.
      assert FFmpeg.decoded(again) == FFmpeg.decoded(source)
      :ok = WAV.Writer.close(writer)
      assert FFmpeg.decoded(again) == FFmpeg.decoded(source)
    end
  end

  test "G.711 and G722 in Matroska decode", context do
    for {mime_type, encoder, name, rate} <- [
          {"audio/PCMU", "pcm_mulaw", "u.mulaw", 8000},
          {"audio/PCMA", "pcm_alaw", "a.alaw", 8000},
          {"audio/G722", "g722", "g.g722", 16_000}
        ] do
      muxer = if encoder == "g722", do: "g722", else: Path.extname(name) |> String.trim(".")

      source =
        FFmpeg.audio!(
          context.tmp_dir,
          name,
          ~w(-c:a #{encoder} -ar #{rate} -ac 1 -f #{muxer})
        )

      path = Path.join(context.tmp_dir, name <> ".mkv")
      {:ok, track} = WebM.Track.audio(mime_type)
      {:ok, writer} = WebM.Writer.open(path, [track])

      writer =
        for {<<frame::binary-size(160)>>, n} <-
              Enum.with_index(for <<f::binary-size(160) <- File.read!(source)>>, do: f),
            reduce: writer do
          writer ->
            {:ok, writer} = WebM.Writer.write(writer, 1, frame, n * 20)
            writer
        end

      :ok = WebM.Writer.close(writer)

      assert [%{"sample_rate" => sample_rate, "nb_read_packets" => "100"}] =
               FFmpeg.probe(path, "stream=sample_rate,nb_read_packets", ~w(-count_packets))

      assert sample_rate == "#{rate}"
      assert FFmpeg.decoded(path) != []
    end
  end
end
