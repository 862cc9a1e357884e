defmodule ExWebRTC.RTP.TelephoneEvent.Depayloader do
  @moduledoc false
  # Tells each event once. Packets of one event have one timestamp; an event that is longer than the
  # duration field can say goes on under a new timestamp, that of the end of the segment before
  # (RFC 4733 section 2.5.1.3).

  alias ExWebRTC.RTP.TelephoneEvent

  @type t() :: %{timestamp: integer(), next: integer(), code: 0..255, end: boolean()} | nil

  @spec depayload(t(), map()) :: {%{code: 0..255, event: String.t()} | nil, t()}
  def depayload(last, packet) do
    case TelephoneEvent.parse(packet.payload) do
      {:ok, event} -> take(last, packet.timestamp, event)
      :error -> {nil, last}
    end
  end

  defp take(%{timestamp: timestamp} = last, timestamp, event),
    do: {nil, remember(timestamp, event, last.end)}

  defp take(%{end: false, code: code, next: timestamp}, timestamp, %{code: code} = event),
    do: {nil, remember(timestamp, event, false)}

  defp take(_last, timestamp, event),
    do: {Map.take(event, [:code, :event]), remember(timestamp, event, false)}

  defp remember(timestamp, event, ended) do
    %{
      timestamp: timestamp,
      next: Bitwise.band(timestamp + event.duration, 0xFFFFFFFF),
      code: event.code,
      end: ended or event.end
    }
  end
end
