defmodule ExWebRTC.Demo do
  @moduledoc """
  The demo: a page, an echo, and a WHIP/WHEP relay, on one HTTP port.

      mix webrtc.demo

  or, under a supervisor of one's own, `{ExWebRTC.Demo, port: 4000}`.

    * `POST /echo` - media and messages come back; `?negotiated=ID` adds a negotiated channel
    * `POST /whip` - publishes `?stream=NAME`, default `live`; one publisher at a time
    * `POST /whep` - watches it
    * `GET /streams` - JSON: `{"streams": [NAME]}`

  Sessions are those of `ExWebRTC.WHIP`.
  """

  use Supervisor

  alias ExWebRTC.Demo.{Assets, Echo, HTTP, Publisher, Streams, Viewer}
  alias ExWebRTC.WHIP
  alias ExWebRTC.WHIP.{JSON, Request, Response}

  # What browsers send; the default set has no VP9.
  @video_codecs [:vp8, :vp9, :h264, :av1]

  @page_methods "GET, HEAD"

  @type option ::
          {:name, atom()}
          | {:ip, :inet.ip_address()}
          | {:port, :inet.port_number()}
          | {:pc_options, keyword()}
          | {:max_sessions, pos_integer()}
          | {:peer_connection, module()}

  @doc """
  Starts the demo.

    * `:name` - default `ExWebRTC.Demo`
    * `:ip` - address to listen on, default `{127, 0, 0, 1}`. Browsers open cameras only on
      `localhost` and on HTTPS.
    * `:port` - default 4000; 0 for any free one
    * `:pc_options` - options for every connection, for instance `:ice_servers`
    * `:max_sessions` - as in `ExWebRTC.WHIP`
    * `:peer_connection` - as in `ExWebRTC.WHIP`

  `{:error, {:shutdown, {:failed_to_start_child, _, {:shutdown, {:listen, posix}}}}}` where the
  port cannot be had.
  """
  @spec start_link([option()]) :: Supervisor.on_start()
  def start_link(options) do
    Supervisor.start_link(__MODULE__, options, name: Keyword.get(options, :name, __MODULE__))
  end

  @doc "The port the demo listens on."
  @spec port(atom()) :: :inet.port_number()
  def port(name \\ __MODULE__), do: name |> part("HTTP") |> HTTP.port()

  @doc "How many sessions there are."
  @spec sessions(atom()) :: non_neg_integer()
  def sessions(name \\ __MODULE__), do: name |> part("WHIP") |> WHIP.count()

  @impl true
  def init(options) do
    name = Keyword.get(options, :name, __MODULE__)
    streams = part(name, "Streams")
    whip = part(name, "WHIP")
    media = [video_codecs: @video_codecs]

    children = [
      Streams.child_spec(streams),
      {WHIP,
       [
         name: whip,
         endpoints: %{
           "echo" => {Echo, media},
           "whip" => {Publisher, {streams, media}},
           "whep" => {Viewer, {streams, media}}
         }
       ] ++ Keyword.take(options, [:pc_options, :max_sessions, :peer_connection])},
      {HTTP,
       name: part(name, "HTTP"),
       ip: Keyword.get(options, :ip, {127, 0, 0, 1}),
       port: Keyword.get(options, :port, 4000),
       handler: &handle(&1, whip, streams)}
    ]

    Supervisor.init(children, strategy: :one_for_one)
  end

  @doc false
  @spec handle(Request.t(), atom(), atom()) :: Response.t()
  def handle(%Request{path: path, method: method} = request, whip, streams) do
    case {path, method} do
      {[], _method} ->
        page("index.html", request)

      {["streams"], method} when method in ["GET", "HEAD"] ->
        list(streams)

      {["streams"], _method} ->
        Response.text(405, "allowed here: #{@page_methods}", [{"allow", @page_methods}])

      {["assets", file], _method} ->
        page(file, request)

      _session ->
        WHIP.handle(whip, request)
    end
  end

  defp list(streams) do
    Response.with_body(200, "application/json", JSON.encode(%{streams: Streams.names(streams)}), [
      {"cache-control", "no-store"},
      {"access-control-allow-origin", "*"}
    ])
  end

  defp page(file, %{method: method} = request) when method in ["GET", "HEAD"] do
    case Assets.fetch(file) do
      {:ok, type, body, etag} ->
        headers = [
          {"etag", etag},
          {"cache-control", "no-cache"},
          {"x-content-type-options", "nosniff"},
          {"content-security-policy",
           "default-src 'self'; media-src 'self' blob: mediastream:; img-src 'self' data:; frame-ancestors 'none'"}
        ]

        if request.headers["if-none-match"] == etag,
          do: Response.empty(304, headers),
          else: Response.with_body(200, type, body, headers)

      :error ->
        Response.text(404, "nothing here")
    end
  end

  defp page(_file, _request),
    do: Response.text(405, "allowed here: #{@page_methods}", [{"allow", @page_methods}])

  defp part(name, part), do: Module.concat(name, part)
end
