defmodule ExWebRTC.RTCP.TransportCC.StatusVector do
  @moduledoc """
  A chunk of `ExWebRTC.RTCP.TransportCC`: the status of each of 14 packets, or of 7.

  14 symbols are one bit each, so they can only be `:not_received` and `:small_delta`.
  """

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.TransportCC

  @type t() :: %__MODULE__{symbols: [TransportCC.status_symbol()]}

  @enforce_keys [:symbols]
  defstruct @enforce_keys

  @symbols [not_received: 0, small_delta: 1, large_delta: 2, no_delta: 3]

  @doc false
  @spec encode(t()) :: <<_::16>>
  def encode(%__MODULE__{symbols: symbols}) do
    size =
      case length(symbols) do
        14 -> 1
        7 -> 2
        other -> raise ArgumentError, "a status vector has 7 or 14 symbols, got: #{other}"
      end

    bits =
      for symbol <- symbols, into: <<>> do
        number = number(symbol)

        if number >= Bitwise.bsl(1, size),
          do: raise(ArgumentError, "#{inspect(symbol)} does not fit a vector of 14 symbols")

        <<number::size(size)>>
      end

    <<1::1, size - 1::1, bits::bitstring>>
  end

  @doc false
  @spec decode(<<_::16>>) :: t()
  def decode(<<1::1, 0::1, bits::bitstring-size(14)>>),
    do: %__MODULE__{symbols: for(<<symbol::1 <- bits>>, do: name(symbol))}

  def decode(<<1::1, 1::1, bits::bitstring-size(14)>>),
    do: %__MODULE__{symbols: for(<<symbol::2 <- bits>>, do: name(symbol))}

  @doc false
  @spec symbols(t()) :: [TransportCC.status_symbol()]
  def symbols(%__MODULE__{symbols: symbols}), do: symbols

  for {name, number} <- @symbols do
    defp number(unquote(name)), do: unquote(number)
    defp name(unquote(number)), do: unquote(name)
  end

  defp number(other),
    do: raise_wrong!(:symbols, "a list of #{inspect(Keyword.keys(@symbols))}", other)
end
