defmodule ExWebRTC.ClusterTest do
  # Every test has nodes of its own.
  use ExUnit.Case, async: true

  import ExWebRTC.ClusterNode, only: [call: 4, start_connection: 2, start_connection: 3, take: 3]

  alias ExWebRTC.{
    Cluster,
    ClusterNode,
    DataChannel,
    ICECandidate,
    MediaStreamTrack,
    PeerConnection,
    Peers,
    RTP,
    RTPCodecParameters,
    RTPSender,
    RTPTransceiver,
    SessionDescription
  }

  @moduletag timeout: 180_000

  # Offer and answer with all candidates in them; every call comes from `caller`.
  defp connect(caller, keeper, offerer, answerer) do
    {:ok, offer} = on(caller, :create_offer, [offerer])
    :ok = on(caller, :set_local_description, [offerer, offer])
    gathered(caller, keeper, offerer)
    offer = on(caller, :get_local_description, [offerer])
    :ok = on(caller, :set_remote_description, [answerer, offer])
    {:ok, answer} = on(caller, :create_answer, [answerer])
    :ok = on(caller, :set_local_description, [answerer, answer])
    gathered(caller, keeper, answerer)
    answer = on(caller, :get_local_description, [answerer])
    :ok = on(caller, :set_remote_description, [offerer, answer])

    for pc <- [offerer, answerer],
        do: take(caller, keeper, {:ex_webrtc, pc, {:connection_state_change, :connected}})

    :ok
  end

  defp gathered(caller, keeper, pc),
    do: take(caller, keeper, {:ex_webrtc, pc, {:ice_gathering_state_change, :complete}})

  defp on(caller, function, arguments), do: call(caller, PeerConnection, function, arguments)

  test "every function takes a connection of another node, and events cross to the controlling process" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    opts = [controlling_process: keeper, audio_codecs: audio_codecs()]
    a = start_connection(there, opts)
    b = start_connection(there, opts)

    assert {:ex_webrtc, ^a, {:connection_state_change, :new}} =
             take(here, keeper, {:ex_webrtc, a, :_})

    assert {:ex_webrtc, ^a, {:signaling_state_change, :stable}} =
             take(here, keeper, {:ex_webrtc, a, :_})

    track = MediaStreamTrack.new(:audio)

    assert {:ok, %RTPTransceiver{sender: %RTPSender{} = sender} = transceiver} =
             on(here, :add_transceiver, [a, track])

    assert {:ok, %DataChannel{} = channel} = on(here, :create_data_channel, [a, "chat"])
    assert :ok = on(here, :set_streams, [a, sender.id, [MediaStreamTrack.generate_stream_id()]])
    assert :ok = on(here, :set_transceiver_direction, [a, transceiver.id, :sendonly])
    assert :ok = on(here, :set_codec_preferences, [a, transceiver.id, []])
    assert :ok = connect(here, keeper, a, b)

    {:ex_webrtc, ^b, {:track, remote}} = take(here, keeper, {:ex_webrtc, b, {:track, :_}})

    {:ex_webrtc, ^b, {:data_channel, theirs}} =
      take(here, keeper, {:ex_webrtc, b, {:data_channel, :_}})

    # Media: one by one, in a list, and RTCP back.
    packet = RTP.Packet.new("over there", timestamp: 7, sequence_number: 1)
    assert :ok = on(here, :send_rtp, [a, track.id, packet])
    assert :ok = on(here, :send_rtp, [a, [{track.id, %{packet | sequence_number: 2}}]])

    for number <- 1..2 do
      assert {:ex_webrtc, ^b, {:rtp, _id, nil, received}} =
               take(here, keeper, {:ex_webrtc, b, {:rtp, remote.id, :_, :_}})

      assert %{payload: "over there", sequence_number: ^number} = received
    end

    assert :ok = on(here, :send_pli, [b, remote.id])
    assert :ok = on(here, :send_rtcp, [b, [%ExWebRTC.RTCP.PLI{sender_ssrc: 1, media_ssrc: 2}]])
    assert {:ex_webrtc, ^a, {:rtcp, [_ | _]}} = take(here, keeper, {:ex_webrtc, a, {:rtcp, :_}})

    # Data: the reference of a channel is the same thing on both nodes.
    take(here, keeper, {:ex_webrtc, a, {:data_channel_state_change, channel.ref, :open}})
    assert :ok = on(here, :send_data, [a, channel.ref, "hello"])
    assert :ok = on(here, :send_data_sync, [a, channel.ref, <<0, 255>>, :binary])

    for data <- ["hello", <<0, 255>>] do
      assert {:ex_webrtc, ^b, {:data, _ref, ^data}} =
               take(here, keeper, {:ex_webrtc, b, {:data, theirs.ref, :_}})
    end

    assert is_integer(on(here, :buffered_amount, [a, channel.ref]))
    assert :ok = on(here, :set_buffered_amount_low_threshold, [a, channel.ref, 10])
    assert %DataChannel{label: "chat"} = on(here, :get_data_channel, [a, channel.ref])
    assert :ok = on(here, :close_data_channel, [a, channel.ref])
    take(here, keeper, {:ex_webrtc, b, {:data_channel_state_change, theirs.ref, :closed}})

    # Getters.
    assert :connected = on(here, :get_connection_state, [a])
    assert on(here, :get_ice_connection_state, [a]) in [:connected, :completed]
    assert :complete = on(here, :get_ice_gathering_state, [a])
    assert :connected = on(here, :get_dtls_transport_state, [a])
    assert :stable = on(here, :get_signaling_state, [a])
    assert on(here, :can_trickle_ice_candidates, [a])
    assert %PeerConnection.Configuration{} = on(here, :get_configuration, [a])

    for getter <- ~w(get_local_description get_remote_description get_current_local_description
                     get_current_remote_description)a,
        do: assert(%SessionDescription{} = on(here, getter, [a]))

    for getter <- ~w(get_pending_local_description get_pending_remote_description)a,
        do: assert(is_nil(on(here, getter, [a])))

    assert [%RTPTransceiver{receiver: receiver}] = on(here, :get_transceivers, [b])
    assert {:ok, %{codecs: [_ | _]}} = on(here, :get_receiver_parameters, [b, receiver.id])
    assert {:ok, [_heard]} = on(here, :get_synchronization_sources, [b, receiver.id])
    assert {:ok, []} = on(here, :get_contributing_sources, [b, receiver.id])
    assert %{peer_connection: _} = on(here, :get_stats, [a])
    assert %{} = on(here, :get_stats, [b, remote])
    assert a in call(there, PeerConnection, :get_all_running, [])

    # What changes senders and the connection.
    assert {:ok, parameters} = on(here, :get_sender_parameters, [a, sender.id])
    assert :ok = on(here, :set_sender_parameters, [a, sender.id, parameters])
    assert :ok = on(here, :insert_dtmf, [a, sender.id, "1"])
    take(here, keeper, {:ex_webrtc, a, {:tone_change, sender.id, "1"}})
    assert :ok = on(here, :replace_track, [a, sender.id, MediaStreamTrack.new(:audio)])
    [%RTPTransceiver{codecs: [codec | _]}] = on(here, :get_transceivers, [a])
    assert :ok = on(here, :set_sender_codec, [a, sender.id, codec])
    assert :ok = on(here, :set_configuration, [a, [ice_transport_policy: :all]])
    assert :ok = on(here, :set_packet_loss, [a, 0])
    assert :ok = on(here, :restart_ice, [a])
    assert :ok = on(here, :remove_track, [a, sender.id])
    assert {:ok, %RTPSender{}} = on(here, :add_track, [a, MediaStreamTrack.new(:audio)])
    assert :ok = on(here, :stop_transceiver, [a, transceiver.id])
    assert :ok = on(here, :add_ice_candidate, [a, %ICECandidate{candidate: "", sdp_mid: "0"}])
    assert :ok = on(here, :controlling_process, [a, keeper])

    # The end.
    assert :ok = on(here, :close, [a])
    assert :closed = on(here, :get_signaling_state, [a])
    assert :ok = on(here, :stop, [a])
    assert catch_exit(on(here, :get_signaling_state, [a]))
    assert :ok = on(here, :send_data, [a, channel.ref, "late"])
  end

  test "a wrong argument raises in the caller, whatever the node" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    pc = start_connection(there, controlling_process: keeper)
    {:ok, channel} = on(here, :create_data_channel, [pc, "chat"])

    assert_raise ArgumentError, fn -> on(here, :send_data, [pc, :no_reference, "data"]) end
    assert_raise ArgumentError, fn -> on(here, :set_streams, [pc, :no_id, []]) end
    assert :connecting = on(here, :get_data_channel, [pc, channel.ref]).ready_state
  end

  test "the controlling process may have a name on another node, and change" do
    [here, there] = ClusterNode.start(2)
    first = ClusterNode.start_keeper(here, :first)
    second = ClusterNode.start_keeper(there, :second)
    pc = start_connection(there, controlling_process: {:first, here.node})
    take(here, first, {:ex_webrtc, pc, {:signaling_state_change, :stable}})

    assert :ok = on(here, :controlling_process, [pc, second])
    {:ok, _transceiver} = on(here, :add_transceiver, [pc, :audio])

    assert {_, _, :negotiation_needed} =
             take(there, second, {:ex_webrtc, pc, :negotiation_needed})

    assert :ok = on(here, :controlling_process, [pc, {:nobody, here.node}])
    assert :ok = on(here, :controlling_process, [pc, {:first, here.node}])
    {:ok, offer} = on(here, :create_offer, [pc])
    :ok = on(here, :set_local_description, [pc, offer])

    assert take(here, first, {:ex_webrtc, pc, {:signaling_state_change, :have_local_offer}})
  end

  test "a connection is found by its name from every node, and a name is taken once" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    name = {:via, Cluster, {"room", 7}}
    {_ref, []} = ClusterNode.within(here, keeper, Cluster, :monitor, [])
    pc = start_connection(there, [controlling_process: keeper], name: name)
    take(here, keeper, {:_, :join, :connections, [pc]})

    assert :stable = on(there, :get_signaling_state, [name])
    assert {:error, {:already_started, ^pc}} = on(there, :start, [[], [name: name]])
    assert {:error, {:already_started, ^pc}} = on(here, :start, [[], [name: name]])

    other = start_connection(here, [controlling_process: keeper], name: {:via, Cluster, :other})
    take(here, keeper, {:_, :join, :connections, [other]})
    assert :stable = on(here, :get_signaling_state, [name])
    assert Enum.sort([pc, other]) == Enum.sort(call(here, Cluster, :all, []))
    assert [{:other, other}, {{"room", 7}, pc}] == Enum.sort(call(here, Cluster, :all_named, []))
    assert pc == call(here, Cluster, :whereis, [{"room", 7}])
    assert nil == call(here, Cluster, :whereis, ["nobody"])

    # A name is free as soon as its process has ended.
    :ok = on(there, :stop, [pc])
    again = start_connection(there, [controlling_process: keeper], name: name)
    assert again != pc
  end

  test "of those who want a name at the same time, one gets it" do
    nodes = ClusterNode.start(2)

    results =
      for _ <- 1..5, node <- nodes do
        Task.async(fn -> on(node, :start, [[], [name: {:via, Cluster, :wanted}]]) end)
      end
      |> Task.await_many(60_000)

    assert [{:ok, _pc}] = Enum.filter(results, &match?({:ok, _pc}, &1))
  end

  test "a node that takes nothing holds up nobody: media for it is dropped and counted, the rest waits" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    slow = ClusterNode.start_keeper(there, :slow)
    a = start_connection(here, controlling_process: keeper)
    b = start_connection(here, controlling_process: keeper)
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = on(here, :add_track, [a, track])
    {:ok, channel} = on(here, :create_data_channel, [a, "chat"])
    :ok = connect(here, keeper, a, b)
    take(here, keeper, {:ex_webrtc, a, {:data_channel_state_change, channel.ref, :open}})
    remote = start_connection(there, controlling_process: slow)
    :ok = on(here, :controlling_process, [b, slow])

    os_pid = call(there, System, :pid, [])
    {_output, 0} = System.cmd("kill", ["-STOP", os_pid])

    # More than what is kept for a node that is behind (`+zdbbl`), both as a caller of a connection
    # there, and as what a connection here has for its controlling process.
    packets =
      for number <- 1..64,
          do: {track.id, RTP.Packet.new(:binary.copy(<<0>>, 1_200), sequence_number: number)}

    for _ <- 1..100, do: :ok = on(here, :send_rtp, [remote, packets])

    Peers.eventually(fn ->
      :ok = on(here, :send_rtp, [a, packets])
      stats = on(here, :get_stats, [b])
      match?(%{"media_drops" => %{undelivered: count}} when count > 0, stats)
    end)

    :ok = on(here, :send_data, [a, channel.ref, "still there"])
    {_output, 0} = System.cmd("kill", ["-CONT", os_pid])
    assert take(there, slow, {:ex_webrtc, b, {:data, :_, "still there"}})
  end

  test "when the node of a connection is lost, its controlling process is told and its name is free" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    name = {:via, Cluster, "lost"}
    pc = start_connection(there, [controlling_process: keeper], name: name)
    take(here, keeper, {:ex_webrtc, pc, {:signaling_state_change, :stable}})

    ClusterNode.stop(there)

    assert take(here, keeper, {:ex_webrtc, pc, {:connection_state_change, :closed}})
    assert {:ok, _pc} = on(here, :start, [[], [name: name]])
  end

  test "when the node of the controlling process is lost, the connection ends; a name is waited for" do
    [here, there] = ClusterNode.start(2)
    keeper = ClusterNode.start_keeper(here, :keeper)
    theirs = ClusterNode.start_keeper(there, :theirs)
    orphan = start_connection(here, controlling_process: theirs)
    patient = start_connection(here, controlling_process: {:theirs, there.node})
    aliased = start_connection(here, controlling_process: keeper)
    alias_of_theirs = ClusterNode.within(there, theirs, :erlang, :alias, [])
    assert :ok = on(there, :controlling_process, [aliased, alias_of_theirs])
    {:ok, _transceiver} = on(here, :add_transceiver, [aliased, :audio])
    take(there, theirs, {:ex_webrtc, aliased, :negotiation_needed})

    ended =
      for pc <- [orphan, aliased],
          do: {pc, ClusterNode.within(here, keeper, Process, :monitor, [pc])}

    ClusterNode.stop(there)

    reason = {:shutdown, {:nodedown, there.node}}

    for {pc, monitor} <- ended,
        do: assert(take(here, keeper, {:DOWN, monitor, :process, pc, reason}))

    assert :stable = on(here, :get_signaling_state, [patient])
  end

  defp audio_codecs do
    PeerConnection.Configuration.default_audio_codecs() ++
      [
        %RTPCodecParameters{
          payload_type: 126,
          mime_type: "audio/telephone-event",
          clock_rate: 48_000,
          channels: 1
        }
      ]
  end
end
