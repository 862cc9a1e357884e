defmodule ExWebRTC.Demo.HTTP do
  @moduledoc false
  # A small HTTP/1.1 server for the demo: one listening socket, one acceptor, one process per
  # connection.
  #
  # OTP's own httpd answers OPTIONS with 501 before any module of ours sees it, so pages of other
  # origins could not use it (Fetch, section 4.8: a POST of application/sdp is preflighted), and
  # RFC 9725 could not be kept.

  use GenServer

  alias ExWebRTC.Demo.HTTP.Connection

  @max_connections 512
  @backlog 128

  @doc """
  Starts a server.

    * `:ip` - address to listen on
    * `:port` - 0 for any free one
    * `:handler` - `(ExWebRTC.WHIP.Request.t() -> ExWebRTC.WHIP.Response.t())`, called in the
      connection's process
    * `:max_connections` - default #{@max_connections}; further clients are told `503`
    * `:timeouts` - default `Connection.timeouts/0`
  """
  def start_link(options),
    do: GenServer.start_link(__MODULE__, options, Keyword.take(options, [:name]))

  @doc "The port it listens on."
  @spec port(GenServer.server()) :: :inet.port_number()
  def port(server), do: GenServer.call(server, :port)

  @impl true
  def init(options) do
    ip = Keyword.fetch!(options, :ip)
    family = if tuple_size(ip) == 8, do: [:inet6], else: [:inet]
    socket_options = family ++ [ip: ip, reuseaddr: true, backlog: @backlog]

    case :gen_tcp.listen(
           Keyword.fetch!(options, :port),
           socket_options ++ Connection.socket_options()
         ) do
      {:ok, listener} ->
        {:ok, connections} =
          Task.Supervisor.start_link(
            max_children: Keyword.get(options, :max_connections, @max_connections)
          )

        handler = Keyword.fetch!(options, :handler)
        timeouts = Keyword.get(options, :timeouts, Connection.timeouts())
        serve = &Connection.serve(&1, handler, timeouts)
        {:ok, _acceptor} = Task.start_link(fn -> accept(listener, connections, serve) end)
        {:ok, {:inet.port(listener), listener}}

      {:error, reason} ->
        {:stop, {:shutdown, {:listen, reason}}}
    end
  end

  @impl true
  def handle_call(:port, _from, {{:ok, port}, _listener} = state), do: {:reply, port, state}

  defp accept(listener, connections, serve) do
    case :gen_tcp.accept(listener) do
      {:ok, socket} ->
        hand_over(socket, connections, serve)
        accept(listener, connections, serve)

      {:error, :closed} ->
        :ok

      {:error, reason} when reason in [:emfile, :enfile, :enobufs, :enomem] ->
        # Nothing to do but wait until connections have ended.
        Process.sleep(100)
        accept(listener, connections, serve)

      {:error, _aborted} ->
        accept(listener, connections, serve)
    end
  end

  defp hand_over(socket, connections, serve) do
    task = fn ->
      receive do
        :yours -> serve.(socket)
      end
    end

    case Task.Supervisor.start_child(connections, task) do
      {:ok, pid} ->
        # A socket that is closed by now is found out by the process that reads it.
        _ = :gen_tcp.controlling_process(socket, pid)
        send(pid, :yours)

      {:error, :max_children} ->
        Connection.turn_away(socket)
    end
  end
end
