defmodule ExWebRTC.FFmpeg do
  @moduledoc """
  Real encoders and decoders for tests: runs `ffmpeg` and `ffprobe`. Streams are small, of a test
  picture and a tone.
  """

  @size "160x120"
  @rate 15
  @seconds 2

  @video %{
    "video/VP8" => {~w(-c:v libvpx -deadline realtime -cpu-used 8), "ivf"},
    "video/VP9" => {~w(-c:v libvpx-vp9 -deadline realtime -cpu-used 8), "ivf"},
    "video/AV1" => {~w(-c:v libaom-av1 -usage realtime -cpu-used 8), "ivf"},
    "video/H264" =>
      {~w(-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p), "h264"},
    "video/H265" => {~w(-c:v libx265 -preset ultrafast -tune zerolatency -pix_fmt yuv420p
          -x265-params log-level=none), "hevc"}
  }

  @doc "The video codecs that there is an encoder of."
  @spec video_codecs() :: [String.t()]
  def video_codecs, do: Map.keys(@video)

  @doc "Pictures of an encoded video."
  @spec frames() :: pos_integer()
  def frames, do: @rate * @seconds

  @doc "Pictures a second."
  @spec rate() :: pos_integer()
  def rate, do: @rate

  @doc """
  Encodes the test picture; with a keyframe every `:gop` pictures (default 10), and `:arguments` for the
  encoder.
  """
  @spec video!(Path.t(), String.t(), keyword()) :: Path.t()
  def video!(directory, mime_type, opts \\ []) do
    {encoder, extension} = Map.fetch!(@video, mime_type)
    path = Path.join(directory, "video.#{extension}")
    gop = "#{Keyword.get(opts, :gop, 10)}"
    source = "testsrc=size=#{@size}:rate=#{@rate}:duration=#{@seconds}"

    run!(
      ["-f", "lavfi", "-i", source] ++
        encoder ++
        ["-g", gop, "-b:v", "200k", "-threads", "1"] ++
        Keyword.get(opts, :arguments, []) ++ [path]
    )

    path
  end

  @doc "Encodes a tone: `name` of the file decides the format, `encoder` the codec."
  @spec audio!(Path.t(), String.t(), [String.t()]) :: Path.t()
  def audio!(directory, name, encoder) do
    path = Path.join(directory, name)
    run!(["-f", "lavfi", "-i", "sine=frequency=440:duration=#{@seconds}"] ++ encoder ++ [path])
    path
  end

  @doc "Runs ffmpeg; raises with what it said when it fails or complains."
  @spec run!([String.t()]) :: String.t()
  def run!(args) do
    case System.cmd("ffmpeg", ~w(-hide_banner -nostdin -loglevel error -y) ++ args,
           stderr_to_stdout: true
         ) do
      {output, 0} -> output
      {output, status} -> raise "ffmpeg ended with #{status}: #{output}"
    end
  end

  @doc "A hash of every decoded picture or stretch of sound, in their order. Fails if decoding complains."
  @spec decoded(Path.t(), [String.t()]) :: [String.t()]
  def decoded(path, options \\ []) do
    lines =
      ["-i", path | options]
      |> Enum.concat(~w(-f framemd5 -))
      |> run!()
      |> String.split("\n", trim: true)
      |> Enum.reject(&String.starts_with?(&1, "#"))

    for line <- lines do
      case String.split(line, ",") do
        [_stream, _dts, _pts, _duration, _size, hash] -> String.trim(hash)
        _complaint -> raise "ffmpeg could not decode #{path}: #{line}"
      end
    end
  end

  @doc "The decoded sound, as samples of 16 bits."
  @spec pcm(Path.t()) :: binary()
  def pcm(path) do
    {samples, 0} =
      System.cmd("ffmpeg", ~w(-nostdin -loglevel error -i #{path} -map 0:a -f s16le -))

    samples
  end

  @doc "Entries that ffprobe shows, as a map of texts."
  @spec probe(Path.t(), String.t(), [String.t()]) :: [%{String.t() => String.t()}]
  def probe(path, entries, options \\ []) do
    {output, 0} =
      System.cmd(
        "ffprobe",
        ~w(-v error -show_entries #{entries} -of default=noprint_wrappers=0) ++ options ++ [path],
        stderr_to_stdout: true
      )

    output
    |> String.split("\n", trim: true)
    |> Enum.chunk_while(
      %{},
      fn
        "[/" <> _end, section -> {:cont, section, %{}}
        "[" <> _start, section -> {:cont, section}
        line, section -> {:cont, put(section, line)}
      end,
      fn _rest -> {:cont, nil} end
    )
  end

  defp put(section, line) do
    case String.split(line, "=", parts: 2) do
      [name, value] -> Map.put(section, name, value)
      [complaint] -> raise "ffprobe: #{complaint}"
    end
  end
end
