Code.require_file("bench.exs", __DIR__)

# What encryption costs: the same packets under each SRTP profile. Nothing is delivered to the BEAM
# and packets are sent in lists, so that most of what is left is the cipher and the kernel.
defmodule Bench.SRTP do
  alias ExWebRTC.PeerConnection
  alias ExWebRTC.RTP.Packet

  @packets 2_000
  @list 50

  @doc "A pair under one profile, and what sends packets on it: returns CPU µs a received packet."
  def pair(profile) do
    {track, setup} = Bench.video_track()
    {a, b} = Bench.pair(setup, srtp_profiles: [profile], rtp_delivery: :none)

    payload = :rand.bytes(1200)
    {[a, b], fn -> cost(a, b, lists(track, payload)) end}
  end

  # A sequence number is used once: the next window goes on where this one ends.
  defp lists(track, payload) do
    first = Process.get(track.id, 0)
    Process.put(track.id, first + @packets)

    for chunk <- Enum.chunk_every(first..(first + @packets - 1), @list) do
      for n <- chunk do
        number = rem(n, 65_536)
        {track.id, Packet.new(payload, sequence_number: number, timestamp: rem(n, 4_294_967_296))}
      end
    end
  end

  defp cost(a, b, lists) do
    before = received(b)

    {_ok, _wall, cpu} =
      Bench.measure(fn ->
        for list <- lists do
          :ok = PeerConnection.send_rtp(a, list)
          # Answered behind what was sent, so that the queue never overflows.
          :stable = PeerConnection.get_signaling_state(a)
        end

        arrived(b, before + @packets, 0, 0)
      end)

    Bench.flush()
    cpu / (received(b) - before)
  end

  # Until all are there, or no more come: the figure is for those that came.
  defp arrived(pc, wanted, last, idle) do
    case received(pc) do
      count when count >= wanted or idle == 50 -> :ok
      ^last -> arrived(pc, wanted, last, idle + 1)
      count -> arrived(pc, wanted, count, 0)
    end
  end

  defp received(pc) do
    pc
    |> PeerConnection.get_stats()
    |> Map.values()
    |> Enum.find_value(0, &(&1.type == :inbound_rtp and &1.packets_received))
  end
end

Bench.run(fn ->
  Bench.header("SRTP, 1,200 bytes, both ends, in lists, not delivered")

  profiles = [:aead_aes_128_gcm, :aes128_cm_hmac_sha1_80]
  pairs = for profile <- profiles, do: {profile, Bench.SRTP.pair(profile)}
  for {_profile, {_pcs, cost}} <- pairs, do: cost.()

  # In turns, so that both see the same machine.
  windows =
    for _run <- 1..Bench.runs() do
      for _window <- 1..50, {profile, {_pcs, cost}} <- pairs, do: {profile, cost.()}
    end

  for profile <- profiles do
    costs = for run <- windows, do: for({^profile, cost} <- run, do: cost)
    Bench.print("#{profile}: CPU per packet", "µs", Enum.map(costs, &Bench.percentile(&1, 50)))
    Bench.print("– in the quietest tenth", "µs", Enum.map(costs, &Bench.percentile(&1, 10)))
  end

  for {_profile, {pcs, _cost}} <- pairs, do: Bench.stop(pcs)
end)
