defmodule ExWebRTC.Demo.HTTP.Connection do
  @moduledoc false
  # One HTTP/1.1 connection (RFC 9112): reads requests one after the other, answers each, and
  # keeps to limits, so that a client can waste no more than its own connection.

  alias ExWebRTC.WHIP.{Request, Response}

  # The driver cuts the connection at a longer line, so nobody can be told: hence above the next.
  @max_line_bytes 64 * 1024
  # Target and header fields together; refused with 431.
  @max_head_bytes 32 * 1024
  @max_headers 100
  @max_body_bytes 1024 * 1024
  # Between requests, and for one whole request, however slowly its bytes drip in.
  @timeouts %{idle: 60_000, request: 15_000}
  # How long a refused client may go on sending before the connection is cut, in milliseconds.
  @linger 200
  @send_timeout 15_000

  @reasons %{
    200 => "OK",
    201 => "Created",
    204 => "No Content",
    304 => "Not Modified",
    400 => "Bad Request",
    404 => "Not Found",
    405 => "Method Not Allowed",
    408 => "Request Timeout",
    409 => "Conflict",
    411 => "Length Required",
    412 => "Precondition Failed",
    413 => "Content Too Large",
    415 => "Unsupported Media Type",
    431 => "Request Header Fields Too Large",
    500 => "Internal Server Error",
    501 => "Not Implemented",
    503 => "Service Unavailable",
    505 => "HTTP Version Not Supported"
  }

  @doc "The options of a listening socket whose connections `serve/2` takes."
  def socket_options do
    [
      :binary,
      active: false,
      packet: :http_bin,
      packet_size: @max_line_bytes,
      nodelay: true,
      send_timeout: @send_timeout,
      send_timeout_close: true
    ]
  end

  @doc "How long a client may take, in milliseconds: between requests, and for a whole one."
  @spec timeouts() :: %{idle: timeout(), request: timeout()}
  def timeouts, do: @timeouts

  @doc "Serves a connection until it ends."
  @spec serve(:gen_tcp.socket(), (Request.t() -> Response.t()), %{
          idle: timeout(),
          request: timeout()
        }) :: :ok
  def serve(socket, handler, timeouts) do
    case read_request(socket, timeouts) do
      {:ok, request, keep_alive?} ->
        response = run(handler, request)

        case write(socket, response, request.method, keep_alive?) do
          :ok when keep_alive? -> serve(socket, handler, timeouts)
          _ended -> close(socket)
        end

      {:refuse, status, why} ->
        _ = write(socket, Response.text(status, why), "GET", false)
        close(socket)

      :closed ->
        close(socket)
    end
  end

  @doc "Tells a client that there are too many. Nobody waits for its request: it may miss the answer."
  @spec turn_away(:gen_tcp.socket()) :: :ok
  def turn_away(socket) do
    _ = write(socket, Response.text(503, "too many connections"), "GET", false)
    :gen_tcp.close(socket)
  end

  # A handler that crashes costs its request, and is logged as any crash is.
  defp run(handler, request) do
    handler.(request)
  catch
    kind, reason ->
      require Logger
      Logger.error(Exception.format(kind, reason, __STACKTRACE__))
      Response.text(500, "this request made the server stumble")
  end

  defp read_request(socket, timeouts) do
    :ok = unwrap(:inet.setopts(socket, packet: :http_bin))

    case :gen_tcp.recv(socket, 0, timeouts.idle) do
      {:ok, {:http_request, method, target, version}} ->
        deadline = now() + timeouts.request
        read_rest(socket, to_string(method), target, version, deadline)

      {:ok, {:http_error, _line}} ->
        {:refuse, 400, "not an HTTP request"}

      {:error, _closed_or_idle} ->
        :closed
    end
  end

  # A line without a version is HTTP/0.9 to the parser.
  defp read_rest(_socket, _method, _target, {0, _minor}, _deadline),
    do: {:refuse, 400, "not an HTTP request"}

  defp read_rest(_socket, _method, _target, version, _deadline)
       when version not in [{1, 0}, {1, 1}],
       do: {:refuse, 505, "HTTP/1.1 is spoken here"}

  defp read_rest(socket, method, target, version, deadline) do
    with {:ok, target} <- target(target),
         {:ok, headers} <- read_headers(socket, %{}, {0, byte_size(target)}, deadline),
         {:ok, length} <- body_length(headers),
         :ok <- continue(socket, headers, length),
         {:ok, body} <- read_body(socket, length, deadline) do
      case Request.parse(method, target, headers, body) do
        {:ok, request} -> {:ok, request, keep_alive?(version, headers)}
        :error -> {:refuse, 400, "the address is not well formed"}
      end
    end
  end

  defp target({:abs_path, path}), do: {:ok, path}
  defp target({:absoluteURI, _scheme, _host, _port, path}), do: {:ok, path}
  defp target(:*), do: {:ok, "*"}
  defp target(_other), do: {:refuse, 400, "the address is not a path"}

  defp read_headers(_socket, _headers, {count, bytes}, _deadline)
       when count >= @max_headers or bytes > @max_head_bytes,
       do: {:refuse, 431, "at most #{@max_headers} fields and #{@max_head_bytes} bytes"}

  defp read_headers(socket, headers, {count, bytes}, deadline) do
    case :gen_tcp.recv(socket, 0, left(deadline)) do
      {:ok, :http_eoh} ->
        {:ok, headers}

      {:ok, {:http_header, _hash, name, _raw, value}} ->
        name = name |> to_string() |> String.downcase()
        read = {count + 1, bytes + byte_size(name) + byte_size(value)}
        read_headers(socket, put_header(headers, name, value), read, deadline)

      {:ok, {:http_error, _line}} ->
        {:refuse, 400, "a header field is not well formed"}

      {:error, :timeout} ->
        {:refuse, 408, "the request took too long"}

      {:error, _closed} ->
        :closed
    end
  end

  # RFC 9110, section 5.3: repeated fields are one, joined by commas.
  defp put_header(headers, name, value),
    do: Map.update(headers, name, value, &(&1 <> ", " <> value))

  # No transfer coding: every client that posts SDP knows its length (RFC 9112, section 6.3).
  defp body_length(%{"transfer-encoding" => _coding}),
    do: {:refuse, 411, "send a Content-Length"}

  defp body_length(%{"content-length" => text}) do
    if text =~ ~r/\A[0-9]{1,12}\z/ do
      case String.to_integer(text) do
        length when length <= @max_body_bytes -> {:ok, length}
        _large -> {:refuse, 413, "at most #{@max_body_bytes} bytes"}
      end
    else
      {:refuse, 400, "Content-Length is not a number"}
    end
  end

  defp body_length(_headers), do: {:ok, 0}

  defp continue(socket, %{"expect" => expectation}, length) when length > 0 do
    if String.downcase(expectation) == "100-continue" do
      case :gen_tcp.send(socket, "HTTP/1.1 100 Continue\r\n\r\n") do
        :ok -> :ok
        {:error, _reason} -> :closed
      end
    else
      :ok
    end
  end

  defp continue(_socket, _headers, _length), do: :ok

  defp read_body(_socket, 0, _deadline), do: {:ok, ""}

  defp read_body(socket, length, deadline) do
    :ok = unwrap(:inet.setopts(socket, packet: :raw))

    case :gen_tcp.recv(socket, length, left(deadline)) do
      {:ok, body} -> {:ok, body}
      {:error, :timeout} -> {:refuse, 408, "the request took too long"}
      {:error, _closed} -> :closed
    end
  end

  # A socket that was closed in the meantime says so at the next read.
  defp unwrap(:ok), do: :ok
  defp unwrap({:error, _reason}), do: :ok

  defp keep_alive?(version, headers) do
    options = headers |> Map.get("connection", "") |> String.downcase()

    case version do
      {1, 1} -> not String.contains?(options, "close")
      {1, 0} -> String.contains?(options, "keep-alive")
    end
  end

  defp write(socket, %Response{} = response, method, keep_alive?) do
    body = if method == "HEAD", do: "", else: response.body

    # RFC 9110, section 8.6: 204 has no Content-Length; a HEAD answer has the GET's.
    length =
      if response.status == 204,
        do: [],
        else: [{"content-length", Integer.to_string(IO.iodata_length(response.body))}]

    connection = if keep_alive?, do: "keep-alive", else: "close"
    headers = response.headers ++ length ++ [{"connection", connection}]

    :gen_tcp.send(socket, [
      "HTTP/1.1 #{response.status} #{Map.get(@reasons, response.status, "Status")}\r\n",
      Enum.map(headers, fn {name, value} -> [name, ": ", value, "\r\n"] end),
      "\r\n",
      body
    ])
  end

  defp close(socket) do
    # Unread input would turn the close into a reset, and the client would not see the answer.
    _ = :gen_tcp.shutdown(socket, :write)
    _ = :inet.setopts(socket, packet: :raw)
    drain(socket, now() + @linger)
    :gen_tcp.close(socket)
  end

  # Until the client closes as well, or for as long as is fair to the others.
  defp drain(socket, deadline) do
    with time when time > 0 <- left(deadline),
         {:ok, _unread} <- :gen_tcp.recv(socket, 0, time),
         do: drain(socket, deadline)
  end

  defp left(deadline), do: max(0, deadline - now())
  defp now, do: System.monotonic_time(:millisecond)
end
