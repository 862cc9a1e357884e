defmodule ExWebRTC.Cluster do
  @moduledoc """
  Connections across the nodes of a cluster: which there are, and where the one with a name lives.

  Any node that runs `:ex_webrtc` takes part as soon as it is connected; there is nothing to start
  or configure. A connection is named when it is started, and found by that name from every node:

      name = {:via, ExWebRTC.Cluster, "room-7/alice"}
      {:ok, pc} = ExWebRTC.PeerConnection.start_link([], name: name)

      # on another node
      ExWebRTC.PeerConnection.get_connection_state(name)
      ExWebRTC.Cluster.whereis("room-7/alice")

  Names are any term. The functions of `ExWebRTC.PeerConnection` do on another node what they do on
  this one. What the way between the nodes adds:

  - Packets and RTCP of `send_rtp/4` and its like pass the connection's process. While the way
    between the nodes is busy they are dropped, as nothing that sends media blocks.
  - Events for a controlling process on another node pass the connection's process as well. Media
    is then dropped while the way is busy, and counted as `undelivered` in the entry
    `"media_drops"` of the statistics; everything else waits.

  ## When a node is lost

  - Its connections are gone from `all/0` and their names are free.
  - A process that controls one of them is sent
    `{:ex_webrtc, pc, {:connection_state_change, :closed}}`.
  - A connection that is controlled by a pid of the lost node stops, with the reason
    `{:shutdown, {:nodedown, node}}`: nobody could hear of it any more. One that is controlled by
    `{name, node}` lives on, and its events arrive again when the name is there again.

  What one node knows of another is a moment old (`:pg`). A name is taken once only: whoever starts
  the second one gets `{:error, {:already_started, pid}}`. After two halves of a cluster that lost
  each other have found together again, a name that was taken in both leads to the same one of the
  two connections everywhere; `all_named/0` shows both.
  """

  @typedoc "What a connection is called: any term."
  @type name() :: term()

  @scope __MODULE__
  @connections :connections

  # How long a node may take to say whether it has a name.
  @timeout 5_000

  @doc false
  def child_spec(_opts), do: %{id: @scope, start: {:pg, :start_link, [@scope]}}

  # Adds the calling connection to those that `all/0` returns.
  @doc false
  @spec join() :: :ok
  def join, do: :pg.join(@scope, @connections, self())

  @doc "All connections of the cluster, in no order."
  @spec all() :: [pid()]
  def all, do: :pg.get_members(@scope, @connections)

  @doc "All named connections of the cluster."
  @spec all_named() :: [{name(), pid()}]
  def all_named do
    for {:name, name} = group <- :pg.which_groups(@scope),
        pid <- :pg.get_members(@scope, group) do
      {name, pid}
    end
  end

  @doc "The connection with this name, `nil` where there is none."
  @spec whereis(name()) :: pid() | nil
  def whereis(name) do
    @scope
    |> :pg.get_members({:name, name})
    |> Enum.filter(&(node(&1) != node() or Process.alive?(&1)))
    # The same one on every node: only the external form of a pid is.
    |> Enum.min_by(&:erlang.term_to_binary/1, fn -> nil end)
  end

  @doc """
  Tells the calling process of connections that come and go, on any node.

  Returns the connections of the moment. From then on messages are
  `{ref, :join | :leave, :connections, [pid]}` (see `:pg.monitor/2`). `demonitor/1` ends it.
  """
  @spec monitor() :: {reference(), [pid()]}
  def monitor, do: :pg.monitor(@scope, @connections)

  @doc "Ends what `monitor/0` began."
  @spec demonitor(reference()) :: :ok
  def demonitor(ref) do
    _known = :pg.demonitor(@scope, ref)
    :ok
  end

  ## `{:via, ExWebRTC.Cluster, name}`

  @doc false
  @spec register_name(name(), pid()) :: :yes | :no
  def register_name(name, pid) when is_pid(pid) and node(pid) == node() do
    nodes = [node() | Node.list()]

    # Groups of `:pg` spread without agreement. So one process at a time may take the name, and it
    # asks every node rather than what this node has heard.
    result = :global.trans({{@scope, name}, self()}, fn -> take(nodes, name, pid) end, nodes)

    if result == :taken, do: :yes, else: :no
  end

  defp take(nodes, name, pid) do
    holders =
      nodes
      |> :erpc.multicall(__MODULE__, :local_holders, [name], @timeout)
      |> Enum.flat_map(fn
        {:ok, holders} -> holders
        # The node is gone, or does not run this application.
        _error -> []
      end)

    case holders -- [pid] do
      [] ->
        :ok = :pg.join(@scope, {:name, name}, pid)
        :taken

      _others ->
        :refused
    end
  end

  @doc false
  @spec local_holders(name()) :: [pid()]
  def local_holders(name),
    do: @scope |> :pg.get_local_members({:name, name}) |> Enum.filter(&Process.alive?/1)

  @doc false
  @spec unregister_name(name()) :: :ok
  def unregister_name(name) do
    for pid <- :pg.get_local_members(@scope, {:name, name}),
        do: :pg.leave(@scope, {:name, name}, pid)

    :ok
  end

  @doc false
  @spec whereis_name(name()) :: pid() | :undefined
  def whereis_name(name), do: whereis(name) || :undefined

  @doc false
  @spec send(name(), term()) :: pid()
  def send(name, message) do
    case whereis(name) do
      nil -> exit({:badarg, {name, message}})
      pid -> Kernel.send(pid, message) && pid
    end
  end
end
