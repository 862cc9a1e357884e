defmodule ExWebRTC.ClusterNode do
  @moduledoc """
  VMs that are nodes of a cluster, with `:ex_webrtc` started. The VM of the tests stays out of it
  and talks to them over their standard input and output.
  """

  alias ExWebRTC.PeerConnection

  @enforce_keys [:vm, :node]
  defstruct @enforce_keys

  @type t() :: %__MODULE__{vm: pid(), node: node()}

  @timeout 60_000

  @doc "Starts that many nodes, connected with each other, that end with the calling test."
  @spec start(pos_integer()) :: [t()]
  def start(count) do
    nodes = for _ <- 1..count, do: start_one()
    for node <- nodes, other <- nodes, do: true = call(node, Node, :connect, [other.node])
    nodes
  end

  defp start_one do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])

    {:ok, vm, node} =
      :peer.start_link(%{
        name: :peer.random_name(),
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        args: [~c"-setcookie", ~c"ex_webrtc_test" | paths]
      })

    one = %__MODULE__{vm: vm, node: node}
    ExUnit.Callbacks.on_exit(fn -> stop(one) end)
    {:ok, _started} = call(one, Application, :ensure_all_started, [:elixir])
    :ok = call(one, Application, :put_env, [:logger, :level, :error])
    {:ok, _started} = call(one, Application, :ensure_all_started, [:ex_webrtc])
    one
  end

  @doc "Ends the node."
  @spec stop(t()) :: :ok
  def stop(%__MODULE__{vm: vm}) do
    :peer.stop(vm)
  catch
    # It is linked to the test's process, so it may be gone, or going, already.
    :exit, _gone -> :ok
  end

  @doc "What the function returns on that node; an exception there is raised here."
  @spec call(t(), module(), atom(), [term()]) :: term()
  def call(%__MODULE__{vm: vm}, module, function, arguments),
    do: :peer.call(vm, module, function, arguments, @timeout)

  @doc "A process on that node that keeps what it is sent; it has the name `name`."
  @spec start_keeper(t(), atom()) :: pid()
  def start_keeper(node, name), do: call(node, __MODULE__, :keeper, [name])

  @doc """
  Takes the first message that matches out of a keeper, waiting for it. The pattern is one of
  `:ets`: `:_` is anything.
  """
  @spec take(t(), pid(), term()) :: term()
  def take(node, keeper, pattern), do: call(node, __MODULE__, :ask, [keeper, [pattern]])

  @doc "Calls a function in a keeper's process."
  @spec within(t(), pid(), module(), atom(), [term()]) :: term()
  def within(node, keeper, module, function, arguments),
    do: call(node, __MODULE__, :ask, [keeper, {module, function, arguments}])

  @doc "A connection on that node, not linked to anything there."
  @spec start_connection(t(), keyword(), keyword()) :: pid()
  def start_connection(node, opts, gen_server_opts \\ []) do
    {:ok, pc} = call(node, PeerConnection, :start, [opts, gen_server_opts])
    pc
  end

  ## On the node

  @doc false
  def keeper(name) do
    starter = self()

    pid =
      spawn(fn ->
        Process.register(self(), name) && send(starter, {self(), :named}) && keep([])
      end)

    receive do
      {^pid, :named} -> pid
    end
  end

  @doc false
  def ask(keeper, question) do
    monitor = Process.monitor(keeper)
    send(keeper, {__MODULE__, self(), monitor, question})

    receive do
      {^monitor, message} ->
        Process.demonitor(monitor, [:flush])
        message

      {:DOWN, ^monitor, :process, _keeper, reason} ->
        exit(reason)
    end
  end

  # A keeper answers one question after the other, so the order of messages holds.
  defp keep(messages) do
    receive do
      {__MODULE__, asker, ref, {module, function, arguments}} ->
        send(asker, {ref, apply(module, function, arguments)})
        keep(messages)

      {__MODULE__, asker, ref, [pattern]} ->
        {message, rest} = find(messages, [], :ets.match_spec_compile([{pattern, [], [true]}]))
        send(asker, {ref, message})
        keep(rest)

      message ->
        keep(messages ++ [message])
    end
  end

  defp find([message | later], earlier, spec) do
    case :ets.match_spec_run([message], spec) do
      [true] -> {message, Enum.reverse(earlier, later)}
      [] -> find(later, [message | earlier], spec)
    end
  end

  defp find([], earlier, spec) do
    receive do
      message when elem(message, 0) != __MODULE__ -> find([message], earlier, spec)
    end
  end
end
