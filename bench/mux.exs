Code.require_file("bench.exs", __DIR__)
Code.require_file("packets.exs", __DIR__)

# Many connections on one UDP port: what it costs, how it spreads over the native threads, and what
# a flood from outside does to a connection that has nothing to do with it.
#
# One side of each pair is on the shared port: two connections between the same two ports could not
# be told apart.
defmodule Bench.Mux do
  alias ExWebRTC.{PeerConnection, UDPMux}

  @flood_rate 50_000

  @doc "Pairs whose second side has these options."
  def pair(options) do
    {track, setup} = Bench.video_track()
    {a, b} = Bench.pair(setup, {[], options})
    %{track: track, sender: a, receiver: b, pcs: [a, b]}
  end

  def stats do
    [stats] = UDPMux.ports()
    stats
  end

  @doc "Builds the program that floods: another process, as a flood comes from elsewhere."
  def build_flood do
    program = Path.join(System.tmp_dir!(), "ex_webrtc_stun_flood")
    source = Path.join(__DIR__, "stun_flood.rs")
    {_output, 0} = System.cmd("rustc", ["-O", "--edition", "2024", "-o", program, source])
    program
  end

  @doc "Runs `fun` while the port of a connection is flooded for `seconds`."
  def flooded(program, pc, seconds, fun) do
    %{sdp: sdp} = PeerConnection.get_local_description(pc)
    [_, user] = Regex.run(~r/a=ice-ufrag:(\S+)/, sdp)
    before = stats()
    await = fn -> await_flood(before) end
    {result, sent} = flood(program, stats().port, user, seconds, await, fun)
    {result, sent, stats().unknown - before.unknown}
  end

  @doc "The same with a port of somebody who does not even read: what a flood does to the machine."
  def flooded_elsewhere(program, seconds, fun) do
    {:ok, socket} = :gen_udp.open(0, [:binary, active: false])
    {:ok, port} = :inet.port(socket)
    await = fn -> {:ok, _datagram} = :gen_udp.recv(socket, 0, 5000) end
    {result, _sent} = flood(program, port, "nobody", seconds, await, fun)
    :gen_udp.close(socket)
    result
  end

  defp flood(program, port, user, seconds, await, fun) do
    address = "#{:inet.ntoa(Bench.one_address())}:#{port}"
    arguments = [address, user, to_string(@flood_rate), to_string(seconds)]
    flood = Task.async(fn -> System.cmd(program, arguments) end)
    await.()
    result = fun.()
    {sent, 0} = Task.await(flood, :infinity)
    {result, String.to_integer(String.trim(sent))}
  end

  defp await_flood(before) do
    if stats().unknown < before.unknown + 1000 do
      Process.sleep(10)
      await_flood(before)
    end
  end
end

Bench.run(fn ->
  payloads = Bench.RTP.payloads()

  unzip3 = fn tuples -> for at <- 0..2, do: Enum.map(tuples, &elem(&1, at)) end

  # Figures of one pair, in short windows (see `rtp.exs`).
  closed_loop = fn pair, n ->
    loop = &Bench.RTP.closed_loop(pair.sender, pair.track, payloads, &1, &2, 64)
    %{next: n} = loop.(n, 500)

    {windows, n} =
      Enum.map_reduce(1..20, n, fn _window, n ->
        {result, wall, cpu} = Bench.measure(fn -> loop.(n, 60) end)
        {{round(result.got * 1_000_000 / wall), cpu / result.got, result.lost}, result.next}
      end)

    [rates, cpus, lost] = unzip3.(windows)
    {{Bench.percentile(rates, 50), Bench.percentile(cpus, 50), Enum.sum(lost)}, n}
  end

  Bench.header("Many connections on one UDP port")

  # By turns, so that both see the same machine.
  own = Bench.Mux.pair([])
  # Whether the flow arrives on its connection's thread is the kernel's choice: several pairs.
  shared = for _pair <- 1..8, do: Bench.Mux.pair(ice_udp_mux: true)

  figures =
    for run <- 1..Bench.runs() do
      numbers = Process.get(:numbers, %{})

      [alone | ours] =
        for pair <- [own | Enum.slice(shared, rem(run - 1, 4) * 2, 2)] do
          {figure, next} = closed_loop.(pair, Map.get(numbers, pair.sender, 0))
          Process.put(:numbers, Map.put(Process.get(:numbers, %{}), pair.sender, next))
          figure
        end

      [rates, cpus, lost] = unzip3.(ours)
      {alone, {round(Enum.sum(rates) / 2), Enum.sum(cpus) / 2, Enum.sum(lost)}}
    end

  for {name, of} <- [{"a port of its own", &elem(&1, 0)}, {"the shared port", &elem(&1, 1)}] do
    Bench.print("#{name}: closed loop", "packets/s", Enum.map(figures, &elem(of.(&1), 0)))
    Bench.print("– CPU per packet", "µs", Enum.map(figures, &elem(of.(&1), 1)))
    Bench.print("– lost", "packets", Enum.map(figures, &elem(of.(&1), 2)))
  end

  %{received: received, handed_over: handed_over} = Bench.Mux.stats()
  Bench.print("received by another thread", "%", [100 * handed_over / received])
  for pair <- [own | shared], do: Bench.stop(pair.pcs)

  # Latency at 1,000 packets a second, with and without a flood: in short turns, so that all see the
  # same machine.
  flood = Bench.Mux.build_flood()
  pair = Bench.Mux.pair(ice_udp_mux: true)
  target = Bench.Mux.pair(ice_udp_mux: true)
  {turns, count, seconds} = {8, 500, 2}
  Process.put(:next, 0)

  latencies = fn ->
    n = Process.get(:next)
    Process.put(:next, n + count)
    Bench.RTP.latencies(pair.sender, pair.track, payloads, n, count)
  end

  latencies.()

  turn = fn ->
    quiet = latencies.()

    {{flooded, wall, _cpu, split}, sent, unknown} =
      Bench.Mux.flooded(flood, target.receiver, seconds, fn ->
        Bench.measure_threads(latencies)
      end)

    %{
      quiet: quiet,
      flooded: flooded,
      elsewhere: Bench.Mux.flooded_elsewhere(flood, seconds, latencies),
      sent: sent,
      unknown: unknown,
      shards: Map.get(split, "native shards", 0) / wall
    }
  end

  runs = for _run <- 1..Bench.runs(), do: for(_turn <- 1..turns, do: turn.())

  latency = fn kind, percent ->
    for run <- runs, do: run |> Enum.flat_map(&Map.fetch!(&1, kind)) |> Bench.percentile(percent)
  end

  total = fn figure ->
    for run <- runs, do: run |> Enum.map(&Map.fetch!(&1, figure)) |> Enum.sum()
  end

  for percent <- [50, 99] do
    [quiet, flooded, elsewhere] =
      for kind <- [:quiet, :flooded, :elsewhere], do: latency.(kind, percent)

    Bench.print("latency p#{percent} at 1,000/s", "µs", quiet)
    Bench.print("– in a flood", "µs", flooded)
    Bench.print("– in a flood of another program's port", "µs", elsewhere)
    Bench.print("– in a flood, times", "", Enum.zip_with(flooded, quiet, &(&1 / &2)))
  end

  sent = total.(:sent)
  unknown = Enum.zip_with(total.(:unknown), sent, &(200 * &1 / &2))
  Bench.print("the flood", "datagrams/s", Enum.map(sent, &round(&1 / turns / seconds)))
  Bench.print("– of it with unknown names, dropped", "%", unknown)
  shards = Enum.map(total.(:shards), &(100 * &1 / turns))
  Bench.print("– CPU of the native threads", "% of a core", shards)
  Bench.stop(pair.pcs ++ target.pcs)
end)
