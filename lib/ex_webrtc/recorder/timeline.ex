defmodule ExWebRTC.Recorder.Timeline do
  @moduledoc false
  # When the frames of a track were captured, in milliseconds of the recorder's clock, from their RTP
  # timestamps.
  #
  # At first by when the first packet arrived. Sender reports (RFC 3550 section 6.4.1) tell how the
  # clocks of all tracks of a sender relate to its wall clock: the first track that has one says what
  # the wall clock is in the recorder's clock, the others are moved to fit it.

  import Bitwise

  # A frame is moved by at most this much once frames are in the file, so that none goes back.
  @slew_ms 1.0

  @type t() :: %__MODULE__{
          clock_rate: pos_integer(),
          last: integer() | nil,
          offset: float(),
          target: float(),
          report: {wall :: float(), rtp :: 0..0xFFFFFFFF} | nil
        }

  @enforce_keys [:clock_rate]
  defstruct @enforce_keys ++ [last: nil, offset: 0.0, target: 0.0, report: nil]

  @spec new(pos_integer()) :: t()
  def new(clock_rate), do: %__MODULE__{clock_rate: clock_rate}

  @doc "Anchors the timestamps at the first packet."
  @spec arrived(t(), 0..0xFFFFFFFF, number()) :: t()
  def arrived(%{last: nil} = timeline, timestamp, at) do
    offset = at - timestamp * 1000 / timeline.clock_rate
    %{timeline | last: timestamp, offset: offset, target: offset}
  end

  def arrived(timeline, _timestamp, _at), do: timeline

  @doc """
  The time of a frame. Timestamps go on over their wrap. With `slew?` a correction is made in small
  steps.
  """
  @spec time(t(), 0..0xFFFFFFFF, boolean()) :: {float(), t()}
  def time(%{last: last} = timeline, timestamp, slew?) when last != nil do
    extended = extend(last, timestamp)
    offset = if slew?, do: step(timeline.offset, timeline.target), else: timeline.target

    {offset + extended * 1000 / timeline.clock_rate,
     %{timeline | last: max(extended, last), offset: offset}}
  end

  defp step(offset, target) when target > offset, do: min(target, offset + @slew_ms)
  defp step(offset, target), do: max(target, offset - @slew_ms)

  defp extend(last, timestamp) do
    distance = timestamp - last &&& 0xFFFFFFFF
    last + if(distance >= 0x80000000, do: distance - 0x100000000, else: distance)
  end

  @doc """
  Takes a sender report. `wall_offset` is what the wall clock lacks to the recorder's, or `nil` while
  nobody knows: then this track says it.
  """
  @spec report(t(), ntp :: non_neg_integer(), 0..0xFFFFFFFF, float() | nil) ::
          {float() | nil, t()}
  # Nothing has arrived that the report could be about.
  def report(%{last: nil} = timeline, _ntp, _rtp, wall_offset), do: {wall_offset, timeline}

  def report(timeline, ntp, rtp, wall_offset) do
    wall = ntp * 1000 / 0x100000000
    media = extend(timeline.last, rtp) * 1000 / timeline.clock_rate
    timeline = %{timeline | report: {wall, rtp}}

    case wall_offset do
      nil -> {timeline.target + media - wall, timeline}
      wall_offset -> {wall_offset, %{timeline | target: wall + wall_offset - media}}
    end
  end
end
