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
  file of its own, and so does each layer of a simulcast track, and a track whose codec changes from
  there on.

  VP8, VP9, AV1 and Opus make a WebM file; with H264, H265, PCMU, PCMA or G722 it is Matroska (`.mkv`).
  Packets of other formats that a track has, such as telephone events, are left out.

  ## Time

  Frames are placed by their RTP timestamps. With the sender reports that `record_rtcp/2` takes, audio
  and video are in sync as they were captured; without, by when they arrived.

  ## Loss

  A frame of which a packet is lost is left out. The stretches of the file where that was so are in the
  manifest and in the file's tag `RTP_GAPS`, as `track:from-to` in milliseconds. Browsers send keyframes
  only when they are asked to, so that without one the picture stays broken after a loss: give the
  recorder a way to ask, `request_keyframe: &PeerConnection.send_pli(pc, &1, &2)`.

  ## When the node dies

  What was written stays: the file plays up to its last second. When the process ends in another way,
  files are closed first.

  ## When a file cannot be written

  The recorder goes on with the others, and keeps what is in the file. The controlling process is told
  once for each file:

      {:ex_webrtc_recorder, recorder, {:error, track_ids, location, reason}}

  and the manifest of these tracks has the reason as `error`. The connection has no part in it.
  """

  use GenServer

  require Logger

  alias ExWebRTC.MediaStreamTrack
  alias ExWebRTC.Recorder.{Backlog, Files, Lane, Options, Output}
  alias ExWebRTC.RTCP.SenderReport
  alias ExWebRTC.RTPCodecParameters

  # Layers of simulcast are few (RFC 8853 has no bound, browsers send three).
  @max_lanes 64
  # A browser changes the codec when it falls back to another encoder; a peer that goes on changing it
  # must not fill the directory.
  @max_codec_changes 16

  @behind "the disk is too slow for what is recorded: packets are left out"

  @typedoc """
  - `base_dir`: where the files go; made if it is not there. Default `"./recordings"`
  - `files`: `:per_stream` (default) puts tracks that share a stream id into one file, `:per_track`
    gives each its own
  - `codecs`: those that payload types mean; default those that the codec names of a connection's
    options stand for. After negotiation, `PeerConnection.get_configuration/1` has them.
  - `latency`: milliseconds to wait for packets that are missing; default 200
  - `sync_wait`: milliseconds that a file waits for all of its tracks and their sender reports; default
    2,000
  - `request_keyframe`: a function of a track id and a rid, called in the recorder, at most once a second
    for each, when a loss or a missing beginning makes a keyframe of the sender needed; default none
  - `on_start`: called when the process starts, returns tracks as for `add_tracks/2`
  - `controlling_process`: who is told of files that cannot be written; default the process that
    starts the recorder
  """
  @type option() ::
          {:base_dir, Path.t()}
          | {:files, :per_stream | :per_track}
          | {:codecs, [RTPCodecParameters.t()]}
          | {:latency, non_neg_integer()}
          | {:sync_wait, non_neg_integer()}
          | {:request_keyframe,
             (MediaStreamTrack.id(), MediaStreamTrack.rid() | nil -> term()) | nil}
          | {:on_start, (() -> [track()])}
          | {:controlling_process, pid()}

  @typedoc "A track, on its own or with its codec where payload types do not tell."
  @type track() :: MediaStreamTrack.t() | {MediaStreamTrack.t(), RTPCodecParameters.t()}

  @typedoc """
  What is recorded, by track id. `location` is the file, the first if layers have several (`locations`
  has them all); it ends in `.mkv` instead of `.webm` once a codec that WebM does not have was seen.
  There is no file before a frame was recorded. `gaps` are stretches with lost frames, in milliseconds
  of the file; `error` is why the file could not be written (any further).
  """
  @type manifest() :: %{
          MediaStreamTrack.id() => %{
            start_time: DateTime.t(),
            kind: :audio | :video,
            streams: [MediaStreamTrack.stream_id()],
            rid_map: %{MediaStreamTrack.rid() => non_neg_integer()},
            location: Path.t(),
            locations: [Path.t()],
            gaps: [{non_neg_integer(), non_neg_integer()}],
            error: term()
          }
        }

  @doc """
  Starts a recorder. An option that is unknown or wrong raises. Errors: why `base_dir` cannot be made.
  """
  @spec start_link([option()], GenServer.options()) :: GenServer.on_start()
  def start_link(opts \\ [], gen_server_opts \\ []),
    do: GenServer.start_link(__MODULE__, Options.parse!(opts), gen_server_opts)

  @doc "As `start_link/2`, without a link."
  @spec start([option()], GenServer.options()) :: GenServer.on_start()
  def start(opts \\ [], gen_server_opts \\ []),
    do: GenServer.start(__MODULE__, Options.parse!(opts), gen_server_opts)

  @doc """
  For supervisors: `{ExWebRTC.Recorder, options}`, or
  `{ExWebRTC.Recorder, [options, gen_server_options]}`.

  The supervisor is then told of files that cannot be written, unless `controlling_process` names
  another process.
  """
  @spec child_spec([option()] | [term()]) :: Supervisor.child_spec()
  def child_spec([{_option, _value} | _] = options), do: child_spec([options])
  def child_spec(args), do: %{id: __MODULE__, start: {__MODULE__, :start_link, args}}

  @doc """
  Begins to record tracks; also while others are being recorded. Those that are recorded already are
  left as they are.
  """
  @spec add_tracks(GenServer.server(), [track()]) :: {:ok, manifest()}
  def add_tracks(recorder, tracks),
    do: GenServer.call(recorder, {:add_tracks, Enum.map(tracks, &track!/1)})

  # With its codec, or without.
  defp track!(%MediaStreamTrack{} = track), do: {track, nil}

  defp track!({%MediaStreamTrack{}, %RTPCodecParameters{}} = entry), do: entry

  defp track!(other) do
    raise ArgumentError, "expected a track, or a track and its codec, got: #{inspect(other)}"
  end

  @doc """
  Records a packet. `recv_time` is when it arrived, in milliseconds of the monotonic clock. Never
  blocks; packets of tracks that were not added are ignored, and packets are lost while the disk cannot
  take as many as come.
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

  @doc """
  Takes the packets of an `:rtcp` message; of these, sender reports of the sources whose packets were
  recorded. Never blocks.
  """
  @spec record_rtcp(GenServer.server(), [{MediaStreamTrack.id() | nil, struct()}]) :: :ok
  def record_rtcp(recorder, packets) when is_list(packets),
    do: GenServer.cast(recorder, {:rtcp, packets})

  @doc """
  Ends tracks. A file is closed when all of its tracks have ended. If one of them is not recorded, none
  is ended.

  The last element is for drop-in use: where files are uploaded, it names the upload.
  """
  @spec end_tracks(GenServer.server(), [MediaStreamTrack.id()]) ::
          {:ok, manifest(), nil} | {:error, :track_not_found}
  def end_tracks(recorder, track_ids),
    do: GenServer.call(recorder, {:end_tracks, track_ids}, :infinity)

  ## The process

  # `lanes` by `{track_id, rid}`.
  @impl true
  def init(opts) do
    Process.flag(:trap_exit, true)

    with :ok <- File.mkdir_p(opts.base_dir) do
      state = %{
        opts: opts,
        tracks: %{},
        lanes: %{},
        files: Files.new(opts.base_dir, opts.files),
        backlog: %Backlog{}
      }

      tracks = if opts.on_start, do: opts.on_start.(), else: []
      {:ok, add(state, Enum.map(tracks, &track!/1))}
    else
      {:error, reason} -> {:stop, reason}
    end
  end

  @impl true
  def handle_call({:add_tracks, tracks}, _from, state) do
    state = add(state, tracks)
    {:reply, {:ok, manifest(state, Enum.map(tracks, &elem(&1, 0).id))}, state}
  end

  def handle_call({:end_tracks, ids}, _from, state) do
    if Enum.all?(ids, &is_map_key(state.tracks, &1)) do
      state = state |> flush(ids) |> close_files_of(&(elem(&1, 0) in ids))
      {:reply, {:ok, manifest(state, ids), nil}, forget(state, ids)}
    else
      {:reply, {:error, :track_not_found}, state}
    end
  end

  @impl true
  def handle_cast({:record, {track_id, _rid} = key, packet, recv_time}, state)
      when is_map_key(state.tracks, track_id) do
    backlog = Backlog.count(state.backlog)
    if backlog.behind? and not state.backlog.behind?, do: Logger.warning(@behind)
    state = %{state | backlog: backlog}

    with false <- backlog.behind?,
         nil <- Map.fetch!(state.tracks, track_id).error,
         {:ok, packet, state} <- lane(state, key, packet) do
      lane = Map.fetch!(state.lanes, key)
      {:noreply, lane |> Lane.insert(packet, recv_time, written?(state, key)) |> take(state, key)}
    else
      _behind_or_failed_or_unknown -> {:noreply, state}
    end
  end

  def handle_cast({:record, _key, _packet, _recv_time}, state), do: {:noreply, state}

  def handle_cast({:rtcp, packets}, state) do
    reports =
      for {track_id, %module{} = report} <- packets,
          module == SenderReport or match?(%{ntp_timestamp: _, rtp_timestamp: _}, report),
          # Layers of a track have clocks of their own.
          {{id, _rid} = key, lane} <- state.lanes,
          id == track_id and lane.ssrc == report.ssrc,
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
    for output <- Files.outputs(state.files), do: Output.close(output)
  end

  ## Tracks and files

  defp add(state, tracks) do
    new = for {track, _codec} = entry <- tracks, not is_map_key(state.tracks, track.id), do: entry

    entries =
      Map.new(new, fn {track, codec} ->
        {track.id,
         %{track: track, codec: codec, start_time: DateTime.utc_now(), past: [], error: nil}}
      end)

    # Layers get their files when they come.
    whole = for {track, _codec} <- new, track.rids in [nil, []], do: track

    %{
      state
      | tracks: Map.merge(state.tracks, entries),
        files: Files.add_tracks(state.files, whole)
    }
  end

  # The lane of a track begins with its first packet, which says the codec. The packet comes back as it
  # goes into the lane.
  defp lane(%{lanes: lanes} = state, key, packet) when is_map_key(lanes, key) do
    case meaning(state, key, packet) do
      :media -> {:ok, packet, state}
      # Only its place in the sequence matters.
      :other -> {:ok, %{packet | payload: ""}, state}
      :codec_changed -> state |> leave_file(key) |> lane(key, packet)
    end
  end

  defp lane(state, {track_id, _rid} = key, packet) when map_size(state.lanes) < @max_lanes do
    codec = Map.fetch!(state.tracks, track_id).codec || codec_of(state, packet)

    with %RTPCodecParameters{} <- codec,
         {:ok, lane} <- Lane.new(codec, packet.payload_type, state.opts.latency) do
      files = Files.find_or_add(state.files, key)
      {:ok, packet, %{state | files: files, lanes: Map.put(state.lanes, key, lane)}}
    else
      # Retransmission or redundancy formats, or none of the codecs.
      _unknown -> :error
    end
  end

  defp lane(_state, _key, _packet), do: :error

  defp codec_of(state, packet),
    do: Enum.find(state.opts.codecs, &(&1.payload_type == packet.payload_type))

  defp meaning(state, {track_id, _rid} = key, packet) do
    lane = Map.fetch!(state.lanes, key)
    track = Map.fetch!(state.tracks, track_id)
    codec = codec_of(state, packet)

    cond do
      packet.payload_type == lane.payload_type -> :media
      track.codec != nil or codec == nil or not Lane.media?(codec) -> :other
      same_codec?(codec, lane.codec) -> :media
      length(track.past) < @max_codec_changes -> :codec_changed
      true -> :other
    end
  end

  defp same_codec?(one, other),
    do: String.downcase(one.mime_type) == String.downcase(other.mime_type)

  # What is in the file stays there; the track goes on elsewhere.
  defp leave_file(state, {track_id, _rid} = key) do
    state = flush_lanes(state, [key])
    number = Files.number!(state.files, key)
    state = state |> open(number) |> close_files_of(&(&1 == key))
    {location, files} = Files.leave(state.files, key)
    entry = Map.fetch!(state.tracks, track_id)
    entry = %{entry | past: entry.past ++ List.wrap(location)}

    %{
      state
      | tracks: Map.put(state.tracks, track_id, entry),
        lanes: Map.delete(state.lanes, key),
        files: files
    }
  end

  defp written?(state, key), do: state.files |> Files.output_of(key) |> Output.open?()

  ## Frames

  defp take({frames, timer, lane}, state, key) do
    if timer, do: Process.send_after(self(), {:jitter_buffer, key}, timer)
    lane = request_keyframe(lane, frames, state, key)
    put_all(state, key, lane, frames)
  end

  defp put_all(state, key, lane, frames) do
    state = %{state | lanes: Map.put(state.lanes, key, lane)}
    number = Files.number!(state.files, key)
    frames |> Enum.reduce(state, &put(&2, key, &1)) |> open_complete(number)
  end

  defp request_keyframe(lane, _frames, %{opts: %{request_keyframe: nil}}, _key), do: lane

  defp request_keyframe(lane, frames, state, {track_id, rid} = key) do
    begun? = state.files |> Files.output_of(key) |> Output.shown?(key)

    case Lane.request_keyframe(lane, frames, begun?) do
      {true, lane} ->
        state.opts.request_keyframe.(track_id, rid)
        lane

      {false, lane} ->
        lane
    end
  end

  defp put(state, key, timed) do
    number = Files.number!(state.files, key)
    output = Files.output!(state.files, number)
    wait? = output.tracks == %{} and not Output.open?(output)

    case Output.put(output, key, Map.fetch!(state.lanes, key).codec, timed) do
      {:ok, output} ->
        if wait? and output.tracks != %{},
          do: Process.send_after(self(), {:sync_wait, number}, state.opts.sync_wait)

        %{state | files: Files.put(state.files, number, output)}

      :late ->
        put(%{state | files: Files.add(state.files, [key])}, key, timed)

      {:error, reason} ->
        failed(state, number, reason)
    end
  end

  # A full disk must not end the recordings on others.
  defp failed(state, number, reason) do
    output = Files.output!(state.files, number)
    location = Output.location(output)
    Logger.error("recording to #{location} failed: #{inspect(reason)}")
    keys = Files.keys(state.files, number)
    ids = keys |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> Enum.sort()

    send(
      state.opts.controlling_process,
      {:ex_webrtc_recorder, self(), {:error, ids, location, reason}}
    )

    %{
      state
      | tracks:
          Map.new(state.tracks, fn {id, track} ->
            {id, if(id in ids, do: %{track | error: reason}, else: track)}
          end),
        lanes: Map.drop(state.lanes, keys),
        files: Files.put(state.files, number, Output.fail(output))
    }
  end

  defp open_complete(state, number) do
    output = Files.output!(state.files, number)

    if Output.waiting?(output) and Output.complete?(output) and synchronized?(state, output),
      do: open(state, number),
      else: state
  end

  defp synchronized?(state, output) do
    case for key <- output.keys, lane = state.lanes[key], do: lane do
      [_one] -> true
      lanes -> Enum.all?(lanes, &Lane.synchronized?/1)
    end
  end

  defp open(state, number) do
    case Files.fetch(state.files, number) do
      {:ok, output} -> if Output.waiting?(output), do: open(state, number, output), else: state
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

        %{state | files: Files.put(state.files, number, output), lanes: lanes}

      {:error, reason} ->
        failed(state, number, reason)
    end
  end

  defp report({key, report}, state) do
    lane = Map.fetch!(state.lanes, key)
    {wall, lane} = Lane.report(lane, report, Files.wall(state.files, key))
    lanes = Map.put(state.lanes, key, lane)

    %{state | lanes: lanes, files: Files.put_wall(state.files, key, wall)}
    |> open_complete(Files.number!(state.files, key))
  end

  ## The end

  # What waits for packets that are missing, and then files that wait for other tracks.
  defp flush(state, ids) do
    keys = for {{id, _rid} = key, _lane} <- state.lanes, id in ids, do: key
    state = flush_lanes(state, keys)

    state.files |> Files.numbers(keys) |> Enum.reduce(state, &open(&2, &1))
  end

  defp flush_lanes(state, keys) do
    Enum.reduce(keys, state, fn key, state ->
      case state.lanes do
        # No keyframe is asked for: nothing comes into this file any more.
        %{^key => lane} ->
          {frames, nil, lane} = Lane.flush(lane, written?(state, key))
          put_all(state, key, lane, frames)

        # Its file could not be written.
        _given_up ->
          state
      end
    end)
  end

  defp forget(state, ids) do
    %{
      state
      | tracks: Map.drop(state.tracks, ids),
        lanes:
          for({{id, _rid} = key, lane} <- state.lanes, id not in ids, into: %{}, do: {key, lane}),
        files: Files.forget(state.files, ids)
    }
  end

  defp close_files_of(state, theirs?) do
    for number <- Files.only_of(state.files, theirs?), reduce: state do
      state ->
        case state.files |> Files.output!(number) |> Output.close() do
          :ok -> state
          {:error, reason} -> failed(state, number, reason)
        end
    end
  end

  defp manifest(state, ids) do
    for id <- ids, is_map_key(state.tracks, id), into: %{} do
      %{track: track} = entry = Map.fetch!(state.tracks, id)
      locations = entry.past ++ Files.locations(state.files, id)

      {id,
       %{
         start_time: entry.start_time,
         kind: track.kind,
         streams: track.streams,
         rid_map: track.rids |> List.wrap() |> Enum.with_index() |> Map.new(),
         location: List.first(locations) || state.opts.base_dir,
         locations: locations,
         gaps: Files.gaps(state.files, id),
         error: entry.error
       }}
    end
  end
end
