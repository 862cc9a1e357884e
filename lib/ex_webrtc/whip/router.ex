defmodule ExWebRTC.WHIP.Router do
  @moduledoc """
  What a request asks for: the pure half of `ExWebRTC.WHIP`. No process, no socket.

  An endpoint is a path segment (`/whip`), a session lies under it (`/whip/ID`), its statistics
  under that (`/whip/ID/stats`).
  """

  alias ExWebRTC.WHIP.{Request, Response, SDPFragment}

  @sdp "application/sdp"
  @sdp_fragment "application/trickle-ice-sdpfrag"

  # A browser's offer with every codec and simulcast is about 10 KB.
  @max_sdp_bytes 256 * 1024

  @endpoint_methods "POST, OPTIONS"
  @session_methods "GET, HEAD, PATCH, DELETE, OPTIONS"
  @stats_methods "GET, HEAD, OPTIONS"

  @typedoc """
    * `{:respond, response}` - the request alone decides the answer
    * `{:create, endpoint, query, offer}` - a new session
    * `{:renegotiate, endpoint, id, offer}` - a new offer for a session
    * `{:trickle, endpoint, id, fragment, if_match}` - candidates, or an ICE restart
    * `{:describe, endpoint, id, :inbound | :stats}` - what a session receives, its statistics
    * `{:delete, endpoint, id}` - end a session
  """
  @type decision ::
          {:respond, Response.t()}
          | {:create, String.t(), %{String.t() => String.t()}, String.t()}
          | {:renegotiate, String.t(), String.t(), String.t()}
          | {:trickle, String.t(), String.t(), SDPFragment.t(), String.t() | nil}
          | {:describe, String.t(), String.t(), :inbound | :stats}
          | {:delete, String.t(), String.t()}

  @doc """
  Decides what a request asks for, given the names of the endpoints there are.
  """
  @spec decide(Request.t(), [String.t()]) :: decision()
  def decide(%Request{path: [endpoint | rest]} = request, endpoints) do
    if endpoint in endpoints do
      route(rest, request.method, endpoint, request)
    else
      not_found()
    end
  end

  def decide(%Request{}, _endpoints), do: not_found()

  defp route([], "POST", endpoint, request) do
    with_sdp(request, &{:create, endpoint, request.query, &1})
  end

  defp route([], "OPTIONS", _endpoint, _request),
    do: preflight(@endpoint_methods, [{"accept-post", @sdp}])

  # RFC 9725, section 4.2: GET, HEAD and PUT on the endpoint are reserved and answered so.
  defp route([], _method, _endpoint, _request), do: method_not_allowed(@endpoint_methods)

  defp route([id], method, endpoint, _request) when method in ["GET", "HEAD"],
    do: {:describe, endpoint, id, :inbound}

  defp route([id], "DELETE", endpoint, _request), do: {:delete, endpoint, id}

  defp route([_id], "OPTIONS", _endpoint, _request),
    do: preflight(@session_methods, [{"accept-patch", "#{@sdp}, #{@sdp_fragment}"}])

  defp route([id], "PATCH", endpoint, request) do
    case Request.media_type(request) do
      @sdp -> with_sdp(request, &{:renegotiate, endpoint, id, &1})
      @sdp_fragment -> trickle(endpoint, id, request)
      _other -> unsupported("#{@sdp} or #{@sdp_fragment}", "accept-patch")
    end
  end

  defp route([_id], _method, _endpoint, _request), do: method_not_allowed(@session_methods)

  defp route([id, "stats"], method, endpoint, _request) when method in ["GET", "HEAD"],
    do: {:describe, endpoint, id, :stats}

  defp route([_id, "stats"], "OPTIONS", _endpoint, _request), do: preflight(@stats_methods, [])
  defp route([_id, "stats"], _method, _endpoint, _request), do: method_not_allowed(@stats_methods)
  defp route(_path, _method, _endpoint, _request), do: not_found()

  defp with_sdp(request, decision) do
    cond do
      Request.media_type(request) != @sdp -> unsupported(@sdp, "accept-post")
      request.body == "" -> refuse(400, "the body is empty, an SDP offer was expected")
      byte_size(request.body) > @max_sdp_bytes -> refuse(413, "the offer is too large")
      not String.valid?(request.body) -> refuse(400, "the offer is not UTF-8")
      true -> decision.(request.body)
    end
  end

  defp trickle(endpoint, id, request) do
    case SDPFragment.parse(request.body) do
      {:ok, fragment} -> {:trickle, endpoint, id, fragment, request.headers["if-match"]}
      {:error, reason} -> refuse(400, reason)
    end
  end

  defp preflight(methods, headers) do
    {:respond,
     Response.empty(204, [
       {"allow", methods},
       {"access-control-allow-methods", methods},
       {"access-control-allow-headers", "content-type, if-match, authorization"},
       # A day, the longest a browser keeps it (Fetch, section 4.9).
       {"access-control-max-age", "86400"}
       | headers
     ])}
  end

  defp unsupported(expected, header) do
    accepted = String.replace(expected, " or ", ", ")
    {:respond, Response.text(415, "expected #{expected}", [{header, accepted}])}
  end

  defp method_not_allowed(methods),
    do: {:respond, Response.text(405, "allowed here: #{methods}", [{"allow", methods}])}

  defp not_found, do: refuse(404, "nothing here")
  defp refuse(status, text), do: {:respond, Response.text(status, text)}
end
