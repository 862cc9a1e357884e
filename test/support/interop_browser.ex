defmodule ExWebRTC.Interop.Browser do
  @moduledoc false
  # One Chromium for all tests of a module: `test/interop/browser/driver.mjs` behind a port. A test of
  # two that are not in the same network gives the other one a name.

  use GenServer

  alias ExWebRTC.JSONReader
  alias ExWebRTC.WHIP.JSON

  @driver Path.expand("../interop/browser/driver.mjs", __DIR__)
  # Results are some kilobytes.
  @max_line 4_194_304
  # Above the driver's own deadline, which has more to tell.
  @timeout 100_000

  @doc """
  Starts the browser; `within: [command]` runs it inside of another program, such as `ip netns exec`.
  Another `:name` than the module's is for a second one.
  """
  def start_link(options),
    do: GenServer.start_link(__MODULE__, options[:within] || [], name: name(options))

  def child_spec(options), do: Map.put(super(options), :id, name(options))

  defp name(options), do: options[:name] || __MODULE__

  @doc """
  Runs a scenario of `test/interop/browser/scenarios.mjs`, or a step of `peer.js`: what it saw, or
  what went wrong.
  """
  @spec run(atom(), map()) :: {:ok, term()} | {:error, String.t()}
  def run(name \\ __MODULE__, request), do: GenServer.call(name, {:run, request}, @timeout)

  @impl true
  def init(within) do
    # So that `terminate/2` runs.
    Process.flag(:trap_exit, true)

    [program | arguments] = within ++ ["node", @driver]
    options = [:binary, :exit_status, {:line, @max_line}, {:args, arguments}]
    {:ok, Port.open({:spawn_executable, System.find_executable(program)}, options)}
  end

  @impl true
  def handle_call({:run, request}, _from, port) do
    Port.command(port, [JSON.encode(request), "\n"])

    receive do
      {^port, {:data, {:eol, line}}} ->
        case JSONReader.decode!(line) do
          %{"result" => result} -> {:reply, {:ok, result}, port}
          %{"error" => error} -> {:reply, {:error, error}, port}
        end

      {^port, {:exit_status, status}} ->
        {:stop, :normal, {:error, "the browser's driver ended with #{status}"}, port}
    end
  end

  # The driver closes the browser when its stdin ends.
  @impl true
  def terminate(_reason, port) do
    Port.close(port)
  catch
    :error, :badarg -> :ok
  end
end
