defmodule ExWebRTC.Native.LeakTest do
  # What a connection takes, it gives back: threads, file descriptors, memory, atoms, rows.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{Native, PeerConnection}

  # Enough that allocators, caches and lazily made tables have what they will keep.
  @warm_up 300
  @cycles 1_000
  # The noise of allocators; a connection that leaked only its smallest part, 10 KiB, would show
  # as 10 MB.
  @tolerance_kib 6_000

  @tag timeout: 180_000
  test "1,000 connections, opened and closed in every way, leave nothing behind" do
    for n <- 1..@warm_up, do: cycle(n)
    before = measure()
    for n <- 1..@cycles, do: cycle(n)
    later = measure()

    assert later.connections == 0
    assert later.threads == before.threads
    assert later.descriptors == before.descriptors
    assert later.processes == before.processes
    assert later.rows == before.rows
    assert later.atoms == before.atoms
    assert_in_delta later.rss_kib, before.rss_kib, @tolerance_kib
  end

  # With sockets, a channel and a transceiver, so that every room has something to give back.
  defp cycle(n) do
    {:ok, pc} = PeerConnection.start()
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :video)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "channel")
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    monitor = Process.monitor(pc)
    finish(rem(n, 3), pc)
    assert_receive {:DOWN, ^monitor, :process, ^pc, _reason}
    flush()
  end

  defp finish(0, pc), do: PeerConnection.stop(pc)
  defp finish(1, pc), do: Process.exit(pc, :kill)

  defp finish(2, pc) do
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
      threads: length(File.ls!("/proc/self/task")),
      descriptors: length(File.ls!("/proc/self/fd")),
      processes: length(Process.list()),
      rows: :ets.info(ExWebRTC.Handles, :size),
      atoms: :erlang.system_info(:atom_count),
      rss_kib: rss_kib()
    }
  end

  defp rss_kib do
    [_all, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/self/status"))
    String.to_integer(kib)
  end
end
