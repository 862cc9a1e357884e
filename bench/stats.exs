Code.require_file("bench.exs", __DIR__)

# How long `get_stats/1` takes while 60,000 packets of 1,200 bytes flow in a second, asked of either
# side by a process of its own. Raises when the packets do not flow, or when a report is wrong.
defmodule Bench.Stats do
  alias ExWebRTC.PeerConnection
  alias ExWebRTC.RTP.Packet

  @payload :binary.copy(<<7>>, 1200)

  @doc "Sends so many packets a second for `ms`, from a process of its own: a list for every millisecond."
  def flood(pc, track, rate, ms) do
    Task.async(fn ->
      start = System.monotonic_time(:microsecond)
      per_turn = div(rate, 1000)

      for turn <- 0..(ms - 1) do
        wait_until(start + turn * 1000)

        packets =
          for n <- (turn * per_turn)..((turn + 1) * per_turn - 1)//1, do: {track.id, packet(n)}

        :ok = PeerConnection.send_rtp(pc, packets)
      end

      ms * per_turn
    end)
  end

  defp packet(n) do
    Packet.new(@payload,
      payload_type: 96,
      sequence_number: rem(n, 65_536),
      timestamp: rem(n * 90, 4_294_967_296),
      ssrc: 0
    )
  end

  defp wait_until(time) do
    left = time - System.monotonic_time(:microsecond)
    if left > 0, do: receive(after: (max(div(left, 1000), 1) -> :ok))
  end

  @doc "Asks both sides in turns until the flood is over; times in ms."
  def ask(pcs, flood, times \\ []) do
    asked =
      for pc <- pcs do
        {us, %{peer_connection: %{connection_state: :connected}}} =
          :timer.tc(fn -> PeerConnection.get_stats(pc) end)

        us / 1000
      end

    Bench.flush()

    case Task.yield(flood, 5) do
      {:ok, sent} -> {sent, asked ++ times}
      nil -> ask(pcs, flood, asked ++ times)
    end
  end

  @doc "What the receiver's report says that it has received."
  def received(pc) do
    [stream] = for {_id, %{type: :inbound_rtp} = one} <- PeerConnection.get_stats(pc), do: one
    stream.packets_received
  end
end

Bench.run(fn ->
  {track, setup} = Bench.video_track()
  {a, b} = Bench.pair(setup)
  Bench.Stats.ask([a, b], Bench.Stats.flood(a, track, 60_000, 500))
  Bench.header("get_stats")

  # In turns, so that what else the machine does meets both.
  runs =
    for _run <- 1..Bench.runs(), rate <- [0, 60_000] do
      before = Bench.Stats.received(b)
      ask = fn -> Bench.Stats.ask([a, b], Bench.Stats.flood(a, track, rate, 5000)) end
      {{_sent, times}, wall, _cpu} = Bench.measure(ask)
      {rate, times, (Bench.Stats.received(b) - before) / wall * 1.0e6}
    end

  for rate <- [0, 60_000] do
    of_rate = for {^rate, times, arrived} <- runs, do: {times, arrived}

    Bench.print(
      "at #{rate} packets/s, arrived",
      "a second",
      Enum.map(of_rate, &round(elem(&1, 1)))
    )

    for percent <- [50, 99, 100],
        do:
          Bench.print(
            "– p#{percent}",
            "ms",
            Enum.map(of_rate, &Bench.percentile(elem(&1, 0), percent))
          )
  end

  Bench.stop([a, b])
end)
