defmodule ExWebRTC.StatisticsUnderLoadTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  @reports 200

  # How long a report takes is measured by bench/stats.exs.
  test "reports are right while a flood of packets goes through, and the connection stays up" do
    {sender, receiver} = start([], rtp_delivery: :none)
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = PeerConnection.add_track(sender, track)
    :ok = connect(sender, receiver)

    test = self()
    flood = spawn_link(fn -> flood(sender, track.id, test, 0) end)
    eventually(fn -> packets(receiver, :inbound_rtp, :packets_received) > 0 end)

    for pc <- [sender, receiver] do
      {type, field} =
        if pc == sender,
          do: {:outbound_rtp, :packets_sent},
          else: {:inbound_rtp, :packets_received}

      counts =
        for _report <- 1..@reports do
          stats = PeerConnection.get_stats(pc)
          assert stats.peer_connection.connection_state == :connected
          assert stats.transport.dtls_state == :connected
          assert %{state: :succeeded} = stats[stats.transport.selected_candidate_pair_id]
          [stream] = for {_id, %{type: ^type} = one} <- stats, do: one
          stream[field]
        end

      assert counts == Enum.sort(counts)
      assert List.last(counts) > hd(counts)
    end

    send(flood, :stop)
    assert_receive {:flooded, sent}, 10_000

    # Everything is accounted for: sent and arrived, lost, or refused by a full queue.
    eventually(fn ->
      count = packets(sender, :outbound_rtp, :packets_sent)
      count == sent - dropped(sender) and count > 0
    end)

    for pc <- [sender, receiver],
        state <- [:disconnected, :failed, :closed],
        do: refute_received({:ex_webrtc, ^pc, {:connection_state_change, ^state}})
  end

  defp flood(pc, track_id, test, sent) do
    packets =
      for n <- 0..63 do
        number = rem(sent + n, 65_536)
        {track_id, Packet.new(<<number::16, 0::8000>>, payload_type: 96, sequence_number: number)}
      end

    :ok = PeerConnection.send_rtp(pc, packets)

    receive do
      :stop -> send(test, {:flooded, sent + 64})
    after
      1 -> flood(pc, track_id, test, sent + 64)
    end
  end

  defp packets(pc, type, field) do
    stats = PeerConnection.get_stats(pc)
    Enum.sum(for {_id, %{type: ^type} = stream} <- stats, do: stream[field])
  end

  defp dropped(pc) do
    stats = PeerConnection.get_stats(pc)
    Map.get(stats, "media_drops", %{}) |> Map.get(:refused_packets, 0)
  end
end
