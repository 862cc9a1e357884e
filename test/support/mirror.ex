defmodule ExWebRTC.Mirror do
  @moduledoc """
  A connection that sends back what it receives, for tests: the controlling process of a
  `PeerConnection` in which each transceiver returns its packets, and passes keyframe requests on.
  Everything but RTP goes on to the test. It counts what it saw of each stream.
  """

  use GenServer

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTCP.{FIR, PLI}

  @doc "Starts a connection whose packets come back. Messages but RTP go to the caller."
  @spec start_link(keyword()) :: {pid(), pid()}
  def start_link(options \\ []) do
    {:ok, mirror} = GenServer.start_link(__MODULE__, self())
    {:ok, pc} = PeerConnection.start_link([controlling_process: mirror] ++ options)
    {mirror, pc}
  end

  @doc "Lets every transceiver that has no track to send return what it receives."
  @spec reflect(pid(), pid()) :: :ok
  def reflect(mirror, pc) do
    tracks =
      for %{stopped: false} = transceiver <- PeerConnection.get_transceivers(pc), into: %{} do
        {transceiver.receiver.track.id, outgoing(pc, transceiver)}
      end

    GenServer.call(mirror, {:reflect, tracks})
  end

  defp outgoing(_pc, %{sender: %{track: %MediaStreamTrack{id: id}}}), do: id

  defp outgoing(pc, transceiver) do
    track = MediaStreamTrack.new(transceiver.kind)
    :ok = PeerConnection.set_transceiver_direction(pc, transceiver.id, :sendrecv)
    :ok = PeerConnection.replace_track(pc, transceiver.sender.id, track)
    track.id
  end

  @doc "No packet is returned from now on; they are still counted."
  @spec stop(pid()) :: :ok
  def stop(mirror), do: GenServer.call(mirror, {:reflect, %{}})

  @doc """
  What came, by `{track_id, rid}`: different `packets`, how many were `delivered`,
  `highest - lowest + 1` as `expected` (over roll-overs), `bytes` of payload, and the
  `payload_types`.
  """
  @spec seen(pid()) :: %{optional({integer(), String.t() | nil}) => map()}
  def seen(mirror), do: GenServer.call(mirror, :seen)

  @impl true
  def init(test), do: {:ok, %{test: test, tracks: %{}, seen: %{}}}

  @impl true
  def handle_call({:reflect, tracks}, _from, state), do: {:reply, :ok, %{state | tracks: tracks}}

  def handle_call(:seen, _from, state) do
    seen = Map.new(state.seen, fn {key, stream} -> {key, summary(stream)} end)
    {:reply, seen, state}
  end

  @impl true
  def handle_info({:ex_webrtc, pc, {:rtp, track_id, rid, packet}}, state) do
    case state.tracks do
      %{^track_id => out} when rid in [nil, "l"] -> PeerConnection.send_rtp(pc, out, packet)
      _no_reflection -> :ok
    end

    key = {track_id, rid}

    stream =
      Map.get(state.seen, key, %{newest: nil, numbers: %{}, delivered: 0, bytes: 0, types: %{}})

    {:noreply, put_in(state.seen[key], count(stream, packet))}
  end

  def handle_info({:ex_webrtc, pc, {:rtcp, packets} = message}, state) do
    for {track_id, %module{}} when module in [PLI, FIR] <- packets,
        {received, ^track_id} <- state.tracks,
        do: PeerConnection.send_pli(pc, received)

    send(state.test, {:ex_webrtc, pc, message})
    {:noreply, state}
  end

  def handle_info(message, state) do
    send(state.test, message)
    {:noreply, state}
  end

  # Numbers are unrolled: each is the one of its 65,536 that is nearest to the newest.
  defp count(stream, packet) do
    newest = stream.newest || packet.sequence_number
    distance = rem(packet.sequence_number - rem(newest, 65_536) + 98_304, 65_536) - 32_768
    number = newest + distance

    %{
      stream
      | newest: max(newest, number),
        delivered: stream.delivered + 1,
        numbers: Map.put(stream.numbers, number, true),
        bytes: stream.bytes + byte_size(packet.payload),
        types: Map.update(stream.types, packet.payload_type, 1, &(&1 + 1))
    }
  end

  defp summary(stream) do
    {lowest, highest} = stream.numbers |> Map.keys() |> Enum.min_max()

    %{
      packets: map_size(stream.numbers),
      delivered: stream.delivered,
      expected: highest - lowest + 1,
      bytes: stream.bytes,
      payload_types: stream.types
    }
  end
end
