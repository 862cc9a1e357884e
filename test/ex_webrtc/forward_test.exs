defmodule ExWebRTC.ForwardTest do
  use ExUnit.Case, async: true

  import ExWebRTC.NumberedPackets
  import ExWebRTC.Peers

  alias ExWebRTC.{Forward, MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  @moduletag :capture_log

  # Two that can be stopped one by one, and outlive a process of the test.
  defp start_pair(opts \\ []) do
    {:ok, peer} = PeerConnection.start(Keyword.take(opts, [:video_codecs]))
    {:ok, middle} = PeerConnection.start(opts)

    on_exit(fn -> for pc <- [peer, middle], do: Process.exit(pc, :kill) end)

    {peer, middle}
  end

  # A peer that sends video to the middle: it, its track, the middle, and the track there.
  defp publisher(kind \\ :video, opts \\ []) do
    {peer, middle} = start_pair(opts)
    track = MediaStreamTrack.new(kind)
    {:ok, _sender} = PeerConnection.add_track(peer, track)
    :ok = connect(peer, middle)
    assert_receive {:ex_webrtc, ^middle, {:track, %MediaStreamTrack{id: received}}}
    %{peer: peer, track: track.id, middle: middle, received: received}
  end

  # A peer that watches: it, the middle, the middle's sender, and the track at the peer.
  defp viewer(kind \\ :video, opts \\ []) do
    {peer, middle} = start_pair(opts)
    {:ok, transceiver} = PeerConnection.add_transceiver(middle, kind, direction: :sendonly)
    :ok = connect(middle, peer)
    assert_receive {:ex_webrtc, ^peer, {:track, %MediaStreamTrack{id: received}}}
    %{peer: peer, middle: middle, sender: transceiver.sender.id, received: received}
  end

  defp send_packets(publisher, numbers) do
    for number <- numbers,
        do: :ok = PeerConnection.send_rtp(publisher.peer, publisher.track, packet(number))
  end

  defp assert_arrive(viewer, numbers) do
    %{peer: peer, received: received} = viewer

    for number <- numbers do
      assert_receive {:ex_webrtc, ^peer, {:rtp, ^received, nil, packet}}, 5_000
      assert_packet(packet, number)
    end
  end

  # At the controlling process of the middle.
  defp assert_tapped(publisher, numbers) do
    %{middle: middle, received: received} = publisher

    for number <- numbers do
      assert_receive {:ex_webrtc, ^middle, {:rtp, ^received, nil, %{sequence_number: ^number}}}
    end
  end

  defp forward(publisher, viewer, opts \\ []) do
    PeerConnection.forward(
      publisher.middle,
      publisher.received,
      viewer.middle,
      viewer.sender,
      opts
    )
  end

  defp forward_stats(pc) do
    for {_id, %{type: :forward} = entry} <- PeerConnection.get_stats(pc), do: entry
  end

  # Nothing arrives that was sent before this: the last packet of each direction is an answer.
  defp refute_delivered(pc) do
    PeerConnection.get_connection_state(pc)
    refute_received {:ex_webrtc, ^pc, {:rtp, _track, _rid, _packet}}
  end

  test "packets go from a track to many senders, and not to the program" do
    publisher = publisher()
    # So many that packets wait for each other, and more than one thread has of them.
    viewers = for _n <- 1..9, do: viewer()
    refs = for viewer <- viewers, do: elem({:ok, _ref} = forward(publisher, viewer), 1)
    assert Enum.all?(refs, &match?(%Forward{}, &1))
    send_packets(publisher, 1..50)
    for viewer <- viewers, do: assert_arrive(viewer, 1..50)
    refute_delivered(publisher.middle)

    entries = forward_stats(publisher.middle)
    assert length(entries) == 9

    for entry <- entries do
      assert %{role: :source, packets_forwarded: 50, packets_dropped: 0} = entry
      # Not simulcast.
      refute is_map_key(entry, :rid)
      assert entry.bytes_forwarded == 50 * 1_002
      assert entry.track_identifier == publisher.received
    end

    for {viewer, ref} <- Enum.zip(viewers, refs) do
      assert [%{role: :sink, packets_forwarded: 50, packets_dropped: 0, switches: 1}] =
               forward_stats(viewer.middle)

      sender = viewer.sender

      assert PeerConnection.get_forwards(viewer.middle) == [
               %{ref: ref, role: :sink, sender_id: sender}
             ]
    end

    infos = PeerConnection.get_forwards(publisher.middle)
    assert Enum.sort(Enum.map(infos, & &1.ref)) == Enum.sort(refs)

    assert Enum.all?(infos, &(%{role: :source, layer: :auto, rid: nil, tap: false} = &1))
    assert Enum.all?(infos, &(&1.track_id == publisher.received))
  end

  test "a tap has the packets delivered as well, for as long as it lasts" do
    publisher = publisher()
    {viewer, other} = {viewer(), viewer()}
    {:ok, tapped} = forward(publisher, viewer, tap: true)
    {:ok, _ref} = forward(publisher, other)
    send_packets(publisher, 1..20)
    assert_arrive(viewer, 1..20)
    assert_arrive(other, 1..20)
    assert_tapped(publisher, 1..20)
    :ok = PeerConnection.stop_forward(tapped)
    send_packets(publisher, 21..40)
    assert_arrive(other, 21..40)
    refute_delivered(publisher.middle)
  end

  test "a tap has the packets delivered also where nothing else is" do
    publisher = publisher(:video, rtp_delivery: :none)
    {viewer, other} = {viewer(), viewer()}
    {:ok, _ref} = forward(publisher, other)
    send_packets(publisher, 11..20)
    assert_arrive(other, 11..20)
    refute_delivered(publisher.middle)

    {:ok, tapped} = forward(publisher, viewer, tap: true)
    send_packets(publisher, 21..30)
    assert_arrive(viewer, 21..30)
    assert_arrive(other, 21..30)

    assert_tapped(publisher, 21..30)
    :ok = PeerConnection.stop_forward(tapped)
    send_packets(publisher, 31..40)
    assert_arrive(other, 31..40)
    refute_delivered(publisher.middle)
  end

  test "the same track forwarded again, with other options, comes to the viewer once" do
    publisher = publisher()
    viewer = viewer()
    {:ok, first} = forward(publisher, viewer)
    send_packets(publisher, 1..20)
    assert_arrive(viewer, 1..20)
    {:ok, second} = forward(publisher, viewer, tap: true)
    send_packets(publisher, 21..40)
    assert_arrive(viewer, 21..40)
    %{middle: middle} = viewer
    assert_receive {:ex_webrtc, ^middle, {:forward_ended, ^first, :replaced}}
    assert [%{ref: ^second}] = PeerConnection.get_forwards(middle)
    %{peer: peer} = viewer
    refute_received {:ex_webrtc, ^peer, {:rtp, _track, _rid, _packet}}
    assert [%{packets_dropped: 0}] = forward_stats(middle)

    sent =
      for {_id, %{type: :outbound_rtp} = entry} <- PeerConnection.get_stats(middle), do: entry

    assert [%{packets_sent: 40}] = sent
  end

  test "without a forward the program has its packets again" do
    publisher = publisher()
    viewer = viewer()
    {:ok, ref} = forward(publisher, viewer)
    send_packets(publisher, 1..5)
    assert_arrive(viewer, 1..5)
    :ok = PeerConnection.stop_forward(ref)

    for pc <- [publisher.middle, viewer.middle],
        do: assert_receive({:ex_webrtc, ^pc, {:forward_ended, ^ref, :stopped}})

    send_packets(publisher, 6..10)
    middle = publisher.middle
    assert_receive {:ex_webrtc, ^middle, {:rtp, _track, nil, %{sequence_number: 10}}}, 5_000
    assert PeerConnection.get_forwards(middle) == []
    assert PeerConnection.get_forwards(viewer.middle) == []
    assert PeerConnection.stop_forward(ref) == {:error, :invalid_forward}
    assert PeerConnection.set_forward_layer(ref, :auto) == {:error, :invalid_forward}
  end

  test "a connection forwards to itself" do
    {peer, middle} = start_pair()
    track = MediaStreamTrack.new(:audio)
    {:ok, _sender} = PeerConnection.add_track(peer, track)
    {:ok, offer} = PeerConnection.create_offer(peer)
    :ok = PeerConnection.set_remote_description(middle, offer)
    [%{id: id} = transceiver] = PeerConnection.get_transceivers(middle)
    :ok = PeerConnection.set_transceiver_direction(middle, id, :sendrecv)
    {:ok, answer} = PeerConnection.create_answer(middle)
    :ok = PeerConnection.set_local_description(peer, offer)
    :ok = PeerConnection.set_local_description(middle, answer)

    {:ok, ref} =
      PeerConnection.forward(
        middle,
        transceiver.receiver.track.id,
        middle,
        transceiver.sender.id
      )

    :ok = PeerConnection.set_remote_description(peer, answer)
    :ok = connect(peer, middle)

    for number <- 1..30 do
      packet = Packet.new("sound", sequence_number: number, timestamp: number * 960)
      :ok = PeerConnection.send_rtp(peer, track.id, packet)
    end

    for number <- 1..30 do
      assert_receive {:ex_webrtc, ^peer, {:rtp, _track, nil, %{sequence_number: ^number}}},
                     5_000
    end

    assert length(PeerConnection.get_forwards(middle)) == 2
    :ok = PeerConnection.close(middle)
    assert_receive {:ex_webrtc, ^middle, {:forward_ended, ^ref, :closed}}
    assert_receive {:ex_webrtc, ^middle, {:forward_ended, ^ref, :closed}}
  end

  test "connections are found by their names" do
    publisher = publisher()
    viewer = viewer()
    name = :"viewer_#{System.unique_integer([:positive])}"
    Process.register(viewer.middle, name)

    {:ok, %Forward{} = ref} =
      PeerConnection.forward(publisher.middle, publisher.received, name, viewer.sender)

    assert ref.source == publisher.middle and ref.sink == viewer.middle

    assert {:ok, %Forward{sink: sink}} =
             PeerConnection.forward(
               publisher.middle,
               publisher.received,
               {name, node()},
               viewer.sender
             )

    assert sink == viewer.middle
  end

  test "what does not fit is refused" do
    publisher = publisher()
    viewer = viewer()
    audio = viewer(:audio)
    strange = viewer(:video, video_codecs: [:vp9])
    closed = viewer()
    :ok = PeerConnection.close(closed.middle)
    gone = viewer()
    :ok = PeerConnection.stop(gone.middle)

    assert forward(%{publisher | received: 5}, viewer) == {:error, :invalid_track_id}
    assert forward(publisher, %{viewer | sender: 5}) == {:error, :invalid_sender_id}
    assert forward(publisher, audio) == {:error, :invalid_track_type}
    assert forward(publisher, strange) == {:error, :codec_mismatch}
    assert forward(publisher, viewer, layer: "h") == {:error, :invalid_layer}
    assert forward(publisher, closed) == {:error, :invalid_state}
    assert forward(%{publisher | middle: closed.middle}, viewer) == {:error, :invalid_state}
    assert forward(publisher, gone) == {:error, :closed}
    assert catch_exit(forward(%{publisher | middle: gone.middle}, viewer))

    assert_raise ArgumentError, ~r/:layer to be a rid or :auto, got: 1/, fn ->
      forward(publisher, viewer, layer: 1)
    end

    for wrong <- [nil, "x", -1, :a, 1.5, 0x10000000000000000] do
      assert_raise ArgumentError, ~r/:track_id to be an id, got: #{inspect(wrong)}/, fn ->
        forward(%{publisher | received: wrong}, viewer)
      end

      assert_raise ArgumentError, ~r/:sender_id to be an id, got: #{inspect(wrong)}/, fn ->
        forward(publisher, %{viewer | sender: wrong})
      end
    end

    assert_raise ArgumentError, ~r/:tap to be a boolean, got: "yes"/, fn ->
      forward(publisher, viewer, tap: "yes")
    end

    assert_raise ArgumentError, ~r/unknown keys \[:lair\]/, fn ->
      forward(publisher, viewer, lair: 1)
    end

    assert PeerConnection.get_forwards(publisher.middle) == []
    assert PeerConnection.get_forwards(viewer.middle) == []
  end

  for {what, by} <- [
        {:source, "close"},
        {:sink, "close"},
        {:source, "kill"},
        {:sink, "kill"},
        {:source, "panic"},
        {:sink, "panic"}
      ] do
    test "the #{by} of the #{what} ends the forward, and both sides are told" do
      publisher = publisher()
      viewer = viewer()
      bystander = viewer()
      {:ok, ref} = forward(publisher, viewer)
      {:ok, other} = forward(publisher, bystander)
      send_packets(publisher, 1..5)
      assert_arrive(viewer, 1..5)
      assert_arrive(bystander, 1..5)

      pc = if unquote(what) == :source, do: publisher.middle, else: viewer.middle

      case unquote(by) do
        "close" -> :ok = PeerConnection.close(pc)
        "kill" -> Process.exit(pc, :kill)
        "panic" -> {:error, :closed} = GenServer.call(pc, {:request, :panic})
      end

      for pc <- [publisher.middle, viewer.middle],
          do: assert_receive({:ex_webrtc, ^pc, {:forward_ended, ^ref, :closed}}, 5_000)

      if unquote(what) == :sink do
        assert [%{ref: ^other}] = PeerConnection.get_forwards(publisher.middle)
        send_packets(publisher, 6..10)
        assert_arrive(bystander, 6..10)
      else
        middle = bystander.middle
        assert_receive {:ex_webrtc, ^middle, {:forward_ended, ^other, :closed}}, 5_000
      end
    end
  end

  test "another track takes a sender over and goes on where the first was" do
    {first, second} = {publisher(), publisher()}
    viewer = viewer()
    {:ok, replaced} = forward(first, viewer)
    send_packets(first, 1..10)
    assert_arrive(viewer, 1..10)
    {:ok, _ref} = forward(second, viewer)
    send_packets(second, 501..510)
    %{peer: peer} = viewer

    for number <- 11..20 do
      assert_receive {:ex_webrtc, ^peer,
                      {:rtp, _track, nil, %{sequence_number: ^number, payload: payload}}},
                     5_000

      assert payload == payload(number + 490)
    end

    for pc <- [first.middle, viewer.middle],
        do: assert_receive({:ex_webrtc, ^pc, {:forward_ended, ^replaced, :replaced}})
  end

  test "a stopped transceiver ends what is forwarded from it or to it" do
    publisher = publisher()
    {viewer, other} = {viewer(), viewer()}
    {:ok, ref} = forward(publisher, viewer)
    {:ok, second} = forward(publisher, other)
    [%{id: id}] = PeerConnection.get_transceivers(viewer.middle)
    :ok = PeerConnection.stop_transceiver(viewer.middle, id)

    for pc <- [publisher.middle, viewer.middle],
        do: assert_receive({:ex_webrtc, ^pc, {:forward_ended, ^ref, :sender_stopped}})

    [%{id: id}] = PeerConnection.get_transceivers(publisher.middle)
    :ok = PeerConnection.stop_transceiver(publisher.middle, id)

    for pc <- [publisher.middle, other.middle],
        do: assert_receive({:ex_webrtc, ^pc, {:forward_ended, ^second, :track_ended}})
  end
end
