# Stand-ins of the shape of Plug's modules, for want of the package: what the adapter calls.
defmodule ExWebRTC.WHIP.PlugTest.StandIns do
  @moduledoc false

  def define do
    defmodule Elixir.Plug do
      @callback init(term()) :: term()
      @callback call(term(), term()) :: term()
    end

    defmodule Elixir.Plug.Conn do
      defstruct method: "GET",
                path_info: [],
                script_name: [],
                query_params: %{},
                req_headers: [],
                body: "",
                resp_headers: [],
                status: nil,
                resp_body: nil,
                halted: false

      def read_body(%{body: body} = conn, length: limit) when byte_size(body) > limit,
        do: {:more, binary_part(body, 0, limit), conn}

      def read_body(%{body: body} = conn, _options), do: {:ok, body, conn}
      def fetch_query_params(conn), do: conn

      def put_resp_header(conn, name, value),
        do: %{conn | resp_headers: [{name, value} | conn.resp_headers]}

      def send_resp(conn, status, body),
        do: %{conn | status: status, resp_body: IO.iodata_to_binary(body)}

      def halt(conn), do: %{conn | halted: true}
    end
  end
end

defmodule ExWebRTC.WHIP.PlugTest do
  use ExUnit.Case, async: false

  alias ExWebRTC.{FakePeerConnection, WHIP}

  @offer "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"

  setup_all do
    ExWebRTC.WHIP.PlugTest.StandIns.define()
    Code.compile_file("lib/ex_webrtc/whip/plug.ex")

    on_exit(fn ->
      for module <- [WHIP.Plug, Plug.Conn, Plug] do
        :code.purge(module)
        :code.delete(module)
      end
    end)
  end

  setup do
    start_supervised!(
      {WHIP,
       name: __MODULE__.WHIP,
       endpoints: %{"echo" => {ExWebRTC.Demo.Echo, []}},
       peer_connection: FakePeerConnection}
    )

    :ok
  end

  test "answers where it is mounted" do
    conn = call(method: "POST", script_name: ["rtc"], path_info: ["echo"], body: @offer)
    assert conn.status == 201
    assert conn.halted
    headers = Map.new(conn.resp_headers)
    assert "/rtc/echo/" <> id = headers["location"]
    assert headers["content-type"] == "application/sdp"

    assert %{status: 200} = call(method: "GET", path_info: ["echo", id])
    assert %{status: 200} = call(method: "DELETE", path_info: ["echo", id])
    assert %{status: 404} = call(method: "GET", path_info: ["echo", id])
  end

  test "passes parameters, and refuses bodies that are too large" do
    fields = [method: "POST", path_info: ["echo"], body: @offer]
    assert %{status: 400} = call(fields ++ [query_params: %{"negotiated" => "no"}])

    assert %{status: 413, halted: true} =
             call(method: "POST", body: String.duplicate("a", 2_000_000))
  end

  defp call(fields) do
    conn = struct(Plug.Conn, [req_headers: [{"content-type", "application/sdp"}]] ++ fields)
    # The module exists only since `setup_all`.
    plug = Module.concat(WHIP, Plug)
    plug.call(conn, plug.init(whip: __MODULE__.WHIP))
  end
end
