Code.require_file("bench.exs", __DIR__)

# Set-up: from `start` of both connections to `:connected` on both, everything in this VM.
Bench.run(fn ->
  {_track, setup} = Bench.video_track()

  one = fn ->
    {us, {a, b}} = :timer.tc(fn -> Bench.pair(setup) end)
    Bench.stop([a, b])
    us / 1000
  end

  for _warm_up <- 1..5, do: one.()

  Bench.header("Set-up")
  count = 100

  one_by_one =
    for _run <- 1..Bench.runs() do
      {walls, _wall, cpu} = Bench.measure(fn -> for _pair <- 1..count, do: one.() end)
      {Bench.percentile(walls, 50), Bench.percentile(walls, 99), cpu / 1000 / count}
    end

  Bench.print("one by one, p50", "ms", Enum.map(one_by_one, &elem(&1, 0)))
  Bench.print("one by one, p99", "ms", Enum.map(one_by_one, &elem(&1, 1)))
  Bench.print("CPU per pair", "ms", Enum.map(one_by_one, &elem(&1, 2)))

  for count <- [50, 200] do
    Bench.row("#{count} pairs at once, all connected", "ms", fn ->
      {pairs, wall, _cpu} =
        Bench.measure(fn ->
          pairs = for _pair <- 1..count, do: Bench.start_pair(setup, [])
          Bench.await_connected(Enum.flat_map(pairs, &Tuple.to_list/1))
          pairs
        end)

      Bench.stop(Enum.flat_map(pairs, &Tuple.to_list/1))
      wall / 1000
    end)
  end
end)
