defmodule ExWebRTC.Native.LeakTest do
  # What a connection takes, it gives back: threads, file descriptors, memory, atoms, rows.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers, only: [connect: 2, eventually: 1, negotiate: 2]

  alias ExWebRTC.{DataChannel, Demo, HTTPClient, MediaStreamTrack, Native, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # Enough that allocators, caches and lazily made tables have what they will keep.
  @warm_up 300
  @cycles 1_000
  # The noise of allocators. A connection that leaked only its smallest part, 10 KiB, would show
  # as 10 MB.
  @tolerance_kib 6_000

  @moduletag timeout: 300_000

  # A test that fails in the middle must not make those behind it fail.
  setup do
    on_exit(fn -> for pc <- PeerConnection.get_all_running(), do: Process.exit(pc, :kill) end)
  end

  test "1,000 connections, opened and closed in every way, leave nothing behind",
    do: assert_nothing_left(&open_and_end/1)

  test "1,000 connections that carried media and messages leave nothing behind" do
    # Both peers are opened and closed.
    assert_nothing_left(&connect_and_end/1, div(@cycles, 2))
  end

  test "1,000 connections that end in the middle of their set-up leave nothing behind",
    do: assert_nothing_left(&end_while_connecting/1, div(@cycles, 2))

  test "1,000 connections that sessions of the demo made leave nothing behind" do
    start_supervised!({Demo, name: __MODULE__.Demo, port: 0})
    port = Demo.port(__MODULE__.Demo)

    assert_nothing_left(
      fn n ->
        echo_and_end(port, n)
        eventually(fn -> Demo.sessions(__MODULE__.Demo) == 0 end)
      end,
      div(@cycles, 2)
    )
  end

  defp assert_nothing_left(cycle, cycles \\ @cycles) do
    for n <- 1..@warm_up, do: cycle.(n)
    before = measure()
    for n <- 1..cycles, do: cycle.(n)
    later = measure()

    assert later.connections == 0
    assert later.threads == before.threads
    assert later.descriptors == before.descriptors
    assert later.processes == before.processes
    assert later.rows == before.rows
    assert later.atoms == before.atoms
    assert later.rss_kib - before.rss_kib < @tolerance_kib
  end

  # With sockets, a channel and a transceiver, so that every room has something to give back.
  defp open_and_end(n) do
    {:ok, pc} = PeerConnection.start()
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :video)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "channel")
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    finish(n, pc)
    flush()
  end

  defp connect_and_end(n) do
    {sender, receiver, track, channel} = pair()
    :ok = connect(sender, receiver)
    assert_receive {:ex_webrtc, ^sender, {:data_channel_state_change, ^channel, :open}}, 5_000
    carry(sender, receiver, track, channel)
    finish(n, sender)
    finish(n + 1, receiver)
    flush()
  end

  # At a moment that differs from cycle to cycle: after none or some of the messages that come
  # while ICE and DTLS are at work.
  defp end_while_connecting(n) do
    {sender, receiver, _track, _channel} = pair()
    :ok = negotiate(sender, receiver)
    pass(%{sender => receiver, receiver => sender}, rem(n, 12))
    finish(n, receiver)
    finish(n + 1, sender)
    flush()
  end

  defp pass(_others, 0), do: :ok

  defp pass(others, messages) do
    receive do
      {:ex_webrtc, pc, {:ice_candidate, candidate}} when is_map_key(others, pc) ->
        :ok = PeerConnection.add_ice_candidate(Map.fetch!(others, pc), candidate)
        pass(others, messages - 1)

      {:ex_webrtc, pc, _message} when is_map_key(others, pc) ->
        pass(others, messages - 1)
    after
      # Nothing more will come.
      50 -> :ok
    end
  end

  defp echo_and_end(port, n) do
    {:ok, pc} = PeerConnection.start()
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = PeerConnection.add_track(pc, track)
    {:ok, %DataChannel{ref: channel}} = PeerConnection.create_data_channel(pc, "channel")
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 5_000
    %{sdp: sdp} = PeerConnection.get_local_description(pc)
    headers = [{"Content-Type", "application/sdp"}]

    assert {201, %{"location" => location}, answer} =
             HTTPClient.request(port, "POST", "/echo", headers, sdp)

    answer = %ExWebRTC.SessionDescription{type: :answer, sdp: answer}
    :ok = PeerConnection.set_remote_description(pc, answer)
    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ^channel, :open}}, 5_000
    carry(pc, pc, track, channel)

    # The session ends because it is told to, or because its peer goes away.
    if rem(n, 2) == 0, do: {200, _, _} = HTTPClient.request(port, "DELETE", location)
    if rem(n, 2) == 0, do: finish(n, pc), else: finish(0, pc)
    flush()
  end

  defp pair do
    {:ok, sender} = PeerConnection.start()
    {:ok, receiver} = PeerConnection.start()
    track = MediaStreamTrack.new(:video)
    {:ok, _sender} = PeerConnection.add_track(sender, track)
    {:ok, %DataChannel{ref: channel}} = PeerConnection.create_data_channel(sender, "channel")
    {sender, receiver, track, channel}
  end

  # Until some of both has arrived: packets may be sent before the peer is ready for them.
  defp carry(sender, receiver, track, channel, number \\ 1) do
    for n <- number..(number + 9) do
      packet = Packet.new(:binary.copy(<<7>>, 1_000), sequence_number: n, timestamp: n * 3_000)
      :ok = PeerConnection.send_rtp(sender, track.id, packet)
    end

    :ok = PeerConnection.send_data(sender, channel, :binary.copy("text", 2_500))
    assert_receive {:ex_webrtc, ^receiver, {:data, _channel, _text}}, 5_000

    receive do
      {:ex_webrtc, ^receiver, {:rtp, _track, _rid, _packet}} -> :ok
    after
      20 -> carry(sender, receiver, track, channel, number + 10)
    end
  end

  defp finish(n, pc) do
    monitor = Process.monitor(pc)
    finish_how(rem(n, 3), pc)
    assert_receive {:DOWN, ^monitor, :process, ^pc, _reason}, 5_000
  end

  defp finish_how(0, pc), do: PeerConnection.stop(pc)
  defp finish_how(1, pc), do: Process.exit(pc, :kill)

  defp finish_how(2, pc) do
    :ok = PeerConnection.close(pc)
    Process.exit(pc, :shutdown)
  end

  defp flush do
    receive do
      {:ex_webrtc, _pc, _message} -> flush()
    after
      0 -> :ok
    end
  end

  defp measure do
    eventually(fn -> Native.connections() == 0 and :ets.info(ExWebRTC.Handles, :size) == 0 end)
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)

    %{
      connections: Native.connections(),
      threads: threads(),
      descriptors: length(File.ls!("/proc/self/fd")),
      processes: length(Process.list()),
      rows: :ets.info(ExWebRTC.Handles, :size),
      atoms: :erlang.system_info(:atom_count),
      rss_kib: rss_kib()
    }
  end

  # By name, and without those that look names up: each ends a second after its last one.
  defp threads do
    names = for id <- File.ls!("/proc/self/task"), do: File.read("/proc/self/task/#{id}/comm")
    Enum.frequencies(for {:ok, name} <- names, name != "ex_webrtc_dns\n", do: name)
  end

  defp rss_kib do
    [_all, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/self/status"))
    String.to_integer(kib)
  end
end
