defmodule ExWebRTC.Demo.Publisher do
  @moduledoc false
  # `POST /whip`: takes a stream in and forwards it to the viewers that subscribed.
  #
  # A viewer's session sends `{:subscribe, viewer_peer, sinks}`, which sender is to have which track.
  # Packets go from connection to connection inside the engine; this process never sees one.

  @behaviour ExWebRTC.WHIP.Handler

  alias ExWebRTC.Demo.{Media, Streams}

  @enforce_keys [:streams, :name]
  # The forwards by what they connect: track, viewer, sender.
  defstruct [:streams, :name, routes: %{}, forwards: %{}]

  @impl true
  def init(query, {streams, pc_options}) do
    with {:ok, name} <- Streams.name(query),
         :ok <- Streams.publish(streams, name) do
      {:ok, %__MODULE__{streams: streams, name: name}, [rtp_delivery: :none] ++ pc_options}
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
      for {id, route} <- Enum.sort_by(routes, fn {id, _route} -> id end),
          do: %{id: id, kind: route.kind}

    :ok = Streams.put_tracks(state.streams, state.name, tracks)
    {:ok, %{state | routes: routes}}
  end

  # A re-offer of a viewer subscribes again, with what it has then.
  @impl true
  def handle_message({:subscribe, {_api, viewer}, sinks}, {api, pc}, state) do
    forwards =
      for {track_id, sender_id} <- sinks,
          key = {track_id, viewer, sender_id},
          not is_map_key(state.forwards, key),
          # A viewer that has none of the stream's codecs, or is gone, is left out.
          {:ok, ref} <- [api.forward(pc, track_id, viewer, sender_id)],
          into: state.forwards,
          do: {key, ref}

    {:ok, %{state | forwards: forwards}}
  end

  def handle_message({:forward_ended, ref, _reason}, _peer, state) do
    forwards = Map.reject(state.forwards, fn {_key, forward} -> forward == ref end)
    {:ok, %{state | forwards: forwards}}
  end

  def handle_message(_message, _peer, state), do: {:ok, state}

  @impl true
  def inbound(peer, state), do: Media.inbound(state.routes, Media.received(peer))
end
