defmodule ExWebRTC.Cluster.Watcher do
  @moduledoc false
  # Watches connections of other nodes for the processes of this node that control them. Events of
  # such a connection come from its node, so when that node is lost nobody is left to tell that the
  # connection is: this process does.

  use GenServer

  alias ExWebRTC.PeerConnection.Controller

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_opts), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Has the node of `dest` watch `pc`, which lives on this one."
  @spec watch(pid(), Controller.dest()) :: :ok
  def watch(pc, dest), do: GenServer.cast({__MODULE__, node_of(dest)}, {:watch, pc, dest})

  @doc "Takes that back."
  @spec unwatch(pid(), Controller.dest()) :: :ok
  def unwatch(pc, dest), do: GenServer.cast({__MODULE__, node_of(dest)}, {:unwatch, pc})

  defp node_of(dest) when is_pid(dest) or is_reference(dest), do: node(dest)
  defp node_of({_name, node}), do: node

  # Connections by pid: the monitor, and who controls it.
  @impl true
  def init(nil), do: {:ok, %{}}

  @impl true
  def handle_cast({:watch, pc, dest}, watched) do
    watched = drop(watched, pc)
    {:noreply, Map.put(watched, pc, {Process.monitor(pc), dest})}
  end

  def handle_cast({:unwatch, pc}, watched), do: {:noreply, drop(watched, pc)}

  @impl true
  def handle_info({:DOWN, _monitor, :process, pc, reason}, watched) do
    {entry, watched} = Map.pop(watched, pc)
    if reason == :noconnection, do: tell(entry, pc)
    {:noreply, watched}
  end

  def handle_info(_other, watched), do: {:noreply, watched}

  defp tell({_monitor, dest}, pc) do
    send(dest, {:ex_webrtc, pc, {:connection_state_change, :closed}})
  rescue
    # Nobody has the name.
    ArgumentError -> :ok
  end

  defp tell(nil, _pc), do: :ok

  defp drop(watched, pc) do
    case Map.pop(watched, pc) do
      {{monitor, _dest}, watched} ->
        Process.demonitor(monitor, [:flush])
        watched

      {nil, watched} ->
        watched
    end
  end
end
