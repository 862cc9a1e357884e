defmodule ExWebRTC.Recorder.Output do
  @moduledoc false
  # A file to be, of one track or several. What a container says about its tracks must be known before
  # the first frame is written, so frames are held until every track has shown itself.

  alias ExWebRTC.Media.WebM
  alias ExWebRTC.RTP.Frame

  # Gaps that are told at the end of the file.
  @max_gaps 1000
  # Frames that are held at most; a video of 60 and an audio of 100 frames a second for ten seconds.
  @max_held 1600

  @type key() :: term()
  @type t() :: %__MODULE__{}

  # `tracks` maps the keys that have shown themselves to what the container says about them.
  @enforce_keys [:path, :keys]
  defstruct @enforce_keys ++
              [
                writer: nil,
                failed?: false,
                tracks: %{},
                numbers: %{},
                held: [],
                origin: nil,
                gaps: []
              ]

  @doc "`path` is without extension; the keys are those of the tracks."
  @spec new(Path.t(), [key(), ...]) :: t()
  def new(path, keys), do: %__MODULE__{path: path, keys: keys}

  @spec location(t()) :: Path.t()
  def location(output), do: output.path <> extension(output)

  defp extension(%{tracks: tracks}) do
    if Enum.all?(tracks, fn {_key, track} -> WebM.Track.webm?(track) end),
      do: ".webm",
      else: ".mkv"
  end

  @spec open?(t()) :: boolean()
  def open?(output), do: output.writer != nil

  @doc "Whether the file is still to begin."
  @spec waiting?(t()) :: boolean()
  def waiting?(output), do: output.writer == nil and not output.failed?

  @doc "Whether the track has brought a frame that a file can begin with."
  @spec shown?(t(), key()) :: boolean()
  def shown?(output, key), do: is_map_key(output.tracks, key)

  @doc "Whether nothing more is needed to write the file than a decision."
  @spec complete?(t()) :: boolean()
  def complete?(output), do: Enum.all?(output.keys, &is_map_key(output.tracks, &1))

  @doc """
  Takes a frame. `:late` if the file has begun without this track.
  """
  @spec put(t(), key(), map(), {Frame.t(), float(), float() | nil}) ::
          {:ok, t()} | :late | {:error, term()}
  def put(%{failed?: true} = output, _key, _codec, _timed), do: {:ok, output}

  def put(%{writer: nil} = output, key, codec, {frame, _time, _gap} = timed) do
    output = describe(output, key, codec, frame)

    # What comes before the first keyframe cannot be decoded.
    if is_map_key(output.tracks, key) and length(output.held) < @max_held,
      do: {:ok, %{output | held: [{key, timed} | output.held]}},
      else: {:ok, output}
  end

  def put(%{numbers: numbers} = output, key, _codec, timed) when is_map_key(numbers, key),
    do: write(output, key, timed)

  def put(_output, _key, _codec, _timed), do: :late

  defp describe(%{tracks: tracks} = output, key, _codec, _frame) when is_map_key(tracks, key),
    do: output

  defp describe(output, key, codec, frame) do
    track =
      case String.downcase(codec.mime_type) do
        "audio/" <> _name -> WebM.Track.audio(codec.mime_type, channels: codec.channels || 1)
        _video when frame.keyframe? -> WebM.Track.video(codec.mime_type, frame.data)
        _video -> :error
      end

    case track do
      {:ok, track} -> %{output | tracks: Map.put(output.tracks, key, track)}
      :error -> output
    end
  end

  @doc "Begins the file with the tracks that have shown themselves, if any has."
  @spec open(t(), (key(), Frame.t(), float() -> float())) :: {:ok, t()} | {:error, term()}
  def open(%{tracks: tracks} = output, _retime) when tracks == %{}, do: {:ok, output}

  def open(output, retime) do
    keys = Enum.filter(output.keys, &is_map_key(output.tracks, &1))

    held =
      for {key, {frame, time, gap}} <- output.held,
          do: {key, {frame, retime.(key, frame, time), gap && retime.(key, frame, gap)}}

    origin = held |> Enum.map(fn {_key, {_frame, time, _gap}} -> time end) |> Enum.min()

    with {:ok, writer} <-
           WebM.Writer.open(location(output), Enum.map(keys, &Map.fetch!(output.tracks, &1))) do
      output = %{
        output
        | writer: writer,
          numbers: keys |> Enum.with_index(1) |> Map.new(),
          held: [],
          origin: origin
      }

      held
      |> Enum.reverse()
      |> Enum.reduce_while({:ok, output}, fn {key, timed}, {:ok, output} ->
        case write(output, key, timed) do
          {:ok, output} -> {:cont, {:ok, output}}
          error -> {:halt, error}
        end
      end)
    end
  end

  defp write(output, key, {frame, time, gap}) do
    number = Map.fetch!(output.numbers, key)
    at = max(0, round(time - output.origin))
    options = [keyframe?: frame.keyframe?]

    with {:ok, writer} <- WebM.Writer.write(output.writer, number, frame.data, at, options) do
      output = %{output | writer: writer}
      {:ok, if(gap, do: mark(output, number, gap, at), else: output)}
    end
  end

  defp mark(output, number, from, to) do
    if length(output.gaps) < @max_gaps,
      do: %{output | gaps: [{number, max(0, round(from - output.origin)), to} | output.gaps]},
      else: output
  end

  @doc "Gaps as `{number of the track, from, to}` in ms of the file, in their order."
  @spec gaps(t()) :: [{pos_integer(), non_neg_integer(), non_neg_integer()}]
  def gaps(output), do: Enum.reverse(output.gaps)

  @doc "Nothing more comes of this track; the file does not wait for it."
  @spec leave(t(), key()) :: t()
  def leave(%{writer: nil} = output, key) when not is_map_key(output.tracks, key),
    do: %{output | keys: List.delete(output.keys, key)}

  def leave(output, _key), do: output

  @doc "Gives the file up. What was written stays."
  @spec fail(t()) :: t()
  def fail(output) do
    if output.writer, do: WebM.Writer.abandon(output.writer)
    %{output | writer: nil, failed?: true, held: []}
  end

  @spec close(t()) :: :ok | {:error, term()}
  def close(%{writer: nil}), do: :ok

  def close(%{writer: writer} = output) do
    text =
      Enum.map_join(gaps(output), ";", fn {number, from, to} -> "#{number}:#{from}-#{to}" end)

    WebM.Writer.close(writer, tags: if(text == "", do: %{}, else: %{"RTP_GAPS" => text}))
  end
end
