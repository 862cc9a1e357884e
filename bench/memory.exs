Code.require_file("bench.exs", __DIR__)

# Memory and CPU of idle, connected connections; and what is left after they are gone.
Bench.run(fn ->
  {_track, setup} = Bench.video_track()
  count = String.to_integer(System.get_env("BENCH_PAIRS", "250"))

  round = fn ->
    pairs = for _pair <- 1..count, do: Bench.start_pair(setup, [])
    pcs = Enum.flat_map(pairs, &Tuple.to_list/1)
    Bench.await_connected(pcs)
    pcs
  end

  settle = fn ->
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    Process.sleep(1500)
  end

  # The first round grows the allocators' arenas; what counts is growth from there.
  Bench.stop(Enum.take(round.(), 2 * count))
  settle.()

  Bench.header("#{2 * count} idle connections")

  results =
    for _run <- 1..Bench.runs() do
      before = Bench.rss_kib()
      pcs = round.()
      settle.()
      full = Bench.rss_kib()
      {_, _wall, cpu} = Bench.measure(fn -> Process.sleep(10_000) end)
      Bench.stop(pcs)
      settle.()
      {(full - before) / length(pcs), cpu / 10 / length(pcs), Bench.rss_kib() - before}
    end

  Bench.print("memory per connection (growth of RSS)", "KiB", Enum.map(results, &elem(&1, 0)))
  Bench.print("CPU per connection", "µs/s", Enum.map(results, &elem(&1, 1)))
  Bench.print("not returned after closing all", "KiB", Enum.map(results, &elem(&1, 2)))
end)
