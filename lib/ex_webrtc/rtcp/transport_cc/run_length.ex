defmodule ExWebRTC.RTCP.TransportCC.RunLength do
  @moduledoc """
  A chunk of `ExWebRTC.RTCP.TransportCC`: many packets with the same status.
  """

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.TransportCC

  @type t() :: %__MODULE__{status_symbol: TransportCC.status_symbol(), run_length: 0..8191}

  @enforce_keys [:status_symbol, :run_length]
  defstruct @enforce_keys

  @symbols [not_received: 0, small_delta: 1, large_delta: 2, no_delta: 3]

  @doc false
  @spec encode(t()) :: <<_::16>>
  def encode(%__MODULE__{status_symbol: symbol, run_length: run_length})
      when run_length in 0..8191,
      do: <<0::1, number(symbol)::2, run_length::13>>

  def encode(%__MODULE__{} = chunk), do: raise_wrong_field!(chunk, run_length: 0..8191)

  @doc false
  @spec decode(<<_::16>>) :: t()
  def decode(<<0::1, symbol::2, run_length::13>>),
    do: %__MODULE__{status_symbol: name(symbol), run_length: run_length}

  @doc false
  @spec symbols(t()) :: [TransportCC.status_symbol()]
  def symbols(%__MODULE__{status_symbol: symbol, run_length: run_length}),
    do: List.duplicate(symbol, run_length)

  for {name, number} <- @symbols do
    defp number(unquote(name)), do: unquote(number)
    defp name(unquote(number)), do: unquote(name)
  end

  defp number(other),
    do: raise_wrong!(:status_symbol, "one of #{inspect(Keyword.keys(@symbols))}", other)
end
