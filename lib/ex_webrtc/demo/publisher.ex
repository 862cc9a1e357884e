defmodule ExWebRTC.Demo.Publisher do
  @moduledoc false
  # `POST /whip`: takes a stream in and hands its packets to the viewers that subscribed.
  #
  # A viewer's session sends `{:subscribe, pid, peer, sinks}` and `{:keyframe, track_ids}`; the
  # publisher monitors it. Packets go from this process straight to the viewers' connections.

  @behaviour ExWebRTC.WHIP.Handler

  alias ExWebRTC.Demo.{LayerSelector, Media, Streams}

  # Keyframes are large: however many viewers ask, one request in this many milliseconds.
  @keyframe_interval 500

  @enforce_keys [:streams, :name]
  defstruct [
    :streams,
    :name,
    routes: %{},
    counts: %{},
    viewers: %{},
    keyframes: %{},
    evaluating: false
  ]

  @impl true
  def init(query, {streams, pc_options}) do
    with {:ok, name} <- Streams.name(query),
         :ok <- Streams.publish(streams, name) do
      {:ok, %__MODULE__{streams: streams, name: name}, pc_options}
    end
  end

  @impl true
  def handle_start(_peer, state), do: {:ok, state}

  @impl true
  def handle_offer(_peer, state), do: {:ok, state}

  @impl true
  def handle_answer(peer, state) do
    routes = Media.routes(peer, state.routes)

    tracks =
      routes
      |> Enum.sort_by(fn {id, _route} -> id end)
      |> Enum.map(fn {id, route} ->
        %{id: id, kind: route.kind, codecs: Map.values(route.codecs)}
      end)

    :ok = Streams.put_tracks(state.streams, state.name, tracks)
    {:ok, %{state | routes: routes}}
  end

  @impl true
  def handle_message({:rtp, track_id, rid, packet}, _peer, state) do
    case state.routes do
      %{^track_id => route} ->
        {packet, route} = Media.select(route, rid, packet)
        if packet, do: relay(track_id, packet, state.viewers)

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

  # A re-offer of a viewer subscribes again, with what it has then.
  def handle_message({:subscribe, pid, viewer_peer, sinks}, peer, state) do
    monitor =
      case state.viewers do
        %{^pid => {monitor, _peer, _sinks}} -> monitor
        _new -> Process.monitor(pid)
      end

    viewers = Map.put(state.viewers, pid, {monitor, viewer_peer, sinks})
    {:ok, request_keyframes(Map.keys(sinks), peer, %{state | viewers: viewers})}
  end

  def handle_message({:keyframe, track_ids}, peer, state),
    do: {:ok, request_keyframes(track_ids, peer, state)}

  def handle_message({:send_keyframe_request, track_id}, {api, pc}, state) do
    case state.keyframes do
      %{^track_id => :again} ->
        {:ok, request_keyframe(track_id, {api, pc}, forget_keyframe(track_id, state))}

      _once ->
        {:ok, forget_keyframe(track_id, state)}
    end
  end

  def handle_message({:DOWN, _monitor, :process, pid, _reason}, _peer, state),
    do: {:ok, %{state | viewers: Map.delete(state.viewers, pid)}}

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

  defp relay(track_id, packet, viewers) do
    for {_pid, {_monitor, {api, pc}, %{^track_id => sink}}} <- viewers,
        payload_type = sink.payload_types[packet.payload_type] do
      api.send_rtp(pc, sink.track_id, %{packet | payload_type: payload_type})
    end

    :ok
  end

  defp request_keyframes(track_ids, peer, state),
    do: Enum.reduce(track_ids, state, &request_keyframe(&1, peer, &2))

  # The first request goes out at once; those within the interval become one at its end.
  defp request_keyframe(track_id, {api, pc}, state) do
    case state do
      %{keyframes: %{^track_id => _pending}} ->
        %{state | keyframes: %{state.keyframes | track_id => :again}}

      %{routes: %{^track_id => %{kind: :video} = route}} ->
        api.send_pli(pc, track_id, LayerSelector.target(route.layers))
        Process.send_after(self(), {:send_keyframe_request, track_id}, @keyframe_interval)
        %{state | keyframes: Map.put(state.keyframes, track_id, :once)}

      _audio_or_gone ->
        state
    end
  end

  defp forget_keyframe(track_id, state),
    do: %{state | keyframes: Map.delete(state.keyframes, track_id)}

  defp schedule_evaluation(%{evaluating: true} = state), do: state

  defp schedule_evaluation(state) do
    Process.send_after(self(), :evaluate_layers, LayerSelector.evaluation_interval())
    %{state | evaluating: true}
  end
end
