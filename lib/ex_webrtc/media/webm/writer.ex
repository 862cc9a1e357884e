defmodule ExWebRTC.Media.WebM.Writer do
  @moduledoc """
  Writes a WebM file (RFC 9559), or a Matroska file if a codec asks for it, that players can seek in.

      {:ok, audio} = Track.audio("audio/opus", channels: 2)
      {:ok, video} = Track.video("video/VP8", keyframe)
      {:ok, writer} = Writer.open("call.webm", [audio, video])
      {:ok, writer} = Writer.write(writer, 2, keyframe, 0, keyframe?: true)
      {:ok, writer} = Writer.write(writer, 1, opus_packet, 20)
      :ok = Writer.close(writer)

  Tracks are numbered from 1 in the order given. Times are milliseconds. Frames of one track come in
  order; tracks may be ahead of each other by #{250} ms and are put in order.

  ## When it is not closed

  Clusters of at most 700 ms are written whole, and the duration with each, so that the file of a
  program that was killed plays up to its last second. What `close/1` adds is the index (`Cues`).
  """

  alias ExWebRTC.Media.NewFile
  alias ExWebRTC.Media.WebM.{EBML, Track}

  @cluster_ms 700
  @interleave_ms 250
  # More than this is not kept to put tracks in order.
  @max_buffered_bytes 32 * 1024 * 1024
  # Audio alone: an entry of the index this often.
  @audio_cue_ms 2000

  # Room for the SeekHead, which is written last: four entries of 21 bytes at most.
  @seek_head_room 128

  # Ids of RFC 9559.
  @segment 0x18538067
  @seek_head 0x114D9B74
  @info 0x1549A966
  @tracks 0x1654AE6B
  @cluster 0x1F43B675
  @cues 0x1C53BB6B
  @tags 0x1254C367

  # `blocks` wait in no order. Positions are those in the file; `segment` is where its data begins.
  @opaque t() :: %__MODULE__{}

  @enforce_keys [:file, :tracks, :segment, :duration_at, :parts, :position]
  defstruct @enforce_keys ++
              [blocks: [], bytes: 0, newest: nil, oldest: nil, order: 0, duration: 0, cues: []]

  @doc """
  Creates a file with these tracks, at least one and at most 126.
  """
  @spec open(Path.t(), [Track.t(), ...]) :: {:ok, t()} | {:error, File.posix()}
  def open(path, [_ | _] = tracks) when length(tracks) <= 126 do
    head = IO.iodata_to_binary([ebml_header(tracks), EBML.open(@segment)])
    # The duration is the last element of the information: a float of eight bytes.
    info = IO.iodata_to_binary(info())
    entries = Enum.with_index(tracks, fn track, index -> Track.entry(track, index + 1) end)
    track_element = IO.iodata_to_binary(EBML.element(@tracks, entries))

    segment = byte_size(head)
    info_at = segment + @seek_head_room
    tracks_at = info_at + byte_size(info)

    with {:ok, file} <-
           NewFile.create(path, [head, EBML.void(@seek_head_room), info, track_element]) do
      {:ok,
       %__MODULE__{
         file: file,
         tracks: tracks |> Enum.with_index(1) |> Map.new(fn {track, n} -> {n, track} end),
         segment: segment,
         duration_at: tracks_at - 8,
         parts: [{@info, info_at - segment}, {@tracks, tracks_at - segment}],
         position: tracks_at + byte_size(track_element)
       }}
    end
  end

  defp ebml_header(tracks) do
    doc_type = if Enum.all?(tracks, &Track.webm?/1), do: "webm", else: "matroska"

    EBML.element(0x1A45DFA3, [
      EBML.uint(0x4286, 1),
      EBML.uint(0x42F7, 1),
      EBML.uint(0x42F2, 4),
      EBML.uint(0x42F3, 8),
      EBML.element(0x4282, doc_type),
      EBML.uint(0x4287, 4),
      EBML.uint(0x4285, 2)
    ])
  end

  # Timestamps count milliseconds.
  defp info do
    EBML.element(@info, [
      EBML.uint(0x2AD7B1, 1_000_000),
      EBML.element(0x4D80, "ExWebRTC"),
      EBML.element(0x5741, "ExWebRTC"),
      EBML.float(0x4489, 0.0)
    ])
  end

  @doc """
  Writes a frame of a track, as a depayloader gives it, at a time in milliseconds. Option:
  `keyframe?`, default true for audio and false for video.
  """
  @spec write(t(), pos_integer(), binary(), non_neg_integer(), keyframe?: boolean()) ::
          {:ok, t()} | {:error, term()}
  def write(%__MODULE__{} = writer, number, frame, time, opts \\ [])
      when is_integer(time) and time >= 0 do
    track = Map.fetch!(writer.tracks, number)
    keyframe? = Keyword.get(opts, :keyframe?, track.kind == :audio)
    data = Track.frame(track, frame)
    block = {time, writer.order, number, keyframe?, data}

    flush(%{
      writer
      | blocks: [block | writer.blocks],
        bytes: writer.bytes + byte_size(data),
        order: writer.order + 1,
        newest: max(time, writer.newest || time),
        oldest: min(time, writer.oldest || time)
    })
  end

  # A cluster is complete when no track can bring more for it.
  defp flush(%{newest: newest, oldest: oldest, bytes: bytes} = writer)
       when newest - oldest >= @cluster_ms + @interleave_ms or bytes > @max_buffered_bytes do
    with {:ok, writer} <- write_cluster(writer), do: flush(writer)
  end

  defp flush(writer), do: {:ok, writer}

  defp write_cluster(%{blocks: []} = writer), do: {:ok, writer}

  defp write_cluster(writer) do
    [{start, _, _, _, _} = first | rest] = Enum.sort(writer.blocks)
    # A keyframe of a video begins a cluster, so that a player finds it through the index.
    {in_time, later} = Enum.split_while(rest, &(elem(&1, 0) < start + @cluster_ms))
    {same, after_key} = Enum.split_while(in_time, &(not video_keyframe?(writer, &1)))
    blocks = [first | same]
    left = after_key ++ later

    cluster =
      IO.iodata_to_binary(
        EBML.element(@cluster, [
          EBML.uint(0xE7, start) | Enum.map(blocks, &simple_block(&1, start))
        ])
      )

    {last, _, _, _, _} = List.last(blocks)

    writer =
      cue(
        %{
          writer
          | blocks: left,
            bytes: left |> Enum.map(&byte_size(elem(&1, 4))) |> Enum.sum(),
            oldest: if(left != [], do: left |> hd() |> elem(0)),
            newest: if(left != [], do: writer.newest),
            duration: max(last, writer.duration)
        },
        blocks,
        start
      )

    with :ok <- :file.write(writer.file, cluster),
         :ok <- overwrite(writer, writer.duration_at, <<writer.duration * 1.0::float-64>>) do
      {:ok, %{writer | position: writer.position + byte_size(cluster)}}
    end
  end

  defp video_keyframe?(writer, {_time, _order, number, keyframe?, _data}),
    do: keyframe? and Map.fetch!(writer.tracks, number).kind == :video

  # RFC 9559 section 10.2: the track, the time relative to the cluster, flags. A frame that comes later
  # than the tracks may be apart is before its cluster, as far as 16 bits can say.
  defp simple_block({time, _order, number, keyframe?, data}, start) do
    keyframe = if keyframe?, do: 1, else: 0
    EBML.element(0xA3, [<<1::1, number::7, time - start::signed-16, keyframe::1, 0::7>>, data])
  end

  defp cue(writer, blocks, start) do
    video? = Enum.any?(writer.tracks, fn {_number, track} -> track.kind == :video end)
    key = Enum.find(blocks, &video_keyframe?(writer, &1))
    position = writer.position - writer.segment

    cond do
      key != nil ->
        {time, _order, number, _keyframe?, _data} = key
        %{writer | cues: [{time, number, position} | writer.cues]}

      not video? and due?(writer.cues, start) ->
        %{writer | cues: [{start, blocks |> hd() |> elem(2), position} | writer.cues]}

      true ->
        writer
    end
  end

  defp due?([], _start), do: true
  defp due?([{time, _number, _position} | _], start), do: start - time >= @audio_cue_ms

  @doc "Closes the file as it is, for one that cannot be written any further."
  @spec abandon(t()) :: :ok | {:error, term()}
  def abandon(%__MODULE__{file: file}), do: :file.close(file)

  @doc """
  Writes what is left and the index, and closes the file, also if that fails. Option: `tags`, a map of
  names and texts about the file.
  """
  @spec close(t(), tags: %{optional(String.t()) => String.t()}) :: :ok | {:error, term()}
  def close(%__MODULE__{} = writer, opts \\ []) do
    result =
      with {:ok, writer} <- write_rest(writer),
           {:ok, writer} <- write_part(writer, @cues, cue_points(writer)),
           {:ok, writer} <- write_part(writer, @tags, tags(Keyword.get(opts, :tags, %{}))),
           :ok <- overwrite(writer, writer.segment, seek_head(writer)),
           do: overwrite(writer, writer.segment - 8, segment_size(writer))

    closed = :file.close(writer.file)
    if result == :ok, do: closed, else: result
  end

  defp segment_size(writer), do: EBML.size8(writer.position - writer.segment)

  defp write_rest(%{blocks: []} = writer), do: {:ok, writer}

  defp write_rest(writer) do
    with {:ok, writer} <- write_cluster(writer), do: write_rest(writer)
  end

  defp write_part(writer, _id, []), do: {:ok, writer}

  defp write_part(writer, id, data) do
    element = IO.iodata_to_binary(EBML.element(id, data))

    with :ok <- :file.write(writer.file, element) do
      {:ok,
       %{
         writer
         | position: writer.position + byte_size(element),
           parts: writer.parts ++ [{id, writer.position - writer.segment}]
       }}
    end
  end

  defp cue_points(writer) do
    for {time, number, position} <- Enum.reverse(writer.cues) do
      EBML.element(0xBB, [
        EBML.uint(0xB3, time),
        EBML.element(0xB7, [EBML.uint(0xF7, number), EBML.uint(0xF1, position)])
      ])
    end
  end

  defp tags(tags) when map_size(tags) == 0, do: []

  defp tags(tags) do
    simple =
      for {name, text} <- tags,
          do: EBML.element(0x67C8, [EBML.element(0x45A3, name), EBML.element(0x4487, text)])

    EBML.element(0x7373, [EBML.element(0x63C0, []) | simple])
  end

  # In the room that was kept for it; what is left stays without meaning.
  defp seek_head(writer) do
    seeks =
      for {id, position} <- writer.parts do
        EBML.element(0x4DBB, [
          EBML.element(0x53AB, EBML.id(id)),
          EBML.element(0x53AC, <<position::64>>)
        ])
      end

    head = EBML.element(@seek_head, seeks)
    [head, EBML.void(@seek_head_room - IO.iodata_length(head))]
  end

  defp overwrite(writer, position, data) do
    with :ok <- :file.pwrite(writer.file, position, data),
         {:ok, _position} <- :file.position(writer.file, :eof),
         do: :ok
  end
end
