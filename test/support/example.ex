defmodule ExWebRTC.Example do
  @moduledoc """
  Runs a script of `examples/` as its readers do, in a VM of its own.
  """

  import ExUnit.Assertions

  @root Path.expand("../..", __DIR__)

  @doc """
  Starts `mix run examples/NAME ARGUMENTS --port 0`, until the test ends. Returns the address of its
  page and what it printed before that.
  """
  @spec start(String.t(), [String.t()]) :: {base :: String.t(), printed :: String.t(), port()}
  def start(name, arguments \\ []) do
    port =
      Port.open({:spawn_executable, System.find_executable("mix")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        {:line, 65_536},
        {:cd, @root},
        {:env, [{'MIX_ENV', 'test'}]},
        # The tests have compiled everything.
        {:args, ~w(run --no-compile examples/#{name}) ++ arguments ++ ~w(--port 0)}
      ])

    {:os_pid, os_pid} = Port.info(port, :os_pid)

    ExUnit.Callbacks.on_exit(fn ->
      System.cmd("kill", ["-9", "#{os_pid}"], stderr_to_stdout: true)
    end)

    printed = await_address(port, [])
    [base] = Regex.run(~r{http://localhost:\d+}, printed)
    {base, printed, port}
  end

  defp await_address(port, lines) do
    receive do
      {^port, {:data, {_end, "Open http" <> _rest = line}}} ->
        [line | lines] |> Enum.reverse() |> Enum.join("\n")

      {^port, {:data, {_end, line}}} ->
        await_address(port, [line | lines])

      {^port, {:exit_status, status}} ->
        flunk("the example ended with #{status}:\n#{Enum.join(Enum.reverse(lines), "\n")}")
    after
      60_000 -> flunk("the example named no page:\n#{Enum.join(Enum.reverse(lines), "\n")}")
    end
  end
end
