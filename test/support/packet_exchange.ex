defmodule ExWebRTC.PacketExchange do
  @moduledoc """
  Two connections that send each other a packet of RTP and one of RTCP, in the structs given: what
  tests call in another VM.
  """

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}

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
