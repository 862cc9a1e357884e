defmodule ExWebRTC.Native.OverflowTest do
  use ExUnit.Case, async: true

  # What happens when a program hands over more than fits: the lines of the overflow table in
  # `docs/architecture.md` that begin with the NIF, seen from outside.

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # `MAX_WAITING_PACKETS` of `native/driver/src/queue.rs`.
  @waiting_packets 4096

  defp message(n), do: <<n::32, 0::size(49_996)-unit(8)>>

  defp receive_all(receiver, theirs, numbers) do
    for n <- numbers do
      data = message(n)
      assert_receive {:ex_webrtc, ^receiver, {:data, ^theirs, received}}, 5_000
      assert received == data
    end
  end

  test "of packets that are handed over at once the newest have no room, and are counted" do
    # Audio, which nothing paces.
    {sender, receiver} = start([features: []], features: [])
    track = MediaStreamTrack.new(:audio)
    {:ok, _} = PeerConnection.add_transceiver(sender, track, direction: :sendonly)
    :ok = connect(sender, receiver)

    packets = for n <- 0..5999, do: {track.id, Packet.new(<<n::32>>, sequence_number: n)}
    :ok = PeerConnection.send_rtp(sender, packets)

    for n <- 0..(@waiting_packets - 1) do
      assert_receive {:ex_webrtc, ^receiver, {:rtp, _, nil, %{sequence_number: ^n}}}, 5_000
    end

    refused = 6000 - @waiting_packets
    assert %{"media_drops" => %{refused_packets: ^refused}} = PeerConnection.get_stats(sender)
    refute_received {:ex_webrtc, ^receiver, {:rtp, _, _, _}}

    # There is room again.
    :ok = PeerConnection.send_rtp(sender, track.id, Packet.new("more", sequence_number: 6000))
    assert_receive {:ex_webrtc, ^receiver, {:rtp, _, nil, %{payload: "more"}}}, 5_000
  end

  describe "data beyond data_buffer_limit" do
    setup do
      # The receiver takes nothing, so that what waits stays.
      {sender, receiver} = start([data_buffer_limit: 100_000], flow_control: {:active, 1})
      {:ok, %{ref: mine}} = PeerConnection.create_data_channel(sender, "full")
      :ok = connect(sender, receiver)
      assert_receive {:ex_webrtc, ^receiver, {:data_channel, %{ref: theirs}}}, 5_000
      assert_receive {:ex_webrtc, ^sender, {:data_channel_state_change, ^mine, :open}}, 5_000
      %{sender: sender, receiver: receiver, mine: mine, theirs: theirs}
    end

    # Sends until there is no room; the number of the message that had none.
    defp fill(sender, mine, n) do
      case PeerConnection.send_data(sender, mine, message(n), :binary) do
        :ok -> fill(sender, mine, n + 1)
        {:error, :buffer_full} -> n
      end
    end

    test "is refused, and what was taken before arrives whole", context do
      %{sender: sender, receiver: receiver, mine: mine, theirs: theirs} = context

      # SCTP takes some on to the peer until its window is full.
      eventually(fn ->
        Process.put(:sent, fill(sender, mine, Process.get(:sent, 0)))
        PeerConnection.buffered_amount(sender, mine) > 50_000 and stays_full?(sender, mine)
      end)

      assert PeerConnection.buffered_amount(sender, mine) <= 100_000
      :ok = PeerConnection.set_flow_control(receiver, :none)
      receive_all(receiver, theirs, 0..(Process.get(:sent) - 1))
    end

    # Nothing has left while 50 ms went by.
    defp stays_full?(sender, mine) do
      before = PeerConnection.buffered_amount(sender, mine)
      receive(after: (50 -> :ok))
      PeerConnection.buffered_amount(sender, mine) == before
    end
  end

  test "a sender that waits for room is not refused, and all of it arrives" do
    {sender, receiver} = start(data_buffer_limit: 16 * 1_048_576)
    {:ok, %{ref: mine}} = PeerConnection.create_data_channel(sender, "sync")
    :ok = connect(sender, receiver)
    assert_receive {:ex_webrtc, ^receiver, {:data_channel, %{ref: theirs}}}, 5_000
    assert_receive {:ex_webrtc, ^sender, {:data_channel_state_change, ^mine, :open}}, 5_000

    for n <- 0..599,
        do: :ok = PeerConnection.send_data_sync(sender, mine, message(n), :binary, 10_000)

    receive_all(receiver, theirs, 0..599)
  end
end
