defmodule ExWebRTC.HTTPClient do
  @moduledoc false
  # HTTP as bytes on a socket: tests see exactly what the server sends.

  @timeout 5_000

  @doc "One request on a connection of its own: status, headers by lower-case name, body."
  def request(port, method, path, headers \\ [], body \\ "") do
    socket = connect(port)
    headers = [{"Content-Length", byte_size(body)}, {"Connection", "close"} | headers]
    :ok = :gen_tcp.send(socket, [head(method, path, headers), body])
    response = socket |> read_all("") |> parse()
    :gen_tcp.close(socket)
    response
  end

  def head(method, path, headers) do
    lines = Enum.map(headers, fn {name, value} -> "#{name}: #{value}\r\n" end)
    ["#{method} #{path} HTTP/1.1\r\nHost: localhost\r\n", lines, "\r\n"]
  end

  def connect(port) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    socket
  end

  @doc "Sends bytes and returns the first response."
  def raw(port, bytes) do
    socket = connect(port)
    :ok = :gen_tcp.send(socket, bytes)
    response = socket |> read_one("") |> parse()
    :gen_tcp.close(socket)
    response
  end

  def read_one(socket, read) do
    with [head, body] <- String.split(read, "\r\n\r\n", parts: 2),
         true <- byte_size(body) >= length_of(head) do
      read
    else
      _more ->
        {:ok, bytes} = :gen_tcp.recv(socket, 0, @timeout)
        read_one(socket, read <> bytes)
    end
  end

  def parse(text) do
    [head, body] = String.split(text, "\r\n\r\n", parts: 2)
    ["HTTP/1.1 " <> status | fields] = String.split(head, "\r\n")

    headers =
      Map.new(fields, fn field ->
        [name, value] = String.split(field, ": ", parts: 2)
        {String.downcase(name), value}
      end)

    {status |> String.slice(0, 3) |> String.to_integer(), headers, body}
  end

  defp read_all(socket, read) do
    case :gen_tcp.recv(socket, 0, @timeout) do
      {:ok, bytes} -> read_all(socket, read <> bytes)
      {:error, :closed} -> read
    end
  end

  defp length_of(head) do
    case Regex.run(~r/content-length: (\d+)/i, head) do
      [_all, length] -> String.to_integer(length)
      nil -> 0
    end
  end
end
