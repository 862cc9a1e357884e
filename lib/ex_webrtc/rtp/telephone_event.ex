defmodule ExWebRTC.RTP.TelephoneEvent do
  @moduledoc """
  DTMF digits and other telephone events in RTP (RFC 4733).

  `ExWebRTC.RTP.Depayloader` gives an event once, as soon as its first packet is there.
  `ExWebRTC.RTP.Payloader` makes the packets of an event:

      iex> alias ExWebRTC.RTP.{Payloader, TelephoneEvent}
      iex> {:ok, payloader} =
      ...>   Payloader.new(%ExWebRTC.RTPCodecParameters{
      ...>     payload_type: 101, mime_type: "audio/telephone-event", clock_rate: 8_000
      ...>   })
      iex> {packets, _payloader} = Payloader.payload(payloader, %{event: "5", duration: 100})
      iex> length(packets)
      5
      iex> TelephoneEvent.parse(hd(packets).payload)
      {:ok, %{code: 5, event: "5", end: false, volume: 10, duration: 400}}

  All packets of an event have one timestamp, that of its beginning. Send the first at once and each
  further one `interval/0` milliseconds after the one before, except for the last two, which repeat
  the end and can go at once (RFC 4733 section 2.5.1.4).
  """

  # RFC 4733 section 3.2, and the flash-hook.
  @names ~w(0 1 2 3 4 5 6 7 8 9 * # A B C D Flash)

  @typedoc """
  - `code`: the number of the event
  - `event`: the digit, `"Flash"`, or for other codes the number as text
  """
  @type event() :: %{:code => 0..255, :event => String.t(), optional(atom()) => term()}

  @typedoc """
  An event to send: `code` or `event`, and

  - `duration`: milliseconds; default 100, at most 6,000 (as W3C `insertDTMF`)
  - `volume`: 0 to 63, the level below 0 dBm0 in dB; default 10
  """
  @type request() :: %{
          optional(:code) => 0..255,
          optional(:event) => String.t(),
          optional(:duration) => 1..6000,
          optional(:volume) => 0..63
        }

  @doc "Milliseconds between the packets of an event (RFC 4733 section 2.5.1.2 recommends 50)."
  @spec interval() :: 50
  def interval, do: 50

  @doc "The name of a code."
  @spec name(0..255) :: String.t()
  def name(code) when code in 0..16, do: Enum.at(@names, code)
  def name(code) when code in 17..255, do: Integer.to_string(code)

  @doc "The code of a name as `name/1` gives it; letters in either case."
  @spec code(String.t()) :: {:ok, 0..255} | :error
  def code(name) do
    case Enum.find_index(@names, &(String.downcase(&1) == String.downcase(name))) do
      nil -> other_code(Integer.parse(name))
      code -> {:ok, code}
    end
  end

  defp other_code({code, ""}) when code in 17..255, do: {:ok, code}
  defp other_code(_other), do: :error

  @doc """
  Reads a payload: the event, whether it has ended, its volume, and its duration so far in ticks of
  the clock.
  """
  @spec parse(binary()) :: {:ok, map()} | :error
  def parse(<<code, ended::1, _r::1, volume::6, duration::16, _rest::binary>>) do
    {:ok, %{code: code, event: name(code), end: ended == 1, volume: volume, duration: duration}}
  end

  def parse(payload) when is_binary(payload), do: :error
end
