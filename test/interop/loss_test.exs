defmodule ExWebRTC.Interop.LossTest do
  # Chromium in a network namespace, behind a link that loses datagrams in both directions.
  use ExUnit.Case, async: false

  alias ExWebRTC.{Mirror, NetworkNamespace, PeerConnection, Peers}
  alias ExWebRTC.Interop.{Browser, Peer}

  @moduletag :namespace
  @moduletag timeout: 120_000

  setup do
    namespace = NetworkNamespace.create()
    start_supervised!({Browser, within: NetworkNamespace.within(namespace)})
    %{namespace: namespace}
  end

  for loss <- [5, 10] do
    test "at #{loss} % loss each way video is decoded, and about one repair is sent for each loss",
         %{namespace: namespace} do
      {mirror, pc, peer} = call(namespace, unquote(loss), %{kind: "video"})
      Peer.await_frames(peer, 150)
      {ours, theirs} = settled(mirror, pc, peer, namespace)

      [received] = of(ours, :inbound_rtp)
      [source] = Peer.entries(theirs, "outbound-rtp")
      assert_repaired(mirror, received, source, unquote(loss))

      assert_share(received.packets_lost, received.packets_received, unquote(loss))

      # And what came back, once more over the same link.
      [sent] = of(ours, :outbound_rtp)
      [shown] = Peer.entries(theirs, "inbound-rtp")
      assert_share(shown["packetsLost"], sent.packets_sent, unquote(loss))
      assert_once(sent.retransmitted_packets_sent, shown["packetsLost"], unquote(loss))
      assert sent.nack_count in 1..shown["nackCount"]
      assert shown["framesDecoded"] >= 150
      # A browser on a busy machine, or on a link like this, may send smaller pictures.
      size = &{&1["frameWidth"], &1["frameHeight"]}
      assert size.(shown) == size.(source)
    end

    test "at #{loss} % loss each layer of simulcast is repaired", %{namespace: namespace} do
      encodings = [
        %{rid: "l", scaleResolutionDownBy: 4},
        %{rid: "m", scaleResolutionDownBy: 2},
        %{rid: "h"}
      ]

      # Chromium makes three layers from this size on.
      video = %{kind: "video", width: 960, height: 540, encodings: encodings}

      # The best layer is only sent where the browser takes the path to be wide enough, which it
      # does not begin to think of one that loses so much.
      {mirror, pc, peer} = call(namespace, 0, video)
      await_layers(mirror, %{"h" => 100, "m" => 100, "l" => 100})
      before = packets(mirror)
      :ok = NetworkNamespace.lose(namespace, unquote(loss))
      await_layers(mirror, Map.new(before, fn {rid, count} -> {rid, count + 60} end))
      Peer.await_frames(peer, 50)
      {ours, theirs} = settled(mirror, pc, peer, namespace)

      streams = of(ours, :inbound_rtp)
      # Of the fewest packets of one layer it might be none.
      assert streams |> Enum.map(& &1.packets_lost) |> Enum.sum() > 0

      for received <- streams do
        source = Enum.find(Peer.entries(theirs, "outbound-rtp"), &(&1["ssrc"] == received.ssrc))
        assert source["rid"] == received.rid
        assert_repaired(mirror, received, source, unquote(loss))
      end
    end
  end

  defp await_layers(mirror, wanted) do
    Peers.eventually(
      fn ->
        seen = packets(mirror)
        Enum.all?(wanted, fn {rid, count} -> Map.get(seen, rid, 0) >= count end)
      end,
      3_000
    )
  end

  defp packets(mirror),
    do: for({{_track, rid}, %{packets: n}} <- Mirror.seen(mirror), into: %{}, do: {rid, n})

  defp call(namespace, loss, video) do
    :ok = NetworkNamespace.lose(namespace, loss)
    peer = Peer.open(:chromium)
    options = [ice_ip_filter: NetworkNamespace.filter(namespace)]
    {mirror, pc} = Peer.echo(peer, [video], options)
    {mirror, pc, peer}
  end

  # Both reports when nothing is under way any more and nothing is lost.
  defp settled(mirror, pc, peer, namespace) do
    assert Peer.step(peer, :quiet)
    Peers.steady(fn -> Mirror.seen(mirror) end)
    :ok = NetworkNamespace.lose(namespace, 0)
    Peers.steady(fn -> counts(PeerConnection.get_stats(pc)) end)
    {PeerConnection.get_stats(pc), Peer.step(peer, :stats)}
  end

  defp counts(stats),
    do: for(%{type: :inbound_rtp} = one <- Map.values(stats), do: one.packets_received)

  # What a stream from Chromium lost on the wire was asked for once and came.
  defp assert_repaired(mirror, received, source, loss) do
    seen = Mirror.seen(mirror)[{received.track_identifier, received.rid}]
    assert seen.packets >= 0.99 * seen.expected
    assert_once(source["retransmittedPacketsSent"], received.packets_lost, loss)
    # A request may be lost as well.
    assert source["nackCount"] <= received.nack_count
  end

  # One repair for each loss; one that is lost itself is asked for again, and so is one that a
  # browser on a busy machine sends late. Whole numbers of few packets get some room.
  defp assert_once(repairs, lost, loss) do
    assert repairs >= 0.9 * lost - 3
    assert repairs <= 1.5 * lost / (1 - loss / 100) + 10
  end

  # Within four standard deviations of what chance makes of it.
  defp assert_share(lost, packets, loss) do
    share = loss / 100
    deviation = :math.sqrt(packets * share * (1 - share))
    assert_in_delta lost, packets * share, 4 * deviation + 1
  end

  defp of(stats, type), do: for({_id, %{type: ^type} = entry} <- stats, do: entry)
end
