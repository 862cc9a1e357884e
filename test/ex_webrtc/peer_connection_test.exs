defmodule ExWebRTC.PeerConnectionTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import ExWebRTC.Peers

  alias ExWebRTC.{DataChannel, MediaStreamTrack, PeerConnection, RTPSender, RTPTransceiver}
  alias ExWebRTC.{RTCP, SessionDescription}
  alias ExWebRTC.RTCP.SourceDescription.{Chunk, Item}
  alias ExWebRTC.RTP.Packet

  describe "starting" do
    test "the first messages are the first states" do
      {:ok, pc} = PeerConnection.start_link()
      assert_receive {:ex_webrtc, ^pc, first}
      assert_receive {:ex_webrtc, ^pc, second}
      assert first == {:connection_state_change, :new}
      assert second == {:signaling_state_change, :stable}
    end

    test "wrong options raise in the caller, and nothing is started" do
      assert_raise ArgumentError, ~r/ice_lite/, fn -> PeerConnection.start_link(ice_lite: 1) end
      assert_raise ArgumentError, ~r/ice_lit/, fn -> PeerConnection.start(ice_lit: true) end
    end

    test "a name serves wherever a pid does" do
      name = :"#{__MODULE__}.named"
      {:ok, pc} = PeerConnection.start_link([], name: name)
      assert PeerConnection.get_signaling_state(name) == :stable
      assert PeerConnection.get_signaling_state({name, node()}) == :stable
      assert PeerConnection.send_pli(name, 1) == :ok
      assert pc in PeerConnection.get_all_running()
    end

    test "getters of a new connection" do
      {:ok, pc} = PeerConnection.start_link()
      assert PeerConnection.get_connection_state(pc) == :new
      assert PeerConnection.get_ice_connection_state(pc) == :new
      assert PeerConnection.get_ice_gathering_state(pc) == :new
      assert PeerConnection.get_dtls_transport_state(pc) == :new
      assert PeerConnection.get_local_description(pc) == nil
      assert PeerConnection.get_remote_description(pc) == nil
      assert PeerConnection.get_pending_local_description(pc) == nil
      assert PeerConnection.get_pending_remote_description(pc) == nil
      assert PeerConnection.get_current_local_description(pc) == nil
      assert PeerConnection.get_current_remote_description(pc) == nil
      assert PeerConnection.get_transceivers(pc) == []
      assert PeerConnection.get_data_channel(pc, make_ref()) == nil
      assert %{controlling_process: controller} = PeerConnection.get_configuration(pc)
      assert controller == self()
    end
  end

  describe "the controlling process" do
    test "may be a registered name, whose messages come in order" do
      name = :"#{__MODULE__}.controller"
      Process.register(self(), name)
      {:ok, pc} = PeerConnection.start_link(controlling_process: name)
      assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :new}}
      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      assert_receive {:ex_webrtc, ^pc, :negotiation_needed}
    end

    test "a name that nobody has loses messages, not the connection" do
      {:ok, pc} = PeerConnection.start_link(controlling_process: :"#{__MODULE__}.nobody")
      assert PeerConnection.get_connection_state(pc) == :new
    end

    test "can be changed: from then on the new one is told, and the old one is not" do
      test = self()

      other =
        spawn_link(fn ->
          receive do
            message -> send(test, {:other, message})
          end
        end)

      {:ok, pc} = PeerConnection.start_link()
      assert PeerConnection.controlling_process(pc, other) == :ok
      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      assert_receive {:other, {:ex_webrtc, ^pc, :negotiation_needed}}
      refute_received {:ex_webrtc, ^pc, :negotiation_needed}
    end

    test "may be an alias, which ends when its process takes it back" do
      {:ok, pc} = PeerConnection.start_link(controlling_process: :"#{__MODULE__}.nobody")
      alias_of_mine = :erlang.alias()
      assert PeerConnection.controlling_process(pc, alias_of_mine) == :ok
      {:ok, transceiver} = PeerConnection.add_transceiver(pc, :audio)
      assert_receive {:ex_webrtc, ^pc, :negotiation_needed}
      :erlang.unalias(alias_of_mine)
      track = transceiver.receiver.track.id
      :ok = PeerConnection.stop_transceiver(pc, transceiver.id)
      assert PeerConnection.get_connection_state(pc) == :new
      refute_received {:ex_webrtc, ^pc, {:track_ended, ^track}}
    end

    test "that nobody could be raises in the caller, and the old one stays" do
      {:ok, pc} = PeerConnection.start_link()
      # A port takes no such message; its owner would end.
      port = Port.open({:spawn, "cat"}, [])

      for dest <- ["name", nil, true, 1, {"name", node()}, port] do
        assert_raise ArgumentError, ~r/:controlling_process: expected a pid/, fn ->
          PeerConnection.controlling_process(pc, dest)
        end
      end

      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      assert_receive {:ex_webrtc, ^pc, :negotiation_needed}
    end

    test "stands in the configuration, also after it was changed" do
      {:ok, pc} = PeerConnection.start_link()
      name = :"#{__MODULE__}.nobody"
      :ok = PeerConnection.controlling_process(pc, name)
      assert %{controlling_process: ^name} = PeerConnection.get_configuration(pc)
      assert PeerConnection.set_configuration(pc, controlling_process: name) == :ok

      assert PeerConnection.set_configuration(pc, controlling_process: self()) ==
               {:error, :invalid_modification}
    end
  end

  # A process that has just stopped may still be found.
  @tag :capture_log
  test "what is sent to a connection that is not there is dropped, under whatever name it was" do
    {:ok, pc} = PeerConnection.start()
    {:ok, channel} = PeerConnection.create_data_channel(pc, "chat")
    :ok = PeerConnection.stop(pc)
    nobody = :"#{__MODULE__}.nobody"

    for pc <- [pc, nobody, {nobody, node()}, {:global, nobody}] do
      assert PeerConnection.send_data(pc, channel.ref, "data") == :ok
      assert PeerConnection.send_rtp(pc, 1, ExWebRTC.RTP.Packet.new("x")) == :ok
      assert PeerConnection.send_pli(pc, 1) == :ok
    end
  end

  test "who asks a connection that ends is answered, or exits as from every call to a process" do
    for _connection <- 1..30 do
      {:ok, pc} = PeerConnection.start()
      asking = for _process <- 1..8, do: Task.async(fn -> ask(pc) end)
      :ok = PeerConnection.stop(pc)
      assert [:exited] = asking |> Task.await_many() |> Enum.uniq()
    end
  end

  defp ask(pc) do
    case PeerConnection.get_transceivers(pc) do
      [] -> ask(pc)
      other -> other
    end
  catch
    :exit, _reason -> :exited
  end

  describe "wrong arguments" do
    test "raise in the caller and leave the connection running" do
      {:ok, pc} = PeerConnection.start_link()
      assert_raise ArgumentError, fn -> PeerConnection.stop_transceiver(pc, :first) end
      assert_raise ArgumentError, fn -> PeerConnection.get_data_channel(pc, "label") end
      assert_raise ArgumentError, fn -> PeerConnection.send_rtp(pc, 1, %{}) end
      assert_raise ArgumentError, fn -> PeerConnection.create_offer(pc, restart: true) end
      assert PeerConnection.get_signaling_state(pc) == :stable
    end
  end

  describe "two connections" do
    test "connect, with each state once and in order" do
      {offerer, answerer} = start()
      {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :audio)
      :ok = negotiate(offerer, answerer)
      others = %{offerer => answerer, answerer => offerer}

      for pc <- [offerer, answerer] do
        assert states(pc, others) == [:new, :connecting, :connected]
      end
    end

    defp states(pc, others) do
      receive do
        {:ex_webrtc, ^pc, {:connection_state_change, :connected}} ->
          [:connected]

        {:ex_webrtc, ^pc, {:connection_state_change, state}} ->
          [state | states(pc, others)]

        {:ex_webrtc, from, {:ice_candidate, candidate}} ->
          :ok = PeerConnection.add_ice_candidate(Map.fetch!(others, from), candidate)
          states(pc, others)
      after
        10_000 -> flunk("#{inspect(pc)} did not connect")
      end
    end

    test "the remote track is told before set_remote_description returns" do
      {offerer, answerer} = start()
      track = MediaStreamTrack.new(:video, ["stream"])
      {:ok, %RTPSender{track: ^track}} = PeerConnection.add_track(offerer, track)
      {:ok, offer} = PeerConnection.create_offer(offerer)
      :ok = PeerConnection.set_remote_description(answerer, offer)
      assert_received {:ex_webrtc, ^answerer, {:track, %MediaStreamTrack{} = remote}}
      assert %{kind: :video, streams: ["stream"], rids: nil} = remote
      assert_received {:ex_webrtc, ^answerer, {:signaling_state_change, :have_remote_offer}}

      assert [%RTPTransceiver{kind: :video, receiver: %{track: ^remote}}] =
               PeerConnection.get_transceivers(answerer)

      assert %SessionDescription{type: :offer} = PeerConnection.get_remote_description(answerer)
    end

    test "send media one way and keyframe requests the other" do
      {offerer, answerer} = start()
      track = MediaStreamTrack.new(:video)
      {:ok, _sender} = PeerConnection.add_track(offerer, track)
      :ok = connect(offerer, answerer)
      assert_receive {:ex_webrtc, ^answerer, {:track, %MediaStreamTrack{id: remote_id}}}

      for number <- 1..100 do
        packet =
          Packet.new(:binary.copy(<<number>>, 1_000), sequence_number: number, timestamp: number)

        :ok = PeerConnection.send_rtp(offerer, track.id, packet)
      end

      for number <- 1..100 do
        assert_receive {:ex_webrtc, ^answerer, {:rtp, ^remote_id, nil, %Packet{} = packet}}, 2_000
        assert %{sequence_number: ^number, timestamp: ^number} = packet
        assert packet.payload == :binary.copy(<<number>>, 1_000)
      end

      :ok = PeerConnection.send_pli(answerer, remote_id)
      track_id = track.id
      assert has_pli?(offerer, track_id)
    end

    test "refuse a packet that none can carry, in the caller, and say why" do
      {offerer, answerer} = start()
      track = MediaStreamTrack.new(:audio)
      {:ok, _sender} = PeerConnection.add_track(offerer, track)
      :ok = connect(offerer, answerer)
      packet = Packet.new("a")

      for {expected, wrong} <- [
            {":payload_type .*in 0..127", %{packet | payload_type: 300}},
            {":sequence_number .*in 0..65535", %{packet | sequence_number: 70_000}},
            {":timestamp ", %{packet | timestamp: -1}},
            {":payload .*a binary", %{packet | payload: nil}},
            {":csrc ", %{packet | csrc: [1.5]}},
            {":marker .*true or false", %{packet | marker: 1}},
            {"header extension",
             %{packet | extension: true, extension_profile: 0xBEDE, extensions: [1]}},
            {"an RTP packet", %{}},
            {"an RTP packet", nil}
          ] do
        assert_raise ArgumentError, ~r/#{expected}/, fn ->
          PeerConnection.send_rtp(offerer, track.id, wrong)
        end

        assert_raise ArgumentError, ~r/#{expected}/, fn ->
          PeerConnection.send_rtp(offerer, [{track.id, packet}, {track.id, wrong}])
        end
      end

      assert_raise ArgumentError, ~r/:track_id/, fn ->
        PeerConnection.send_rtp(offerer, :a, packet)
      end

      assert_raise ArgumentError, ~r/:rtx\?/, fn ->
        PeerConnection.send_rtp(offerer, 1, packet, rtx?: 1)
      end

      assert_raise ArgumentError, ~r/{track_id, packet}/, fn ->
        PeerConnection.send_rtp(offerer, [packet])
      end
    end

    test "deliver the items of a source description with the names they are encoded by" do
      {offerer, answerer} = start()
      {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :audio)
      :ok = connect(offerer, answerer)

      types = [:location, :rtp_stream_id, :repaired_rtp_stream_id, :mid]
      items = for type <- types, do: %Item{type: type, text: "of the test"}
      packet = %RTCP.SourceDescription{chunks: [%Chunk{ssrc: 7, items: items}]}
      :ok = PeerConnection.send_rtcp(offerer, packet)
      assert has_rtcp?(answerer, packet)
    end

    defp has_rtcp?(pc, packet) do
      assert_receive {:ex_webrtc, ^pc, {:rtcp, packets}}, 2_000
      Enum.any?(packets, &match?({_track, ^packet}, &1)) or has_rtcp?(pc, packet)
    end

    defp has_pli?(pc, track_id) do
      assert_receive {:ex_webrtc, ^pc, {:rtcp, packets}}, 2_000
      Enum.any?(packets, &match?({^track_id, %RTCP.PLI{}}, &1)) or has_pli?(pc, track_id)
    end

    test "refuse a message that is larger than the peer takes, in the caller" do
      {offerer, answerer} = start([], sctp_max_message_size: 1_000)
      {:ok, %DataChannel{ref: ref}} = PeerConnection.create_data_channel(offerer, "small")
      :ok = connect(offerer, answerer)
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, 2_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel, %DataChannel{ref: remote}}}, 2_000

      large = :binary.copy("x", 1_001)

      for send <- [&PeerConnection.send_data/3, &PeerConnection.send_data_sync/3] do
        assert_raise ArgumentError, ~r/1001 bytes, the peer takes at most 1000/, fn ->
          send.(offerer, ref, large)
        end
      end

      largest = :binary.copy("y", 1_000)
      :ok = PeerConnection.send_data(offerer, ref, largest)
      assert_receive {:ex_webrtc, ^answerer, {:data, ^remote, ^largest}}, 2_000
    end

    test "take a message that is copied on a dirty scheduler, in order with the others" do
      {offerer, answerer} = start([], sctp_max_message_size: 3_000_000)
      {:ok, %DataChannel{ref: ref}} = PeerConnection.create_data_channel(offerer, "large")
      :ok = connect(offerer, answerer)
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, 2_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel, %DataChannel{ref: remote}}}, 2_000

      large = :rand.bytes(2_000_000)
      :ok = PeerConnection.send_data(offerer, ref, "before", :binary)
      :ok = PeerConnection.send_data(offerer, ref, large, :binary)
      :ok = PeerConnection.send_data(offerer, ref, "between", :binary)
      :ok = PeerConnection.send_data_sync(offerer, ref, large, :binary)
      :ok = PeerConnection.send_data(offerer, ref, "behind", :binary)

      for message <- ["before", large, "between", large, "behind"] do
        assert_receive {:ex_webrtc, ^answerer, {:data, ^remote, received}}, 10_000
        assert received == message
      end
    end

    test "say that a channel is not open when data is sent after close/1" do
      {offerer, answerer} = start()
      {:ok, %DataChannel{ref: ref}} = PeerConnection.create_data_channel(offerer, "closed")
      :ok = connect(offerer, answerer)
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, 2_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel, %DataChannel{}}}, 2_000
      :ok = PeerConnection.close(offerer)

      for data <- ["late", :binary.copy("l", 2_000_000)] do
        log = capture_log(fn -> assert PeerConnection.send_data(offerer, ref, data) == :ok end)
        assert log =~ "the channel #{inspect(ref)} is not open"
        assert PeerConnection.send_data_sync(offerer, ref, data) == {:error, :closed}
      end

      assert PeerConnection.buffered_amount(offerer, ref) == 0
      refute_received {:ex_webrtc, ^answerer, {:data, _ref, _data}}
    end

    test "exchange data, whole and in order" do
      {offerer, answerer} = start()

      {:ok, %DataChannel{ref: ref} = channel} =
        PeerConnection.create_data_channel(offerer, "chat")

      assert %{label: "chat", ordered: true, ready_state: :connecting} = channel
      :ok = connect(offerer, answerer)

      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, 2_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel, %DataChannel{ref: remote}}}, 2_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel_state_change, ^remote, :open}}

      messages = for number <- 1..1_000, do: "message #{number}"
      for message <- ["" | messages], do: :ok = PeerConnection.send_data(offerer, ref, message)
      large = :rand.bytes(256 * 1024)
      :ok = PeerConnection.send_data(offerer, ref, large, :binary)

      for message <- ["" | messages] ++ [large] do
        assert_receive {:ex_webrtc, ^answerer, {:data, ^remote, received}}, 5_000
        assert received == message
      end

      assert %DataChannel{ref: ^ref, ready_state: :open, label: "chat"} =
               PeerConnection.get_data_channel(offerer, ref)

      assert PeerConnection.send_data_sync(offerer, ref, "waited for") == :ok
      assert_receive {:ex_webrtc, ^answerer, {:data, ^remote, "waited for"}}, 2_000

      assert PeerConnection.close_data_channel(answerer, remote) == :ok
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :closed}}, 2_000

      assert_receive {:ex_webrtc, ^answerer, {:data_channel_state_change, ^remote, :closed}},
                     2_000
    end

    test "a channel of one connection is none of the other's" do
      {first, second} = start()
      {:ok, %DataChannel{ref: ref}} = PeerConnection.create_data_channel(first, "first")
      {:ok, %DataChannel{}} = PeerConnection.create_data_channel(second, "second")
      assert PeerConnection.get_data_channel(second, ref) == nil
      assert %DataChannel{label: "first", ref: ^ref} = PeerConnection.get_data_channel(first, ref)
    end

    test "statistics are maps with atoms for keys, stamped with the time" do
      {offerer, answerer} = start()
      {:ok, _channel} = PeerConnection.create_data_channel(offerer, "chat")
      :ok = connect(offerer, answerer)
      stats = PeerConnection.get_stats(offerer)

      assert %{id: :peer_connection, type: :peer_connection, connection_state: :connected} =
               stats.peer_connection

      assert %{type: :transport, dtls_state: :connected} = stats.transport
      assert_in_delta stats.transport.timestamp, System.system_time(:millisecond), 5_000

      assert %{address: address, candidate_type: :host} =
               Enum.find_value(stats, fn {_id, entry} ->
                 entry.type == :local_candidate && entry
               end)

      assert :inet.is_ip_address(address)
    end
  end

  describe "addresses" do
    test "that the filter refuses do not become candidates" do
      {:ok, pc} = PeerConnection.start_link(ice_ip_filter: fn _address -> false end)
      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      {:ok, offer} = PeerConnection.create_offer(pc)
      :ok = PeerConnection.set_local_description(pc, offer)
      assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 2_000
      refute_received {:ex_webrtc, ^pc, {:ice_candidate, %{candidate: "candidate:" <> _rest}}}
    end

    test "that the mapper knows become server-reflexive candidates" do
      {:ok, pc} =
        PeerConnection.start_link(
          ice_ip_filter: &match?({_, _, _, _}, &1),
          host_to_srflx_ip_mapper: fn _address -> {203, 0, 113, 7} end
        )

      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      {:ok, offer} = PeerConnection.create_offer(pc)
      :ok = PeerConnection.set_local_description(pc, offer)
      assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 2_000
      assert PeerConnection.get_local_description(pc).sdp =~ ~r/ 203\.0\.113\.7 \d+ typ srflx/
    end
  end
end
