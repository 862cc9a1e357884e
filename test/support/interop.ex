defmodule ExWebRTC.Interop do
  @moduledoc false
  # Runs the other side of the interop tests: scenarios of Chromium and of aiortc.

  import ExUnit.Assertions

  alias ExWebRTC.{Demo, JSONReader}
  alias ExWebRTC.Interop.Browser
  alias ExWebRTC.WHIP.JSON

  @directory Path.expand("../interop", __DIR__)
  @artifacts Path.expand("../artifacts", __DIR__)

  @doc "Starts a demo of this test's own; returns its name and address."
  def start_demo(options \\ []) do
    name = Module.concat(Demo, "Interop#{System.unique_integer([:positive])}")
    ExUnit.Callbacks.start_supervised!({Demo, [name: name, port: 0] ++ options})
    {name, "http://localhost:#{Demo.port(name)}"}
  end

  @doc """
  Runs a scenario of `test/interop/browser/scenarios.mjs`; returns what it saw.

  The figures are kept as an artifact.
  """
  def chromium(scenario, base, options \\ %{}) do
    case Browser.run(%{scenario: scenario, base: base, options: options}) do
      {:ok, result} ->
        assert result["problems"] == [], "the page raised: #{inspect(result["problems"])}"
        name = Enum.join([scenario | List.wrap(options[:codec])], "-")
        File.write!(artifact(name <> ".json"), JSON.encode(result))
        result

      {:error, text} ->
        flunk("#{scenario}: #{text}")
    end
  end

  @doc "A file that is kept after the tests."
  def artifact(name) do
    File.mkdir_p!(@artifacts)
    Path.join(@artifacts, name)
  end

  @doc "Starts `test/interop/aiortc/peer.py`; talk to it with `read_line/1` and `write_line/2`."
  def aiortc(arguments), do: python("peer.py", arguments)

  @doc "Starts a program of `test/interop/aiortc`."
  def python(program, arguments) do
    Port.open({:spawn_executable, Path.join(@directory, ".venv/bin/python")}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      {:line, 1_048_576},
      {:args, [Path.join([@directory, "aiortc", program]) | arguments]}
    ])
  end

  @doc "Writes a term as a line of JSON."
  def write_line(port, term), do: Port.command(port, [JSON.encode(term), "\n"])

  @doc "The next message of JSON the peer prints; its other lines are logs."
  def read_line(port, timeout \\ 40_000, log \\ []) do
    receive do
      {^port, {:data, {:eol, "{" <> _rest = line}}} -> JSONReader.decode!(line)
      {^port, {:data, {_end, line}}} -> read_line(port, timeout, [line | log])
      {^port, {:exit_status, status}} -> flunk("aiortc ended with #{status}:\n#{text(log)}")
    after
      timeout -> flunk("aiortc said nothing:\n#{text(log)}")
    end
  end

  defp text(log), do: log |> Enum.reverse() |> Enum.join("\n")
end
