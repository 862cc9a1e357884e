defmodule ExWebRTC.BandwidthTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # A packet of 1,000 bytes each 4 ms: 2 Mbit/s.
  @interval 4
  @payload :binary.copy(<<1>>, 1_000)
  @most_packets 2_500

  test "a program that asks for it is told what the path carries, as the statistics do" do
    {sender, track} = sender(bandwidth_estimate: true)
    assert {:told, bits_per_second} = send_until_told(sender, track, 0)
    assert bits_per_second > 300_000
    assert available(sender) > 300_000
  end

  test "a program that does not is not told, but may look" do
    {sender, track} = sender([])

    assert :looked = send_until(sender, track, 0, fn -> if available(sender), do: :looked end)

    refute_received {:ex_webrtc, ^sender, {:bandwidth_estimate, _}}
  end

  defp sender(options) do
    {sender, receiver} = start(options, rtp_delivery: :none)
    track = MediaStreamTrack.new(:video)
    {:ok, _} = PeerConnection.add_track(sender, track)
    :ok = connect(sender, receiver)
    assert available(sender) == nil
    {sender, track}
  end

  defp available(pc) do
    stats = PeerConnection.get_stats(pc)
    stats[stats.transport.selected_candidate_pair_id][:available_outgoing_bitrate]
  end

  defp send_until_told(sender, track, number) do
    send_until(sender, track, number, fn ->
      receive do
        {:ex_webrtc, ^sender, {:bandwidth_estimate, bits_per_second}} -> {:told, bits_per_second}
      after
        0 -> nil
      end
    end)
  end

  defp send_until(sender, track, number, found) when number < @most_packets do
    packet = Packet.new(@payload, sequence_number: number, timestamp: number * 360)
    :ok = PeerConnection.send_rtp(sender, track.id, packet)

    receive do
    after
      @interval -> found.() || send_until(sender, track, number + 1, found)
    end
  end

  defp send_until(_sender, _track, _number, _found), do: flunk("nothing was found out")
end
