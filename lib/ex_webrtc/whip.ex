defmodule ExWebRTC.WHIP do
  @moduledoc """
  WHIP (RFC 9725) and WHEP over any HTTP server: a client posts an SDP offer, gets the answer
  and a session of its own.

  Start one under a supervisor, with the endpoints it has and what each does with its
  connections (`ExWebRTC.WHIP.Handler`):

      children = [
        {ExWebRTC.WHIP, name: MyApp.WHIP, endpoints: %{"whip" => {MyApp.Ingest, []}}}
      ]

  and hand it requests: from a Plug application with `ExWebRTC.WHIP.Plug`, from any other server
  with `handle/2`.

  | request | answer |
  |---|---|
  | `POST /ENDPOINT`, `application/sdp` | `201`, the answer with candidates, `Location`, `ETag` |
  | `PATCH LOCATION`, `application/trickle-ice-sdpfrag` | `204`; `200` with our fragment for an ICE restart |
  | `PATCH LOCATION`, `application/sdp` | `200` with an answer: a re-offer, an extension of ours |
  | `DELETE LOCATION` | `200` |
  | `GET LOCATION` | `200`, JSON: `{"inbound": [{"mid", "kind", "rid", "packets"}]}` |
  | `GET LOCATION/stats` | `200`, JSON: connection states and `get_stats/1` |

  `400` for an offer or a fragment that is not taken, `404` for what is not there, `405`, `409`
  where the handler says so or an offer is still being answered, `412` for another ICE session's
  entity tag, `413`, `415`, `503` with too many sessions. Every response has CORS headers, so any
  page may use it.

  Each session is a process that owns its `ExWebRTC.PeerConnection` and ends when the client
  deletes it, closes its connection, fails, or is away for 15 seconds.
  """

  use Supervisor

  alias ExWebRTC.Native
  alias ExWebRTC.WHIP.{JSON, Request, Response, Router, Session}

  # Each session may take a few hundred kilobytes; past this a client is told to come later.
  @max_sessions 1_000

  # Whoever knows a session's address may end it: 128 bits cannot be guessed.
  @id_bytes 16

  @type option ::
          {:name, atom()}
          | {:endpoints, %{String.t() => {handler :: module(), argument :: term()}}}
          | {:pc_options, keyword()}
          | {:max_sessions, pos_integer()}
          | {:peer_connection, module()}

  @doc """
  Starts the sessions' supervisor.

    * `:name` - required; what `handle/2` is called with
    * `:endpoints` - path segment → `{handler, argument}`
    * `:pc_options` - options for every connection, before those of the handler
    * `:max_sessions` - default #{@max_sessions}
    * `:peer_connection` - the module of the connections, default `ExWebRTC.PeerConnection`
  """
  @spec start_link([option()]) :: Supervisor.on_start()
  def start_link(options) do
    name = Keyword.fetch!(options, :name)
    Supervisor.start_link(__MODULE__, options, name: name)
  end

  @impl true
  def init(options) do
    name = Keyword.fetch!(options, :name)

    settings = %{
      endpoints: Keyword.fetch!(options, :endpoints),
      pc_options: Keyword.get(options, :pc_options, []),
      peer_connection: Keyword.get(options, :peer_connection, ExWebRTC.PeerConnection)
    }

    children = [
      {Registry, keys: :unique, name: registry(name), meta: [settings: settings]},
      {DynamicSupervisor,
       name: sessions(name), max_children: Keyword.get(options, :max_sessions, @max_sessions)}
    ]

    Supervisor.init(children, strategy: :one_for_all)
  end

  @doc """
  Answers a request.
  """
  @spec handle(atom(), Request.t()) :: Response.t()
  def handle(name, %Request{} = request) do
    {:ok, settings} = Registry.meta(registry(name), :settings)

    request
    |> Router.decide(Map.keys(settings.endpoints))
    |> perform(name, settings)
    |> Response.put_headers([
      {"access-control-allow-origin", "*"},
      {"access-control-expose-headers", "location, etag, link, allow, accept-patch"}
    ])
  end

  @doc "How many sessions there are."
  @spec count(atom()) :: non_neg_integer()
  def count(name), do: DynamicSupervisor.count_children(sessions(name)).active

  defp perform({:respond, response}, _name, _settings), do: response

  defp perform({:create, endpoint, query, offer}, name, settings) do
    id = @id_bytes |> Native.random_bytes() |> Base.url_encode64(padding: false)
    {handler, argument} = Map.fetch!(settings.endpoints, endpoint)

    child =
      {Session,
       name: via(name, endpoint, id),
       handler: handler,
       argument: argument,
       query: query,
       pc_options: settings.pc_options,
       peer_connection: settings.peer_connection}

    with {:ok, session} <- DynamicSupervisor.start_child(sessions(name), child),
         {:ok, answer, etag} <- Session.negotiate(session, offer) do
      Response.with_body(201, "application/sdp", answer, [
        {"location", "/#{endpoint}/#{id}"},
        {"etag", etag},
        {"accept-patch", "application/trickle-ice-sdpfrag, application/sdp"}
      ])
    else
      {:error, :max_children} -> refuse({:refuse, 503, "too many sessions"})
      {:error, {:shutdown, refusal}} -> refuse(refusal)
      {:error, _crash} -> refuse({:refuse, 500, "the session could not start"})
      # The offer was refused, and the session ended with it.
      {:refuse, _status, _why} = refusal -> refuse(refusal)
    end
  end

  defp perform({:renegotiate, endpoint, id, offer}, name, _settings) do
    case Session.negotiate(via(name, endpoint, id), offer) do
      {:ok, answer, etag} ->
        Response.with_body(200, "application/sdp", answer, [{"etag", etag}])

      refusal ->
        refuse(refusal)
    end
  end

  defp perform({:trickle, endpoint, id, fragment, if_match}, name, _settings) do
    case Session.trickle(via(name, endpoint, id), fragment, if_match) do
      {:ok, etag} ->
        Response.empty(204, [{"etag", etag}])

      {:ok, fragment, etag} ->
        Response.with_body(200, "application/trickle-ice-sdpfrag", fragment, [{"etag", etag}])

      refusal ->
        refuse(refusal)
    end
  end

  defp perform({:describe, endpoint, id, :inbound}, name, _settings) do
    case Session.inbound(via(name, endpoint, id)) do
      {:refuse, _status, _why} = refusal -> refuse(refusal)
      inbound -> json(%{inbound: inbound})
    end
  end

  defp perform({:describe, endpoint, id, :stats}, name, _settings) do
    case Session.stats(via(name, endpoint, id)) do
      {:refuse, _status, _why} = refusal -> refuse(refusal)
      stats -> json(stats)
    end
  end

  defp perform({:delete, endpoint, id}, name, _settings) do
    case Session.stop(via(name, endpoint, id)) do
      :ok -> Response.empty(200)
      refusal -> refuse(refusal)
    end
  end

  defp refuse({:refuse, status, why}), do: Response.text(status, why)

  defp json(term) do
    Response.with_body(200, "application/json", JSON.encode(term), [{"cache-control", "no-store"}])
  end

  defp via(name, endpoint, id), do: {:via, Registry, {registry(name), {endpoint, id}}}
  defp registry(name), do: Module.concat(name, "Registry")
  defp sessions(name), do: Module.concat(name, "Sessions")
end
