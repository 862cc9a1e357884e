defmodule ExWebRTC.RTP.TelephoneEvent.Payloader do
  @moduledoc false
  # RFC 4733 section 2.5.1: a packet every 50 ms with the duration so far, and three at the end.

  alias ExWebRTC.RTP.TelephoneEvent

  @default_duration 100
  @max_duration 6000
  @default_volume 10
  @ends 3
  @max_ticks 0xFFFF

  @spec payload(TelephoneEvent.request(), pos_integer()) :: [binary(), ...]
  def payload(event, clock_rate) do
    code = code!(event)
    volume = Map.get(event, :volume, @default_volume)
    duration = Map.get(event, :duration, @default_duration)

    if not (is_integer(duration) and duration in 1..@max_duration and volume in 0..63) do
      raise ArgumentError,
            "expected a duration of 1 to #{@max_duration} ms and a volume of 0 to 63, got: " <>
              inspect(event)
    end

    interval = TelephoneEvent.interval()

    updates =
      for at <- Enum.take_while(Stream.iterate(interval, &(&1 + interval)), &(&1 < duration)),
          do: encode(code, 0, volume, ticks(at, clock_rate))

    # The first packet tells the duration until the next one.
    first = encode(code, 0, volume, ticks(min(interval, duration), clock_rate))
    last = encode(code, 1, volume, ticks(duration, clock_rate))
    [first | updates] ++ List.duplicate(last, @ends)
  end

  defp code!(%{code: code}) when code in 0..255, do: code

  defp code!(%{event: name}) when is_binary(name) do
    case TelephoneEvent.code(name) do
      {:ok, code} -> code
      :error -> raise ArgumentError, "there is no telephone event #{inspect(name)}"
    end
  end

  defp code!(other),
    do: raise(ArgumentError, "expected an event with a code or a name, got: #{inspect(other)}")

  defp ticks(milliseconds, clock_rate),
    do: min(div(milliseconds * clock_rate, 1000), @max_ticks)

  defp encode(code, ended, volume, duration),
    do: <<code, ended::1, 0::1, volume::6, duration::16>>
end
