Code.require_file("bench.exs", __DIR__)
Code.require_file("packets.exs", __DIR__)

# RTP through the BEAM: rates, latencies, batches and echoes of one pair.

alias ExWebRTC.{MediaStreamTrack, PeerConnection}

Bench.run(fn ->
  payloads = Bench.RTP.payloads()
  {track, setup} = Bench.video_track()
  {a, b} = Bench.pair(setup)
  Process.put(:next, 0)

  # Runs `fun` with the number to begin with, and keeps the one it ends with.
  counted = fn fun ->
    result = fun.(Process.get(:next))
    Process.put(:next, result.next)
    result
  end

  closed_loop = fn ms, window ->
    counted.(&Bench.RTP.closed_loop(a, track, payloads, &1, ms, window))
  end

  closed_loop.(1000, 64)

  Bench.header("RTP through the BEAM, one pair, 1,200 bytes")

  # In short windows: the quietest of them show what a packet costs where nothing else runs on the
  # machine, in its caches and on the other half of its cores. Not shorter: reading the CPU times
  # would be a part of it.
  {windows, window_ms} = {15, 300}

  window = fn ->
    {result, wall, cpu, split} = Bench.measure_threads(fn -> closed_loop.(window_ms, 64) end)
    if result.disorder > 0, do: raise("#{result.disorder} packets came out of order")
    per_packet = Map.new(split, fn {role, us} -> {role, us / result.got} end)

    %{
      rate: result.got * 1_000_000 / wall,
      cpu: cpu / result.got,
      split: per_packet,
      counts: result
    }
  end

  closed = for _run <- 1..Bench.runs(), do: for(_window <- 1..windows, do: window.())

  of_runs = fn figure, percent ->
    for run <- closed, do: Bench.percentile(Enum.map(run, figure), percent)
  end

  Bench.print("closed loop, 64 under way", "packets/s", of_runs.(&round(&1.rate), 50))
  Bench.print("CPU per packet, closed loop", "µs", of_runs.(& &1.cpu, 50))

  for role <- Bench.thread_roles() do
    Bench.print("– of it #{role}", "µs", of_runs.(&Map.get(&1.split, role, 0.0), 50))
  end

  Bench.print("– in the quietest tenth", "µs", of_runs.(& &1.cpu, 10))

  lost =
    for run <- closed do
      lost = run |> Enum.map(& &1.counts.lost) |> Enum.sum()
      100 * lost / (lost + (run |> Enum.map(& &1.counts.got) |> Enum.sum()))
    end

  Bench.print("lost, closed loop", "%", lost)

  unless System.get_env("BENCH_SHORT") do
    for rate <- [20_000, 80_000, 120_000, 160_000] do
      open =
        for _run <- 1..Bench.runs() do
          {result, _wall, cpu} =
            Bench.measure(fn ->
              counted.(&Bench.RTP.open_loop(a, track, payloads, &1, rate, 2000))
            end)

          sent = result.got + result.lost
          {cpu / max(result.got, 1), 100 * result.lost / sent, round(sent / 2)}
        end

      Bench.print("open loop at #{rate}/s: sent", "packets/s", Enum.map(open, &elem(&1, 2)))
      Bench.print("– CPU per packet", "µs", Enum.map(open, &elem(&1, 0)))
      Bench.print("– lost", "%", Enum.map(open, &elem(&1, 1)))
    end
  end

  latencies =
    for _run <- 1..Bench.runs() do
      n = Process.get(:next)
      Process.put(:next, n + 2000)
      Bench.RTP.latencies(a, track, payloads, n, 2000)
    end

  Bench.print("latency p50 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 50)))
  Bench.print("latency p99 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 99)))

  # The same while other pairs come and go. A lost packet would end the run.
  disturbed =
    for _run <- 1..Bench.runs() do
      {others, count} = Bench.come_and_go(4)
      n = Process.get(:next)
      Process.put(:next, n + 2000)
      latencies = Bench.RTP.latencies(a, track, payloads, n, 2000)
      send(others, :stop)
      {latencies, count.()}
    end

  latencies = Enum.map(disturbed, &elem(&1, 0))
  rates = Enum.map(disturbed, &elem(&1, 1))
  Bench.print("other pairs set up and closed meanwhile", "pairs/s", rates)
  Bench.print("– latency p50 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 50)))
  Bench.print("– latency p99 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 99)))
  Bench.stop([a, b])

  # The same where the receiver takes batches, each answered with one list.
  {track, setup} = Bench.video_track()
  {a, b} = Bench.pair(setup, rtp_delivery: {:batch, 64})
  Process.put(:next, 0)

  batched_loop = fn ms ->
    counted.(fn n ->
      next = Bench.RTP.batched_loop(a, track, payloads, n, ms, 64)
      %{next: next, got: next - n}
    end)
  end

  batched_loop.(500)

  batched =
    for _run <- 1..Bench.runs() do
      windows =
        for _window <- 1..windows do
          {result, wall, cpu} = Bench.measure(fn -> batched_loop.(window_ms) end)
          {round(result.got * 1_000_000 / wall), cpu / result.got}
        end

      {rates, cpus} = Enum.unzip(windows)
      {Bench.percentile(rates, 50), Bench.percentile(cpus, 50), Bench.percentile(cpus, 10)}
    end

  Bench.print("closed loop in batches and lists", "packets/s", Enum.map(batched, &elem(&1, 0)))
  Bench.print("CPU per packet in batches and lists", "µs", Enum.map(batched, &elem(&1, 1)))
  Bench.print("– in the quietest tenth", "µs", Enum.map(batched, &elem(&1, 2)))
  Bench.stop([a, b])

  # Echo: the second peer's packets go back by a process of its own.
  there = MediaStreamTrack.new(:video)
  back = MediaStreamTrack.new(:video)

  setup = fn pc ->
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, there, direction: :sendrecv)
  end

  answering = fn pc -> {:ok, _sender} = PeerConnection.add_track(pc, back) end
  {a, b} = Bench.pair(setup, [], answering)
  echo = spawn_link(fn -> Bench.RTP.echo(b, back) end)
  :ok = PeerConnection.controlling_process(b, echo)
  Process.put(:next, 0)
  echo_loop = fn ms -> counted.(&Bench.RTP.closed_loop(a, there, payloads, &1, ms, 64)) end
  echo_loop.(500)

  echoes =
    for _run <- 1..Bench.runs() do
      windows =
        for _window <- 1..windows do
          {result, wall, cpu} = Bench.measure(fn -> echo_loop.(window_ms) end)
          {round(result.got * 1_000_000 / wall), cpu / result.got}
        end

      {rates, cpus} = Enum.unzip(windows)
      {Bench.percentile(rates, 50), Bench.percentile(cpus, 50), Bench.percentile(cpus, 10)}
    end

  Bench.print("echo, 64 under way", "round trips/s", Enum.map(echoes, &elem(&1, 0)))
  Bench.print("CPU per echo", "µs", Enum.map(echoes, &elem(&1, 1)))
  Bench.print("– in the quietest tenth", "µs", Enum.map(echoes, &elem(&1, 2)))
  Bench.stop([a, b])
end)
