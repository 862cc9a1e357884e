Code.require_file("bench.exs", __DIR__)

# RTP through the BEAM: 1,200-byte packets, one pair, sent and received by Elixir processes.
defmodule Bench.RTP do
  alias ExWebRTC.PeerConnection
  alias ExWebRTC.RTP.Packet

  @size 1200

  def packet(sequence_number, body) do
    padding = @size - byte_size(body)
    payload = <<body::binary, 0::size(padding)-unit(8)>>

    Packet.new(payload,
      payload_type: 96,
      sequence_number: rem(sequence_number, 65_536),
      timestamp: rem(sequence_number * 90, 4_294_967_296),
      ssrc: 0
    )
  end

  @doc "Keeps `window` packets under way for `ms`; compares the content of each. Packets a second."
  def closed_loop(sender, track, ms, window) do
    stop_at = System.monotonic_time(:millisecond) + ms
    for n <- 0..(window - 1), do: send_packet(sender, track, n)
    closed_loop(sender, track, stop_at, window, 0, 0)
  end

  # `sent` and `got` count; a packet that is missing for 100 ms is lost and replaced.
  defp closed_loop(sender, track, stop_at, sent, got, lost) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, _rid, %{payload: <<n::64, _::binary>>} = packet}} ->
        if rem(n, 65_536) != packet.sequence_number, do: raise("content does not match")

        if rem(got, 256) == 0 and System.monotonic_time(:millisecond) >= stop_at do
          {got + 1, lost}
        else
          send_packet(sender, track, sent)
          closed_loop(sender, track, stop_at, sent + 1, got + 1, lost)
        end
    after
      100 ->
        for n <- sent..(sent + 63), do: send_packet(sender, track, n)
        closed_loop(sender, track, stop_at, sent + 64, got, lost + 64)
    end
  end

  defp send_packet(sender, track, n),
    do: PeerConnection.send_rtp(sender, track.id, packet(n, <<n::64>>))

  @doc "Sends at `rate` for `ms`. Returns sent and received counts."
  def open_loop(sender, track, rate, ms) do
    parent = self()

    pid =
      spawn_link(fn ->
        start = System.monotonic_time(:microsecond)
        sent = paced(sender, track, rate, start, start + ms * 1000, 0)
        send(parent, {:sent, sent})
      end)

    received = count(0, pid)
    received
  end

  defp paced(sender, track, rate, start, stop_at, sent) do
    now = System.monotonic_time(:microsecond)
    due = div((now - start) * rate, 1_000_000)
    if due > sent, do: for(n <- sent..(due - 1), do: send_packet(sender, track, n))

    if now >= stop_at do
      max(due, sent)
    else
      receive do
      after
        1 -> paced(sender, track, rate, start, stop_at, max(due, sent))
      end
    end
  end

  defp count(received, pid, sent \\ nil) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, _rid, _packet}} -> count(received + 1, pid, sent)
      {:sent, sent} -> count(received, pid, sent)
    after
      if(sent, do: 300, else: 10_000) -> {sent, received}
    end
  end

  @doc "One-way latencies in µs of 1,000 packets a second."
  def latencies(sender, track, count) do
    for n <- 1..count do
      stamp = System.monotonic_time(:nanosecond)
      PeerConnection.send_rtp(sender, track.id, packet(n, <<stamp::64>>))

      latency =
        receive do
          {:ex_webrtc, _pc, {:rtp, _track, _rid, %{payload: <<stamp::64, _::binary>>}}} ->
            (System.monotonic_time(:nanosecond) - stamp) / 1000
        after
          1000 -> raise "a packet was lost"
        end

      receive do
      after
        1 -> latency
      end
    end
  end
end

{track, setup} = Bench.video_track()
{a, b} = Bench.pair(setup, features: [:twcc, :rtcp_reports, :inbound_rtx, :outbound_rtx])
Bench.RTP.closed_loop(a, track, 500, 64)
Bench.flush()

Bench.header("RTP through the BEAM, one pair, 1,200 bytes")

results =
  for _run <- 1..Bench.runs() do
    threads = Bench.cpu_by_thread()
    {{got, lost}, wall, cpu} = Bench.measure(fn -> Bench.RTP.closed_loop(a, track, 3000, 64) end)
    after_threads = Bench.cpu_by_thread()
    Bench.flush()

    split =
      Map.new(after_threads, fn {role, us} -> {role, (us - Map.get(threads, role, 0)) / got} end)

    {got * 1_000_000 / wall, cpu / got, 100 * lost / (got + lost), split}
  end

Bench.print("closed loop, 64 under way", "packets/s", Enum.map(results, &round(elem(&1, 0))))
Bench.print("CPU per packet, closed loop", "µs", Enum.map(results, &elem(&1, 1)))

for role <- ["native shards", "BEAM schedulers", "other threads"] do
  Bench.print("– of it #{role}", "µs", Enum.map(results, &Map.get(elem(&1, 3), role, 0.0)))
end

Bench.print("lost, closed loop", "%", Enum.map(results, &elem(&1, 2)))

for rate <- [20_000, 60_000, 80_000, 100_000] do
  open =
    for _run <- 1..Bench.runs() do
      {{sent, received}, _wall, cpu} =
        Bench.measure(fn -> Bench.RTP.open_loop(a, track, rate, 2000) end)

      {cpu / max(received, 1), 100 * (sent - received) / sent, sent / 2}
    end

  Bench.print("CPU per packet at #{rate}/s", "µs", Enum.map(open, &elem(&1, 0)))
  Bench.print("lost at #{rate}/s", "%", Enum.map(open, &elem(&1, 1)))
end

latencies = for _run <- 1..Bench.runs(), do: Bench.RTP.latencies(a, track, 2000)
Bench.print("latency p50 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 50)))
Bench.print("latency p99 at 1,000/s", "µs", Enum.map(latencies, &Bench.percentile(&1, 99)))
Bench.stop([a, b])
