defmodule ExWebRTC.WHIP.Session do
  @moduledoc false
  # One client: owns its peer connection, answers its offers, and ends when the client is gone.
  #
  # The connection is linked: a crash of either ends both. On an orderly end `terminate/2` stops
  # the connection. Media and data messages go to the handler, in this process.

  use GenServer, restart: :temporary

  alias ExWebRTC.{ICECandidate, SessionDescription}
  alias ExWebRTC.WHIP.SDPFragment

  # A client that never connects keeps its session this long: time for slow trickle.
  @connect_timeout 30_000
  # RFC 7675 consent is lost after 30 s; a client that is coming back restarts ICE before this.
  @disconnected_timeout 15_000
  # Host candidates take milliseconds; a STUN server that does not answer must not hold the answer.
  @gathering_timeout 2_000
  @call_timeout 10_000

  @enforce_keys [:handler, :handler_state, :api, :pc]
  defstruct [
    :handler,
    :handler_state,
    :api,
    :pc,
    :waiting,
    :end_timer,
    ice_session: 1,
    negotiated: false
  ]

  @type id :: String.t()
  @type failure :: {:refuse, 400..503, String.t()}

  @doc false
  def start_link(options) do
    GenServer.start_link(__MODULE__, options, name: Keyword.fetch!(options, :name))
  end

  @doc "Answers an offer, the first or a later one, with candidates and the entity tag (RFC 9725, section 4.3.1)."
  @spec negotiate(GenServer.server(), String.t()) ::
          {:ok, sdp :: String.t(), etag :: String.t()} | failure()
  def negotiate(session, offer), do: call(session, {:negotiate, offer})

  @doc """
  Takes a fragment: `:ok` for candidates, a fragment of ours for an ICE restart.
  """
  @spec trickle(GenServer.server(), SDPFragment.t(), String.t() | nil) ::
          {:ok, etag :: String.t()}
          | {:ok, fragment :: String.t(), etag :: String.t()}
          | failure()
  def trickle(session, fragment, if_match), do: call(session, {:trickle, fragment, if_match})

  @doc "What the session receives, per track and layer."
  @spec inbound(GenServer.server()) :: [map()] | failure()
  def inbound(session), do: call(session, :inbound)

  @doc "States and statistics of the connection."
  @spec stats(GenServer.server()) :: map() | failure()
  def stats(session), do: call(session, :stats)

  @doc "Ends the session. When it returns, the connection's sockets are released."
  @spec stop(GenServer.server()) :: :ok | failure()
  def stop(session) do
    GenServer.stop(session, :normal, @call_timeout)
  catch
    :exit, _gone -> gone()
  end

  defp call(session, request) do
    GenServer.call(session, request, @call_timeout)
  catch
    :exit, {:timeout, _call} -> {:refuse, 503, "the session did not answer in time"}
    :exit, _gone -> gone()
  end

  defp gone, do: {:refuse, 404, "the session has ended"}

  @impl true
  def init(options) do
    handler = Keyword.fetch!(options, :handler)
    api = Keyword.get(options, :peer_connection, ExWebRTC.PeerConnection)

    with {:ok, handler_state, pc_options} <-
           handler.init(Keyword.fetch!(options, :query), Keyword.get(options, :argument)),
         {:ok, pc} <- api.start_link(Keyword.get(options, :pc_options, []) ++ pc_options),
         {:ok, handler_state} <- handler.handle_start({api, pc}, handler_state) do
      state = %__MODULE__{handler: handler, handler_state: handler_state, api: api, pc: pc}
      {:ok, end_after(state, @connect_timeout)}
    else
      {:refuse, _status, _why} = refusal ->
        {:stop, {:shutdown, refusal}}

      {:error, reason} ->
        {:stop, {:shutdown, {:refuse, 500, "no connection: #{inspect(reason)}"}}}
    end
  end

  @impl true
  def handle_call({:negotiate, _offer}, _from, %{waiting: waiting} = state)
      when waiting != nil do
    {:reply, {:refuse, 409, "another offer is being answered"}, state}
  end

  def handle_call({:negotiate, offer}, from, state) do
    case answer(offer, state) do
      {:ok, state} -> {:noreply, reply_with_candidates(from, :description, state)}
      {refusal, %{negotiated: true} = state} -> {:reply, refusal, state}
      {refusal, state} -> {:stop, {:shutdown, :refused}, refusal, state}
    end
  end

  def handle_call({:trickle, fragment, if_match}, from, state) do
    case remote_sdp(state) do
      nil -> {:reply, {:refuse, 409, "no offer yet"}, state}
      sdp -> trickle(fragment, if_match, sdp, from, state)
    end
  end

  def handle_call(:inbound, _from, state) do
    {:reply, state.handler.inbound(peer(state), state.handler_state), state}
  end

  def handle_call(:stats, _from, %{api: api, pc: pc} = state) do
    report = %{
      connection_state: api.get_connection_state(pc),
      ice_connection_state: api.get_ice_connection_state(pc),
      signaling_state: api.get_signaling_state(pc),
      stats: Map.values(api.get_stats(pc))
    }

    {:reply, report, state}
  end

  @impl true
  def handle_info({:ex_webrtc, pc, message}, %{pc: pc} = state) do
    if ended?(message) do
      {:stop, :normal, state}
    else
      handle_message(message, watch(message, state))
    end
  end

  def handle_info({:end, reference}, %{end_timer: {reference, _timer}} = state),
    do: {:stop, :normal, state}

  def handle_info({:end, _stale}, state), do: {:noreply, state}

  def handle_info({:gathered, reference}, %{waiting: {_from, _form, reference}} = state),
    do: {:noreply, reply_now(state)}

  def handle_info({:gathered, _stale}, state), do: {:noreply, state}
  def handle_info(message, state), do: handle_message(message, state)

  @impl true
  def terminate(_reason, %{api: api, pc: pc}) do
    api.stop(pc)
  catch
    # The connection may have gone first.
    :exit, _reason -> :ok
  end

  # ---- offers

  defp answer(offer, %{api: api, pc: pc, handler: handler} = state) do
    with :ok <- api.set_remote_description(pc, %SessionDescription{type: :offer, sdp: offer}) do
      answer_set(handler.handle_offer(peer(state), state.handler_state), state)
    else
      {:error, reason} -> {{:refuse, 400, "the offer was not taken: #{reason}"}, state}
    end
  end

  defp answer_set({:ok, handler_state}, %{api: api, pc: pc, handler: handler} = state) do
    state = %{state | handler_state: handler_state}

    with {:ok, answer} <- api.create_answer(pc),
         :ok <- api.set_local_description(pc, answer) do
      {:ok, handler_state} = handler.handle_answer(peer(state), state.handler_state)
      {:ok, %{state | handler_state: handler_state, negotiated: true}}
    else
      {:error, reason} -> roll_back({:refuse, 500, "no answer to this offer: #{reason}"}, state)
    end
  end

  defp answer_set({:refuse, _status, _why} = refusal, state), do: roll_back(refusal, state)

  defp roll_back(refusal, %{api: api, pc: pc} = state) do
    _ = api.set_remote_description(pc, %SessionDescription{type: :rollback, sdp: ""})
    {refusal, state}
  end

  defp reply_with_candidates(from, form, %{api: api, pc: pc} = state) do
    reference = make_ref()
    state = %{state | waiting: {from, form, reference}}

    if api.get_ice_gathering_state(pc) == :complete do
      reply_now(state)
    else
      Process.send_after(self(), {:gathered, reference}, @gathering_timeout)
      state
    end
  end

  defp reply_now(%{waiting: nil} = state), do: state

  defp reply_now(%{waiting: {from, form, _reference}, api: api, pc: pc} = state) do
    %SessionDescription{sdp: sdp} = api.get_local_description(pc)
    sdp = if form == :fragment, do: SDPFragment.from_description(sdp), else: sdp
    GenServer.reply(from, {:ok, sdp, etag(state)})
    %{state | waiting: nil}
  end

  # ---- fragments

  defp trickle(fragment, if_match, sdp, from, state) do
    cond do
      if_match not in [nil, "*", etag(state)] ->
        {:reply, {:refuse, 412, "the ICE session is #{etag(state)}"}, state}

      # RFC 9725, section 4.3.3: "*" asks for a restart; clients that know no entity tags are
      # understood by their new credentials.
      SDPFragment.restart?(fragment, sdp) and if_match in [nil, "*"] ->
        restart(fragment, sdp, from, state)

      SDPFragment.current?(fragment, sdp) ->
        {:reply, add_candidates(fragment, state), state}

      true ->
        {:reply, {:refuse, 412, "the candidates are of another ICE session"}, state}
    end
  end

  defp restart(_fragment, _sdp, _from, %{waiting: waiting} = state) when waiting != nil,
    do: {:reply, {:refuse, 409, "an offer is being answered"}, state}

  defp restart(fragment, sdp, from, state) do
    case answer(SDPFragment.restart_offer(fragment, sdp), state) do
      {:ok, state} ->
        state = %{state | ice_session: state.ice_session + 1}
        {:noreply, reply_with_candidates(from, :fragment, state)}

      {refusal, state} ->
        {:reply, refusal, state}
    end
  end

  defp add_candidates(fragment, %{api: api, pc: pc} = state) do
    ends = if fragment.end_of_candidates, do: [%{candidate: "", mid: nil}], else: []

    Enum.reduce_while(fragment.candidates ++ ends, {:ok, etag(state)}, fn entry, ok ->
      candidate = %ICECandidate{
        candidate: entry.candidate,
        sdp_mid: entry.mid,
        # Everything is bundled: without a mid the first m-line stands for the transport.
        sdp_m_line_index: if(entry.mid, do: nil, else: 0),
        username_fragment: fragment.ufrag
      }

      case api.add_ice_candidate(pc, candidate) do
        :ok -> {:cont, ok}
        {:error, reason} -> {:halt, {:refuse, 400, "a candidate was not taken: #{reason}"}}
      end
    end)
  end

  defp etag(state), do: ~s("#{state.ice_session}")

  defp remote_sdp(%{api: api, pc: pc}) do
    with %SessionDescription{sdp: sdp} <- api.get_remote_description(pc), do: sdp
  end

  # ---- the end of a session

  defp watch({:ice_gathering_state_change, :complete}, state), do: reply_now(state)
  defp watch({:connection_state_change, :connected}, state), do: stay(state)

  defp watch({:connection_state_change, :disconnected}, state),
    do: end_after(state, @disconnected_timeout)

  defp watch(_message, state), do: state

  defp ended?({:connection_state_change, state}), do: state in [:failed, :closed]
  # The client closed its connection: DTLS tells so with close_notify.
  defp ended?({:dtls_transport_state_change, :closed}), do: true
  defp ended?(_message), do: false

  defp handle_message(message, state) do
    case state.handler.handle_message(message, peer(state), state.handler_state) do
      {:ok, handler_state} -> {:noreply, %{state | handler_state: handler_state}}
      {:stop, handler_state} -> {:stop, :normal, %{state | handler_state: handler_state}}
    end
  end

  defp end_after(state, milliseconds) do
    state = stay(state)
    reference = make_ref()
    timer = Process.send_after(self(), {:end, reference}, milliseconds)
    %{state | end_timer: {reference, timer}}
  end

  defp stay(%{end_timer: nil} = state), do: state

  defp stay(%{end_timer: {_reference, timer}} = state) do
    Process.cancel_timer(timer)
    %{state | end_timer: nil}
  end

  defp peer(state), do: {state.api, state.pc}
end
