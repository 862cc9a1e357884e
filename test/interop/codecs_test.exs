defmodule ExWebRTC.Interop.CodecsTest do
  # Streams of real encoders under every codec there is a name for: between two of our own, and with
  # the peers that have them. Video with Chromium: chromium_test.exs.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers

  alias ExWebRTC.{FFmpeg, MediaStreamTrack, Mirror, PeerConnection, RTPCodecParameters}
  alias ExWebRTC.Interop.{Browser, Peer}
  alias ExWebRTC.Media.{AnnexB, IVF, Ogg}
  alias ExWebRTC.RTP.{Packet, Payloader}

  @moduletag :interop
  @moduletag timeout: 120_000

  @video [vp8: "VP8", vp9: "VP9", h264: "H264", h265: "H265", av1: "AV1"]

  # The encoder's output as bytes, in frames of 20 ms: 64 kbit/s each.
  @audio [pcmu: ~w(pcm_mulaw mulaw), pcma: ~w(pcm_alaw alaw), g722: ~w(g722 g722)]

  @pcmu %RTPCodecParameters{
    payload_type: 0,
    mime_type: "audio/PCMU",
    clock_rate: 8_000,
    channels: 1
  }
  @events_8k %RTPCodecParameters{
    payload_type: 101,
    mime_type: "audio/telephone-event",
    clock_rate: 8_000,
    sdp_fmtp_line: "0-15"
  }

  describe "between two of our own" do
    @describetag :tmp_dir

    for {codec, name} <- @video do
      test "#{codec} is negotiated and every packet of an encoder's stream arrives", context do
        frames = video_frames(context.tmp_dir, "video/" <> unquote(name))
        assert length(frames) == FFmpeg.frames()
        assert_arrive(:video, [video_codecs: [unquote(codec)]], "video/" <> unquote(name), frames)
      end
    end

    for {codec, [encoder, format]} <- @audio do
      test "#{codec} is negotiated and every packet of an encoder's stream arrives", context do
        [encoder, format] = unquote([encoder, format])
        rate = if format == "g722", do: "16000", else: "8000"
        arguments = ["-c:a", encoder, "-ar", rate, "-ac", "1", "-f", format]
        bytes = context.tmp_dir |> FFmpeg.audio!("tone.#{format}", arguments) |> File.read!()
        frames = for <<frame::binary-size(160) <- bytes>>, do: frame
        assert length(frames) in 98..101
        name = unquote(codec) |> to_string() |> String.upcase()
        assert_arrive(:audio, [audio_codecs: [unquote(codec)]], "audio/" <> name, frames)
      end
    end

    test "opus is negotiated and every packet of an encoder's stream arrives", context do
      source = FFmpeg.audio!(context.tmp_dir, "tone.opus", ~w(-c:a libopus -b:a 48k -ac 2))
      {:ok, reader} = Ogg.Reader.open(source)
      assert_arrive(:audio, [audio_codecs: [:opus]], "audio/opus", ogg_packets(reader))
    end
  end

  describe "with Chromium" do
    setup do
      start_supervised!(Browser)
      :ok
    end

    for codec <- [:opus, :pcmu, :pcma, :g722] do
      test "#{codec} comes back and is heard" do
        name = String.upcase(to_string(unquote(codec)))
        {peer, mirror, pc} = echo(:chromium, [audio_codecs: [unquote(codec)]], "audio", name)

        eventually(fn ->
          # The fake microphone beeps; silence has an energy of about 0.
          energy(peer) > 1.0e-4 and
            Enum.any?(Mirror.seen(mirror), fn {_track, seen} -> seen.packets >= 150 end)
        end)

        assert_codec(peer, pc, mirror, name)
      end
    end

    test "its telephone events arrive as packets of their own, and ours are heard" do
      options = [audio_codecs: [@pcmu, @events_8k]]
      {peer, mirror, pc} = echo(:chromium, options, "audio", "PCMU")
      assert Peer.step(peer, :dtmf, %{tones: "12"})
      events = event_payload_type(pc)

      # Two tones of 100 ms: a packet every 50 ms at the least, and three that end each.
      eventually(fn -> Enum.any?(Mirror.seen(mirror), &(count_of(&1, events) >= 8)) end)

      # From here on all it hears of us is silence, then a tone.
      :ok = Mirror.stop(mirror)
      [%{sender: sender}] = PeerConnection.get_transceivers(pc)
      silence = spawn_link(fn -> silence(pc, sender.track.id, 50_000) end)
      quiet = steady_energy(peer)
      :ok = PeerConnection.insert_dtmf(pc, sender.id, "5", duration: 1_000)
      eventually(fn -> energy(peer) > quiet + 1.0e-3 end)
      send(silence, :stop)
    end
  end

  describe "with aiortc" do
    for {codec, kind} <- [
          opus: "audio",
          pcmu: "audio",
          pcma: "audio",
          g722: "audio",
          vp8: "video",
          h264: "video"
        ] do
      test "#{codec} comes back and is decoded" do
        name = String.upcase(to_string(unquote(codec)))
        options = if unquote(kind) == "audio", do: :audio_codecs, else: :video_codecs
        options = [{options, [unquote(codec)]}]
        {peer, mirror, pc} = echo(:aiortc, options, unquote(kind), name)
        eventually(fn -> Peer.step(peer, :state)["frames"][unquote(kind)] >= 30 end)
        assert_codec(peer, pc, mirror, name)
      end
    end
  end

  ## Between two of our own

  # All of them, as they were, under the payload type that was agreed.
  defp assert_arrive(kind, options, mime_type, frames) do
    {sender, receiver} = start(options, options)
    track = MediaStreamTrack.new(kind)
    {:ok, _sender} = PeerConnection.add_track(sender, track)
    :ok = connect(sender, receiver)
    [%{codecs: [codec | _rtx]}] = PeerConnection.get_transceivers(sender)
    assert codec.mime_type == mime_type

    packets = packets(codec, frames)
    for packet <- packets, do: :ok = PeerConnection.send_rtp(sender, track.id, packet)

    received =
      for _packet <- packets do
        assert_receive {:ex_webrtc, ^receiver, {:rtp, _track, nil, packet}}, 5_000
        packet
      end

    essence = &{&1.sequence_number, &1.timestamp, &1.marker, &1.payload_type, &1.payload}

    assert Enum.map(Enum.sort_by(received, & &1.sequence_number), essence) ==
             Enum.map(packets, essence)

    stats = PeerConnection.get_stats(receiver)
    [stream] = for {_id, %{type: :inbound_rtp} = one} <- stats, do: one
    assert %{mime_type: ^mime_type, payload_type: payload_type} = stats[stream.codec_id]
    assert payload_type == codec.payload_type
  end

  defp packets(codec, frames) do
    {:ok, payloader} = Payloader.new(codec)
    ticks = div(codec.clock_rate, if(codec.mime_type =~ "video", do: FFmpeg.rate(), else: 50))

    {packets, _payloader} =
      frames
      |> Enum.with_index()
      |> Enum.flat_map_reduce(payloader, fn {frame, index}, payloader ->
        {packets, payloader} = Payloader.payload(payloader, frame)
        {Enum.map(packets, &%{&1 | timestamp: index * ticks}), payloader}
      end)

    for {packet, number} <- Enum.with_index(packets),
        do: %{packet | sequence_number: number, payload_type: codec.payload_type}
  end

  defp video_frames(directory, mime_type) do
    path = FFmpeg.video!(directory, mime_type)

    if Path.extname(path) == ".ivf" do
      {:ok, _header, reader} = IVF.Reader.open(path)
      ivf_frames(reader)
    else
      {:ok, reader} =
        AnnexB.Reader.open(path, if(mime_type == "video/H264", do: :h264, else: :h265))

      annex_b_frames(reader)
    end
  end

  defp ivf_frames(reader) do
    case IVF.Reader.next_frame(reader) do
      {:ok, frame} -> [frame.data | ivf_frames(reader)]
      :eof -> []
    end
  end

  defp annex_b_frames(reader) do
    case AnnexB.Reader.next_frame(reader) do
      {:ok, frame, reader} -> [frame | annex_b_frames(reader)]
      :eof -> []
    end
  end

  defp ogg_packets(reader) do
    case Ogg.Reader.next_packet(reader) do
      {:ok, {packet, _duration}, reader} -> [packet | ogg_packets(reader)]
      :eof -> []
    end
  end

  ## With peers

  defp echo(kind, options, media, codec) do
    peer = Peer.open(kind)
    {mirror, pc} = Peer.echo(peer, [%{kind: media, codec: codec}], options)
    {peer, mirror, pc}
  end

  # The one codec that was agreed, in both directions and both reports.
  defp assert_codec(peer, pc, mirror, name) do
    stats = PeerConnection.get_stats(pc)
    [%{codec_id: codec_id}] = for {_id, %{type: :inbound_rtp} = one} <- stats, do: one
    codec = stats[codec_id]
    assert codec.mime_type |> String.split("/") |> List.last() |> String.upcase() == name
    [{_track, %{payload_types: seen}}] = Map.to_list(Mirror.seen(mirror))
    assert Map.keys(seen) == [codec.payload_type]

    if peer.kind == :chromium do
      theirs = Peer.step(peer, :stats)
      [shown] = Peer.entries(theirs, "inbound-rtp")
      theirs = Enum.find(theirs, &(&1["id"] == shown["codecId"]))
      assert String.upcase(theirs["mimeType"]) == "AUDIO/" <> name
      assert theirs["payloadType"] == codec.payload_type
      assert theirs["clockRate"] == codec.clock_rate
    end
  end

  defp event_payload_type(pc) do
    [%{codecs: codecs}] = PeerConnection.get_transceivers(pc)
    Enum.find(codecs, &(&1.mime_type == "audio/telephone-event")).payload_type
  end

  defp count_of({_track, %{payload_types: types}}, type), do: Map.get(types, type, 0)

  # 20 ms of silence every 20 ms, in time stamps that go on from anywhere.
  defp silence(pc, track_id, number) do
    packet =
      Packet.new(:binary.copy(<<0xFF>>, 160),
        payload_type: 0,
        sequence_number: rem(number, 65_536),
        timestamp: number * 160
      )

    :ok = PeerConnection.send_rtp(pc, track_id, packet)

    receive do
      :stop -> :ok
    after
      20 -> silence(pc, track_id, number + 1)
    end
  end

  # Once what was under way has been played.
  defp steady_energy(peer, before \\ nil) do
    now = energy(peer)

    if before && now - before < 1.0e-6,
      do: now,
      else: receive(after: (1_000 -> steady_energy(peer, now)))
  end

  defp energy(peer) do
    streams = peer |> Peer.step(:stats) |> Peer.entries("inbound-rtp")
    Enum.sum(for stream <- streams, do: stream["totalAudioEnergy"])
  end
end
