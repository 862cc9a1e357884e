defmodule ExWebRTC.Demo.Echo do
  @moduledoc false
  # `POST /echo`: everything that comes in goes back. Packets on the same transceiver's sender,
  # keyframe requests to the track they are for, messages on their channel.
  #
  # `?negotiated=ID` also makes a negotiated channel with that id. Of simulcast one layer goes back.

  @behaviour ExWebRTC.WHIP.Handler

  alias ExWebRTC.Demo.{LayerSelector, Media}

  # When a channel's buffer is full the rest waits here. Past this many bytes the peer sends and
  # does not read, and its channel is closed: losing messages without a word is no echo.
  @max_waiting_bytes 256 * 1024 * 1024
  @retry_interval 10

  # RFC 8832, section 6: 65,535 is not a stream id.
  @max_channel_id 65_534

  defstruct negotiated_id: nil,
            routes: %{},
            counts: %{},
            evaluating: false,
            waiting: %{},
            waiting_bytes: 0

  @impl true
  def init(query, pc_options) do
    case negotiated_id(query) do
      :error -> {:refuse, 400, "negotiated must be a channel id, 0 to #{@max_channel_id}"}
      id -> {:ok, %__MODULE__{negotiated_id: id}, [data_types: true] ++ pc_options}
    end
  end

  defp negotiated_id(%{"negotiated" => text}) do
    case Integer.parse(text) do
      {id, ""} when id in 0..@max_channel_id -> id
      _other -> :error
    end
  end

  defp negotiated_id(_query), do: nil

  @impl true
  def handle_start(_peer, %{negotiated_id: nil} = state), do: {:ok, state}

  def handle_start({api, pc}, %{negotiated_id: id} = state) do
    case api.create_data_channel(pc, "negotiated", negotiated: true, id: id) do
      {:ok, _channel} -> {:ok, state}
      {:error, reason} -> {:refuse, 500, "no channel with id #{id}: #{reason}"}
    end
  end

  @impl true
  def handle_offer(peer, state) do
    with :ok <- Media.add_senders(peer), do: {:ok, state}
  end

  @impl true
  def handle_answer(peer, state), do: {:ok, %{state | routes: Media.routes(peer, state.routes)}}

  @impl true
  def handle_message({:rtp, track_id, rid, packet}, {api, pc}, state) do
    case state.routes do
      %{^track_id => route} ->
        {packet, route} = Media.select(route, rid, packet)
        if packet && route.sent, do: api.send_rtp(pc, route.sent, packet)

        state = %{
          state
          | routes: %{state.routes | track_id => route},
            counts: Media.count(state.counts, track_id, rid)
        }

        {:ok, if(rid, do: schedule_evaluation(state), else: state)}

      _unknown ->
        {:ok, state}
    end
  end

  def handle_message({:rtcp, packets}, {api, pc}, state) do
    for id <- Media.keyframe_requests(packets),
        {received, %{sent: ^id} = route} <- state.routes do
      api.send_pli(pc, received, LayerSelector.target(route.layers))
    end

    {:ok, state}
  end

  def handle_message({:data, ref, message}, peer, state),
    do: {:ok, echo(ref, message, peer, state)}

  def handle_message({:data_channel_state_change, ref, :closed}, _peer, state),
    do: {:ok, forget(ref, state)}

  def handle_message({:retry, ref}, peer, state), do: {:ok, flush(ref, peer, state)}

  def handle_message(:evaluate_layers, {api, pc}, state) do
    routes =
      Map.new(state.routes, fn {received, route} ->
        {ask, layers} = LayerSelector.evaluate(route.layers)
        if ask, do: api.send_pli(pc, received, ask)
        {received, %{route | layers: layers}}
      end)

    {:ok, schedule_evaluation(%{state | routes: routes, evaluating: false})}
  end

  def handle_message(_message, _peer, state), do: {:ok, state}

  @impl true
  def inbound(_peer, state), do: Media.inbound(state.routes, state.counts)

  defp schedule_evaluation(%{evaluating: true} = state), do: state

  defp schedule_evaluation(state) do
    Process.send_after(self(), :evaluate_layers, LayerSelector.evaluation_interval())
    %{state | evaluating: true}
  end

  # ---- messages

  defp echo(ref, message, _peer, %{waiting: waiting} = state) when is_map_key(waiting, ref),
    do: wait(ref, message, state)

  defp echo(ref, message, peer, state) do
    case send_back(peer, ref, message) do
      :ok ->
        state

      {:error, _full} ->
        retry(ref)
        wait(ref, message, %{state | waiting: Map.put(state.waiting, ref, :queue.new())})
    end
  end

  defp wait(ref, {_kind, data} = message, state) do
    %{
      state
      | waiting: Map.update!(state.waiting, ref, &:queue.in(message, &1)),
        waiting_bytes: state.waiting_bytes + byte_size(data)
    }
  end

  defp flush(ref, {api, pc} = peer, state) do
    case state.waiting do
      %{^ref => _queue} when state.waiting_bytes > @max_waiting_bytes ->
        api.close_data_channel(pc, ref)
        forget(ref, state)

      %{^ref => queue} ->
        flush_queue(ref, :queue.out(queue), peer, state)

      _closed ->
        state
    end
  end

  defp flush_queue(ref, {:empty, _queue}, _peer, state),
    do: %{state | waiting: Map.delete(state.waiting, ref)}

  defp flush_queue(ref, {{:value, {_kind, data} = message}, rest}, peer, state) do
    case send_back(peer, ref, message) do
      :ok ->
        state = %{
          state
          | waiting: %{state.waiting | ref => rest},
            waiting_bytes: state.waiting_bytes - byte_size(data)
        }

        flush_queue(ref, :queue.out(rest), peer, state)

      {:error, _full} ->
        retry(ref)
        state
    end
  end

  # A peer that sends more at once than it takes itself gets no echo: its channel ends.
  defp send_back({api, pc}, ref, {kind, data}) do
    api.send_data(pc, ref, data, kind)
  rescue
    ArgumentError ->
      api.close_data_channel(pc, ref)
      :ok
  end

  defp retry(ref), do: Process.send_after(self(), {:retry, ref}, @retry_interval)

  defp forget(ref, state) do
    {queue, waiting} = Map.pop(state.waiting, ref, :queue.new())
    bytes = :queue.fold(fn {_kind, data}, sum -> sum + byte_size(data) end, 0, queue)
    %{state | waiting: waiting, waiting_bytes: state.waiting_bytes - bytes}
  end
end
