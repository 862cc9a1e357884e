if Code.ensure_loaded?(Plug.Conn) do
  defmodule ExWebRTC.WHIP.Plug do
    @moduledoc """
    `ExWebRTC.WHIP` as a Plug. There only when the application has Plug.

        forward "/rtc", to: ExWebRTC.WHIP.Plug, init_opts: [whip: MyApp.WHIP]

    `Location` headers have the path the plug is mounted at. Put it before body parsers, or
    leave `application/sdp` to it.
    """

    @behaviour Plug

    alias ExWebRTC.WHIP
    alias ExWebRTC.WHIP.Request

    # An offer is about 10 KB; the router refuses more than 256 KiB itself.
    @max_body_bytes 1_048_576

    @impl true
    def init(options), do: Keyword.fetch!(options, :whip)

    @impl true
    def call(conn, whip) do
      case Plug.Conn.read_body(conn, length: @max_body_bytes) do
        {:ok, body, conn} -> respond(conn, WHIP.handle(whip, request(conn, body)))
        {:more, _partial, conn} -> conn |> Plug.Conn.send_resp(413, "") |> Plug.Conn.halt()
        {:error, _reason} -> conn |> Plug.Conn.send_resp(400, "") |> Plug.Conn.halt()
      end
    end

    defp request(conn, body) do
      conn = Plug.Conn.fetch_query_params(conn)

      %Request{
        method: conn.method,
        path: conn.path_info,
        query:
          for(
            {name, value} when is_binary(value) <- conn.query_params,
            into: %{},
            do: {name, value}
          ),
        headers: Map.new(conn.req_headers),
        body: body
      }
    end

    defp respond(conn, response) do
      response.headers
      |> Enum.reduce(conn, fn
        {"location", path}, conn ->
          Plug.Conn.put_resp_header(conn, "location", mount(conn) <> path)

        {name, value}, conn ->
          Plug.Conn.put_resp_header(conn, name, value)
      end)
      |> Plug.Conn.send_resp(response.status, response.body)
      |> Plug.Conn.halt()
    end

    defp mount(%{script_name: []}), do: ""
    defp mount(%{script_name: segments}), do: "/" <> Enum.join(segments, "/")
  end
end
