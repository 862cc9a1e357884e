defmodule ExWebRTC.Player.Pace do
  @moduledoc false
  # When something of a file is due, in milliseconds of a clock that never goes back. Times count from
  # the beginning, so that timers that fire late do not add up.

  # More that is due at once is a machine that slept; the rest is played from now on.
  @max_lag 1000

  @type t() :: %__MODULE__{start: integer()}

  @enforce_keys [:start]
  defstruct @enforce_keys

  @spec new(integer()) :: t()
  def new(now), do: %__MODULE__{start: now}

  @doc "Milliseconds until what is at this time of the file is due; 0 if it is."
  @spec wait(t(), number(), integer()) :: {non_neg_integer(), t()}
  def wait(%__MODULE__{start: start} = pace, at, now) do
    case round(start + at) - now do
      left when left > 0 -> {left, pace}
      late when -late > @max_lag -> {0, %{pace | start: start - late}}
      _due -> {0, pace}
    end
  end
end
