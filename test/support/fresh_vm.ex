defmodule ExWebRTC.FreshVM do
  @moduledoc """
  A VM of its own, without `:ex_webrtc` started: for what is decided once in a VM.
  """

  @timeout 60_000

  @doc "Starts one that ends with the calling test."
  @spec start() :: pid()
  def start do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    {:ok, vm, _node} = :peer.start_link(%{connection: :standard_io, args: paths})
    ExUnit.Callbacks.on_exit(fn -> stop(vm) end)
    {:ok, _started} = call(vm, Application, :ensure_all_started, [:elixir])
    vm
  end

  # It is linked to the test's process, so it may be gone, or going, already.
  defp stop(vm) do
    :peer.stop(vm)
  catch
    :exit, _gone -> :ok
  end

  @doc "What the function returns in that VM; an exception there is raised here."
  @spec call(pid(), module(), atom(), [term()]) :: term()
  def call(vm, module, function, arguments),
    do: :peer.call(vm, module, function, arguments, @timeout)

  @doc "The names of the threads of this VM, on Linux."
  @spec threads() :: [String.t()]
  def threads do
    for task <- File.ls!("/proc/self/task"),
        {:ok, name} <- [File.read("/proc/self/task/#{task}/comm")],
        do: String.trim(name)
  end
end
