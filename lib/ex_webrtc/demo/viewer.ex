defmodule ExWebRTC.Demo.Viewer do
  @moduledoc false
  # `POST /whep`: sends a published stream to one viewer. The publisher's session sends the
  # packets; this process asks it for keyframes and ends with it.

  @behaviour ExWebRTC.WHIP.Handler

  alias ExWebRTC.Demo.{Codec, Media, Streams}

  @enforce_keys [:streams, :name, :publisher]
  defstruct [:streams, :name, :publisher, sources: %{}]

  @impl true
  def init(query, {streams, pc_options}) do
    with {:ok, name} <- Streams.name(query),
         {:ok, publisher, _tracks} <- Streams.find(streams, name) do
      Process.monitor(publisher)
      {:ok, %__MODULE__{streams: streams, name: name, publisher: publisher}, pc_options}
    end
  end

  @impl true
  def handle_start(_peer, state), do: {:ok, state}

  @impl true
  def handle_offer(peer, state) do
    with :ok <- Media.add_senders(peer), do: {:ok, state}
  end

  @impl true
  def handle_answer(peer, state) do
    tracks =
      case Streams.find(state.streams, state.name) do
        {:ok, _publisher, tracks} -> tracks
        {:refuse, _status, _why} -> []
      end

    sinks = sinks(peer, tracks)
    send(state.publisher, {:subscribe, self(), peer, sinks})
    {:ok, %{state | sources: Map.new(sinks, fn {source, sink} -> {sink.track_id, source} end)}}
  end

  # The first picture a viewer can decode is a keyframe sent after it has connected.
  @impl true
  def handle_message({:connection_state_change, :connected}, _peer, state) do
    request_keyframes(Map.values(state.sources), state)
    {:ok, state}
  end

  def handle_message({:rtcp, packets}, _peer, state) do
    packets
    |> Media.keyframe_requests()
    |> Enum.flat_map(&List.wrap(state.sources[&1]))
    |> request_keyframes(state)

    {:ok, state}
  end

  def handle_message({:DOWN, _monitor, :process, pid, _reason}, _peer, %{publisher: pid} = state),
    do: {:stop, state}

  def handle_message(_message, _peer, state), do: {:ok, state}

  @impl true
  def inbound(_peer, _state), do: []

  defp request_keyframes([], _state), do: :ok

  defp request_keyframes(track_ids, state) do
    send(state.publisher, {:keyframe, track_ids})
    :ok
  end

  # The first video of the stream goes to the viewer's first video m-line, and so on.
  defp sinks({api, pc}, tracks) do
    transceivers =
      pc |> api.get_transceivers() |> Enum.filter(&(not &1.stopped and &1.sender.track != nil))

    for kind <- [:audio, :video],
        {track, transceiver} <-
          Enum.zip(
            Enum.filter(tracks, &(&1.kind == kind)),
            Enum.filter(transceivers, &(&1.kind == kind))
          ),
        into: %{} do
      payload_types =
        for codec <- track.codecs,
            payload_type = Codec.payload_type(codec, transceiver.codecs),
            into: %{},
            do: {codec.payload_type, payload_type}

      {track.id, %{track_id: transceiver.sender.track.id, payload_types: payload_types}}
    end
  end
end
