defmodule ExWebRTC.ForwardClusterTest do
  # Every test has nodes of its own.
  use ExUnit.Case, async: true

  import Bitwise, only: [<<<: 2]
  import ExWebRTC.ClusterNode, only: [call: 4, start_connection: 2, take: 3]
  import ExWebRTC.NumberedPackets

  alias ExWebRTC.{ClusterNode, Forward, MediaStreamTrack, PeerConnection, Peers}
  alias ExWebRTC.RTP.Packet

  @moduletag timeout: 180_000

  defp on(pair, function, arguments), do: call(pair.node, PeerConnection, function, arguments)

  # Two connections of a node, both controlled by a keeper there.
  defp pair(node) do
    keeper = ClusterNode.start_keeper(node, :"keeper_#{System.unique_integer([:positive])}")
    opts = [controlling_process: keeper]
    peer = start_connection(node, opts)
    %{node: node, keeper: keeper, peer: peer, middle: start_connection(node, opts)}
  end

  defp publisher(node) do
    pair = pair(node)
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = on(pair, :add_track, [pair.peer, track])
    :ok = connect(pair, pair.peer, pair.middle)
    {_, _, {:track, received}} = take(node, pair.keeper, {:ex_webrtc, pair.middle, {:track, :_}})
    Map.merge(pair, %{track: track.id, received: received.id})
  end

  defp viewer(node) do
    pair = pair(node)

    {:ok, transceiver} = on(pair, :add_transceiver, [pair.middle, :video, [direction: :sendonly]])

    :ok = connect(pair, pair.middle, pair.peer)
    {_, _, {:track, received}} = take(node, pair.keeper, {:ex_webrtc, pair.peer, {:track, :_}})
    Map.merge(pair, %{sender: transceiver.sender.id, received: received.id})
  end

  defp connect(pair, offerer, answerer) do
    {:ok, offer} = on(pair, :create_offer, [offerer])
    :ok = on(pair, :set_local_description, [offerer, offer])
    :ok = on(pair, :set_remote_description, [answerer, gathered(pair, offerer)])
    {:ok, answer} = on(pair, :create_answer, [answerer])
    :ok = on(pair, :set_local_description, [answerer, answer])
    :ok = on(pair, :set_remote_description, [offerer, gathered(pair, answerer)])
    for pc <- [offerer, answerer], do: event(pair, pc, {:connection_state_change, :connected})
    :ok
  end

  defp gathered(pair, pc) do
    event(pair, pc, {:ice_gathering_state_change, :complete})
    on(pair, :get_local_description, [pc])
  end

  defp event(pair, pc, pattern) do
    {:ex_webrtc, ^pc, message} = take(pair.node, pair.keeper, {:ex_webrtc, pc, pattern})
    message
  end

  defp forward(caller, publisher, viewer) do
    arguments = [publisher.middle, publisher.received, viewer.middle, viewer.sender]
    on(caller, :forward, arguments)
  end

  defp send_packets(publisher, numbers) do
    packets = for number <- numbers, do: {publisher.track, packet(number)}
    :ok = on(publisher, :send_rtp, [publisher.peer, packets])
  end

  # In order: the first packet that is there has to be the next one.
  defp assert_arrive(viewer, numbers) do
    for number <- numbers do
      {:rtp, _track, nil, packet} = event(viewer, viewer.peer, {:rtp, viewer.received, nil, :_})
      assert_packet(packet, number)
    end
  end

  defp await_packet(viewer, number) do
    any = Map.new(Map.keys(Packet.__struct__()), &{&1, :_})
    wanted = %{any | payload: payload(number)}
    event(viewer, viewer.peer, {:rtp, viewer.received, nil, wanted})
  end

  defp ended(pair, ref) do
    {:forward_ended, ^ref, reason} = event(pair, pair.middle, {:forward_ended, ref, :_})
    reason
  end

  # What the publisher's peer was asked for.
  defp plis(publisher) do
    stats = on(publisher, :get_stats, [publisher.peer])
    Enum.sum(for {_id, %{type: :outbound_rtp, pli_count: count}} <- stats, do: count)
  end

  defp forward_stats(pair) do
    for {_id, %{type: :forward} = entry} <- on(pair, :get_stats, [pair.middle]), do: entry
  end

  defp forwarded(publisher),
    do: publisher |> forward_stats() |> Enum.map(& &1.packets_forwarded) |> Enum.sort(:desc)

  # What a node has sent to another one so far.
  defp octets(from, to) do
    connections = call(from, :erlang, :system_info, [:dist_ctrl])
    {_node, port} = List.keyfind(connections, to.node, 0)
    {:ok, [send_oct: octets]} = call(from, :inet, :getstat, [port, [:send_oct]])
    octets
  end

  test "packets and keyframe requests go between nodes until the forward is stopped, by whichever node" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    viewer = viewer(there)
    assert {:ok, %Forward{} = ref} = forward(viewer, publisher, viewer)
    assert ref.source == publisher.middle and ref.sink == viewer.middle
    send_packets(publisher, 1..50)
    assert_arrive(viewer, 1..50)

    assert [%{role: :source, packets_forwarded: 50, packets_dropped: 0}] =
             forward_stats(publisher)

    assert [%{role: :sink, packets_forwarded: 50, packets_dropped: 0, switches: 1}] =
             forward_stats(viewer)

    assert [%{ref: ^ref, role: :source}] = on(viewer, :get_forwards, [publisher.middle])
    assert [%{ref: ^ref, role: :sink}] = on(publisher, :get_forwards, [viewer.middle])

    # Those of the beginning are over.
    [%{keyframe_requests: before}] = forward_stats(publisher)
    plis = plis(publisher)
    :ok = on(viewer, :send_pli, [viewer.peer, viewer.received])

    Peers.eventually(fn ->
      [%{keyframe_requests: count}] = forward_stats(publisher)
      count > before and plis(publisher) > plis
    end)

    assert :ok = on(viewer, :set_forward_layer, [ref, :auto])
    assert :ok = on(viewer, :stop_forward, [ref])

    for pair <- [publisher, viewer], do: assert(:stopped = ended(pair, ref))

    assert {:error, :invalid_forward} = on(viewer, :stop_forward, [ref])
    assert [] = on(viewer, :get_forwards, [publisher.middle])
    assert [] = on(publisher, :get_forwards, [viewer.middle])
  end

  test "one copy of a packet goes to a node, whatever the number of its viewers" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    viewers = for _number <- 1..6, do: viewer(there)
    # The last one begins in the middle.
    {late, early} = List.pop_at(viewers, -1)
    for viewer <- early, do: {:ok, _ref} = forward(publisher, publisher, viewer)
    send_packets(publisher, 1..10)
    for viewer <- early, do: assert_arrive(viewer, 1..10)
    {:ok, _ref} = forward(publisher, publisher, late)

    before = octets(here, there)
    send_packets(publisher, 11..110)
    for viewer <- viewers, do: assert_arrive(viewer, 11..110)
    # A hundred packets of a kilobyte; the rest is what else nodes say to each other.
    assert octets(here, there) - before < 200 * 1_000

    for viewer <- early,
        do: assert([%{packets_forwarded: 110, packets_dropped: 0}] = forward_stats(viewer))

    assert [%{packets_forwarded: 100, packets_dropped: 0}] = forward_stats(late)
    assert [110, 110, 110, 110, 110, 100] = forwarded(publisher)
  end

  test "the same track forwarded again, with other options, comes to a viewer of another node once" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    viewer = viewer(there)
    {:ok, first} = forward(publisher, publisher, viewer)
    send_packets(publisher, 1..20)
    assert_arrive(viewer, 1..20)
    arguments = [publisher.middle, publisher.received, viewer.middle, viewer.sender, [tap: true]]
    {:ok, second} = on(publisher, :forward, arguments)
    send_packets(publisher, 21..40)
    assert_arrive(viewer, 21..40)
    for pair <- [publisher, viewer], do: assert(:replaced = ended(pair, first))
    assert [%{ref: ^second}] = on(viewer, :get_forwards, [viewer.middle])
    assert [%{packets_dropped: 0}] = forward_stats(viewer)

    stats = on(viewer, :get_stats, [viewer.middle])
    assert [40] = for({_id, %{type: :outbound_rtp} = entry} <- stats, do: entry.packets_sent)
  end

  test "a node that is lost ends the forward, and the source goes on for the others" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    {near, far} = {viewer(here), viewer(there)}
    {:ok, stays} = forward(publisher, publisher, near)
    {:ok, ends} = forward(publisher, publisher, far)
    send_packets(publisher, 1..10)
    assert_arrive(near, 1..10)
    assert_arrive(far, 1..10)

    ClusterNode.stop(there)
    assert :closed = ended(publisher, ends)
    assert [%{ref: ^stays}] = on(publisher, :get_forwards, [publisher.middle])
    send_packets(publisher, 11..20)
    assert_arrive(near, 11..20)

    # Nobody is there to be forwarded to.
    assert {:error, :closed} = forward(publisher, publisher, far)
    assert [%{ref: ^stays}] = on(publisher, :get_forwards, [publisher.middle])
    assert {:error, :invalid_forward} = on(publisher, :stop_forward, [ends])
  end

  test "the end of a connection ends its forwards on the other node" do
    [here, there] = ClusterNode.start(2)
    {publisher, other} = {publisher(here), publisher(here)}
    {viewer, second} = {viewer(there), viewer(there)}
    {:ok, closed} = forward(publisher, publisher, viewer)
    :ok = on(viewer, :close, [viewer.middle])
    for pair <- [publisher, viewer], do: assert(:closed = ended(pair, closed))

    {:ok, killed} = forward(publisher, publisher, second)
    true = call(here, Process, :exit, [publisher.middle, :kill])
    for pair <- [publisher, second], do: assert(:closed = ended(pair, killed))

    # The sender is free for another source, and takes over where it was.
    {:ok, replaced} = forward(other, other, second)
    send_packets(other, 1..5)
    assert_arrive(second, 1..5)
    {:ok, _ref} = forward(other, other, second)
    send_packets(other, 6..10)
    for pair <- [other, second], do: assert(:replaced = ended(pair, replaced))
  end

  test "what does not fit is refused over nodes and changes nothing" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    viewer = viewer(there)
    {:ok, audio} = on(viewer, :add_transceiver, [viewer.middle, :audio])
    closed = start_connection(there, controlling_process: viewer.keeper)
    :ok = on(viewer, :close, [closed])

    refused = fn publisher, viewer ->
      {:error, reason} = forward(publisher, publisher, viewer)
      reason
    end

    assert :invalid_sender_id = refused.(publisher, %{viewer | sender: 5})
    assert :invalid_track_type = refused.(publisher, %{viewer | sender: audio.sender.id})
    assert :invalid_track_id = refused.(%{publisher | received: 5}, viewer)
    assert :invalid_state = refused.(publisher, %{viewer | middle: closed})
    :ok = on(viewer, :stop, [closed])
    assert :closed = refused.(publisher, %{viewer | middle: closed})

    assert [] = on(publisher, :get_forwards, [publisher.middle])
    assert [] = on(viewer, :get_forwards, [viewer.middle])
  end

  test "what another version says ends the forward at both ends, and no connection" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    viewer = viewer(there)
    {:ok, ref} = forward(publisher, publisher, viewer)
    message = {:ex_webrtc_far_in, ref, :control, <<255, 1, 2, 3>>}
    call(here, Kernel, :send, [viewer.middle, message])
    for pair <- [publisher, viewer], do: assert(:closed = ended(pair, ref))

    # The same where a source says it to all of a node.
    {:ok, ref} = forward(publisher, publisher, viewer)
    sink = {ref.id, viewer.middle, 0, 1}
    relayed = {:ex_webrtc_relay, publisher.middle, :packets, [sink], <<255, 1, 2, 3>>}
    relays = for name <- call(there, Process, :registered, []), "#{name}" =~ "Relay", do: name
    assert length(relays) == 4
    pids = for relay <- relays, do: call(there, Process, :whereis, [relay])

    for relay <- relays,
        message <- [
          relayed,
          put_elem(relayed, 3, [put_elem(sink, 0, -1), put_elem(sink, 2, 1 <<< 64), :other]),
          put_elem(relayed, 4, :other),
          put_elem(relayed, 3, [:improper | :list]),
          {:ex_webrtc_relay_end, %{ref | sink: :nobody}, ""},
          :another
        ],
        do: call(here, Kernel, :send, [{relay, there.node}, message])

    for pair <- [publisher, viewer], do: assert(:closed = ended(pair, ref))
    assert pids == for(relay <- relays, do: call(there, Process, :whereis, [relay]))

    # Of a forward that is not, or not any more.
    call(here, Kernel, :send, [viewer.middle, message])
    call(here, Kernel, :send, [viewer.middle, {:ex_webrtc_far_in, :no_forward, 1, 2}])

    {:ok, _ref} = forward(publisher, publisher, viewer)
    send_packets(publisher, 1..5)
    assert_arrive(viewer, 1..5)
  end

  test "a node that takes nothing holds up nobody: its packets are dropped and counted, and it goes on after that" do
    [here, there] = ClusterNode.start(2)
    publisher = publisher(here)
    {near, far} = {viewer(here), viewer(there)}
    {:ok, _ref} = forward(publisher, publisher, near)
    {:ok, slow} = forward(publisher, publisher, far)
    send_packets(publisher, [1])
    assert_arrive(near, [1])
    assert_arrive(far, [1])

    os_pid = call(there, System, :pid, [])
    {_output, 0} = System.cmd("kill", ["-STOP", os_pid])

    # More than what is kept for a node that is behind (`+zdbbl`).
    sent =
      Enum.find(2..400, fn round ->
        send_packets(publisher, (round * 64)..(round * 64 + 63))
        Enum.any?(forward_stats(publisher), &(&1.packets_dropped > 0))
      end)

    {_output, 0} = System.cmd("kill", ["-CONT", os_pid])
    assert sent
    last = sent * 64 + 63
    await_packet(near, last)

    # The connection between the nodes has taken what waited when this has been answered.
    assert [_forward] = on(publisher, :get_forwards, [far.middle])
    send_packets(publisher, [last + 1])
    await_packet(far, last + 1)
    assert :ok = on(publisher, :stop_forward, [slow])
    for pair <- [publisher, far], do: assert(:stopped = ended(pair, slow))
  end
end
