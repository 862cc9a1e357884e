defmodule ExWebRTC.RTP.JitterBufferTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.RTP.{JitterBuffer, Packet}

  doctest JitterBuffer

  defp packet(number), do: Packet.new("", sequence_number: Bitwise.band(number, 0xFFFF))
  defp numbers(packets), do: Enum.map(packets, & &1.sequence_number)

  # A buffer that has begun, and has returned `number`.
  defp running(number, opts \\ [latency: 100]) do
    {[], timer, buffer} = JitterBuffer.insert(JitterBuffer.new(opts), packet(number), 0)
    {[_packet], nil, buffer} = JitterBuffer.handle_timeout(buffer, timer)
    buffer
  end

  test "a packet that is next is returned at once" do
    assert {[packet], nil, buffer} = JitterBuffer.insert(running(1), packet(2), 200)
    assert packet.sequence_number == 2
    assert {[_packet], nil, _buffer} = JitterBuffer.insert(buffer, packet(3), 201)
  end

  test "packets behind a gap wait until it is filled" do
    assert {[], 100, buffer} = JitterBuffer.insert(running(1), packet(3), 200)
    assert {[], nil, buffer} = JitterBuffer.insert(buffer, packet(4), 210)
    assert {packets, nil, buffer} = JitterBuffer.insert(buffer, packet(2), 220)
    assert numbers(packets) == [2, 3, 4]
    # The timer that is still set finds nothing.
    assert {[], nil, buffer} = JitterBuffer.handle_timeout(buffer, 300)
    assert %{lost: 0, late: 0, buffered: 0, received: 4} = JitterBuffer.stats(buffer)
  end

  test "a gap is skipped after the latency, and what comes late is dropped and counted" do
    {[], 100, buffer} = JitterBuffer.insert(running(1), packet(3), 200)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(6), 250)
    assert {packets, 50, buffer} = JitterBuffer.handle_timeout(buffer, 300)
    assert numbers(packets) == [3]
    assert {[], nil, buffer} = JitterBuffer.insert(buffer, packet(2), 310)
    assert {[], nil, buffer} = JitterBuffer.insert(buffer, packet(3), 310)
    assert {packets, nil, buffer} = JitterBuffer.handle_timeout(buffer, 350)
    assert numbers(packets) == [6]
    assert %{lost: 3, late: 1, duplicates: 1} = JitterBuffer.stats(buffer)
  end

  test "a gap that opens while a timer runs gets its own time" do
    {[], 100, buffer} = JitterBuffer.insert(running(1), packet(3), 200)
    {[_two, _three], nil, buffer} = JitterBuffer.insert(buffer, packet(2), 210)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(5), 260)
    assert {[], 60, buffer} = JitterBuffer.handle_timeout(buffer, 300)
    assert {[_five], nil, _buffer} = JitterBuffer.handle_timeout(buffer, 360)
  end

  test "flush returns what waits in order and begins anew" do
    {[], 100, buffer} = JitterBuffer.insert(running(1), packet(7), 200)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(5), 200)
    assert {packets, nil, buffer} = JitterBuffer.flush(buffer)
    assert numbers(packets) == [5, 7]
    assert {[], 100, _buffer} = JitterBuffer.insert(buffer, packet(40_000), 200)
  end

  test "what is missing before and between the flushed packets is lost" do
    {[], 100, buffer} = JitterBuffer.insert(running(1), packet(7), 200)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(5), 200)
    {[_five, _seven], nil, buffer} = JitterBuffer.flush(buffer)
    # 2, 3, 4 and 6.
    assert %{lost: 4, buffered: 0} = JitterBuffer.stats(buffer)

    # Before the first packet nothing is known to be missing.
    {[], 100, buffer} = JitterBuffer.insert(buffer, packet(20), 300)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(22), 300)
    {[_twenty, _twenty_two], nil, buffer} = JitterBuffer.flush(buffer)
    assert %{lost: 5} = JitterBuffer.stats(buffer)
    assert {[], nil, ^buffer} = JitterBuffer.flush(buffer)
  end

  test "what is missing when a new stream begins is lost" do
    {[], 100, buffer} = JitterBuffer.insert(running(1), packet(3), 200)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(30_000), 201)
    {[_three], _timer, buffer} = JitterBuffer.insert(buffer, packet(30_001), 202)
    assert %{lost: 1, resets: 1} = JitterBuffer.stats(buffer)
  end

  test "the default latency is 200 ms" do
    assert {[], 200, _buffer} = JitterBuffer.insert(JitterBuffer.new(), packet(1), 0)
  end

  test "one stray number is dropped; a jump that goes on is a new stream" do
    {[], nil, buffer} = JitterBuffer.insert(running(1), packet(30_000), 200)
    {[_two], nil, buffer} = JitterBuffer.insert(buffer, packet(2), 201)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(30_001), 202)
    {[], 100, buffer} = JitterBuffer.insert(buffer, packet(30_002), 203)
    assert {packets, nil, buffer} = JitterBuffer.handle_timeout(buffer, 303)
    assert numbers(packets) == [30_002]
    assert %{resets: 1} = JitterBuffer.stats(buffer)
  end

  test "the adaptive latency grows with what comes late and shrinks in quiet" do
    opts = [latency: 40, adaptive: true, min_latency: 20, max_latency: 200]
    {[], 40, buffer} = JitterBuffer.insert(running(1, opts), packet(3), 100)
    {[_three], nil, buffer} = JitterBuffer.handle_timeout(buffer, 140)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(2), 180)
    # 80 ms and a quarter.
    assert %{latency: 100, late: 1} = JitterBuffer.stats(buffer)

    {[], timer, buffer} = JitterBuffer.insert(buffer, packet(5), 60_000)
    assert timer == 100
    {[_five], nil, buffer} = JitterBuffer.handle_timeout(buffer, 60_100)
    assert JitterBuffer.stats(buffer).latency in 20..40
  end

  test "the adaptive latency stays within its bounds" do
    opts = [latency: 40, adaptive: true, min_latency: 20, max_latency: 200]
    {[], 40, buffer} = JitterBuffer.insert(running(1, opts), packet(3), 100)
    {[_three], nil, buffer} = JitterBuffer.handle_timeout(buffer, 140)
    {[], nil, buffer} = JitterBuffer.insert(buffer, packet(2), 900)
    assert JitterBuffer.stats(buffer).latency == 200
  end

  test "unknown and wrong options raise" do
    assert_raise ArgumentError, fn -> JitterBuffer.new(delay: 1) end
    assert_raise ArgumentError, ~r/latency/, fn -> JitterBuffer.new(latency: -1) end
  end

  property "any order and loss: everything that came in time is returned once, in order", [
    start <- :proper_types.integer(0, 65_535),
    order <- :proper_types.list({:proper_types.integer(0, 12), :proper_types.integer(0, 19)})
  ] do
    # Packet i is sent at i * 10 ms and arrives up to 120 ms later, or is lost.
    arrivals =
      for {{delay, chance}, i} <- Enum.with_index(order), chance > 0, do: {i * 10 + delay * 10, i}

    {returned, buffer} = run(arrivals, start, JitterBuffer.new(latency: 200))
    {rest, nil, buffer} = JitterBuffer.flush(buffer)
    expected = arrivals |> Enum.map(&elem(&1, 1)) |> Enum.sort()
    assert numbers(returned ++ rest) == Enum.map(expected, &Bitwise.band(&1 + start, 0xFFFF))
    assert %{late: 0, duplicates: 0, buffered: 0} = JitterBuffer.stats(buffer)
  end

  property "any numbers: what is returned is what came, and never too much waits", [
    numbers <- :proper_types.list(:proper_types.integer(0, 65_535))
  ] do
    arrivals = Enum.with_index(numbers, fn number, i -> {i * 7, number} end)
    {returned, buffer} = run(arrivals, 0, JitterBuffer.new(latency: 30, adaptive: true))
    {rest, nil, _buffer} = JitterBuffer.flush(buffer)
    assert numbers(returned ++ rest) -- numbers == []
  end

  # Plays arrivals and the timers that the buffer asks for, in the order of time.
  defp run(arrivals, start, buffer) do
    {returned, buffer, timer} =
      arrivals
      |> Enum.sort()
      |> Enum.reduce({[], buffer, nil}, fn {at, i}, {returned, buffer, timer} ->
        {returned, buffer, timer} = fire(returned, buffer, timer, at)
        result = JitterBuffer.insert(buffer, packet(start + i), at)
        keep(result, returned, timer, at)
      end)

    {returned, buffer, _timer} = fire(returned, buffer, timer, :infinity)
    {returned, buffer}
  end

  defp fire(returned, buffer, timer, at) when is_integer(timer) and timer <= at do
    {returned, buffer, timer} =
      keep(JitterBuffer.handle_timeout(buffer, timer), returned, nil, timer)

    fire(returned, buffer, timer, at)
  end

  defp fire(returned, buffer, timer, _at), do: {returned, buffer, timer}

  defp keep({packets, wait, buffer}, returned, timer, at) do
    # Never two timers at a time.
    assert wait == nil or timer == nil
    {returned ++ packets, buffer, if(wait, do: at + wait, else: timer)}
  end
end
