defmodule ExWebRTC.ImpairedLinkTest do
  # Simulcast of ours over a link that loses, delays, reorders and repeats, with real sockets.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{ImpairedLink, MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet
  alias ExWebRTC.RTP.Packet.Extension

  @moduletag capture_log: true

  @layers ["l", "m", "h"]
  @packets 500

  for loss <- [5, 10] do
    test "at #{loss} % loss each packet of each layer arrives, and about one repair is sent for each loss" do
      link = ImpairedLink.start()
      {sender, receiver, track} = call(link)

      # A first and a last packet are not missed by anybody who has not seen one before and behind.
      send_layers(sender, track, [1])
      eventually(fn -> sent(link) == length(@layers) end)
      :ok = ImpairedLink.impair(link, %{loss: unquote(loss), delay: 10})
      send_layers(sender, track, 2..(@packets - 1))
      :ok = ImpairedLink.impair(link, %{delay: 10})
      send_layers(sender, track, [@packets])

      assert arrived(receiver) == expected()

      assert_repairs(link, sender, fn lost, repairs ->
        assert lost > 0
        assert repairs >= lost
        assert repairs <= 1.3 * lost / (1 - unquote(loss) / 100) + 5
      end)
    end
  end

  test "what is only late or comes twice is delivered once, and hardly anything is asked for" do
    link = ImpairedLink.start()
    {sender, receiver, track} = call(link)
    :ok = ImpairedLink.impair(link, %{delay: 20, jitter: 8, repeat: 5})
    send_layers(sender, track, 1..@packets)

    assert arrived(receiver) == expected()

    assert_repairs(link, sender, fn lost, repairs ->
      assert lost == 0
      assert repairs <= @packets / 20
    end)
  end

  defp sent(link),
    do: Enum.sum(for {_ssrc, %{sent: n}} <- ImpairedLink.counts(link, :first), do: n)

  defp expected, do: for(rid <- Enum.sort(@layers), n <- 1..@packets, do: {rid, n})

  # What came of each layer until nothing is missing, repeated packets included.
  defp arrived(receiver), do: receiver |> collect(length(@layers) * @packets, []) |> Enum.sort()

  defp collect(_receiver, 0, packets), do: packets

  defp collect(receiver, missing, packets) do
    receive do
      {:ex_webrtc, ^receiver, {:rtp, _track, rid, %{payload: <<n::32, _::binary>>}}} ->
        collect(receiver, missing - 1, [{rid, n} | packets])
    after
      5_000 -> flunk("#{missing} packets did not come: #{inspect(expected() -- packets)}")
    end
  end

  # By what the link has really lost.
  defp assert_repairs(link, sender, check) do
    counts = ImpairedLink.counts(link, :first)
    streams = for {_id, %{type: :outbound_rtp} = one} <- PeerConnection.get_stats(sender), do: one
    assert length(streams) == length(@layers)

    for stream <- streams do
      %{sent: sent, lost: lost} = counts[stream.ssrc]
      assert sent == @packets
      check.(lost, stream.retransmitted_packets_sent)
    end
  end

  defp send_layers(sender, track, numbers) do
    [%{header_extensions: extensions}] = PeerConnection.get_transceivers(sender)
    %{id: id} = Enum.find(extensions, &(&1.uri =~ "sdes:rtp-stream-id"))

    for n <- numbers do
      for rid <- @layers do
        packet =
          Packet.new(<<n::32, 0::800>>, payload_type: 96, sequence_number: n, timestamp: n * 900)

        packet = Packet.add_extension(packet, %Extension{id: id, data: rid})
        :ok = PeerConnection.send_rtp(sender, track.id, packet)
      end

      receive after: (2 -> :ok)
    end
  end

  # Each side knows the other by the link's address only.
  defp call(link) do
    options = [ice_ip_filter: ImpairedLink.filter()]
    {sender, receiver} = start(options, options)
    track = MediaStreamTrack.new(:video)
    encodings = for rid <- @layers, do: %{rid: rid}

    {:ok, _transceiver} =
      PeerConnection.add_transceiver(sender, track,
        direction: :sendonly,
        send_encodings: encodings
      )

    :ok = negotiate(sender, receiver)
    sides = %{sender => {:first, receiver}, receiver => {:second, sender}}
    :ok = connected(link, sides, [sender, receiver])
    {sender, receiver, track}
  end

  defp connected(_link, _sides, []), do: :ok

  defp connected(link, sides, waiting) do
    receive do
      {:ex_webrtc, pc, {:ice_candidate, candidate}} ->
        {side, other} = sides[pc]

        if candidate = ImpairedLink.candidate(link, side, candidate),
          do: :ok = PeerConnection.add_ice_candidate(other, candidate)

        connected(link, sides, waiting)

      {:ex_webrtc, pc, {:connection_state_change, :connected}} ->
        connected(link, sides, waiting -- [pc])
    after
      10_000 -> flunk("not connected")
    end
  end
end
