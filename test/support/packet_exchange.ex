defmodule ExWebRTC.PacketExchange do
  @moduledoc """
  Two connections that send each other a packet of RTP and one of RTCP, in the structs given: what
  tests call in another VM.
  """

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, Recorder, RTP, RTPCodecParameters, UDPBridge}
  alias ExWebRTC.RTP.{Depayloader, JitterBuffer, Munger, Payloader}

  @timeout 5_000

  @doc "Returns the packets that came, as `{rtp, rtcp}`."
  @spec run(module(), module(), module()) :: {struct(), struct()}
  def run(rtp_module, extension_module, pli_module) do
    {sender, receiver} = start()
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = PeerConnection.add_track(sender, track)
    :ok = connect(sender, receiver)

    packet =
      struct!(rtp_module,
        payload_type: 96,
        sequence_number: 1,
        timestamp: 90_000,
        ssrc: 1,
        payload: "frame",
        marker: true,
        extension: true,
        extension_profile: 0xBEDE,
        extensions: [struct!(extension_module, id: 14, data: "x")]
      )

    :ok = PeerConnection.send_rtp(sender, track.id, packet)

    rtp =
      receive(
        do: ({:ex_webrtc, ^receiver, {:rtp, _id, nil, rtp}} -> rtp),
        after: (@timeout -> raise "no RTP")
      )

    pli = struct!(pli_module, sender_ssrc: 1, media_ssrc: rtp.ssrc)
    :ok = PeerConnection.send_rtcp(receiver, pli)
    {rtp, feedback(sender, pli_module)}
  end

  @doc """
  Takes a frame through the toolkit: packets, munged, out of order, in order again, recorded, over UDP.

  Returns the structs seen on the way, the frame as it comes out, and the size of the recording.
  """
  @spec toolkit(Path.t()) :: {[module()], binary(), non_neg_integer()}
  def toolkit(directory) do
    codec = %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
    # The header of a keyframe of 16 by 16 pixels (RFC 6386 section 9.1).
    frame = <<0x10, 0, 0, 0x9D, 0x01, 0x2A, 16::little-16, 16::little-16>> <> :rand.bytes(3_000)

    {:ok, payloader} = Payloader.new(codec)
    {packets, _payloader} = Payloader.payload(payloader, frame)
    numbered = for {packet, n} <- Enum.with_index(packets), do: %{packet | sequence_number: n}
    {munged, _munger} = Enum.map_reduce(numbered, Munger.new(codec), &Munger.munge(&2, &1, 0))
    ordered = reorder(munged)

    {:ok, depayloader} = Depayloader.new(codec)
    {outcomes, _state} = Enum.map_reduce(ordered, depayloader, &Depayloader.depayload(&2, &1))

    seen = for packet <- packets ++ ordered, uniq: true, do: packet.__struct__
    {seen ++ bridged(codec, ordered), Enum.find(outcomes, & &1), recorded(directory, ordered)}
  end

  defp reorder([first, second | rest]) do
    Enum.flat_map_reduce([first, hd(rest), second | tl(rest)], JitterBuffer.new(latency: 50), fn
      packet, buffer ->
        {packets, _timer, buffer} = JitterBuffer.insert(buffer, packet)
        {packets, buffer}
    end)
    |> then(fn {packets, buffer} ->
      {rest, _timer, _buffer} = JitterBuffer.flush(buffer)
      packets ++ rest
    end)
  end

  defp recorded(directory, packets) do
    track = MediaStreamTrack.new(:video)
    {:ok, recorder} = Recorder.start_link(base_dir: directory)
    {:ok, _manifest} = Recorder.add_tracks(recorder, [track])
    for packet <- packets, do: :ok = Recorder.record(recorder, track.id, nil, packet)
    {:ok, manifest, nil} = Recorder.end_tracks(recorder, [track.id])
    File.stat!(manifest[track.id].location).size
  end

  # What arrives is ours; what is sent, whatever it is.
  defp bridged(codec, [packet | _rest]) do
    {:ok, socket} = :gen_udp.open(0, [:binary, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(socket)
    track = %{id: 1, codec: codec, remote: {{127, 0, 0, 1}, port}}
    {:ok, bridge} = UDPBridge.start_link(tracks: [track])
    :ok = UDPBridge.send_rtp(bridge, 1, packet)

    receive do
      {:udp, ^socket, _ip, _port, data} ->
        {:ok, %{payload: payload}} = RTP.Packet.decode(data)
        if payload == packet.payload, do: [], else: [:altered]
    after
      @timeout -> raise "nothing over UDP"
    end
  end

  # Reports come in between.
  defp feedback(pc, module) do
    receive do
      {:ex_webrtc, ^pc, {:rtcp, packets}} ->
        Enum.find_value(packets, fn {_track, %name{} = packet} ->
          if name == module, do: packet
        end) ||
          feedback(pc, module)
    after
      @timeout -> raise "no #{inspect(module)}"
    end
  end
end
