defmodule ExWebRTC.Handles do
  @moduledoc false
  # The native handles of this node's connections by pid, so that packets are sent by the process
  # that has them, without going through the connection's process.
  #
  # A row is written by the connection when it starts and deleted by this process when the
  # connection is gone. Without a row, and so while this process restarts, callers go through the
  # connection's process.

  use GenServer

  alias ExWebRTC.Native

  @table __MODULE__

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_opts), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Registers the calling connection."
  @spec put(Native.handle()) :: :ok
  def put(handle) do
    :ets.insert(@table, {self(), handle})
    GenServer.cast(__MODULE__, {:monitor, self()})
  end

  @doc """
  The handle of a connection of this node.

  `:error` for a connection of another node, or one that is not there (any more).
  """
  @spec fetch(GenServer.server()) :: {:ok, Native.handle()} | :error
  def fetch(pid) when is_pid(pid) do
    case :ets.lookup(@table, pid) do
      [{_pid, handle}] -> {:ok, handle}
      [] -> :error
    end
  rescue
    # The table is gone while this process restarts.
    ArgumentError -> :error
  end

  def fetch(server) do
    case GenServer.whereis(server) do
      pid when is_pid(pid) -> fetch(pid)
      _remote_or_unknown -> :error
    end
  end

  @impl true
  def init(nil) do
    # Written once and read for every packet of a connection.
    :ets.new(@table, [:named_table, :public, read_concurrency: true])
    {:ok, nil}
  end

  @impl true
  def handle_cast({:monitor, pid}, state) do
    Process.monitor(pid)
    {:noreply, state}
  end

  @impl true
  def handle_info({:DOWN, _monitor, :process, pid, _reason}, state) do
    :ets.delete(@table, pid)
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}
end
