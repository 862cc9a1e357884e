defmodule ExWebRTC.Recorder do
  @moduledoc """
  Records received tracks to WebM files, or Matroska where a codec asks for it.

      {:ok, recorder} = ExWebRTC.Recorder.start_link(base_dir: "recordings")
      {:ok, _manifest} = ExWebRTC.Recorder.add_tracks(recorder, [audio_track, video_track])

      # in the controlling process of the connection
      def handle_info({:ex_webrtc, _pc, {:rtp, track_id, rid, packet}}, state) do
        ExWebRTC.Recorder.record(state.recorder, track_id, rid, packet)
        {:noreply, state}
      end

      def handle_info({:ex_webrtc, _pc, {:rtcp, packets}}, state) do
        ExWebRTC.Recorder.record_rtcp(state.recorder, packets)
        {:noreply, state}
      end

      {:ok, manifest, nil} = ExWebRTC.Recorder.end_tracks(recorder, [audio_track.id, video_track.id])

  Packets are put in order, frames are put together, and a file begins when each of its tracks has
  brought a frame, for video a keyframe, but no later than `sync_wait`. A track that comes later gets a
  file of its own, and so does each layer of a simulcast track.

  ## Time

  Frames are placed by their RTP timestamps. With the sender reports that `record_rtcp/2` takes, audio
  and video are in sync as they were captured; without, by when they arrived.

  ## Loss

  A frame of which a packet is lost is left out. The stretches of the file where that was so are in the
  manifest and in the file's tag `RTP_GAPS`, as `track:from-to` in milliseconds.

  ## When the node dies

  What was written stays: the file plays up to its last second. When the process ends in another way,
  files are closed first.
  """

  use GenServer

  require Logger

  alias ExWebRTC.MediaStreamTrack
  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.Recorder.{Lane, Output}
  alias ExWebRTC.RTCP.SenderReport
  alias ExWebRTC.RTPCodecParameters

  @default_base_dir "./recordings"
  @default_latency 200
  @default_sync_wait 2000
  # Layers of simulcast are few (RFC 8853 has no bound, browsers send three).
  @max_lanes 64

  @typedoc """
  - `base_dir`: where the files go; made if it is not there. Default `"./recordings"`
  - `files`: `:per_stream` (default) puts tracks that share a stream id into one file, `:per_track`
    gives each its own
  - `codecs`: those that payload types mean; default those of a connection without options. After
    negotiation, `PeerConnection.get_configuration/1` has them.
  - `latency`: milliseconds to wait for packets that are missing; default 200
  - `sync_wait`: milliseconds that a file waits for all of its tracks and their sender reports; default
    2,000
  - `on_start`: called when the process starts, returns tracks as for `add_tracks/2`
  """
  @type option() ::
          {:base_dir, Path.t()}
          | {:files, :per_stream | :per_track}
          | {:codecs, [RTPCodecParameters.t()]}
          | {:latency, non_neg_integer()}
          | {:sync_wait, non_neg_integer()}
          | {:on_start, (() -> [track()])}

  @typedoc "A track, on its own or with its codec where payload types do not tell."
  @type track() :: MediaStreamTrack.t() | {MediaStreamTrack.t(), RTPCodecParameters.t()}

  @typedoc """
  What is recorded, by track id. `location` is the file, the first if layers have several (`locations`
  has them all); it ends in `.mkv` instead of `.webm` once a codec that WebM does not have was seen.
  `gaps` are stretches with lost frames, in milliseconds of the file.
  """
  @type manifest() :: %{
          MediaStreamTrack.id() => %{
            start_time: DateTime.t(),
            kind: :audio | :video,
            streams: [MediaStreamTrack.stream_id()],
            rid_map: %{MediaStreamTrack.rid() => non_neg_integer()},
            location: Path.t(),
            locations: [Path.t()],
            gaps: [{non_neg_integer(), non_neg_integer()}]
          }
        }

  @doc "Starts a recorder. An unknown option raises."
  @spec start_link([option()], GenServer.options()) :: GenServer.on_start()
  def start_link(opts \\ [], gen_server_opts \\ []),
    do: GenServer.start_link(__MODULE__, options!(opts), gen_server_opts)

  @doc "As `start_link/2`, without a link."
  @spec start([option()], GenServer.options()) :: GenServer.on_start()
  def start(opts \\ [], gen_server_opts \\ []),
    do: GenServer.start(__MODULE__, options!(opts), gen_server_opts)

  @doc "For supervisors: `{ExWebRTC.Recorder, [options, gen_server_options]}`."
  @spec child_spec([term()]) :: Supervisor.child_spec()
  def child_spec(args), do: %{id: __MODULE__, start: {__MODULE__, :start_link, args}}

  defp options!(opts) do
    opts =
      Keyword.validate!(opts,
        base_dir: @default_base_dir,
        files: :per_stream,
        codecs: Configuration.default_audio_codecs() ++ Configuration.default_video_codecs(),
        latency: @default_latency,
        sync_wait: @default_sync_wait,
        on_start: nil
      )

    if opts[:files] not in [:per_stream, :per_track],
      do: raise(ArgumentError, "expected :files to be :per_stream or :per_track")

    Map.new(opts)
  end

  @doc "Begins to record tracks. Those that are recorded already are left as they are."
  @spec add_tracks(GenServer.server(), [track()]) :: {:ok, manifest()}
  def add_tracks(recorder, tracks), do: GenServer.call(recorder, {:add_tracks, tracks})

  @doc """
  Records a packet. `recv_time` is when it arrived, in milliseconds of the monotonic clock. Never
  blocks; packets of tracks that were not added are ignored.
  """
  @spec record(
          GenServer.server(),
          MediaStreamTrack.id(),
          MediaStreamTrack.rid() | nil,
          struct(),
          integer()
        ) :: :ok
  def record(
        recorder,
        track_id,
        rid,
        packet,
        recv_time \\ System.monotonic_time(:millisecond)
      ),
      do: GenServer.cast(recorder, {:record, {track_id, rid}, packet, recv_time})

  @doc "Takes the packets of an `:rtcp` message; of these, sender reports. Never blocks."
  @spec record_rtcp(GenServer.server(), [{MediaStreamTrack.id() | nil, struct()}]) :: :ok
  def record_rtcp(recorder, packets) when is_list(packets),
    do: GenServer.cast(recorder, {:rtcp, packets})

  @doc """
  Ends tracks. A file is closed when all of its tracks have ended.

  The last element is for drop-in use: where files are uploaded, it names the upload.
  """
  @spec end_tracks(GenServer.server(), [MediaStreamTrack.id()]) ::
          {:ok, manifest(), nil} | {:error, :track_not_found}
  def end_tracks(recorder, track_ids),
    do: GenServer.call(recorder, {:end_tracks, track_ids}, :infinity)

  ## The process

  # `outputs` by number; `lanes` and the number of their output by `{track_id, rid}`.
  @impl true
  def init(opts) do
    Process.flag(:trap_exit, true)

    with :ok <- File.mkdir_p(opts.base_dir) do
      state = %{opts: opts, tracks: %{}, lanes: %{}, outputs: %{}, homes: %{}, wall: %{}, next: 0}
      tracks = if opts.on_start, do: opts.on_start.(), else: []
      {:ok, add(state, tracks)}
    else
      {:error, reason} -> {:stop, reason}
    end
  end

  @impl true
  def handle_call({:add_tracks, tracks}, _from, state) do
    state = add(state, tracks)
    {:reply, {:ok, manifest(state, Enum.map(tracks, &track(&1).id))}, state}
  end

  def handle_call({:end_tracks, ids}, _from, state) do
    if Enum.all?(ids, &is_map_key(state.tracks, &1)) do
      state = flush(state, ids)
      manifest = manifest(state, ids)
      {:reply, {:ok, manifest, nil}, state |> forget(ids) |> close_finished()}
    else
      {:reply, {:error, :track_not_found}, state}
    end
  end

  @impl true
  def handle_cast({:record, {track_id, _rid} = key, packet, recv_time}, state)
      when is_map_key(state.tracks, track_id) do
    case lane(state, key, packet) do
      {:ok, state} ->
        lane = Map.fetch!(state.lanes, key)

        {:noreply,
         lane |> Lane.insert(packet, recv_time, written?(state, key)) |> take(state, key)}

      :error ->
        {:noreply, state}
    end
  end

  def handle_cast({:record, _key, _packet, _recv_time}, state), do: {:noreply, state}

  def handle_cast({:rtcp, packets}, state) do
    reports =
      for {track_id, %module{} = report} <- packets,
          module == SenderReport or match?(%{ntp_timestamp: _, rtp_timestamp: _}, report),
          {id, _rid} = key <- Map.keys(state.lanes),
          id == track_id,
          do: {key, report}

    {:noreply, Enum.reduce(reports, state, &report/2)}
  end

  @impl true
  def handle_info({:jitter_buffer, key}, state) when is_map_key(state.lanes, key) do
    lane = Map.fetch!(state.lanes, key)
    {:noreply, lane |> Lane.handle_timeout(written?(state, key)) |> take(state, key)}
  end

  def handle_info({:sync_wait, number}, state), do: {:noreply, open(state, number)}
  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    state = flush(state, Map.keys(state.tracks))
    for {_number, output} <- state.outputs, do: Output.close(output)
  end

  ## Tracks and files

  defp track({%MediaStreamTrack{} = track, _codec}), do: track
  defp track(%MediaStreamTrack{} = track), do: track

  defp codec({_track, codec}), do: codec
  defp codec(_track), do: nil

  defp add(state, tracks) do
    new = for entry <- tracks, not is_map_key(state.tracks, track(entry).id), do: entry

    entries =
      Map.new(new, fn entry ->
        {track(entry).id,
         %{track: track(entry), codec: codec(entry), start_time: DateTime.utc_now()}}
      end)

    state = %{state | tracks: Map.merge(state.tracks, entries)}

    new
    |> Enum.map(&track/1)
    # Layers get their files when they come.
    |> Enum.filter(&(&1.rids in [nil, []]))
    |> Enum.group_by(&group(&1, state.opts.files))
    |> Enum.sort()
    |> Enum.reduce(state, fn {_group, tracks}, state ->
      add_output(state, Enum.map(tracks, &{&1.id, nil}))
    end)
  end

  defp group(%{streams: [stream | _]}, :per_stream), do: {:stream, stream}
  defp group(track, _files), do: {:track, track.id}

  defp add_output(state, keys) do
    number = state.next
    {id, rid} = hd(keys)
    unique = System.system_time(:millisecond)
    name = Enum.join(["#{unique}", "#{id}" | List.wrap(rid)], "-")
    path = Path.join(state.opts.base_dir, name)
    output = Output.new(path, keys, System.monotonic_time(:millisecond))

    %{
      state
      | outputs: Map.put(state.outputs, number, output),
        homes: Map.merge(state.homes, Map.new(keys, &{&1, number})),
        next: number + 1
    }
  end

  # The lane of a track begins with its first packet, which says the codec.
  defp lane(%{lanes: lanes} = state, key, _packet) when is_map_key(lanes, key), do: {:ok, state}

  defp lane(state, {track_id, _rid} = key, packet) when map_size(state.lanes) < @max_lanes do
    codec =
      Map.fetch!(state.tracks, track_id).codec ||
        Enum.find(state.opts.codecs, &(&1.payload_type == packet.payload_type))

    with %RTPCodecParameters{} <- codec,
         {:ok, lane} <- Lane.new(codec, state.opts.latency) do
      state = if is_map_key(state.homes, key), do: state, else: add_output(state, [key])
      {:ok, %{state | lanes: Map.put(state.lanes, key, lane)}}
    else
      # Retransmission or redundancy formats, or none of the codecs.
      _unknown -> :error
    end
  end

  defp lane(_state, _key, _packet), do: :error

  defp written?(state, key), do: state.outputs |> Map.fetch!(state.homes[key]) |> Output.open?()

  ## Frames

  defp take({frames, timer, lane}, state, key) do
    if timer, do: Process.send_after(self(), {:jitter_buffer, key}, timer)
    state = %{state | lanes: Map.put(state.lanes, key, lane)}
    number = state.homes[key]
    frames |> Enum.reduce(state, &put(&2, key, &1)) |> open_complete(number)
  end

  # Given up after an error.
  defp put(%{homes: homes} = state, key, _timed) when not is_map_key(homes, key), do: state

  defp put(state, key, timed) do
    number = Map.fetch!(state.homes, key)
    output = Map.fetch!(state.outputs, number)
    wait? = output.tracks == %{} and not Output.open?(output)

    case Output.put(output, key, Map.fetch!(state.lanes, key).codec, timed) do
      {:ok, output} ->
        if wait? and output.tracks != %{},
          do: Process.send_after(self(), {:sync_wait, number}, state.opts.sync_wait)

        %{state | outputs: Map.put(state.outputs, number, output)}

      :late ->
        state |> add_output([key]) |> put(key, timed)

      {:error, reason} ->
        failed(state, number, reason)
    end
  end

  # A full disk must not end the recordings on others.
  defp failed(state, number, reason) do
    output = Map.fetch!(state.outputs, number)
    Logger.error("recording to #{Output.location(output)} failed: #{inspect(reason)}")
    Output.close(output)
    keys = for {key, ^number} <- state.homes, do: key

    %{
      state
      | tracks: Map.drop(state.tracks, Enum.map(keys, &elem(&1, 0))),
        lanes: Map.drop(state.lanes, keys),
        homes: Map.drop(state.homes, keys),
        outputs: Map.delete(state.outputs, number)
    }
  end

  defp open_complete(%{outputs: outputs} = state, number) when not is_map_key(outputs, number),
    do: state

  defp open_complete(state, number) do
    output = Map.fetch!(state.outputs, number)

    if not Output.open?(output) and Output.complete?(output) and synchronized?(state, output),
      do: open(state, number),
      else: state
  end

  defp synchronized?(_state, %{keys: [_one]}), do: true

  defp synchronized?(state, output),
    do: Enum.all?(output.keys, &Lane.synchronized?(Map.fetch!(state.lanes, &1)))

  defp open(state, number) do
    case Map.fetch(state.outputs, number) do
      {:ok, output} -> if Output.open?(output), do: state, else: open(state, number, output)
      :error -> state
    end
  end

  # What was held is placed by what the sender reports have said since.
  defp open(state, number, output) do
    shifts =
      Map.new(output.keys, fn key ->
        case state.lanes[key] do
          nil -> {key, 0.0}
          lane -> {key, lane.timeline.target - lane.timeline.offset}
        end
      end)

    retime = fn key, _frame, time -> time + Map.fetch!(shifts, key) end

    case Output.open(output, retime) do
      {:ok, output} ->
        lanes =
          for {key, lane} <- state.lanes, into: %{} do
            settled = %{lane.timeline | offset: lane.timeline.target}
            {key, if(key in output.keys, do: %{lane | timeline: settled}, else: lane)}
          end

        %{state | outputs: Map.put(state.outputs, number, output), lanes: lanes}

      {:error, reason} ->
        failed(state, number, reason)
    end
  end

  # Tracks of one file are of one sender, whose wall clock they share.
  defp report({key, report}, state) do
    number = Map.fetch!(state.homes, key)
    lane = Map.fetch!(state.lanes, key)
    {wall, lane} = Lane.report(lane, report, state.wall[number])

    state = %{
      state
      | lanes: Map.put(state.lanes, key, lane),
        wall: Map.put(state.wall, number, wall)
    }

    open_complete(state, number)
  end

  ## The end

  # What waits for packets that are missing, and then files that wait for other tracks.
  defp flush(state, ids) do
    keys = for {{id, _rid} = key, _lane} <- state.lanes, id in ids, do: key

    state =
      Enum.reduce(keys, state, fn key, state ->
        case state.lanes do
          %{^key => lane} -> lane |> Lane.flush(written?(state, key)) |> take(state, key)
          # Its file could not be written.
          _given_up -> state
        end
      end)

    for(key <- keys, number = state.homes[key], do: number)
    |> Enum.uniq()
    |> Enum.reduce(state, &open(&2, &1))
  end

  defp forget(state, ids) do
    keep = fn {{id, _rid}, _value} -> id not in ids end

    %{
      state
      | tracks: Map.drop(state.tracks, ids),
        lanes: state.lanes |> Enum.filter(keep) |> Map.new(),
        homes: state.homes |> Enum.filter(keep) |> Map.new()
    }
  end

  defp close_finished(state) do
    used = state.homes |> Map.values() |> MapSet.new()

    {open, finished} = Enum.split_with(state.outputs, fn {number, _output} -> number in used end)

    for {_number, output} <- finished do
      with {:error, reason} <- Output.close(output) do
        Logger.error("closing #{Output.location(output)} failed: #{inspect(reason)}")
      end
    end

    %{state | outputs: Map.new(open), wall: Map.take(state.wall, MapSet.to_list(used))}
  end

  defp manifest(state, ids) do
    for id <- ids, is_map_key(state.tracks, id), into: %{} do
      %{track: track, start_time: start_time} = Map.fetch!(state.tracks, id)

      homes =
        for {{^id, rid}, number} <- state.homes, do: {rid, Map.fetch!(state.outputs, number)}

      locations = homes |> Enum.sort_by(&elem(&1, 0)) |> Enum.map(&Output.location(elem(&1, 1)))

      {id,
       %{
         start_time: start_time,
         kind: track.kind,
         streams: track.streams,
         rid_map: track.rids |> List.wrap() |> Enum.with_index() |> Map.new(),
         location: List.first(locations) || state.opts.base_dir,
         locations: locations,
         gaps: Enum.flat_map(homes, fn {rid, output} -> gaps(output, {id, rid}) end)
       }}
    end
  end

  defp gaps(output, key) do
    for {number, from, to} <- Output.gaps(output), output.numbers[key] == number, do: {from, to}
  end
end
