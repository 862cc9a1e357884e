defmodule ExWebRTC.Media.WebM.Reader do
  @moduledoc """
  Reads the frames of a WebM or Matroska file (RFC 9559), of this library or of another program. The
  file is closed when the process that opened it ends.

      {:ok, tracks, reader} = Reader.open("film.webm")
      # %{1 => %Track{mime_type: "video/vp8"}, 2 => %Track{mime_type: "audio/opus"}}
      {:ok, %Frame{track: 1, time: 0.0, data: frame}, reader} = Reader.next_frame(reader)

  Frames come as they are in the file, those of all tracks among each other. H264 and H265 are in Annex
  B format, with the parameter sets before each keyframe; AV1 in temporal units. Tracks of other codecs
  or kinds, and those that are compressed, are passed over.
  """

  alias ExWebRTC.Media.{FileBytes, Opus}
  alias ExWebRTC.Media.WebM.{Block, EBML, Frame, Track, TrackEntry}

  # Far above any encoded frame: what a broken file announces shall not take the memory.
  @max_block_size 64 * 1024 * 1024
  # Descriptions of tracks, with some kilobytes of parameters each.
  @max_tracks_size 4 * 1024 * 1024
  @max_header_size 4096
  @max_number_size 8

  @ebml 0x1A45DFA3
  @segment 0x18538067
  @info 0x1549A966
  @tracks 0x1654AE6B
  @cluster 0x1F43B675
  @cluster_time 0xE7
  @block_group 0xA0
  @simple_block 0xA3

  # `scale` is the milliseconds of a tick, `time` that of the cluster in ticks; `pending` are frames of
  # a block that has several.
  @opaque t() :: %__MODULE__{}

  @enforce_keys [:file]
  defstruct @enforce_keys ++ [entries: %{}, scale: 1.0, time: 0, pending: []]

  @doc """
  Opens a file and reads what it says of its tracks, by their numbers.

  Errors: `:invalid_file`, and the reasons of `File.open/2`.
  """
  @spec open(Path.t()) ::
          {:ok, %{pos_integer() => Track.t()}, t()} | {:error, :invalid_file | File.posix()}
  def open(path) do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary, :read_ahead]) do
      with {:ok, @ebml, size} when size <= @max_header_size <- header(file),
           {:ok, _ebml} <- FileBytes.take(file, size),
           {:ok, @segment, _size} <- header(file),
           {:ok, reader} <- describe(%__MODULE__{file: file}) do
        {:ok, Map.new(reader.entries, fn {number, entry} -> {number, entry.track} end), reader}
      else
        _invalid ->
          :file.close(file)
          {:error, :invalid_file}
      end
    end
  end

  # To the first cluster.
  defp describe(reader) do
    case header(reader.file) do
      {:ok, @cluster, _size} -> {:ok, reader}
      {:ok, id, size} -> with {:ok, reader} <- part(reader, id, size), do: describe(reader)
      :eof -> {:ok, reader}
      error -> error
    end
  end

  defp part(reader, @info, size) when size <= @max_tracks_size do
    with {:ok, data} <- FileBytes.take(reader.file, size), {:ok, info} <- EBML.elements(data) do
      # TimestampScale: nanoseconds, a million by default.
      {:ok, %{reader | scale: EBML.number(Map.new(info), 0x2AD7B1, 1_000_000) / 1_000_000}}
    end
  end

  defp part(reader, @tracks, size) when size <= @max_tracks_size do
    with {:ok, data} <- FileBytes.take(reader.file, size), {:ok, list} <- EBML.elements(data) do
      entries =
        for {0xAE, entry} <- list, {:ok, entry} <- [TrackEntry.decode(entry)], into: %{} do
          {entry.number, entry}
        end

      {:ok, %{reader | entries: entries}}
    end
  end

  defp part(reader, _id, size) when is_integer(size) do
    with {:ok, _position} <- :file.position(reader.file, {:cur, size}), do: {:ok, reader}
  end

  defp part(_reader, _id, :unknown), do: :error

  @doc """
  The next frame of a known track. Errors: `:invalid_file` where the file is broken or cut off.
  """
  @spec next_frame(t()) :: {:ok, Frame.t(), t()} | :eof | {:error, :invalid_file}
  def next_frame(%__MODULE__{pending: [frame | pending]} = reader),
    do: {:ok, frame, %{reader | pending: pending}}

  def next_frame(%__MODULE__{} = reader) do
    with {:ok, id, size} <- header(reader.file), {:ok, reader} <- take(reader, id, size) do
      next_frame(reader)
    else
      :eof -> :eof
      _broken -> {:error, :invalid_file}
    end
  end

  # What is in a cluster comes next, wherever the cluster says that it ends.
  defp take(reader, @cluster, _size), do: {:ok, reader}

  defp take(reader, @cluster_time, size) when size <= @max_number_size do
    with {:ok, data} <- FileBytes.take(reader.file, size),
         do: {:ok, %{reader | time: :binary.decode_unsigned(data)}}
  end

  defp take(reader, @simple_block, size) when size <= @max_block_size do
    with {:ok, data} <- FileBytes.take(reader.file, size),
         {:ok, block} <- Block.decode(data),
         do: frames(reader, block, block.keyframe?)
  end

  defp take(reader, @block_group, size) when size <= @max_block_size do
    with {:ok, data} <- FileBytes.take(reader.file, size),
         {:ok, list} <- EBML.elements(data),
         # With a ReferenceBlock it is no keyframe.
         %{0xA1 => data} = elements <- Map.new(list),
         {:ok, block} <- Block.decode(data) do
      frames(reader, block, not is_map_key(elements, 0xFB))
    else
      _no_block -> :error
    end
  end

  defp take(reader, id, size), do: part(reader, id, size)

  defp frames(%{entries: entries} = reader, %{track: number} = block, keyframe?)
       when is_map_key(entries, number) do
    entry = Map.fetch!(entries, number)
    time = max(0.0, (reader.time + block.offset) * reader.scale)

    result =
      Enum.reduce_while(block.frames, {[], time}, fn data, {frames, time} ->
        case TrackEntry.frame(entry, data) do
          {:ok, data} ->
            frame = %Frame{track: number, time: time, keyframe?: keyframe?, data: data}
            {:cont, {[frame | frames], time + duration(entry, data)}}

          :error ->
            {:halt, :error}
        end
      end)

    with {frames, _time} <- result, do: {:ok, %{reader | pending: Enum.reverse(frames)}}
  end

  defp frames(reader, _of_another_track, _keyframe?), do: {:ok, reader}

  # Between the frames of one block.
  defp duration(%{frame_ms: nil, track: %{mime_type: "audio/opus"}}, data) do
    case Opus.samples(data) do
      {:ok, samples} -> samples / 48
      :error -> 0.0
    end
  end

  defp duration(%{frame_ms: frame_ms}, _data), do: frame_ms || 0.0

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)

  ## Elements

  defp header(file) do
    with {:ok, <<first>>} <- :file.read(file, 1),
         {:ok, id} <- vint(file, first),
         {:ok, id, ""} <- EBML.take_id(id),
         {:ok, <<first>>} <- :file.read(file, 1),
         {:ok, size} <- vint(file, first),
         {:ok, size, ""} <- EBML.take_size(size) do
      {:ok, id, size}
    else
      :eof -> :eof
      _invalid -> :error
    end
  end

  defp vint(_file, 0), do: :error

  defp vint(file, first) do
    case EBML.width(first) - 1 do
      0 -> {:ok, <<first>>}
      more -> with {:ok, rest} <- FileBytes.take(file, more), do: {:ok, <<first, rest::binary>>}
    end
  end
end
