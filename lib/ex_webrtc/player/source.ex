defmodule ExWebRTC.Player.Source do
  @moduledoc false
  # Frames of a file with their times, whatever the format.

  alias ExWebRTC.Media.{AnnexB, IVF, Ogg, Opus, WAV, WebM}

  # A packet of G.711 (RFC 3551 section 4.2).
  @packet_ms 20
  # Times in a file are rounded to its ticks, milliseconds mostly. Audio that is this close to the end
  # of the frame before follows it without a gap.
  @rounding_ms 3.0

  @fourccs %{
    IVF.Header.fourcc("VP80") => "video/vp8",
    IVF.Header.fourcc("VP90") => "video/vp9",
    IVF.Header.fourcc("AV01") => "video/av1"
  }

  # `unit` is milliseconds of a tick of IVF or a picture of Annex B. `position` counts pictures of
  # Annex B, otherwise milliseconds; `first` is the timestamp that an IVF file begins with. `lanes` are
  # the tracks of WebM that are played, by their number: which output, and where the last frame ended.
  @type t() :: %{
          format: :ivf | :ogg | :annex_b | :wav | :webm,
          reader: term(),
          unit: float(),
          position: number(),
          first: non_neg_integer() | nil,
          lanes: map()
        }

  @doc "Opens a file to play these codecs of it, given as MIME types in lower case."
  @spec open(Path.t(), [String.t(), ...], pos_integer()) :: {:ok, t()} | {:error, term()}
  def open(path, mime_types, frame_rate) do
    case path |> Path.extname() |> String.downcase() do
      ".ivf" ->
        with {:ok, header, reader} <- IVF.Reader.open(path) do
          :ivf
          |> source(reader, 1000 * header.timebase_num / header.timebase_denum)
          |> only(@fourccs[header.fourcc], mime_types)
        end

      extension when extension in [".ogg", ".opus"] ->
        with {:ok, reader} <- Ogg.Reader.open(path),
             do: :ogg |> source(reader, 1.0) |> only("audio/opus", mime_types)

      extension when extension in [".h264", ".264"] ->
        with {:ok, reader} <- AnnexB.Reader.open(path, :h264),
             do: :annex_b |> source(reader, 1000 / frame_rate) |> only("video/h264", mime_types)

      extension when extension in [".h265", ".265", ".hevc"] ->
        with {:ok, reader} <- AnnexB.Reader.open(path, :h265),
             do: :annex_b |> source(reader, 1000 / frame_rate) |> only("video/h265", mime_types)

      ".wav" ->
        open_wav(path, mime_types)

      extension when extension in [".webm", ".mkv", ".mka"] ->
        with {:ok, tracks, reader} <- WebM.Reader.open(path),
             do: :webm |> source(reader, 1.0) |> choose(tracks, mime_types)

      _other ->
        {:error, :unknown_format}
    end
  end

  # Packets have the samples as they are: only G.711.
  defp open_wav(path, mime_types) do
    with {:ok, header, reader} <- WAV.Reader.open(path) do
      samples = div(header.sample_rate * @packet_ms, 1000)
      :wav |> source({reader, samples}, 1.0) |> only("audio/#{header.format}", mime_types)
    end
  end

  defp source(format, reader, unit),
    do: %{format: format, reader: reader, unit: unit, position: 0, first: nil, lanes: %{}}

  defp only(source, mime_type, [mime_type]), do: {:ok, source}
  defp only(source, _mime_type, _others), do: refuse(source)

  # The first track of each codec.
  defp choose(source, tracks, mime_types) do
    lanes =
      for {mime_type, output} <- Enum.with_index(mime_types),
          {number, _track} <-
            tracks |> Enum.filter(&(elem(&1, 1).mime_type == mime_type)) |> Enum.take(1),
          into: %{},
          do: {number, %{output: output, mime_type: mime_type, time: nil, duration: 0.0}}

    if map_size(lanes) == length(mime_types),
      do: {:ok, %{source | lanes: lanes}},
      else: refuse(source)
  end

  defp refuse(source) do
    close(source)
    {:error, :codec_not_in_file}
  end

  @doc """
  The next frame, the index of its codec, its time and its duration, in milliseconds.
  """
  @spec next(t()) ::
          {:ok, {index :: non_neg_integer(), binary(), float(), float()}, t()}
          | :eof
          | {:error, term()}
  def next(%{format: :ivf} = source) do
    with {:ok, frame} <- IVF.Reader.next_frame(source.reader) do
      first = source.first || frame.timestamp
      time = (frame.timestamp - first) * source.unit
      # Times of frames are all that IVF has: a frame lasts as long as the one before it.
      duration = if time > source.position, do: time - source.position, else: source.unit
      {:ok, {0, frame.data, time, duration}, %{source | first: first, position: time}}
    end
  end

  def next(%{format: :annex_b} = source) do
    with {:ok, frame, reader} <- AnnexB.Reader.next_frame(source.reader) do
      time = source.position * source.unit
      source = %{source | reader: reader, position: source.position + 1}
      {:ok, {0, frame, time, source.unit}, source}
    end
  end

  def next(%{format: :ogg} = source) do
    with {:ok, {packet, _rounded}, reader} <- Ogg.Reader.next_packet(source.reader) do
      {:ok, samples} = Opus.samples(packet)
      advance(%{source | reader: reader}, packet, samples / 48)
    end
  end

  def next(%{format: :wav, reader: {reader, samples}} = source) do
    with {:ok, data, reader} <- WAV.Reader.read(reader, samples),
         do: advance(%{source | reader: {reader, samples}}, data, @packet_ms * 1.0)
  end

  def next(%{format: :webm} = source) do
    with {:ok, frame, reader} <- WebM.Reader.next_frame(source.reader) do
      source = %{source | reader: reader}

      case Map.fetch(source.lanes, frame.track) do
        {:ok, lane} ->
          lane = place(lane, frame)
          lanes = Map.put(source.lanes, frame.track, lane)
          {:ok, {lane.output, frame.data, lane.time, lane.duration}, %{source | lanes: lanes}}

        :error ->
          next(source)
      end
    end
  end

  defp advance(source, frame, duration) do
    {:ok, {0, frame, source.position * 1.0, duration},
     %{source | position: source.position + duration}}
  end

  defp place(%{mime_type: "audio/" <> _ = mime_type} = lane, frame) do
    follows = (lane.time || frame.time) + lane.duration
    time = if abs(frame.time - follows) < @rounding_ms, do: follows, else: frame.time
    %{lane | time: time, duration: audio_duration(mime_type, frame.data)}
  end

  # A picture lasts as long as the one before it.
  defp place(lane, frame) do
    duration = frame.time - (lane.time || frame.time)
    %{lane | time: frame.time, duration: if(duration > 0, do: duration, else: lane.duration)}
  end

  defp audio_duration("audio/opus", data) do
    case Opus.samples(data) do
      {:ok, samples} -> samples / 48
      :error -> 0.0
    end
  end

  # G.711 and G722 have 64 kbit/s.
  defp audio_duration(_mime_type, data), do: byte_size(data) / 8

  @spec close(t()) :: :ok | {:error, term()}
  def close(%{format: :ivf, reader: reader}), do: IVF.Reader.close(reader)
  def close(%{format: :annex_b, reader: reader}), do: AnnexB.Reader.close(reader)
  def close(%{format: :ogg, reader: reader}), do: Ogg.Reader.close(reader)
  def close(%{format: :wav, reader: {reader, _samples}}), do: WAV.Reader.close(reader)
  def close(%{format: :webm, reader: reader}), do: WebM.Reader.close(reader)
end
