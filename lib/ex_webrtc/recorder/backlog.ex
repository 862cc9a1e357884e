defmodule ExWebRTC.Recorder.Backlog do
  @moduledoc false
  # Whether more packets wait for the recorder than it is to take, because the disk is slow: then they
  # are left out until few wait, so that the memory has a bound.

  # Ten seconds of a call of 8 Mbit/s.
  @max 10_000
  @short 1_000
  # How many wait is looked at after so many packets.
  @interval 100

  @type t() :: %__MODULE__{received: non_neg_integer(), behind?: boolean()}

  defstruct received: 0, behind?: false

  @doc "Counts a packet for the calling process, and looks at its queue now and then."
  @spec count(t()) :: t()
  def count(%__MODULE__{received: received} = backlog) when rem(received, @interval) == 0 do
    {:message_queue_len, waiting} = Process.info(self(), :message_queue_len)
    limit = if backlog.behind?, do: @short, else: @max
    %{backlog | received: received + 1, behind?: waiting > limit}
  end

  def count(backlog), do: %{backlog | received: backlog.received + 1}
end
