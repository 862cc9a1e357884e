defmodule ExWebRTC.Demo.Viewer do
  @moduledoc false
  # `POST /whep`: sends a published stream to one viewer. The publisher's session forwards to the
  # senders that this one has; it ends with the publisher.

  @behaviour ExWebRTC.WHIP.Handler

  alias ExWebRTC.Demo.{Media, Streams}

  @enforce_keys [:streams, :name, :publisher]
  defstruct [:streams, :name, :publisher]

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

    send(state.publisher, {:subscribe, peer, sinks(peer, tracks)})
    {:ok, state}
  end

  @impl true
  def handle_message({:DOWN, _monitor, :process, pid, _reason}, _peer, %{publisher: pid} = state),
    do: {:stop, state}

  def handle_message(_message, _peer, state), do: {:ok, state}

  @impl true
  def inbound(_peer, _state), do: []

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
        do: {track.id, transceiver.sender.id}
  end
end
