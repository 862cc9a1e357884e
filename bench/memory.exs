Code.require_file("bench.exs", __DIR__)

# Memory and CPU of idle, connected connections, and what is left after they are gone. Each run is
# a VM of its own: memory that a first round left to the allocator would hide a second one's.
defmodule Bench.Memory do
  @doc "What one VM measures, printed for the one that collects."
  def one(count) do
    {_track, setup} = Bench.video_track()
    # Threads, buffers of the shards, code that is loaded with its first use.
    Bench.stop(round(setup, 10))
    settle()

    before = Bench.rss_kib()
    pcs = round(setup, count)
    settle()
    full = Bench.rss_kib()
    {_, wall, cpu} = Bench.measure(fn -> Process.sleep(10_000) end)
    Bench.stop(pcs)
    settle()
    left = Bench.rss_kib()

    # What is left serves the next round: a leak would make it larger still.
    Bench.stop(round(setup, count))
    settle()

    figures = [
      (full - before) / length(pcs),
      cpu * 1_000_000 / wall / length(pcs),
      (left - before) / length(pcs),
      (Bench.rss_kib() - left) / length(pcs)
    ]

    IO.puts("FIGURES " <> Enum.map_join(figures, " ", &to_string/1))
  end

  defp round(setup, count) do
    pairs = for _pair <- 1..count, do: Bench.start_pair(setup, [])
    pcs = Enum.flat_map(pairs, &Tuple.to_list/1)
    Bench.await_connected(pcs)
    pcs
  end

  defp settle do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    Process.sleep(2000)
  end

  @doc "Runs a VM and takes its figures."
  def child do
    arguments = ["run", "--no-compile", __ENV__.file]
    {output, 0} = System.cmd("mix", arguments, env: [{"BENCH_CHILD", "1"}])
    [_, figures] = Regex.run(~r/FIGURES (.*)/, output)
    figures |> String.split() |> Enum.map(&String.to_float/1)
  end
end

count = String.to_integer(System.get_env("BENCH_PAIRS", "250"))

if System.get_env("BENCH_CHILD") do
  Bench.run(fn -> Bench.Memory.one(count) end)
else
  Bench.header("#{2 * count} idle connections")
  runs = for _run <- 1..Bench.runs(), do: Bench.Memory.child()
  [memory, cpu, left, leak] = runs |> Enum.zip() |> Enum.map(&Tuple.to_list/1)
  Bench.print("memory per connection (growth of RSS)", "KiB", memory)
  Bench.print("CPU per connection", "µs/s", cpu)
  Bench.print("not returned after closing all, each", "KiB", left)
  Bench.print("more of it after as many again, each", "KiB", leak)
end
