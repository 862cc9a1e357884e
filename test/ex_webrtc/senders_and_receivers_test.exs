defmodule ExWebRTC.SendersAndReceiversTest do
  # What W3C webrtc-pc lets one ask of senders, receivers and the configuration, between two
  # connections of ours.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, RTPCodecParameters, RTPReceiver, RTPSender}
  alias ExWebRTC.RTP.Packet
  alias ExWebRTC.RTP.Packet.Extension.SourceDescription

  @level_uri "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
  @opus %RTPCodecParameters{
    payload_type: 111,
    mime_type: "audio/opus",
    clock_rate: 48_000,
    channels: 2
  }
  @events %RTPCodecParameters{
    payload_type: 110,
    mime_type: "audio/telephone-event",
    clock_rate: 48_000
  }

  defp options do
    [
      audio_codecs: [@opus, @events],
      rtp_header_extensions: [
        %{type: :audio, uri: @level_uri}
        | PeerConnection.Configuration.default_rtp_header_extensions()
      ]
    ]
  end

  defp media do
    {offerer, answerer} = start(options(), options())
    track = MediaStreamTrack.new(:audio, ["stream"])
    {:ok, sender} = PeerConnection.add_track(offerer, track)
    :ok = connect(offerer, answerer)
    [%{receiver: receiver}] = PeerConnection.get_transceivers(answerer)

    %{
      offerer: offerer,
      answerer: answerer,
      track: track,
      sender: sender,
      receiver: receiver
    }
  end

  defp packet(number), do: Packet.new("sound", sequence_number: number, timestamp: number * 960)

  defp entries(stats, type), do: for({_id, %{type: ^type} = entry} <- stats, do: entry)

  describe "set_configuration/2" do
    test "replaces servers and policy, and nothing else" do
      {:ok, pc} = PeerConnection.start_link(ice_transport_policy: :relay)
      servers = [%{urls: "stun:stun.example"}]

      assert :ok = PeerConnection.set_configuration(pc, ice_servers: servers)

      assert %{ice_servers: ^servers, ice_transport_policy: :all} =
               PeerConnection.get_configuration(pc)

      configuration = PeerConnection.get_configuration(pc)
      assert :ok = PeerConnection.set_configuration(pc, %{configuration | ice_servers: []})
      assert %{ice_servers: []} = PeerConnection.get_configuration(pc)
    end

    test "refuses what can't be changed, raises for what is invalid" do
      {:ok, pc} = PeerConnection.start_link(ice_lite: false)
      configuration = PeerConnection.get_configuration(pc)

      assert {:error, :invalid_modification} =
               PeerConnection.set_configuration(pc, ice_lite: true)

      assert :ok = PeerConnection.set_configuration(pc, ice_lite: false)

      assert {:error, :invalid_modification} =
               PeerConnection.set_configuration(pc, %{configuration | features: []})

      assert_raise ArgumentError, ~r/:ice_servers/, fn ->
        PeerConnection.set_configuration(pc, ice_servers: [%{urls: "http://example"}])
      end

      assert PeerConnection.get_configuration(pc) == configuration
      :ok = PeerConnection.close(pc)
      assert {:error, :invalid_state} = PeerConnection.set_configuration(pc, ice_servers: [])
    end
  end

  describe "send_encodings" do
    test "are the parameters of the sender, with what W3C fills in" do
      {:ok, pc} = PeerConnection.start_link()

      {:ok, %{sender: sender}} =
        PeerConnection.add_transceiver(pc, :video,
          send_encodings: [
            %{rid: "l", active: false, max_bitrate: 150_000, max_framerate: 15},
            %{rid: "h"}
          ]
        )

      assert {:ok, %{encodings: [low, high]} = parameters} =
               PeerConnection.get_sender_parameters(pc, sender.id)

      assert low == %{
               rid: "l",
               active: false,
               max_bitrate: 150_000,
               max_framerate: 15.0,
               scale_resolution_down_by: 2.0
             }

      assert %{rid: "h", active: true, max_bitrate: nil, scale_resolution_down_by: 1.0} = high

      changed = [%{low | active: true}, %{high | max_bitrate: 2_000_000}]

      assert :ok =
               PeerConnection.set_sender_parameters(pc, sender.id, %{
                 parameters
                 | encodings: changed
               })

      assert {:ok, %{encodings: ^changed}} = PeerConnection.get_sender_parameters(pc, sender.id)
    end

    # As the documentation of `send_rtp/4` shows.
    test "are told by the rid of each packet, or by the SSRC, else the first is meant" do
      {offerer, answerer} = start()
      track = MediaStreamTrack.new(:video)
      encodings = [%{rid: "h"}, %{rid: "l"}]

      {:ok, _transceiver} =
        PeerConnection.add_transceiver(offerer, track, send_encodings: encodings)

      :ok = connect(offerer, answerer)

      rid_uri = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
      transceivers = PeerConnection.get_transceivers(offerer)
      transceiver = Enum.find(transceivers, &(&1.sender.track && &1.sender.track.id == track.id))
      %{id: id} = Enum.find(transceiver.header_extensions, &(&1.uri == rid_uri))
      rid = fn name -> SourceDescription.to_raw(SourceDescription.new(name), id) end

      for {number, extensions, expected} <- [
            {1, [rid.("l")], "l"},
            {2, [rid.("h")], "h"},
            {3, [rid.("other")], "h"},
            {4, [], "h"}
          ] do
        packet = Enum.reduce(extensions, packet(number), &Packet.add_extension(&2, &1))
        :ok = PeerConnection.send_rtp(offerer, track.id, packet)

        assert_receive {:ex_webrtc, ^answerer,
                        {:rtp, _track, ^expected, %{sequence_number: ^number}}},
                       10_000
      end

      ssrcs =
        for {_id, %{type: :outbound_rtp, rid: rid, ssrc: ssrc}} <-
              PeerConnection.get_stats(offerer),
            into: %{},
            do: {rid, ssrc}

      packet = Packet.add_extension(%{packet(5) | ssrc: ssrcs["l"]}, rid.("h"))
      :ok = PeerConnection.send_rtp(offerer, track.id, packet)
      assert_receive {:ex_webrtc, ^answerer, {:rtp, _track, "l", %{sequence_number: 5}}}, 10_000
    end

    test "that are inactive send nothing from the start" do
      {offerer, answerer} = start()
      track = MediaStreamTrack.new(:video)

      {:ok, %{sender: sender}} =
        PeerConnection.add_transceiver(offerer, track, send_encodings: [%{active: false}])

      :ok = connect(offerer, answerer)
      :ok = PeerConnection.send_rtp(offerer, track.id, packet(1))
      {:ok, parameters} = PeerConnection.get_sender_parameters(offerer, sender.id)
      active = Enum.map(parameters.encodings, &%{&1 | active: true})

      :ok =
        PeerConnection.set_sender_parameters(offerer, sender.id, %{parameters | encodings: active})

      :ok = PeerConnection.send_rtp(offerer, track.id, packet(2))

      assert_receive {:ex_webrtc, ^answerer, {:rtp, _track, nil, %{sequence_number: number}}},
                     10_000

      assert number == 2
    end

    test "are those that an offer to receive simulcast asks for" do
      # Nobody can begin with such an offer: who has taken layers makes one when it offers next.
      {former, sfu} = start()

      {:ok, _transceiver} =
        PeerConnection.add_transceiver(former, :video,
          direction: :sendonly,
          send_encodings: for(rid <- ["l", "m", "h"], do: %{rid: rid})
        )

      :ok = connect(former, sfu)
      :ok = PeerConnection.close(former)

      {:ok, publisher} = PeerConnection.start_link()
      :ok = PeerConnection.restart_ice(sfu)
      {:ok, offer} = PeerConnection.create_offer(sfu)
      assert offer.sdp =~ "a=simulcast:recv l;m;h\r\n"
      :ok = PeerConnection.set_local_description(sfu, offer)
      :ok = PeerConnection.set_remote_description(publisher, offer)
      track = MediaStreamTrack.new(:video)
      {:ok, sender} = PeerConnection.add_track(publisher, track)
      {:ok, answer} = PeerConnection.create_answer(publisher)

      assert for("a=rid:" <> rid <- String.split(answer.sdp, "\r\n"), do: rid) ==
               ["l send", "m send", "h send"]

      assert answer.sdp =~ "a=simulcast:send l;m;h\r\n"
      :ok = PeerConnection.set_local_description(publisher, answer)
      :ok = PeerConnection.set_remote_description(sfu, answer)

      {:ok, %{encodings: encodings}} = PeerConnection.get_sender_parameters(publisher, sender.id)

      assert for(one <- encodings, do: {one.rid, one.active, one.scale_resolution_down_by}) ==
               [{"l", true, 4.0}, {"m", true, 2.0}, {"h", true, 1.0}]

      :ok = pass_candidates(publisher, sfu)
      [%{header_extensions: extensions}] = PeerConnection.get_transceivers(publisher)
      %{id: id} = Enum.find(extensions, &(&1.uri =~ "sdes:rtp-stream-id"))

      for rid <- ["h", "l", "m"] do
        named = Packet.add_extension(packet(7), %Packet.Extension{id: id, data: rid})
        :ok = PeerConnection.send_rtp(publisher, track.id, named)
        assert_receive {:ex_webrtc, ^sfu, {:rtp, _track, ^rid, %{payload: "sound"}}}, 10_000
      end
    end

    test "that can't be raise, naming the option and what was expected" do
      {:ok, pc} = PeerConnection.start_link()

      for {kind, wrong, expected} <- [
            {:video, :none, "a list"},
            {:video, [1], "a list of maps"},
            {:video, [%{}, %{}], ":rid in each"},
            {:video, [%{rid: "a"}, %{rid: "a"}], "each :rid once"},
            {:video, [%{rid: "a b"}], "letters"},
            {:video, [%{rid: "seventeen-letters"}], "1 to 16"},
            {:video, for(n <- 1..17, do: %{rid: "r#{n}"}), "at most 16"},
            {:audio, [%{rid: "a"}, %{rid: "b"}], "one encoding"},
            {:video, [%{active: nil}], ":active"},
            {:video, [%{max_bitrate: -1}], ":max_bitrate"},
            {:video, [%{max_framerate: -0.5}], ":max_framerate"},
            {:video, [%{scale_resolution_down_by: 0.9}], ":scale_resolution_down_by"},
            {:video, [%{ssrc: 1}], "keys of"}
          ] do
        error =
          assert_raise ArgumentError, ~r/:send_encodings/, fn ->
            PeerConnection.add_transceiver(pc, kind, send_encodings: wrong)
          end

        assert error.message =~ expected
      end

      assert PeerConnection.get_transceivers(pc) == []
    end
  end

  describe "parameters" do
    test "of a sender can pause it" do
      %{offerer: offerer, answerer: answerer, track: track, sender: sender} = media()
      assert {:ok, parameters} = PeerConnection.get_sender_parameters(offerer, sender.id)

      assert %{
               transaction_id: _,
               encodings: [%{rid: nil, active: true, max_bitrate: nil} = encoding],
               header_extensions: [%{id: _, uri: _} | _],
               rtcp: %{cname: _, reduced_size: true},
               codecs: [%RTPCodecParameters{mime_type: "audio/opus"} | _]
             } = parameters

      paused = %{parameters | encodings: [%{encoding | active: false, max_bitrate: 32_000}]}
      assert :ok = PeerConnection.set_sender_parameters(offerer, sender.id, paused)

      assert {:error, :invalid_state} =
               PeerConnection.set_sender_parameters(offerer, sender.id, paused)

      :ok = PeerConnection.send_rtp(offerer, track.id, packet(1))
      assert {:ok, again} = PeerConnection.get_sender_parameters(offerer, sender.id)
      assert [%{active: false, max_bitrate: 32_000} = encoding] = again.encodings
      active = %{again | encodings: [%{encoding | active: true}]}
      assert :ok = PeerConnection.set_sender_parameters(offerer, sender.id, active)
      :ok = PeerConnection.send_rtp(offerer, track.id, packet(2))

      assert_receive {:ex_webrtc, ^answerer, {:rtp, _track, nil, %{sequence_number: 2}}}, 5_000
      refute_received {:ex_webrtc, ^answerer, {:rtp, _track, nil, _packet}}
    end

    test "that were changed where they may not be are refused" do
      %{offerer: offerer, sender: sender} = media()
      {:ok, parameters} = PeerConnection.get_sender_parameters(offerer, sender.id)
      set = &PeerConnection.set_sender_parameters(offerer, sender.id, &1)

      assert {:error, :invalid_modification} = set.(%{parameters | codecs: []})
      assert {:error, :invalid_modification} = set.(%{parameters | encodings: []})
      assert {:error, :invalid_modification} = set.(%{parameters | transaction_id: "other"})
      assert_raise ArgumentError, fn -> set.(%{parameters | encodings: [%{}]}) end
      assert {:error, :invalid_sender_id} = PeerConnection.get_sender_parameters(offerer, 1)
    end

    test "of a receiver are what was negotiated" do
      %{answerer: answerer, receiver: receiver} = media()
      assert {:ok, parameters} = PeerConnection.get_receiver_parameters(answerer, receiver.id)

      assert ["audio/opus", "audio/telephone-event"] ==
               Enum.map(parameters.codecs, & &1.mime_type)

      assert parameters.rtcp == %{reduced_size: true}
      assert @level_uri in Enum.map(parameters.header_extensions, & &1.uri)
      assert {:error, :invalid_receiver_id} = PeerConnection.get_receiver_parameters(answerer, 1)
    end
  end

  test "set_streams/3 gives the peer's track other streams" do
    %{offerer: offerer, answerer: answerer, sender: sender} = media()
    assert :ok = PeerConnection.set_streams(offerer, sender.id, ["one", "two"])
    assert_receive {:ex_webrtc, ^offerer, :negotiation_needed}
    :ok = negotiate(offerer, answerer)
    assert [%{receiver: %{track: track}}] = PeerConnection.get_transceivers(answerer)
    assert ["one", "two"] == Enum.sort(track.streams)

    assert {:error, :invalid_option} = PeerConnection.set_streams(offerer, sender.id, ["a b"])
    assert {:error, :invalid_sender_id} = PeerConnection.set_streams(offerer, 1, [])
  end

  test "sources are told with the level that the sender's packets had" do
    %{offerer: offerer, answerer: answerer, track: track, receiver: receiver} = media()
    assert {:ok, []} = PeerConnection.get_synchronization_sources(answerer, receiver.id)

    [%{header_extensions: extensions}] = PeerConnection.get_transceivers(offerer)
    %{id: id} = Enum.find(extensions, &(&1.uri == @level_uri))
    # 6 dB below full scale.
    level = %Packet.Extension{id: id, data: <<6>>}
    spoken = %{Packet.add_extension(packet(5), level) | csrc: [1234]}
    :ok = PeerConnection.send_rtp(offerer, track.id, spoken)
    assert_receive {:ex_webrtc, ^answerer, {:rtp, _track, nil, %{ssrc: ssrc}}}, 5_000

    assert {:ok, [%{source: ^ssrc, rtp_timestamp: 4_800, audio_level: level, timestamp: at}]} =
             PeerConnection.get_synchronization_sources(answerer, receiver.id)

    assert_in_delta level, 0.501, 0.001
    assert_in_delta at, System.system_time(:millisecond), 5_000

    assert {:ok, [%{source: 1234, audio_level: nil}]} =
             PeerConnection.get_contributing_sources(answerer, receiver.id)

    for function <- [:get_synchronization_sources, :get_contributing_sources] do
      assert {:error, :invalid_receiver_id} = apply(PeerConnection, function, [answerer, 1])
    end
  end

  describe "insert_dtmf/4" do
    test "plays tones that the peer hears, and tells of each one" do
      %{offerer: offerer, answerer: answerer, sender: sender} = media()
      id = sender.id
      assert :ok = PeerConnection.insert_dtmf(offerer, id, "7d", duration: 40, inter_tone_gap: 30)

      for tone <- ["7", "D", ""],
          do: assert_receive({:ex_webrtc, ^offerer, {:tone_change, ^id, ^tone}}, 5_000)

      assert_received {:ex_webrtc, ^answerer,
                       {:rtp, _, nil,
                        %{payload_type: 110, marker: true, payload: <<7, _::binary>>}}}

      assert_receive {:ex_webrtc, ^answerer,
                      {:rtp, _, nil, %{payload: <<15, 1::1, 0::1, 10::6, 1_920::16>>}}},
                     5_000
    end

    test "refuses what is no tone, and senders without telephone events" do
      %{offerer: offerer, answerer: answerer, sender: sender} = media()
      assert {:error, :invalid_option} = PeerConnection.insert_dtmf(offerer, sender.id, "12x")
      assert {:error, :invalid_sender_id} = PeerConnection.insert_dtmf(offerer, 1, "1")
      [%{sender: idle}] = PeerConnection.get_transceivers(answerer)
      assert {:error, :invalid_state} = PeerConnection.insert_dtmf(answerer, idle.id, "1")
    end
  end

  test "can_trickle_ice_candidates/1 is what the peer said, once it has" do
    {offerer, answerer} = start()
    {:ok, _} = PeerConnection.create_data_channel(offerer, "data")
    assert nil == PeerConnection.can_trickle_ice_candidates(answerer)
    {:ok, offer} = PeerConnection.create_offer(offerer)
    :ok = PeerConnection.set_remote_description(answerer, offer)
    assert true == PeerConnection.can_trickle_ice_candidates(answerer)

    {:ok, third} = PeerConnection.start_link()
    silent = %{offer | sdp: String.replace(offer.sdp, ~r/a=ice-options:.*\r\n/, "")}
    :ok = PeerConnection.set_remote_description(third, silent)
    assert false == PeerConnection.can_trickle_ice_candidates(third)
  end

  test "get_stats/2 tells of one track, sender or receiver" do
    %{offerer: offerer, answerer: answerer, track: track, sender: sender, receiver: receiver} =
      media()

    :ok = PeerConnection.send_rtp(offerer, track.id, packet(1))
    assert_receive {:ex_webrtc, ^answerer, {:rtp, id, nil, _packet}}, 5_000

    for selector <- [track, sender] do
      stats = PeerConnection.get_stats(offerer, selector)
      assert [%{packets_sent: 1}] = entries(stats, :outbound_rtp)
      assert [] == entries(stats, :inbound_rtp)
      refute is_map_key(stats, :peer_connection)
    end

    assert id == receiver.track.id

    for selector <- [receiver, receiver.track] do
      stats = PeerConnection.get_stats(answerer, selector)
      assert [%{packets_received: 1, transport_id: :transport}] = entries(stats, :inbound_rtp)
      assert %{local_certificate_id: local} = stats.transport
      assert is_map_key(stats, local)
    end

    assert PeerConnection.get_stats(offerer, nil) |> is_map_key(:peer_connection)

    for {selector, reason} <- [
          {MediaStreamTrack.new(:audio), :invalid_track_id},
          {%RTPSender{id: 1, track: nil, codec: nil}, :invalid_sender_id},
          {%RTPReceiver{receiver | id: 1}, :invalid_receiver_id}
        ] do
      assert {:error, ^reason} = PeerConnection.get_stats(offerer, selector)
    end
  end
end
