Code.require_file("bench.exs", __DIR__)

# Data channels: throughput with 32 messages of 16 KiB under way, round trips of 100 bytes, and a
# burst of 100,000 messages that must arrive whole and in order.
defmodule Bench.Data do
  alias ExWebRTC.PeerConnection

  def channel do
    parent = self()

    setup = fn pc ->
      {:ok, channel} = PeerConnection.create_data_channel(pc, "bench")
      send(parent, {:channel, channel.ref})
    end

    {a, b} = Bench.pair(setup)
    mine = receive(do: ({:channel, ref} -> ref))
    theirs = receive(do: ({:ex_webrtc, ^b, {:data_channel, channel}} -> channel.ref))
    receive(do: ({:ex_webrtc, ^a, {:data_channel_state_change, ^mine, :open}} -> :ok))
    {a, mine, b, theirs}
  end

  @doc "MB/s of 16 KiB messages, `window` under way; the longest silence in ms."
  def throughput({a, mine, _b, _theirs}, ms, window) do
    message = :binary.copy(<<7>>, 16_384)
    start = System.monotonic_time(:millisecond)
    for _n <- 1..window, do: :ok = PeerConnection.send_data(a, mine, message, :binary)
    {count, gap} = loop(a, mine, message, start + ms, 0, start, 0)
    for _left <- 1..window, do: receive(do: ({:ex_webrtc, _pc, {:data, _ref, _data}} -> :ok))
    {count * 16_384 / 1000 / ms, gap}
  end

  defp loop(a, mine, message, stop_at, count, last, gap) do
    receive do
      {:ex_webrtc, _pc, {:data, _ref, ^message}} ->
        now = System.monotonic_time(:millisecond)
        :ok = PeerConnection.send_data(a, mine, message, :binary)
        gap = max(gap, now - last)

        if now >= stop_at,
          do: {count, gap},
          else: loop(a, mine, message, stop_at, count + 1, now, gap)
    after
      10_000 -> raise "the channel stalled for 10 s"
    end
  end

  def round_trips({a, mine, b, theirs}, count) do
    message = :binary.copy(<<1>>, 100)

    for _n <- 1..count do
      start = System.monotonic_time(:nanosecond)
      :ok = PeerConnection.send_data(a, mine, message, :binary)
      receive(do: ({:ex_webrtc, ^b, {:data, ^theirs, ^message}} -> :ok))
      :ok = PeerConnection.send_data(b, theirs, message, :binary)
      receive(do: ({:ex_webrtc, ^a, {:data, ^mine, ^message}} -> :ok))
      (System.monotonic_time(:nanosecond) - start) / 1000
    end
  end

  def burst({a, mine, b, theirs}, count) do
    for n <- 1..count, do: :ok = PeerConnection.send_data(a, mine, <<n::32>>, :binary)

    for n <- 1..count do
      receive do
        {:ex_webrtc, ^b, {:data, ^theirs, data}} -> ^data = <<n::32>>
      after
        30_000 -> raise "message #{n} of #{count} never came"
      end
    end
  end
end

Bench.run(fn ->
  channel = {a, _mine, b, _theirs} = Bench.Data.channel()
  Bench.Data.throughput(channel, 500, 32)
  Bench.header("Data channel")

  results = for _run <- 1..Bench.runs(), do: Bench.Data.throughput(channel, 3000, 32)
  Bench.print("16 KiB messages, 32 under way", "MB/s", Enum.map(results, &elem(&1, 0)))
  Bench.print("longest silence meanwhile", "ms", Enum.map(results, &elem(&1, 1)))

  trips = for _run <- 1..Bench.runs(), do: Bench.Data.round_trips(channel, 2000)
  Bench.print("round trip of 100 bytes, p50", "µs", Enum.map(trips, &Bench.percentile(&1, 50)))
  Bench.print("round trip of 100 bytes, p99", "µs", Enum.map(trips, &Bench.percentile(&1, 99)))

  Bench.row("burst of 100,000 messages, whole and in order", "ms", fn ->
    {_, wall, _cpu} = Bench.measure(fn -> Bench.Data.burst(channel, 100_000) end)
    wall / 1000
  end)

  Bench.stop([a, b])
end)
