defmodule ExWebRTC.ContractTest do
  # What a program written for the package `ex_webrtc` relies on: functions, errors, the order of
  # messages.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{
    ICECandidate,
    MediaStreamTrack,
    PeerConnection,
    RTPCodecParameters,
    RTPSender,
    RTPTransceiver,
    SessionDescription
  }

  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.RTP.Packet

  @timeout 10_000

  # Those of version 0.15, and the public additions of the two that follow.
  @functions [
    start: 0,
    start: 1,
    start: 2,
    start_link: 0,
    start_link: 1,
    start_link: 2,
    child_spec: 1,
    controlling_process: 2,
    get_all_running: 0,
    get_configuration: 1,
    get_connection_state: 1,
    get_ice_connection_state: 1,
    get_ice_gathering_state: 1,
    get_dtls_transport_state: 1,
    get_signaling_state: 1,
    get_local_description: 1,
    get_remote_description: 1,
    get_current_local_description: 1,
    get_current_remote_description: 1,
    get_pending_local_description: 1,
    get_pending_remote_description: 1,
    create_offer: 1,
    create_offer: 2,
    create_answer: 1,
    set_local_description: 2,
    set_remote_description: 2,
    add_ice_candidate: 2,
    add_transceiver: 2,
    add_transceiver: 3,
    set_transceiver_direction: 3,
    stop_transceiver: 2,
    get_transceivers: 1,
    add_track: 2,
    replace_track: 3,
    remove_track: 2,
    set_sender_codec: 3,
    send_rtp: 3,
    send_rtp: 4,
    send_pli: 2,
    send_pli: 3,
    create_data_channel: 2,
    create_data_channel: 3,
    get_data_channel: 2,
    close_data_channel: 2,
    send_data: 3,
    send_data: 4,
    set_packet_loss: 2,
    get_stats: 1,
    close: 1,
    stop: 1
  ]

  test "every function is there" do
    assert @functions -- PeerConnection.__info__(:functions) == []

    for name <- [
          :default_audio_codecs,
          :default_video_codecs,
          :default_rtcp_feedbacks,
          :default_rtp_header_extensions,
          :default_features
        ],
        do: assert(apply(Configuration, name, []) != [])
  end

  test "a connection is the child of a supervisor, with its options and for good" do
    spec = PeerConnection.child_spec(ice_lite: true)
    assert spec.start == {PeerConnection, :start_link, [[ice_lite: true]]}
    assert %{id: PeerConnection} = spec
    assert Map.get(spec, :restart, :permanent) == :permanent

    first = start_supervised!({PeerConnection, controlling_process: self()})
    assert_receive {:ex_webrtc, ^first, {:signaling_state_change, :stable}}, @timeout
    Process.exit(first, :kill)
    assert_receive {:ex_webrtc, second, {:signaling_state_change, :stable}}, @timeout
    assert PeerConnection.get_signaling_state(second) == :stable
  end

  @tag :capture_log
  test "who supervises a connection controls it unless another process is named" do
    pc = start_supervised!(PeerConnection)
    assert {:ok, supervisor} = ExUnit.fetch_test_supervisor()
    assert PeerConnection.get_configuration(pc).controlling_process == supervisor
  end

  describe "errors" do
    setup do
      {:ok, pc} = PeerConnection.start_link()
      %{pc: pc}
    end

    test "of descriptions in the wrong state, and of those that are none", %{pc: pc} do
      offer = %SessionDescription{type: :offer, sdp: "v=0\r\n"}
      assert PeerConnection.create_answer(pc) == {:error, :invalid_state}

      for {type, sdp, error} <- [
            {:answer, "v=0\r\n", :invalid_state},
            {:pranswer, "v=0\r\n", :invalid_state},
            {:rollback, "", :invalid_state},
            {:offer, "", :empty_sdp},
            {:offer, "v=0", :invalid_sdp_syntax},
            {:offer, <<0xFF>>, :invalid_sdp_syntax},
            {:offer, String.duplicate("a", 1_048_577), :invalid_sdp_syntax}
          ] do
        description = %SessionDescription{type: type, sdp: sdp}
        assert PeerConnection.set_remote_description(pc, description) == {:error, error}
      end

      assert PeerConnection.set_local_description(pc, %{offer | type: :answer}) ==
               {:error, :invalid_state}

      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
      {:ok, made} = PeerConnection.create_offer(pc)
      altered = %{made | sdp: String.replace(made.sdp, "a=sendrecv", "a=recvonly")}

      assert PeerConnection.set_local_description(pc, altered) == {:error, :description_altered}
      assert PeerConnection.get_signaling_state(pc) == :stable
      assert PeerConnection.get_pending_local_description(pc) == nil
    end

    test "of candidates", %{pc: pc} do
      candidate = %ICECandidate{
        candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host",
        sdp_mid: "0"
      }

      assert PeerConnection.add_ice_candidate(pc, candidate) == {:error, :no_remote_description}
      assert PeerConnection.add_ice_candidate(pc, nil) == {:error, :no_remote_description}
    end

    test "of ids that nobody has", %{pc: pc} do
      [codec] = Configuration.default_audio_codecs()

      for {function, arguments, error} <- [
            {:set_transceiver_direction, [1, :sendrecv], :invalid_transceiver_id},
            {:stop_transceiver, [1], :invalid_transceiver_id},
            {:set_codec_preferences, [1, []], :invalid_transceiver_id},
            {:replace_track, [1, MediaStreamTrack.new(:audio)], :invalid_sender_id},
            {:remove_track, [1], :invalid_sender_id},
            {:set_sender_codec, [1, codec], :invalid_sender_id},
            {:set_streams, [1, []], :invalid_sender_id},
            {:insert_dtmf, [1, "1"], :invalid_sender_id},
            {:get_sender_parameters, [1], :invalid_sender_id},
            {:get_receiver_parameters, [1], :invalid_receiver_id},
            {:get_contributing_sources, [1], :invalid_receiver_id},
            {:get_synchronization_sources, [1], :invalid_receiver_id}
          ] do
        assert apply(PeerConnection, function, [pc | arguments]) == {:error, error}
      end
    end

    test "of transceivers and senders", %{pc: pc} do
      {:ok, %RTPTransceiver{id: id, sender: %{id: sender}}} =
        PeerConnection.add_transceiver(pc, :video)

      [vp8 | _] = Configuration.default_video_codecs()
      audio = MediaStreamTrack.new(:audio)
      video = MediaStreamTrack.new(:video)

      assert PeerConnection.replace_track(pc, sender, audio) == {:error, :invalid_track_type}
      assert PeerConnection.set_sender_codec(pc, sender, vp8) == {:error, :invalid_codec}

      unknown = %RTPCodecParameters{vp8 | mime_type: "video/unknown"}

      assert PeerConnection.set_codec_preferences(pc, id, [unknown]) ==
               {:error, :invalid_modification}

      :ok = PeerConnection.set_transceiver_direction(pc, id, :recvonly)

      assert PeerConnection.replace_track(pc, sender, video) ==
               {:error, :invalid_transceiver_direction}

      assert PeerConnection.set_sender_codec(pc, sender, vp8) ==
               {:error, :invalid_transceiver_direction}

      :ok = PeerConnection.stop_transceiver(pc, id)

      for {function, arguments} <- [
            set_transceiver_direction: [id, :sendrecv],
            replace_track: [sender, video],
            set_sender_codec: [sender, vp8]
          ] do
        assert apply(PeerConnection, function, [pc | arguments]) == {:error, :invalid_state}
      end
    end

    test "of data channels", %{pc: pc} do
      for options <- [
            [max_packet_life_time: 1, max_retransmits: 1],
            [negotiated: true],
            [negotiated: true, id: 65_535],
            [ordered: :sometimes],
            [unknown: 1]
          ] do
        assert PeerConnection.create_data_channel(pc, "wrong", options) ==
                 {:error, :invalid_option}
      end

      assert PeerConnection.get_data_channel(pc, make_ref()) == nil
    end

    test "after close/1 are :invalid_state, and getters answer", %{pc: pc} do
      {:ok, transceiver} = PeerConnection.add_transceiver(pc, :audio)
      {:ok, offer} = PeerConnection.create_offer(pc)
      [codec] = Configuration.default_audio_codecs()
      flush(pc)
      assert :ok = PeerConnection.close(pc)
      assert :ok = PeerConnection.close(pc)

      for {function, arguments} <- [
            create_offer: [],
            create_answer: [],
            set_local_description: [],
            set_local_description: [offer],
            set_remote_description: [offer],
            add_ice_candidate: [nil],
            add_transceiver: [:audio],
            set_transceiver_direction: [transceiver.id, :inactive],
            stop_transceiver: [transceiver.id],
            set_codec_preferences: [transceiver.id, []],
            add_track: [MediaStreamTrack.new(:audio)],
            replace_track: [transceiver.sender.id, nil],
            remove_track: [transceiver.sender.id],
            set_sender_codec: [transceiver.sender.id, codec],
            create_data_channel: ["late"],
            set_configuration: [[]],
            controlling_process: [self()]
          ] do
        assert {function, {:error, :invalid_state}} ==
                 {function, apply(PeerConnection, function, [pc | arguments])}
      end

      assert PeerConnection.get_signaling_state(pc) == :closed
      assert PeerConnection.get_connection_state(pc) == :closed
      assert PeerConnection.get_ice_connection_state(pc) == :closed
      assert PeerConnection.get_dtls_transport_state(pc) == :closed
      assert [%{stopped: true}] = PeerConnection.get_transceivers(pc)
      assert %{peer_connection: %{}} = PeerConnection.get_stats(pc)
      assert %Configuration{} = PeerConnection.get_configuration(pc)
      assert Process.alive?(pc)
      refute_received {:ex_webrtc, ^pc, _message}
    end

    test "after close/1 channels are :closed, as they were otherwise", %{pc: pc} do
      {:ok, channel} = PeerConnection.create_data_channel(pc, "chat", protocol: "p")
      {:ok, gone} = PeerConnection.create_data_channel(pc, "gone")
      :ok = PeerConnection.close_data_channel(pc, gone.ref)
      :ok = PeerConnection.close(pc)

      assert PeerConnection.get_data_channel(pc, channel.ref) == %{channel | ready_state: :closed}
      assert PeerConnection.get_data_channel(pc, gone.ref) == nil
      assert PeerConnection.buffered_amount(pc, channel.ref) == 0
      assert PeerConnection.close_data_channel(pc, channel.ref) == :ok
      assert PeerConnection.set_buffered_amount_low_threshold(pc, channel.ref, 1) == :ok
    end

    test "of candidates: what is no candidate, and not what is of no use", %{pc: pc} do
      {:ok, offerer} = PeerConnection.start_link()
      {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :audio)
      {:ok, offer} = PeerConnection.create_offer(offerer)
      :ok = PeerConnection.set_remote_description(pc, offer)

      for {text, result} <- [
            {"candidate:1 1 udp 1 peer.example 9 typ host", :ok},
            {"candidate:1 1 udp 1 fe80::1%eth0 9 typ host", :ok},
            {"candidate:1 1 udp 1 192.0.2.1 0 typ host", :ok},
            {"candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active", :ok},
            {"candidate:1 1 sctp 1 192.0.2.1 9 typ host", :ok},
            {"candidate:1 1 udp 1 192.0.2.1 9 typ", {:error, :invalid_candidate}},
            {"candidate:1 1 udp 1 192.0.2.1 9 typ srflx raddr", {:error, :invalid_candidate}},
            {"candidate:#{String.duplicate("1", 33)} 1 udp 1 192.0.2.1 9 typ host",
             {:error, :invalid_candidate}}
          ] do
        candidate = %ICECandidate{candidate: text, sdp_mid: "0"}
        assert {text, PeerConnection.add_ice_candidate(pc, candidate)} == {text, result}
      end
    end
  end

  describe "messages" do
    test "of a channel of the peer: the channel, that it is open, then its data" do
      {offerer, answerer} = start()
      {:ok, channel} = PeerConnection.create_data_channel(offerer, "order")
      :ok = connect(offerer, answerer)
      ref = channel.ref
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, @timeout
      :ok = PeerConnection.send_data(offerer, ref, "first")
      :ok = PeerConnection.send_data(offerer, ref, "last")

      assert [{:data_channel, %{ref: remote, ready_state: :open}}, opened | data] =
               collect(answerer, &match?({:data, _ref, "last"}, &1), &channel?/1)

      assert opened == {:data_channel_state_change, remote, :open}
      assert data == [{:data, remote, "first"}, {:data, remote, "last"}]
    end

    test "of set_remote_description/2: tracks, then the state, then ICE" do
      {offerer, answerer} = start()
      {:ok, %RTPSender{}} = PeerConnection.add_track(offerer, MediaStreamTrack.new(:audio))
      {:ok, offer} = PeerConnection.create_offer(offerer)
      flush(answerer)
      :ok = PeerConnection.set_remote_description(answerer, offer)
      :ok = PeerConnection.set_local_description(answerer)

      assert [
               {:track, %MediaStreamTrack{kind: :audio}},
               {:signaling_state_change, :have_remote_offer},
               {:signaling_state_change, :stable},
               {:ice_gathering_state_change, :gathering}
             ] = collect(answerer, &match?({:ice_gathering_state_change, _state}, &1))
    end

    test "of an offer against one of ours: the rollback, then the tracks, then the state" do
      {polite, rude} = start()

      for pc <- [polite, rude] do
        {:ok, _sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(:audio))
        :ok = PeerConnection.set_local_description(pc)
      end

      flush(polite)
      offer = PeerConnection.get_local_description(rude)
      :ok = PeerConnection.set_remote_description(polite, offer)

      assert [
               {:signaling_state_change, :stable},
               {:track, %MediaStreamTrack{kind: :audio}},
               {:signaling_state_change, :have_remote_offer}
             ] = received(polite)
    end

    test "of a refused data channel: it is closed, and the next one asks again" do
      {offerer, answerer} = start()
      {:ok, _sender} = PeerConnection.add_track(offerer, MediaStreamTrack.new(:audio))
      {:ok, %{ref: ref}} = PeerConnection.create_data_channel(offerer, "refused")
      :ok = PeerConnection.set_local_description(offerer)
      offer = PeerConnection.get_local_description(offerer)
      :ok = PeerConnection.set_remote_description(answerer, offer)
      {:ok, answer} = PeerConnection.create_answer(answerer)

      refusal =
        answer.sdp
        |> String.replace("m=application 9", "m=application 0")
        |> String.replace("BUNDLE 0 1", "BUNDLE 0")

      :ok =
        PeerConnection.set_remote_description(offerer, %{answer | type: :pranswer, sdp: refusal})

      assert %{ready_state: :connecting} = PeerConnection.get_data_channel(offerer, ref)
      flush(offerer)
      :ok = PeerConnection.set_remote_description(offerer, %{answer | sdp: refusal})
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :closed}}, @timeout
      assert PeerConnection.get_data_channel(offerer, ref) == nil
      refute_received {:ex_webrtc, ^offerer, :negotiation_needed}
      {:ok, _channel} = PeerConnection.create_data_channel(offerer, "another")
      assert_receive {:ex_webrtc, ^offerer, :negotiation_needed}, @timeout
    end

    test "of a peer that goes: DTLS is closed, and nothing else ends" do
      {offerer, answerer} = start()
      {:ok, _sender} = PeerConnection.add_track(offerer, MediaStreamTrack.new(:audio))
      :ok = connect(offerer, answerer)
      :ok = PeerConnection.close(answerer)
      assert_receive {:ex_webrtc, ^offerer, {:dtls_transport_state_change, :closed}}, @timeout
      assert Process.alive?(offerer)
      assert PeerConnection.get_signaling_state(offerer) == :stable
      {:ok, offer} = PeerConnection.create_offer(offerer, ice_restart: true)
      :ok = PeerConnection.set_local_description(offerer, offer)
    end
  end

  test "set_packet_loss/2 drops everything at 100 percent and nothing at 0" do
    {offerer, answerer} = start()
    track = MediaStreamTrack.new(:audio)
    {:ok, _sender} = PeerConnection.add_track(offerer, track)
    :ok = connect(offerer, answerer)

    for {percent, number} <- [{100, 1}, {0, 2}] do
      :ok = PeerConnection.set_packet_loss(offerer, percent)
      :ok = PeerConnection.send_rtp(offerer, track.id, Packet.new("x", sequence_number: number))
    end

    assert_receive {:ex_webrtc, ^answerer, {:rtp, _id, nil, %{sequence_number: number}}}, @timeout
    assert number == 2
  end

  defp channel?(message),
    do: elem(message, 0) in [:data_channel, :data_channel_state_change, :data]

  # Messages up to the last one, in their order; only those that are wanted.
  defp collect(pc, last?, wanted? \\ fn _message -> true end) do
    receive do
      {:ex_webrtc, ^pc, message} ->
        rest = if last?.(message), do: [], else: collect(pc, last?, wanted?)
        if is_tuple(message) and wanted?.(message), do: [message | rest], else: rest
    after
      @timeout -> flunk("no more messages")
    end
  end

  defp received(pc) do
    receive do
      {:ex_webrtc, ^pc, {:ice_candidate, _candidate}} -> received(pc)
      {:ex_webrtc, ^pc, {:ice_gathering_state_change, _state}} -> received(pc)
      {:ex_webrtc, ^pc, message} -> [message | received(pc)]
    after
      0 -> []
    end
  end

  defp flush(pc) do
    receive do
      {:ex_webrtc, ^pc, _message} -> flush(pc)
    after
      0 -> :ok
    end
  end
end
