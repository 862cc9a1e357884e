defmodule ExWebRTC.Forward.Relay do
  @moduledoc false
  # Where what a source of another node says to its sinks on this one arrives, once for all of them:
  #
  #     process of the source --{:ex_webrtc_relay, source, what, sinks, bytes}--> relay
  #       --`Native.forward_in/2`--> native side of each sink
  #
  # A node has a few of them; all that a source says goes through one, so that its order holds.

  use GenServer

  require Logger

  alias ExWebRTC.{Forward, Handles, Native}
  alias ExWebRTC.PeerConnection.FarEnds

  # On every node, since the source's picks.
  @names for number <- 1..4, do: :"#{__MODULE__}.#{number}"
  # Sinks that one native call tells, so that it stays far below a millisecond.
  @sinks_a_call 100

  # A node of another version must not be able to do more than nothing here.
  defguardp is_number64(term)
            when is_integer(term) and term >= 0 and term < 0x1_0000_0000_0000_0000

  @typedoc "A sink, and which of the packets it takes: so many from this one on."
  @type sink() ::
          {forward_id :: non_neg_integer(), pid(), first :: non_neg_integer(),
           count :: non_neg_integer()}

  @doc "The relays of a node, for its supervisor."
  @spec child_specs() :: [Supervisor.child_spec()]
  def child_specs,
    do: for(name <- @names, do: Supervisor.child_spec({__MODULE__, name}, id: name))

  @spec start_link(atom()) :: GenServer.on_start()
  def start_link(name), do: GenServer.start_link(__MODULE__, nil, name: name)

  @doc "The calling connection says something to sinks of a node; options as those of `Process.send/3`."
  @spec say(node(), FarEnds.what(), [sink()], binary(), [:nosuspend | :noconnect]) ::
          :ok | :nosuspend | :noconnect
  def say(node, what, sinks, bytes, options),
    do: Process.send(relay(node), {:ex_webrtc_relay, self(), what, sinks, bytes}, options)

  @doc "The last word of the calling connection to a sink, which its process has to know of."
  @spec finish(Forward.t(), binary()) :: :ok | :nosuspend | :noconnect
  def finish(%Forward{sink: sink} = forward, bytes),
    do: Process.send(relay(node(sink)), {:ex_webrtc_relay_end, forward, bytes}, [:noconnect])

  defp relay(node), do: {Enum.at(@names, :erlang.phash2(self(), length(@names))), node}

  @doc "Hands on what a source has said to the sinks of these connections."
  @spec deliver(pid(), FarEnds.what(), [{sink(), Native.handle()}], binary()) :: :ok
  def deliver(source, what, sinks, bytes) do
    to = for {{id, _pid, first, count}, handle} <- sinks, do: {id, handle, first, count}

    case Native.forward_in(bytes, to) do
      [] -> :ok
      :malformed -> malformed(source, sinks)
      refused -> Enum.each(refused, &refused(source, what, sinks, &1))
    end
  end

  defp malformed(source, sinks) do
    Logger.warning("#{inspect(source)}, which forwards to this node, speaks another version")

    for {{id, pid, _first, _count}, _handle} <- sinks,
        end_of_it <- [source, pid],
        do: Process.send(end_of_it, {:ex_webrtc_far_lost, id}, [:noconnect])

    :ok
  end

  # Keyframe requests and budgets are said again.
  defp refused(source, :packets, sinks, {id, {:error, :busy}}) do
    {{_id, _pid, _first, count}, _handle} = Enum.find(sinks, &match?({{^id, _, _, _}, _}, &1))
    Process.send(source, {:ex_webrtc_far_refused, id, count}, [:nosuspend, :noconnect])
  end

  defp refused(_source, _what, _sinks, {_id, {:error, :busy}}), do: :ok

  defp refused(source, _what, _sinks, {id, {:error, :closed}}),
    do: Process.send(source, {:ex_webrtc_far_lost, id}, [:noconnect])

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_info({:ex_webrtc_relay, source, what, sinks, bytes}, nil)
      when is_pid(source) and length(sinks) > 0 and is_binary(bytes) do
    {here, through} =
      Enum.split_with(with_handles(sinks), fn {_sink, handle} -> handle != nil end)

    here |> Enum.chunk_every(@sinks_a_call) |> Enum.each(&deliver(source, what, &1, bytes))

    # A connection that is gone hears nothing. Another one has no row while `Handles` restarts.
    for {{_id, pid, _first, _count} = sink, nil} <- through,
        do: send(pid, {:ex_webrtc_relayed, source, what, sink, bytes})

    {:noreply, nil}
  end

  def handle_info({:ex_webrtc_relay_end, %Forward{sink: sink} = forward, bytes}, nil)
      when is_pid(sink) do
    send(sink, {:ex_webrtc_far_in, forward, :end, bytes})
    {:noreply, nil}
  end

  # Of a version that is not known here.
  def handle_info(_other, nil), do: {:noreply, nil}

  defp with_handles(sinks) do
    for {id, pid, first, count} = sink <- sinks,
        is_number64(id) and is_number64(first) and is_number64(count) and is_pid(pid) do
      case Handles.fetch(pid) do
        {:ok, handle} -> {sink, handle}
        :error -> {sink, nil}
      end
    end
  end
end
