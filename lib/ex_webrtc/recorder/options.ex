defmodule ExWebRTC.Recorder.Options do
  @moduledoc false
  # What `ExWebRTC.Recorder.start_link/2` takes.

  alias ExWebRTC.OptionCheck
  alias ExWebRTC.PeerConnection.Codecs
  alias ExWebRTC.RTPCodecParameters

  @default_base_dir "./recordings"
  @default_latency 200
  @default_sync_wait 2000

  @doc "The options as a map, with their defaults; what is wrong raises."
  @spec parse!(keyword()) :: map()
  def parse!(opts) do
    opts =
      Keyword.validate!(opts,
        base_dir: @default_base_dir,
        files: :per_stream,
        codecs: Codecs.audio(Codecs.audio_names()) ++ Codecs.video(Codecs.video_names()),
        latency: @default_latency,
        sync_wait: @default_sync_wait,
        request_keyframe: nil,
        on_start: nil,
        controlling_process: self()
      )

    for {name, value} <- opts, expected = problem(name, value) do
      raise ArgumentError, "expected #{inspect(name)} to be #{expected}, got: #{inspect(value)}"
    end

    Map.new(opts)
  end

  defp problem(:base_dir, path) do
    {path?, text} = OptionCheck.path()
    if not path?.(path), do: text
  end

  defp problem(:files, files) when files not in [:per_stream, :per_track],
    do: ":per_stream or :per_track"

  defp problem(name, time)
       when name in [:latency, :sync_wait] and not (is_integer(time) and time >= 0),
       do: "milliseconds"

  defp problem(:codecs, codecs) do
    if not (is_list(codecs) and Enum.all?(codecs, &(RTPCodecParameters.problem(&1) == nil))),
      do: "a list of codecs"
  end

  defp problem(:controlling_process, pid) when not is_pid(pid), do: "a pid"

  defp problem(:request_keyframe, fun) when fun != nil and not is_function(fun, 2),
    do: "a function of a track id and a rid"

  defp problem(:on_start, fun) when fun != nil and not is_function(fun, 0),
    do: "a function without arguments"

  defp problem(_name, _value), do: nil
end
