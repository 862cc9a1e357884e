defmodule ExWebRTC.Recorder.Files do
  @moduledoc false
  # Which track is in which file. A track, or each layer of one, has a key, `{track_id, rid}`, and is in
  # one file at a time; a file has a number and stays for as long as a track is in it.

  alias ExWebRTC.MediaStreamTrack
  alias ExWebRTC.Recorder.Output

  @type key() :: {MediaStreamTrack.id(), MediaStreamTrack.rid() | nil}
  @type file_number() :: non_neg_integer()
  @type t() :: %__MODULE__{}

  # By number: `outputs`, and `wall`, the wall clock of the sender of a file's tracks (see
  # `Recorder.Timeline.report/4`). `homes` has the number of each key.
  @enforce_keys [:base_dir, :grouping]
  defstruct @enforce_keys ++ [outputs: %{}, homes: %{}, wall: %{}, next: 0]

  @spec new(Path.t(), :per_stream | :per_track) :: t()
  def new(base_dir, grouping), do: %__MODULE__{base_dir: base_dir, grouping: grouping}

  @doc "Files for tracks without layers, those that belong together in one."
  @spec add_tracks(t(), [MediaStreamTrack.t()]) :: t()
  def add_tracks(files, tracks) do
    tracks
    |> Enum.group_by(&group(&1, files.grouping))
    |> Enum.sort()
    |> Enum.reduce(files, fn {_group, tracks}, files ->
      add(files, Enum.map(tracks, &{&1.id, nil}))
    end)
  end

  defp group(%{streams: [stream | _]}, :per_stream), do: {:stream, stream}
  defp group(track, _grouping), do: {:track, track.id}

  @doc "A file for these, which leave those they are in. `now` is a part of its name."
  @spec add(t(), [key(), ...], integer()) :: t()
  def add(files, [{id, rid} | _] = keys, now \\ System.system_time(:millisecond)) do
    number = files.next
    # A rid is the peer's word: what RFC 8852 does not allow has no place in a path.
    layer = for rid <- List.wrap(rid), do: String.replace(rid, ~r/[^A-Za-z0-9_-]/, "_")
    path = Path.join(files.base_dir, Enum.join([now, number, id | layer], "-"))

    %{
      files
      | outputs: Map.put(files.outputs, number, Output.new(path, keys)),
        homes: Map.merge(files.homes, Map.new(keys, &{&1, number})),
        next: number + 1
    }
  end

  @doc "A file for this one, unless it has one."
  @spec find_or_add(t(), key()) :: t()
  def find_or_add(%{homes: homes} = files, key) when is_map_key(homes, key), do: files
  def find_or_add(files, key), do: add(files, [key])

  @spec number!(t(), key()) :: file_number()
  def number!(files, key), do: Map.fetch!(files.homes, key)

  @doc "The numbers of the files that these are in."
  @spec numbers(t(), [key()]) :: [file_number()]
  def numbers(files, keys), do: files.homes |> Map.take(keys) |> Map.values() |> Enum.uniq()

  @doc "What is in a file."
  @spec keys(t(), file_number()) :: [key()]
  def keys(files, number), do: for({key, ^number} <- files.homes, do: key)

  @doc "The files that nothing is in but what `theirs?` takes."
  @spec only_of(t(), (key() -> boolean())) :: [file_number()]
  def only_of(files, theirs?) do
    users = Enum.group_by(files.homes, fn {_key, number} -> number end, fn {key, _} -> key end)
    for {number, keys} <- users, Enum.all?(keys, theirs?), do: number
  end

  @spec outputs(t()) :: [Output.t()]
  def outputs(files), do: Map.values(files.outputs)

  @spec fetch(t(), file_number()) :: {:ok, Output.t()} | :error
  def fetch(files, number), do: Map.fetch(files.outputs, number)

  @spec output!(t(), file_number()) :: Output.t()
  def output!(files, number), do: Map.fetch!(files.outputs, number)

  @spec output_of(t(), key()) :: Output.t()
  def output_of(files, key), do: output!(files, number!(files, key))

  @spec put(t(), file_number(), Output.t()) :: t()
  def put(files, number, output), do: %{files | outputs: Map.put(files.outputs, number, output)}

  @doc "The wall clock of the sender: tracks of one file are of one sender."
  @spec wall(t(), key()) :: float() | nil
  def wall(files, key), do: files.wall[number!(files, key)]

  @spec put_wall(t(), key(), float() | nil) :: t()
  def put_wall(files, key, wall),
    do: %{files | wall: Map.put(files.wall, number!(files, key), wall)}

  @doc "Takes a track out of its file; with where that is, if it has begun."
  @spec leave(t(), key()) :: {Path.t() | nil, t()}
  def leave(files, key) do
    number = number!(files, key)
    output = output!(files, number)
    # Before the first frame there is no file.
    location = if output.origin, do: Output.location(output)
    files = put(files, number, Output.leave(output, key))
    {location, keep(files, Map.delete(files.homes, key))}
  end

  @doc "Takes tracks with all of their layers out of their files."
  @spec forget(t(), [MediaStreamTrack.id()]) :: t()
  def forget(files, ids) do
    keep(
      files,
      for({{id, _} = key, number} <- files.homes, id not in ids, into: %{}, do: {key, number})
    )
  end

  defp keep(files, homes) do
    used = Map.values(homes)
    outputs = Map.take(files.outputs, used)
    %{files | homes: homes, outputs: outputs, wall: Map.take(files.wall, used)}
  end

  @doc "Where a track is now, the layers of one in their order."
  @spec locations(t(), MediaStreamTrack.id()) :: [Path.t()]
  def locations(files, id),
    do: for({_key, output} <- homes(files, id), do: Output.location(output))

  @doc "Stretches with lost frames, in ms of the file."
  @spec gaps(t(), MediaStreamTrack.id()) :: [{non_neg_integer(), non_neg_integer()}]
  def gaps(files, id) do
    for {key, output} <- homes(files, id),
        {number, from, to} <- Output.gaps(output),
        output.numbers[key] == number,
        do: {from, to}
  end

  defp homes(files, id) do
    homes = for {{^id, _rid} = key, number} <- files.homes, do: {key, output!(files, number)}
    Enum.sort_by(homes, &elem(&1, 0))
  end
end
