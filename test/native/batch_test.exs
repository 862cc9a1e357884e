defmodule ExWebRTC.Native.BatchTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # Two tracks from the first to the second connection, which is told of packets as `delivery` says.
  defp pair(delivery) do
    {sender, receiver} = start([], rtp_delivery: delivery)
    tracks = for kind <- [:audio, :video], do: MediaStreamTrack.new(kind)

    for track <- tracks,
        do: {:ok, _} = PeerConnection.add_transceiver(sender, track, direction: :sendonly)

    :ok = connect(sender, receiver)

    ids =
      for kind <- [:audio, :video] do
        assert_receive {:ex_webrtc, ^receiver, {:track, %{kind: ^kind, id: id}}}
        id
      end

    {sender, receiver, Enum.map(tracks, & &1.id), ids}
  end

  defp packet(n) do
    Packet.new(:binary.copy(<<n::32>>, 1 + rem(n * 7, 250)),
      sequence_number: rem(n, 65_536),
      timestamp: n * 90,
      marker: rem(n, 3) == 0,
      csrc: Enum.take([n, n + 1], rem(n, 3))
    )
  end

  # What of a packet is the program's own.
  defp essence(packet),
    do: Map.take(packet, [:sequence_number, :timestamp, :marker, :csrc, :payload])

  defp batches(receiver, count, got \\ []) do
    if count <= 0 do
      Enum.reverse(got)
    else
      assert_receive {:ex_webrtc, ^receiver, {:rtp_batch, batch}}, 5_000
      batches(receiver, count - length(batch), [batch | got])
    end
  end

  test "every packet comes once, whole and in order, in batches of at most max" do
    {sender, receiver, [_audio, video], [_, received]} = pair({:batch, 8})

    got =
      for round <- 0..19 do
        numbers = Enum.to_list((round * 50)..(round * 50 + 49))
        :ok = PeerConnection.send_rtp(sender, for(n <- numbers, do: {video, packet(n)}))
        got = batches(receiver, 50)
        packets = for {^received, nil, packet} <- List.flatten(got), do: essence(packet)
        assert packets == for(n <- numbers, do: essence(packet(n)))
        got
      end

    sizes = got |> Enum.concat() |> Enum.map(&length/1)
    assert Enum.max(sizes) in 2..8
    refute_received {:ex_webrtc, ^receiver, {:rtp, _track, _rid, _packet}}
  end

  test "a batch waits for nothing: one packet comes alone" do
    {sender, receiver, [audio, _video], [received, _]} = pair({:batch, 100})

    for n <- 1..5 do
      :ok = PeerConnection.send_rtp(sender, audio, packet(n))
      assert [[{^received, nil, packet}]] = batches(receiver, 1)
      assert essence(packet) == essence(packet(n))
    end
  end

  test "a list of packets goes to the tracks it names, with one message each without batches" do
    {sender, receiver, [audio, video], [received_audio, received_video]} = pair(:packet)

    packets = for n <- 1..10, track <- [audio, video], do: {track, packet(n)}
    :ok = PeerConnection.send_rtp(sender, packets)

    for n <- 1..10, id <- [received_audio, received_video] do
      assert_receive {:ex_webrtc, ^receiver, {:rtp, ^id, nil, packet}}, 5_000
      assert essence(packet) == essence(packet(n))
    end
  end

  test "a list with something that is no packet raises, and nothing of it is sent" do
    {sender, receiver, [audio, _video], _ids} = pair(:packet)

    assert_raise ArgumentError, fn ->
      PeerConnection.send_rtp(sender, [{audio, packet(1)}, {audio, :packet}])
    end

    :ok = PeerConnection.send_rtp(sender, [{audio, packet(2)}], rtx?: false)
    assert_receive {:ex_webrtc, ^receiver, {:rtp, _track, nil, first}}, 5_000
    assert first.sequence_number == 2
  end

  test "with rtp_delivery: :none packets are counted and not told" do
    {sender, receiver, [audio, _video], [received, _]} = pair(:none)
    :ok = PeerConnection.send_rtp(sender, for(n <- 1..20, do: {audio, packet(n)}))

    eventually(fn ->
      stats = Map.values(PeerConnection.get_stats(receiver))

      Enum.any?(stats, fn entry ->
        match?(
          %{type: :inbound_rtp, track_identifier: ^received, packets_received: 20},
          entry
        )
      end)
    end)

    refute_received {:ex_webrtc, ^receiver, {:rtp, _track, _rid, _packet}}
    refute_received {:ex_webrtc, ^receiver, {:rtp_batch, _packets}}
  end
end
