defmodule ExWebRTC.WHIP.Handler do
  @moduledoc """
  What a WHIP or WHEP endpoint does with the connections that clients make to it.

  `ExWebRTC.WHIP.Session` owns the connection and calls the handler, in the session's process:
  `c:init/2`, `c:handle_start/2`, then for each offer `c:handle_offer/2` and
  `c:handle_answer/2`, and `c:handle_message/3` for every message of the connection
  (`t:ExWebRTC.PeerConnection.message/0`, unwrapped) and any other message to the process.

  `peer` is `{module, pid}`: the module is `ExWebRTC.PeerConnection`, or in tests a stand-in.
  """

  @type peer :: {module(), pid()}
  @type state :: term()
  @type refusal :: {:refuse, status :: 400..503, why :: String.t()}

  @doc """
  Decides whether the client may have a session at all. Returns the handler's state and the
  options for the connection.
  """
  @callback init(query :: %{String.t() => String.t()}, argument :: term()) ::
              {:ok, state(), pc_opts :: keyword()} | refusal()

  @doc "The connection exists and has no description yet."
  @callback handle_start(peer(), state()) :: {:ok, state()} | refusal()

  @doc "An offer has been set; the answer is made when this returns."
  @callback handle_offer(peer(), state()) :: {:ok, state()} | refusal()

  @doc "The answer has been set: directions and codecs are agreed."
  @callback handle_answer(peer(), state()) :: {:ok, state()}

  @doc "A message to the process. `:stop` ends the session."
  @callback handle_message(message :: term(), peer(), state()) ::
              {:ok, state()} | {:stop, state()}

  @doc """
  What the session has received: for `GET` on it.
  """
  @callback inbound(peer(), state()) :: [
              %{
                mid: String.t() | nil,
                kind: :audio | :video,
                rid: String.t() | nil,
                packets: non_neg_integer()
              }
            ]
end
