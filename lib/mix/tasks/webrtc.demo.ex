defmodule Mix.Tasks.Webrtc.Demo do
  @shortdoc "Serves the demo: a browser's camera through Elixir and back"

  @moduledoc """
  Serves the demo page and its WHIP, WHEP and echo endpoints.

      mix webrtc.demo
      mix webrtc.demo --port 8080 --host 0.0.0.0 --open

    * `--port` - TCP port, default 4000; 0 for any free one
    * `--host` - IP address to listen on, default 127.0.0.1. Browsers open cameras only on
      `localhost` and on HTTPS.
    * `--stun` - URL of a STUN server, `stun:host:port`; may be given more than once
    * `--open` - opens the page with `xdg-open`, where there is a display

  Ends with Ctrl-C twice.
  """

  use Mix.Task

  @switches [port: :integer, host: :string, stun: :keep, open: :boolean]

  @impl true
  def run(arguments) do
    options = parse(arguments)
    Mix.Task.run("app.start")
    # A demo that cannot start must not take this process along: it has to say why.
    Process.flag(:trap_exit, true)

    case ExWebRTC.Demo.start_link(
           ip: options.ip,
           port: options.port,
           pc_options: options.pc_options
         ) do
      {:ok, demo} ->
        url = url(options.ip, ExWebRTC.Demo.port())
        Mix.shell().info("The demo is at #{url} (Ctrl-C twice ends it)")
        if options.open?, do: open(url)
        unless iex?(), do: wait(demo)

      {:error, reason} ->
        Mix.raise("The demo cannot listen on port #{options.port}: #{explain(reason)}")
    end
  end

  @doc false
  def parse(arguments) do
    {options, rest, invalid} = OptionParser.parse(arguments, strict: @switches)

    case {rest, invalid} do
      {[], []} ->
        :ok

      {[argument | _], _} ->
        Mix.raise("mix webrtc.demo takes no argument, got #{argument}")

      {_, [{option, _value} | _]} ->
        Mix.raise("#{option} is unknown or has a bad value; see mix help webrtc.demo")
    end

    %{
      ip: options |> Keyword.get(:host, "127.0.0.1") |> parse_host(),
      port: options |> Keyword.get(:port, 4000) |> check_port(),
      pc_options: ice_servers(Keyword.get_values(options, :stun)),
      open?: Keyword.get(options, :open, false)
    }
  end

  defp parse_host("localhost"), do: {127, 0, 0, 1}

  defp parse_host(host) do
    case host |> String.to_charlist() |> :inet.parse_address() do
      {:ok, ip} -> ip
      {:error, :einval} -> Mix.raise("--host must be an IP address, got #{host}")
    end
  end

  defp check_port(port) when port in 0..65_535, do: port
  defp check_port(port), do: Mix.raise("--port must be 0 to 65535, got #{port}")

  defp ice_servers([]), do: []
  defp ice_servers(urls), do: [ice_servers: [%{urls: urls}]]

  # A page on an address of the machine has no camera; localhost reaches a wildcard address too.
  defp url(ip, port) when ip in [{127, 0, 0, 1}, {0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}],
    do: "http://localhost:#{port}"

  defp url(ip, port) when tuple_size(ip) == 8, do: "http://[#{:inet.ntoa(ip)}]:#{port}"
  defp url(ip, port), do: "http://#{:inet.ntoa(ip)}:#{port}"

  @spec wait(pid()) :: no_return()
  defp wait(demo) do
    receive do
      {:EXIT, ^demo, reason} -> Mix.raise("The demo ended: #{inspect(reason)}")
    end
  end

  defp explain(
         {:shutdown, {:failed_to_start_child, _child, {:shutdown, {:listen, :eaddrinuse}}}}
       ),
       do: "it is taken. Choose another with --port"

  defp explain({:shutdown, {:failed_to_start_child, _child, {:shutdown, {:listen, reason}}}}),
    do: "#{:inet.format_error(reason)}"

  defp explain(reason), do: inspect(reason)

  defp open(url) do
    display? = System.get_env("DISPLAY") != nil or System.get_env("WAYLAND_DISPLAY") != nil

    with true <- display?, opener when is_binary(opener) <- System.find_executable("xdg-open") do
      # The opener may stay as long as the browser does: nobody waits for it.
      spawn(fn -> System.cmd(opener, [url], stderr_to_stdout: true) end)
    end

    :ok
  end

  defp iex?, do: Code.ensure_loaded?(IEx) and IEx.started?()
end
