defmodule ExWebRTC.PeerConnection.FarEnds do
  @moduledoc false
  # The other ends of a connection's forwards that are on other nodes, seen from the connection's
  # process. What the native sides of both nodes say to each other goes through it:
  #
  #     native side --{:ex_webrtc_far, [{id, first, count}], what, bytes}--> process
  #       from a source: once for each node, see `ExWebRTC.Forward.Relay`
  #       from a sink, and the first word of a source:
  #         --{:ex_webrtc_far_in, forward, what, bytes}--> process of the other end
  #         --`Native.forward_in/2`--> native side
  #
  # `what` is `:attach` for the first message to a sink, `:control`, `:feedback`, `:packets` or, for
  # the last one from an end, `:end`. Both processes monitor each other from the first message to
  # the last one.

  alias ExWebRTC.{Forward, Native}
  alias ExWebRTC.Forward.Relay

  defstruct ends: %{}, monitors: %{}

  @type what() :: :attach | :control | :feedback | :packets | :end
  @opaque t() :: %__MODULE__{
            ends: %{non_neg_integer() => {Forward.t(), pid(), reference()}},
            monitors: %{reference() => non_neg_integer()}
          }

  @doc "None."
  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "The calling connection begins a forward to a connection of another node."
  @spec open(t(), Forward.t()) :: t()
  def open(%__MODULE__{} = far_ends, %Forward{} = forward),
    do: put(far_ends, forward, forward.sink)

  @doc "A forward has ended, or was refused."
  @spec forget(t(), non_neg_integer()) :: t()
  def forget(%__MODULE__{} = far_ends, id) do
    case Map.pop(far_ends.ends, id) do
      {nil, _ends} ->
        far_ends

      {{_forward, _pid, monitor}, ends} ->
        Process.demonitor(monitor, [:flush])
        %{far_ends | ends: ends, monitors: Map.delete(far_ends.monitors, monitor)}
    end
  end

  @doc """
  Hands on what the native side has for another node.

  Overflow policy "forward between nodes": while the connection between the nodes is busy, packets
  are dropped, counted with their forward, and a keyframe is asked for; what is said again is
  dropped as well, and what must arrive waits.
  """
  @spec send_out(
          t(),
          Native.handle(),
          [{id :: non_neg_integer(), first :: non_neg_integer(), count :: non_neg_integer()}],
          what(),
          binary()
        ) :: t()
  def send_out(%__MODULE__{} = far_ends, handle, to, what, bytes) do
    known = for {id, first, count} <- to, is_map_key(far_ends.ends, id), do: {id, first, count}

    case known do
      [] ->
        far_ends

      [{id, _first, _count} | _] ->
        {forward, pid, _monitor} = Map.fetch!(far_ends.ends, id)

        cond do
          what == :attach or forward.source != self() ->
            message = {:ex_webrtc_far_in, forward, what, bytes}
            Process.send(pid, message, options(what))

          what == :end ->
            Relay.finish(forward, bytes)

          true ->
            say(far_ends, handle, known, what, bytes)
        end

        if what == :end, do: forget(far_ends, id), else: far_ends
    end
  end

  defp say(far_ends, handle, to, what, bytes) do
    sinks = for {id, first, count} <- to, do: {id, elem(far_ends.ends[id], 1), first, count}

    for {node, sinks} <- Enum.group_by(sinks, fn {_id, pid, _, _} -> node(pid) end),
        Relay.say(node, what, sinks, bytes, options(what)) == :nosuspend and what == :packets,
        {id, _pid, _first, count} <- sinks,
        do: Native.forward_refused(handle, id, count)
  end

  # A node that is lost is not connected to again for this: the monitor tells of it.
  defp options(:attach), do: []
  defp options(what) when what in [:feedback, :packets], do: [:nosuspend, :noconnect]
  defp options(_must_arrive), do: [:noconnect]

  @doc "Takes in what the other end's process has sent."
  @spec take_in(t(), Native.handle(), Forward.t(), what(), binary()) :: t()
  def take_in(%__MODULE__{} = far_ends, handle, %Forward{id: id} = forward, what, bytes) do
    case {what, is_map_key(far_ends.ends, id)} do
      {:attach, false} ->
        far_ends = put(far_ends, forward, forward.source)
        deliver(far_ends, handle, forward, what, bytes)

      {what, true} when what != :attach ->
        far_ends = deliver(far_ends, handle, forward, what, bytes)
        if what == :end, do: forget(far_ends, id), else: far_ends

      # It has ended here, and the other end was told.
      _unknown ->
        far_ends
    end
  end

  @doc "The other end did not take packets that were sent to it."
  @spec refused(t(), Native.handle(), non_neg_integer(), non_neg_integer()) :: t()
  def refused(%__MODULE__{} = far_ends, handle, id, packets) do
    if is_map_key(far_ends.ends, id), do: Native.forward_refused(handle, id, packets)
    far_ends
  end

  @doc "The other end is gone, or takes no part in the forward (any more)."
  @spec lost(t(), Native.handle(), non_neg_integer()) :: t()
  def lost(%__MODULE__{} = far_ends, handle, id) do
    if is_map_key(far_ends.ends, id), do: Native.forward_lost(handle, id)
    forget(far_ends, id)
  end

  @doc "A monitored process has ended or its node is lost; `:error` where it is no other end."
  @spec down(t(), Native.handle(), reference()) :: {:ok, t()} | :error
  def down(%__MODULE__{} = far_ends, handle, monitor) do
    with {:ok, id} <- Map.fetch(far_ends.monitors, monitor),
         do: {:ok, lost(far_ends, handle, id)}
  end

  # A sink hears of its source, a source of its sink.
  defp deliver(far_ends, handle, %Forward{id: id}, what, bytes) do
    {_forward, other, _monitor} = Map.fetch!(far_ends.ends, id)
    Relay.deliver(other, what, [{{id, self(), 0, 0}, handle}], bytes)
    far_ends
  end

  defp put(far_ends, forward, pid) do
    monitor = Process.monitor(pid)

    %{
      far_ends
      | ends: Map.put(far_ends.ends, forward.id, {forward, pid, monitor}),
        monitors: Map.put(far_ends.monitors, monitor, forward.id)
    }
  end
end
