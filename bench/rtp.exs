Code.require_file("bench.exs", __DIR__)

# RTP through the BEAM: 1,200-byte packets, one pair, sent and received by Elixir processes. The
# sequence number and the content of every packet that arrives are compared with what was sent.
defmodule Bench.RTP do
  alias ExWebRTC.PeerConnection
  alias ExWebRTC.RTP.Packet

  @size 1200
  # So many different payloads; packet `n` has the one at `rem(n, @payloads)`.
  @payloads 1024

  @doc "What packets are made of: payloads that differ, so that a wrong one is seen."
  def payloads do
    List.to_tuple(for n <- 0..(@payloads - 1), do: <<n::64, :rand.bytes(@size - 8)::binary>>)
  end

  def packet(n, payloads) do
    Packet.new(elem(payloads, rem(n, @payloads)),
      payload_type: 96,
      sequence_number: rem(n, 65_536),
      timestamp: rem(n * 90, 4_294_967_296),
      ssrc: 0
    )
  end

  # The number of a packet that arrived, near `expected`; raises when it is not what was sent.
  defp check(%{sequence_number: sequence_number, payload: payload}, expected, payloads) do
    distance = rem(sequence_number - expected + 32_768 + 1_048_576, 65_536) - 32_768
    n = expected + rem(distance, 65_536)
    if payload != elem(payloads, rem(n, @payloads)), do: raise("packet #{n} has another content")
    n
  end

  @doc """
  Keeps `window` packets under way for `ms`. `n` is the number of the first packet.

  Returns how many arrived, how many did not, how many came out of order, and the next number. A
  program that counts on from there keeps one sequence, as a real source does.
  """
  def closed_loop(sender, track, payloads, n, ms, window) do
    stop_at = System.monotonic_time(:millisecond) + ms
    for n <- n..(n + window - 1), do: send_packet(sender, track, payloads, n)
    state = %{sender: sender, track: track, payloads: payloads, stop_at: stop_at, window: window}
    {got, expected, sent, disorder} = closed_loop(state, n + window, n, 0, 0)
    # What is under way belongs to this run.
    {got, expected, disorder} = rest(payloads, sent, expected, got, disorder)
    %{got: got, lost: sent - n - got, disorder: disorder, next: max(sent, expected)}
  end

  defp closed_loop(state, sent, expected, got, disorder) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, _rid, packet}} ->
        n = check(packet, expected, state.payloads)
        disorder = if n < expected, do: disorder + 1, else: disorder

        if rem(got, 256) == 0 and System.monotonic_time(:millisecond) >= state.stop_at do
          {got + 1, n + 1, sent, disorder}
        else
          send_packet(state.sender, state.track, state.payloads, sent)
          closed_loop(state, sent + 1, max(expected, n + 1), got + 1, disorder)
        end

      # RTCP; left in the mailbox, every receive would walk over it.
      {:ex_webrtc, _pc, _other} ->
        closed_loop(state, sent, expected, got, disorder)
    after
      # Everything that was under way is lost.
      100 ->
        for n <- sent..(sent + state.window - 1),
            do: send_packet(state.sender, state.track, state.payloads, n)

        closed_loop(state, sent + state.window, expected, got, disorder)
    end
  end

  defp rest(_payloads, sent, sent, got, disorder), do: {got, sent, disorder}

  defp rest(payloads, sent, expected, got, disorder) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, _rid, packet}} ->
        n = check(packet, expected, payloads)
        disorder = if n < expected, do: disorder + 1, else: disorder
        rest(payloads, sent, max(expected, n + 1), got + 1, disorder)

      {:ex_webrtc, _pc, _other} ->
        rest(payloads, sent, expected, got, disorder)
    after
      100 -> {got, expected, disorder}
    end
  end

  defp send_packet(sender, track, payloads, n),
    do: PeerConnection.send_rtp(sender, track.id, packet(n, payloads))

  @doc "Like `closed_loop/6` with `{:rtp_batch, packets}`, answering each batch with one list."
  def batched_loop(sender, track, payloads, n, ms, window) do
    send_list = fn from, count ->
      PeerConnection.send_rtp(
        sender,
        for(n <- from..(from + count - 1), do: {track.id, packet(n, payloads)})
      )
    end

    send_list.(n, window)
    stop_at = System.monotonic_time(:millisecond) + ms
    batched_loop(send_list, payloads, stop_at, n + window, n)
  end

  defp batched_loop(send_list, payloads, stop_at, sent, expected) do
    receive do
      {:ex_webrtc, _pc, {:rtp_batch, batch}} ->
        after_batch =
          Enum.reduce(batch, expected, fn {_track, nil, packet}, expected ->
            ^expected = check(packet, expected, payloads)
            expected + 1
          end)

        cond do
          System.monotonic_time(:millisecond) < stop_at ->
            send_list.(sent, length(batch))
            batched_loop(send_list, payloads, stop_at, sent + length(batch), after_batch)

          after_batch < sent ->
            batched_loop(send_list, payloads, stop_at, sent, after_batch)

          true ->
            sent
        end

      {:ex_webrtc, _pc, _other} ->
        batched_loop(send_list, payloads, stop_at, sent, expected)
    after
      2000 -> raise "a packet was lost"
    end
  end

  @doc "Sends at `rate` from a process of its own for `ms`, compares what arrives."
  def open_loop(sender, track, payloads, n, rate, ms) do
    parent = self()

    spawn_link(fn ->
      start = System.monotonic_time(:microsecond)
      send_next = &send_packet(sender, track, payloads, &1 + n)
      send(parent, {:sent, paced(send_next, rate, start, start + ms * 1000, 0)})
    end)

    {sent, received} = count(payloads, n, 0, nil)
    %{got: received, lost: sent - received, next: n + sent}
  end

  defp paced(send_next, rate, start, stop_at, sent) do
    now = System.monotonic_time(:microsecond)
    due = max(div((now - start) * rate, 1_000_000), sent)
    if due > sent, do: Enum.each(sent..(due - 1), send_next)

    if now >= stop_at do
      due
    else
      receive do
      after
        1 -> paced(send_next, rate, start, stop_at, due)
      end
    end
  end

  defp count(payloads, expected, received, sent) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, _rid, packet}} ->
        n = check(packet, expected, payloads)
        count(payloads, max(expected, n + 1), received + 1, sent)

      {:ex_webrtc, _pc, _other} ->
        count(payloads, expected, received, sent)

      {:sent, sent} ->
        count(payloads, expected, received, sent)
    after
      if(sent, do: 300, else: 10_000) -> {sent, received}
    end
  end

  @doc "One-way latencies in µs of `count` packets, one a millisecond, and the next number."
  def latencies(sender, track, payloads, n, count) do
    for n <- n..(n + count - 1) do
      packet = packet(n, payloads)
      start = System.monotonic_time(:nanosecond)
      PeerConnection.send_rtp(sender, track.id, packet)

      latency =
        receive do
          {:ex_webrtc, _pc, {:rtp, _track, _rid, received}} ->
            stop = System.monotonic_time(:nanosecond)
            ^n = check(received, n, payloads)
            (stop - start) / 1000
        after
          1000 -> raise "a packet was lost"
        end

      receive do
      after
        1 -> latency
      end
    end
  end

  @doc "A process that returns every packet of `pc` on `track`, the packet as it came."
  def echo(pc, track) do
    receive do
      {:ex_webrtc, ^pc, {:rtp, _track, _rid, packet}} ->
        PeerConnection.send_rtp(pc, track.id, packet)
        echo(pc, track)

      {:ex_webrtc, _pc, _other} ->
        echo(pc, track)
    end
  end
end

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
  # machine, in its caches and on the other half of its cores.
  window = fn ->
    {result, wall, cpu, split} = Bench.measure_threads(fn -> closed_loop.(60, 64) end)
    if result.disorder > 0, do: raise("#{result.disorder} packets came out of order")
    per_packet = Map.new(split, fn {role, us} -> {role, us / result.got} end)

    %{
      rate: result.got * 1_000_000 / wall,
      cpu: cpu / result.got,
      split: per_packet,
      counts: result
    }
  end

  closed = for _run <- 1..Bench.runs(), do: for(_window <- 1..50, do: window.())

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
        for _window <- 1..50 do
          {result, wall, cpu} = Bench.measure(fn -> batched_loop.(60) end)
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
        for _window <- 1..50 do
          {result, wall, cpu} = Bench.measure(fn -> echo_loop.(60) end)
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
