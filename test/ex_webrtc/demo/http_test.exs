defmodule ExWebRTC.Demo.HTTPTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.Demo.HTTP
  alias ExWebRTC.HTTPClient
  alias ExWebRTC.WHIP.Response

  setup do
    handler = fn
      %{path: ["crash"]} ->
        raise "on purpose"

      request ->
        Response.text(
          200,
          inspect({request.method, request.path, request.query, byte_size(request.body)})
        )
    end

    server = start_supervised!({HTTP, ip: {127, 0, 0, 1}, port: 0, handler: handler})
    %{port: HTTP.port(server)}
  end

  test "passes method, path, query and body", %{port: port} do
    assert {200, headers, body} =
             HTTPClient.request(
               port,
               "PATCH",
               "/a%20b/c?x=1&y=a+b",
               [],
               String.duplicate("b", 100_000)
             )

    assert body == ~s({"PATCH", ["a b", "c"], %{"x" => "1", "y" => "a b"}, 100000}\n)
    assert headers["content-length"] == Integer.to_string(byte_size(body))
    assert headers["connection"] == "close"
  end

  test "keeps a connection for the next request", %{port: port} do
    socket = HTTPClient.connect(port)

    for path <- ["one", "two", "three"] do
      :ok =
        :gen_tcp.send(socket, [
          HTTPClient.head("POST", "/" <> path, [{"Content-Length", 3}]),
          "abc"
        ])

      assert {200, headers, body} = socket |> HTTPClient.read_one("") |> HTTPClient.parse()
      assert body =~ path
      assert headers["connection"] == "keep-alive"
    end
  end

  test "takes a request in any number of pieces", %{port: port} do
    socket = HTTPClient.connect(port)
    bytes = IO.iodata_to_binary([HTTPClient.head("POST", "/x", [{"Content-Length", 4}]), "body"])

    for <<byte <- bytes>> do
      :ok = :gen_tcp.send(socket, <<byte>>)
    end

    assert {200, _, body} = socket |> HTTPClient.read_one("") |> HTTPClient.parse()
    assert body =~ ", 4}"
  end

  test "says to go on where it is asked", %{port: port} do
    socket = HTTPClient.connect(port)
    head = HTTPClient.head("POST", "/x", [{"Content-Length", 4}, {"Expect", "100-continue"}])
    :ok = :gen_tcp.send(socket, head)
    assert {:ok, "HTTP/1.1 100 Continue\r\n\r\n"} = :gen_tcp.recv(socket, 0, 5_000)
    :ok = :gen_tcp.send(socket, "body")
    assert {200, _, _} = socket |> HTTPClient.read_one("") |> HTTPClient.parse()
  end

  test "refuses what is no request", %{port: port} do
    assert {400, _, _} = HTTPClient.raw(port, "hello there\r\n\r\n")
    assert {400, _, _} = HTTPClient.raw(port, "GET /%ff HTTP/1.1\r\n\r\n")
    assert {400, _, _} = HTTPClient.raw(port, "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")

    assert {400, _, _} =
             HTTPClient.raw(
               port,
               "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"
             )

    assert {411, _, _} =
             HTTPClient.raw(port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    assert {505, _, _} = HTTPClient.raw(port, "GET / HTTP/3.0\r\n\r\n")
  end

  test "refuses what is too large", %{port: port} do
    assert {413, _, _} =
             HTTPClient.raw(port, "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")

    headers = for n <- 1..200, do: {"X-#{n}", "1"}
    assert {431, _, _} = HTTPClient.raw(port, HTTPClient.head("GET", "/", headers))

    long = String.duplicate("a", 40_000)
    assert {431, _, _} = HTTPClient.raw(port, HTTPClient.head("GET", "/", [{"X", long}]))
    assert {431, _, _} = HTTPClient.raw(port, HTTPClient.head("GET", "/" <> long, []))
  end

  test "a handler that crashes costs one request", %{port: port} do
    ExUnit.CaptureLog.capture_log(fn ->
      assert {500, _, _} = HTTPClient.request(port, "GET", "/crash")
    end)

    assert {200, _, _} = HTTPClient.request(port, "GET", "/fine")
  end

  describe "clients that only take time" do
    setup do
      options = [ip: {127, 0, 0, 1}, port: 0, handler: fn _ -> Response.text(200, "fine") end]
      limits = [max_connections: 20, timeouts: %{idle: 1_000, request: 300}]
      server = start_supervised!({HTTP, options ++ limits}, id: :limited)
      %{port: HTTP.port(server)}
    end

    test "are told so after a while, however steadily their bytes drip in", %{port: port} do
      head = HTTPClient.connect(port)
      body = HTTPClient.connect(port)
      :ok = :gen_tcp.send(head, "GET / HTTP/1.1\r\n")
      :ok = :gen_tcp.send(body, HTTPClient.head("POST", "/", [{"Content-Length", 1_000_000}]))

      for socket <- [head, body] do
        assert {408, %{"connection" => "close"}, _} = drip(socket, "x-a: b\r\n")
      end
    end

    test "lose a connection that they do not use", %{port: port} do
      socket = HTTPClient.connect(port)
      assert {:error, :closed} = :gen_tcp.recv(socket, 0, 5_000)
    end

    test "keep others out no longer than they may stay", %{port: port} do
      for _ <- 1..20, do: :ok = port |> HTTPClient.connect() |> :gen_tcp.send("GET / HT")
      # These many are all there may be; the rest is told so.
      assert {503, _, _} =
               port |> HTTPClient.connect() |> HTTPClient.read_one("") |> HTTPClient.parse()

      eventually(fn -> match?({200, _, _}, HTTPClient.request(port, "GET", "/")) end)
    end
  end

  # Sends on, one piece every few milliseconds, until there is an answer.
  defp drip(socket, piece) do
    case :gen_tcp.recv(socket, 0, 20) do
      {:ok, answer} ->
        socket |> HTTPClient.read_one(answer) |> HTTPClient.parse()

      {:error, :timeout} ->
        _ = :gen_tcp.send(socket, piece)
        drip(socket, piece)
    end
  end

  test "says which port it cannot have", %{port: port} do
    Process.flag(:trap_exit, true)

    assert {:error, {:shutdown, {:listen, :eaddrinuse}}} =
             HTTP.start_link(ip: {127, 0, 0, 1}, port: port, handler: & &1)
  end
end
