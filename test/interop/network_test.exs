defmodule ExWebRTC.Interop.NetworkTest do
  # Chromium in a network namespace whose network is translated, changes or goes away.
  use ExUnit.Case, async: false

  alias ExWebRTC.{NetworkNamespace, PeerConnection, Peers}
  alias ExWebRTC.Interop.{Browser, Call, Peer}

  @moduletag :namespace
  @moduletag timeout: 120_000

  setup do
    namespace = NetworkNamespace.create()
    start_supervised!({Browser, within: NetworkNamespace.within(namespace)})
    %{namespace: namespace}
  end

  for kind <- [:port_restricted, :symmetric] do
    test "video goes both ways through a #{kind} NAT", %{namespace: namespace} do
      :ok = NetworkNamespace.translate(namespace, unquote(kind))
      {pc, peer} = call(namespace)
      Peer.await_frames(peer, 40)

      # Its own address is one that nobody reaches: what carries is what its checks showed.
      stats = PeerConnection.get_stats(pc)
      pair = stats[stats.transport.selected_candidate_pair_id]
      assert %{candidate_type: :prflx, address: {198, 18, _, 2}} = stats[pair.remote_candidate_id]
    end
  end

  for transport <- [:udp, :tcp] do
    test "video goes both ways where there is nothing but IPv6, over #{transport}", %{
      namespace: namespace
    } do
      :ok = NetworkNamespace.only_ipv6(namespace)
      if unquote(transport) == :tcp, do: :ok = NetworkNamespace.lose(namespace, 100)
      filter = NetworkNamespace.ipv6_filter(namespace)
      call = Call.connect(:chromium, :them, ice_tcp: true, ice_ip_filter: filter)
      Call.assert_alive(call)

      assert {%{address: {0xFD00, 0x198, _, 0, 0, 0, 0, 1}, protocol: unquote(transport)},
              %{address: {0xFD00, 0x77, _, 0, 0, 0, 0, 2}}} = Call.selected(call.pc)
    end
  end

  test "an ICE restart brings video back after the browser's address has changed", %{
    namespace: namespace
  } do
    {pc, peer} = call(namespace)
    Peer.await_frames(peer, 40)
    :ok = NetworkNamespace.move(namespace)
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :disconnected}}, 20_000
    :ok = Peer.answer_to(pc, peer, offer: [restart: true])
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000
    Peer.await_frames(peer, 40)

    stats = PeerConnection.get_stats(pc)
    pair = stats[stats.transport.selected_candidate_pair_id]
    assert %{address: {10, 77, _, 77}} = stats[pair.remote_candidate_id]
  end

  for restarter <- [:us, :them] do
    test "a peer that went silent is disconnected, then failed, and back after an ICE restart by #{restarter}",
         %{namespace: namespace} do
      {pc, peer} = call(namespace)
      Peer.await_frames(peer, 40)
      :ok = NetworkNamespace.lose(namespace, 100)
      assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :disconnected}}, 15_000
      assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :failed}}, 60_000
      Peers.eventually(fn -> Peer.step(peer, :state)["connection"] == "failed" end, 6_000)

      :ok = NetworkNamespace.lose(namespace, 0)
      assert :ok = restart(unquote(restarter), pc, peer)
      assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connecting}}, 20_000
      assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000
      Peer.await_frames(peer, 40)
    end
  end

  defp restart(:us, pc, peer), do: Peer.offer_to(pc, peer, ice_restart: true)
  defp restart(:them, pc, peer), do: Peer.answer_to(pc, peer, offer: [restart: true])

  defp call(namespace) do
    peer = Peer.open(:chromium)
    options = [ice_ip_filter: NetworkNamespace.filter(namespace)]
    {_mirror, pc} = Peer.echo(peer, [%{kind: "video"}], options)
    {pc, peer}
  end
end
