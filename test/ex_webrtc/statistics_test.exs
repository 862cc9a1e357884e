defmodule ExWebRTC.StatisticsTest do
  # Which fields a report has and of what type: the table of `PeerConnection.get_stats/1`. That the
  # values are right is shown by test/interop/statistics_test.exs.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  @traffic %{
    packets_sent: :count,
    packets_received: :count,
    bytes_sent: :count,
    bytes_received: :count
  }

  @candidate %{
    address: :address,
    port: :count,
    protocol: :name,
    candidate_type: :name,
    priority: :count,
    foundation: :text,
    related_address: :unset,
    related_port: :unset
  }

  @certificate %{fingerprint: :text, fingerprint_algorithm: :text, base64_certificate: :text}

  @fields %{
    peer_connection: %{
      signaling_state: :name,
      negotiation_needed: :flag,
      connection_state: :name,
      data_channels_opened: :count,
      data_channels_closed: :count
    },
    certificate: @certificate,
    transport:
      Map.merge(@traffic, %{
        ice_state: :name,
        ice_gathering_state: :name,
        ice_role: :name,
        ice_local_ufrag: :text,
        dtls_state: :name,
        selected_candidate_pair_changes: :count,
        unmatched_requests: :count,
        dtls_role: :name,
        dtls_cipher: :text,
        srtp_cipher: :text,
        tls_version: :text,
        selected_candidate_pair_id: :text
      }),
    local_candidate: @candidate,
    remote_candidate: @candidate,
    # Of the selected pair: what never carried or answered anything has no times.
    candidate_pair:
      Map.merge(@traffic, %{
        local_candidate_id: :text,
        remote_candidate_id: :text,
        priority: :count,
        state: :name,
        valid: :flag,
        last_seen: :count,
        nominated: :flag,
        requests_sent: :count,
        requests_received: :count,
        responses_sent: :count,
        responses_received: :count,
        non_symmetric_responses_received: :count,
        packets_discarded_on_send: :count,
        bytes_discarded_on_send: :count,
        current_round_trip_time: :seconds,
        total_round_trip_time: :seconds
      }),
    inbound_rtp: %{
      track_identifier: :count,
      rid: :unset,
      mid: :text,
      kind: :name,
      codec: :text,
      ssrc: :count,
      bytes_received: :count,
      packets_received: :count,
      markers_received: :count,
      nack_count: :count,
      pli_count: :count,
      packets_lost: :count,
      jitter: :seconds,
      fir_count: :count,
      header_bytes_received: :count,
      last_packet_received_timestamp: :count,
      packets_discarded: :count,
      retransmitted_packets_received: :count,
      retransmitted_bytes_received: :count
    },
    outbound_rtp: %{
      track_identifier: :count,
      mid: :text,
      kind: :name,
      ssrc: :count,
      packets_sent: :count,
      bytes_sent: :count,
      markers_sent: :count,
      retransmitted_packets_sent: :count,
      retransmitted_bytes_sent: :count,
      nack_count: :count,
      pli_count: :count,
      fir_count: :count,
      header_bytes_sent: :count
    },
    remote_inbound_rtp: %{
      ssrc: :count,
      kind: :name,
      local_id: :text,
      packets_lost: :count,
      fraction_lost: :seconds,
      jitter: :seconds,
      round_trip_time: :seconds,
      total_round_trip_time: :seconds,
      round_trip_time_measurements: :count
    },
    remote_outbound_rtp: %{
      ssrc: :count,
      kind: :name,
      local_id: :text,
      packets_sent: :count,
      bytes_sent: :count,
      reports_sent: :count,
      remote_timestamp: :count
    },
    codec: %{payload_type: :count, mime_type: :text, clock_rate: :count},
    data_channel: %{
      data_channel_identifier: :count,
      label: :text,
      protocol: :text,
      state: :name,
      messages_sent: :count,
      messages_received: :count,
      bytes_sent: :count,
      bytes_received: :count
    }
  }

  # There is no forward error correction, so nobody counts it.
  @never [:fec_packets_received, :fec_bytes_received, :fec_packets_discarded]

  test "every entry has the fields of its type, and none that nobody counts" do
    {first, second} = call()

    for pc <- [first, second] do
      stats = PeerConnection.get_stats(pc)
      selected = stats.transport.selected_candidate_pair_id

      for {type, fields} <- @fields do
        entries = for {id, %{type: ^type} = one} <- stats, relevant?(one, id, selected), do: one
        assert entries != [], "no entry of type #{type}"

        for entry <- entries, {field, of_type} <- fields do
          assert Map.has_key?(entry, field), "#{type} has no #{field}: #{inspect(entry)}"
          assert right?(of_type, entry[field]), "#{type} #{field}: #{inspect(entry[field])}"
        end

        for entry <- entries, field <- @never, do: refute(Map.has_key?(entry, field))
      end
    end
  end

  test "before anything was negotiated there are no entries but those of the connection itself" do
    {:ok, pc} = PeerConnection.start_link()
    stats = PeerConnection.get_stats(pc)
    assert Enum.sort(Map.keys(stats)) == [:local_certificate, :peer_connection, :transport]
    # What is agreed later is absent, not a constant.
    for field <- [:dtls_cipher, :srtp_cipher, :tls_version, :selected_candidate_pair_id],
        do: refute(Map.has_key?(stats.transport, field))
  end

  # The other pairs have carried nothing.
  defp relevant?(%{type: :candidate_pair}, id, selected), do: id == selected
  defp relevant?(_entry, _id, _selected), do: true

  defp right?(:count, value), do: is_integer(value) and value >= 0
  defp right?(:seconds, value), do: is_float(value) and value >= 0 and value < 60
  defp right?(:text, value), do: is_binary(value)
  defp right?(:flag, value), do: is_boolean(value)
  defp right?(:name, value), do: is_atom(value) and value != nil
  defp right?(:address, value), do: :inet.ntoa(value) != {:error, :einval}
  defp right?(:unset, value), do: value == nil

  # Video each way until both have reported on it, and a channel.
  defp call do
    {first, second} = start()
    {:ok, _channel} = PeerConnection.create_data_channel(first, "chat")
    [one, two] = for _side <- 1..2, do: MediaStreamTrack.new(:video)
    {:ok, _sender} = PeerConnection.add_track(first, one)
    :ok = connect(first, second)
    {:ok, _sender} = PeerConnection.add_track(second, two)
    :ok = negotiate(second, first)
    assert_receive {:ex_webrtc, ^second, {:data_channel, _channel}}, 10_000

    senders =
      for {pc, track} <- [{first, one}, {second, two}],
          do: spawn_link(fn -> send_video(pc, track.id, 0) end)

    eventually(fn -> Enum.all?([first, second], &reported?/1) end)
    Enum.each(senders, &send(&1, :stop))
    {first, second}
  end

  defp reported?(pc) do
    reports = Map.values(PeerConnection.get_stats(pc))
    has? = &Enum.any?(reports, &1)

    has?.(&match?(%{type: :remote_outbound_rtp}, &1)) and
      has?.(&match?(%{type: :remote_inbound_rtp, round_trip_time: _}, &1)) and
      has?.(&match?(%{type: :candidate_pair, packets_sent: n} when n > 0, &1))
  end

  defp send_video(pc, track_id, number) do
    packet =
      Packet.new("frame",
        payload_type: 96,
        sequence_number: number,
        timestamp: number * 900,
        marker: true
      )

    :ok = PeerConnection.send_rtp(pc, track_id, packet)

    receive do
      :stop -> :ok
    after
      10 -> send_video(pc, track_id, number + 1)
    end
  end
end
