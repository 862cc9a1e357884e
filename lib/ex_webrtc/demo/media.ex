defmodule ExWebRTC.Demo.Media do
  @moduledoc false
  # What the demo's handlers share: which received track belongs to which sender, what was
  # counted, and what an RTCP packet asks for.

  alias ExWebRTC.Demo.{Codec, LayerSelector}
  alias ExWebRTC.MediaStreamTrack

  @typedoc "One transceiver: what comes in, what goes out."
  @type route :: %{
          mid: String.t() | nil,
          kind: :audio | :video,
          received: integer(),
          rids: [String.t()],
          sent: integer() | nil,
          codecs: %{(0..127) => map()},
          layers: LayerSelector.t()
        }

  # Layers of one track that are counted; a sender that invents rids gets no more than these.
  @max_counted_layers 16

  # PLI and FIR, ours and those of the ex_rtcp package.
  @keyframe_requests [
    ExWebRTC.RTCP.PLI,
    ExWebRTC.RTCP.FIR,
    ExRTCP.Packet.PayloadFeedback.PLI,
    ExRTCP.Packet.PayloadFeedback.FIR
  ]

  @doc "Gives every transceiver that has none a track to send."
  @spec add_senders(ExWebRTC.WHIP.Handler.peer()) :: :ok | {:refuse, 500, String.t()}
  def add_senders({api, pc}) do
    stream = MediaStreamTrack.generate_stream_id()

    pc
    |> api.get_transceivers()
    |> Enum.filter(&(not &1.stopped and &1.sender.track == nil))
    |> Enum.reduce_while(:ok, fn transceiver, :ok ->
      case api.add_track(pc, MediaStreamTrack.new(transceiver.kind, [stream])) do
        {:ok, _sender} -> {:cont, :ok}
        {:error, reason} -> {:halt, {:refuse, 500, "cannot send #{transceiver.kind}: #{reason}"}}
      end
    end)
  end

  @doc "The transceivers in use, by the id of the received track; keeps the layer state of old ones."
  @spec routes(ExWebRTC.WHIP.Handler.peer(), %{integer() => route()}) :: %{integer() => route()}
  def routes({api, pc}, old) do
    for transceiver <- api.get_transceivers(pc), not transceiver.stopped, into: %{} do
      received = transceiver.receiver.track

      route = %{
        mid: transceiver.mid,
        kind: transceiver.kind,
        received: received.id,
        rids: received.rids || [],
        sent: transceiver.sender.track && transceiver.sender.track.id,
        codecs: Map.new(transceiver.codecs, &{&1.payload_type, &1}),
        layers: get_in(old, [received.id, :layers]) || LayerSelector.new()
      }

      {received.id, route}
    end
  end

  @doc """
  Chooses among the layers of a track: `{packet | nil, route}`. Without simulcast every packet
  goes through with its number, and a gap stays a gap, so that the receiver knows of the loss.

  Header extensions stay behind: they were for this hop, and the next has ids of its own.
  """
  @spec select(route(), String.t() | nil, map()) :: {map() | nil, route()}
  def select(route, nil, packet), do: {without_extensions(packet), route}

  def select(route, rid, packet) do
    codec = route.codecs[packet.payload_type]
    keyframe? = Codec.keyframe?(codec, packet.payload)
    now = System.monotonic_time(:millisecond)

    case LayerSelector.push(route.layers, rid, packet, keyframe?, now, codec) do
      {:send, packet, layers} -> {without_extensions(packet), %{route | layers: layers}}
      {:drop, layers} -> {nil, %{route | layers: layers}}
    end
  end

  defp without_extensions(packet),
    do: %{packet | extension: false, extension_profile: nil, extensions: nil}

  @doc "Counts a packet of a track's layer."
  def count(counts, track_id, rid) do
    key = {track_id, rid}

    if is_map_key(counts, key) or map_size(counts) < @max_counted_layers * 16 do
      Map.update(counts, key, 1, &(&1 + 1))
    else
      counts
    end
  end

  @doc "What was received of each track's layer, for a connection whose packets do not come here."
  @spec received(ExWebRTC.WHIP.Handler.peer()) :: %{
          {integer(), String.t() | nil} => non_neg_integer()
        }
  def received({api, pc}) do
    for {_id, %{type: :inbound_rtp} = entry} <- api.get_stats(pc), reduce: %{} do
      counts ->
        Map.update(
          counts,
          {entry.track_identifier, entry.rid},
          entry.packets_received,
          &(&1 + entry.packets_received)
        )
    end
  end

  @doc "`c:ExWebRTC.WHIP.Handler.inbound/2` from routes and counts."
  def inbound(routes, counts) do
    for {id, route} <- Enum.sort_by(routes, fn {_id, route} -> route.mid end),
        rid <- layers(id, route, counts) do
      %{mid: route.mid, kind: route.kind, rid: rid, packets: Map.get(counts, {id, rid}, 0)}
    end
  end

  defp layers(id, route, counts) do
    seen = for {{^id, rid}, _count} <- counts, do: rid
    seen = Enum.uniq(route.rids ++ Enum.sort(seen))
    if seen == [], do: [nil], else: seen
  end

  @doc "The ids of the tracks that a `{:rtcp, _}` message asks a keyframe of."
  @spec keyframe_requests([{integer() | nil, term()}]) :: [integer()]
  def keyframe_requests(packets) do
    for(
      {id, %{__struct__: module}} when id != nil and module in @keyframe_requests <- packets,
      do: id
    )
    |> Enum.uniq()
  end
end
