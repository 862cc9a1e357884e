Code.require_file("bench.exs", __DIR__)

# Many connections in one VM for a long time: `mix run bench/soak.exs [minutes] [idle] [active]`, by
# default 10 minutes with 2,000 idle connections and 500 that send 50 packets a second each way.
# `BENCH_MUX=1` puts one side of every pair on a shared UDP port.
#
# Memory should stay flat, no connection should leave `connected` (a missed consent would show as
# `disconnected`), nothing should be lost. Every packet says whose it is and its number.
defmodule Bench.Soak do
  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # 50 packets a second, as audio.
  @tick 20
  @size 160
  @groups 10

  # What the processes count, for all to see.
  @sent 1
  @received 2
  @missing 3
  @left 4

  def run(minutes, idle, active) do
    counters = :counters.new(4, [])
    groups = for _group <- 1..@groups, do: start_group(counters, idle, active)
    Enum.each(groups, &await_ready/1)
    IO.puts("#{2 * share(idle)} idle and #{2 * share(active)} active connections are up\n")
    Enum.each(groups, &send(&1, :start))

    IO.puts(
      "| time | RSS | CPU | wake-ups of the native threads | packets sent | missing | " <>
        "connections that left `connected` |\n|---|---|---|---|---|---|---|"
    )

    start = System.monotonic_time(:second)
    every = min(30, max(5, div(minutes * 60, 20)))
    watch(counters, start, start + minutes * 60, every, snapshot())
    Enum.each(groups, &send(&1, :stop))
    Enum.each(groups, &await_done/1)
    sent = :counters.get(counters, @sent)
    received = :counters.get(counters, @received)
    IO.puts("\nSent #{sent}, received #{received}, lost #{sent - received}.")
    if :counters.get(counters, @left) > 0, do: System.halt(1)
  end

  # Pairs of all groups together.
  defp share(connections), do: div(connections, 2 * @groups) * @groups

  defp watch(counters, start, stop, every, before) do
    Process.sleep(every * 1000)
    now = snapshot()
    seconds = (now.at - before.at) / 1_000_000

    cells = [
      "#{System.monotonic_time(:second) - start} s",
      "#{div(Bench.rss_kib(), 1024)} MiB",
      "#{round(100 * (now.cpu - before.cpu) / (now.at - before.at))} %",
      "#{round((now.switches - before.switches) / seconds)}/s",
      :counters.get(counters, @sent),
      :counters.get(counters, @missing),
      :counters.get(counters, @left)
    ]

    IO.puts("| " <> Enum.join(cells, " | ") <> " |")

    if System.monotonic_time(:second) < stop,
      do: watch(counters, start, stop, every, now),
      else: :ok
  end

  defp snapshot do
    %{
      at: System.monotonic_time(:microsecond),
      cpu: Bench.cpu_us(),
      switches: Bench.native_wakeups()
    }
  end

  ## A group: some of the pairs, and the process that controls and feeds them.

  defp start_group(counters, idle, active) do
    parent = self()

    spawn_link(fn ->
      idle_pairs = pairs(div(idle, 2 * @groups))
      active_pairs = pairs(div(active, 2 * @groups))
      send(parent, {:ready, self()})

      receive do
        :start -> :ok
      end

      {:ok, timer} = :timer.send_interval(@tick, :tick)
      group(%{counters: counters, lanes: lanes(active_pairs), expected: %{}, timer: timer})
      Bench.stop(Enum.flat_map(idle_pairs ++ active_pairs, & &1.pcs))
      send(parent, {:done, self()})
    end)
  end

  defp await_ready(group) do
    receive do
      {:ready, ^group} -> :ok
    end
  end

  defp await_done(group) do
    receive do
      {:done, ^group} -> :ok
    end
  end

  defp pairs(count) do
    options = if System.get_env("BENCH_MUX"), do: {[], [ice_udp_mux: true]}, else: []
    for _pair <- 1..count//1, do: pair(options)
  end

  defp pair(options) do
    [there, back] = for _track <- 1..2, do: MediaStreamTrack.new(:audio)

    setup = fn pc ->
      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, there, direction: :sendrecv)
    end

    answering = fn pc -> {:ok, _sender} = PeerConnection.add_track(pc, back) end
    {a, b} = Bench.pair(setup, options, answering)
    %{pcs: [a, b], lanes: [{a, there.id, b}, {b, back.id, a}]}
  end

  # Who sends on which track to whom.
  defp lanes(pairs), do: Enum.flat_map(pairs, & &1.lanes)

  # `expected`: the number of the next packet that each connection should receive.
  defp group(state, number \\ 0) do
    receive do
      :tick ->
        for {pc, track, receiver} <- state.lanes,
            do: PeerConnection.send_rtp(pc, track, packet(receiver, number))

        :counters.add(state.counters, @sent, length(state.lanes))
        group(state, number + 1)

      {:ex_webrtc, pc, {:rtp, _track, _rid, %{payload: payload}}} ->
        group(received(state, pc, payload), number)

      # The states on the way up are in the mailbox still.
      {:ex_webrtc, _pc, {:connection_state_change, later}} when later in [:disconnected, :failed] ->
        :counters.add(state.counters, @left, 1)
        group(state, number)

      {:ex_webrtc, _pc, _other} ->
        group(state, number)

      :stop ->
        {:ok, :cancel} = :timer.cancel(state.timer)
        rest(state)
    end
  end

  # What is under way.
  defp rest(state) do
    receive do
      {:ex_webrtc, pc, {:rtp, _track, _rid, %{payload: payload}}} ->
        rest(received(state, pc, payload))
    after
      1000 -> :ok
    end
  end

  defp packet(receiver, number) do
    id = :erlang.phash2(receiver)
    payload = <<id::32, number::64, 0::size((@size - 12) * 8)>>

    Packet.new(payload,
      sequence_number: rem(number, 65_536),
      timestamp: rem(number * 960, 2 ** 32)
    )
  end

  defp received(state, pc, <<id::32, number::64, _rest::binary>>) do
    if id != :erlang.phash2(pc), do: raise("a packet for another connection")
    expected = Map.get(state.expected, pc, 0)
    :counters.add(state.counters, @received, 1)
    # One that comes late is no longer missing.
    :counters.add(
      state.counters,
      @missing,
      if(number < expected, do: -1, else: number - expected)
    )

    %{state | expected: Map.put(state.expected, pc, max(expected, number + 1))}
  end
end

numbers = Enum.map(System.argv(), &String.to_integer/1)
[minutes, idle, active] = numbers ++ Enum.drop([10, 2000, 500], length(numbers))
Bench.run(fn -> Bench.Soak.run(minutes, idle, active) end)
