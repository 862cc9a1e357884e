# What sends and receives RTP in the benchmarks: 1,200-byte packets, one pair, Elixir processes. The
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
