defmodule ExWebRTC.Recorder.Lane do
  @moduledoc false
  # A track, or a layer of one, on its way to a file: packets in, frames with their time out.

  alias ExWebRTC.Recorder.Timeline
  alias ExWebRTC.RTP.{Depayloader, Frame, JitterBuffer}
  alias ExWebRTC.RTPCodecParameters

  @type t() :: %__MODULE__{}

  # A sender that was asked takes a moment; each keyframe is many packets.
  @keyframe_interval 1000
  @sequence_numbers 65_536

  # `payload_type` is that of the first packet. `ssrc` is that of the last, `arrival` when it came;
  # `lost` is what the jitter buffer has counted, `next` the number behind the last packet it returned,
  # `gap` the time since which packets are missing, until a frame ends it. `repaired` is how much was
  # lost when the last keyframe came or was asked for, `asked` when that was.
  @enforce_keys [:codec, :payload_type, :jitter_buffer, :depayloader, :timeline]
  defstruct @enforce_keys ++
              [
                ssrc: nil,
                arrival: nil,
                lost: 0,
                next: nil,
                gap: nil,
                last_time: nil,
                asked: nil,
                repaired: 0
              ]

  @typedoc "A frame, its time, and the time since which packets are missing before it, if any."
  @type timed() :: {Frame.t(), float(), gap :: float() | nil}

  @doc "`:error` for what is no audio or video, such as retransmissions and telephone events."
  @spec new(RTPCodecParameters.t(), 0..127, non_neg_integer()) :: {:ok, t()} | :error
  def new(codec, payload_type, latency) do
    with true <- media?(codec), {:ok, depayloader} <- Depayloader.new(codec) do
      {:ok,
       %__MODULE__{
         codec: codec,
         payload_type: payload_type,
         jitter_buffer: JitterBuffer.new(latency: latency),
         depayloader: depayloader,
         timeline: Timeline.new(codec.clock_rate)
       }}
    else
      _other_format -> :error
    end
  end

  @doc "Whether frames of this codec can be in a file."
  @spec media?(RTPCodecParameters.t()) :: boolean()
  def media?(codec) do
    String.downcase(codec.mime_type) != "audio/telephone-event" and
      match?({:ok, _depayloader}, Depayloader.new(codec))
  end

  @doc "Takes a packet. `slew?` says whether frames of the lane are in a file."
  @spec insert(t(), map(), number(), boolean()) :: {[timed()], timer :: integer() | nil, t()}
  def insert(lane, packet, at, slew?) do
    timeline = Timeline.arrived(lane.timeline, packet.timestamp, at)
    lane = %{lane | timeline: timeline, ssrc: packet.ssrc, arrival: at}
    # A frame is compared with when its own packets arrived, however long they waited here.
    arrived = %{sequence_number: packet.sequence_number, packet: packet, at: at}
    lane.jitter_buffer |> JitterBuffer.insert(arrived) |> frames(lane, slew?)
  end

  @spec handle_timeout(t(), boolean()) :: {[timed()], integer() | nil, t()}
  def handle_timeout(lane, slew?),
    do: lane.jitter_buffer |> JitterBuffer.handle_timeout() |> frames(lane, slew?)

  @spec flush(t(), boolean()) :: {[timed()], nil, t()}
  def flush(lane, slew?), do: lane.jitter_buffer |> JitterBuffer.flush() |> frames(lane, slew?)

  defp frames({packets, timer, jitter_buffer}, lane, slew?) do
    lost = JitterBuffer.stats(jitter_buffer).lost
    lost? = lost > lane.lost

    {frames, lane} =
      Enum.flat_map_reduce(packets, %{lane | jitter_buffer: jitter_buffer}, fn arrived, lane ->
        lane = follow(lane, arrived.sequence_number, lost?)

        case Depayloader.depayload_frame(lane.depayloader, arrived.packet) do
          {%Frame{} = frame, depayloader} ->
            timed(%{lane | depayloader: depayloader}, frame, arrived.at, slew?)

          {_event_or_nil, depayloader} ->
            {[], %{lane | depayloader: depayloader}}
        end
      end)

    {frames, timer, %{lane | lost: lost}}
  end

  # Several packets may come at once, with gaps between them.
  defp follow(lane, number, lost?) do
    missing? = lost? and lane.next != nil and number != lane.next
    gap = lane.gap || if missing?, do: lane.last_time
    %{lane | next: rem(number + 1, @sequence_numbers), gap: gap}
  end

  defp timed(lane, frame, at, slew?) do
    {time, timeline} = Timeline.time(lane.timeline, frame.timestamp, at, slew?)
    {[{frame, time, lane.gap}], %{lane | timeline: timeline, gap: nil, last_time: time}}
  end

  @doc """
  Whether the sender is to be asked for a keyframe now that these frames came: because of a loss since
  the last one, or because the file still lacks one to begin with.
  """
  @spec request_keyframe(t(), [timed()], begun? :: boolean()) :: {boolean(), t()}
  def request_keyframe(%{codec: codec, arrival: now} = lane, frames, begun?) do
    lost = JitterBuffer.stats(lane.jitter_buffer).lost
    keyframe? = Enum.any?(frames, fn {frame, _time, _gap} -> frame.keyframe? end)

    cond do
      not video?(codec) -> {false, lane}
      keyframe? -> {false, %{lane | repaired: lost, asked: lane.asked || now}}
      # The first one is probably on its way.
      lane.asked == nil -> {false, %{lane | asked: now}}
      begun? and lost == lane.repaired -> {false, lane}
      now - lane.asked < @keyframe_interval -> {false, lane}
      true -> {true, %{lane | repaired: lost, asked: now}}
    end
  end

  defp video?(codec), do: String.starts_with?(String.downcase(codec.mime_type), "video/")

  @doc "Takes a sender report; see `Timeline.report/4`."
  @spec report(t(), map(), float() | nil) :: {float() | nil, t()}
  def report(lane, report, wall_offset) do
    {wall_offset, timeline} =
      Timeline.report(lane.timeline, report.ntp_timestamp, report.rtp_timestamp, wall_offset)

    {wall_offset, %{lane | timeline: timeline}}
  end

  @spec synchronized?(t()) :: boolean()
  def synchronized?(lane), do: lane.timeline.reports != []
end
