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
  # Timestamps or reports that are so far from when packets arrive are those of another source, or made
  # up: networks delay by seconds at most.
  @max_deviation_ms 10_000
  # How fast the comparison with arrivals follows clocks that drift apart: over about so many frames.
  @drift_frames 1024
  # A sender that is busy makes a report late, with a timestamp that is behind: Chromium's of audio were
  # off by up to 90 ms. So the median of the last few counts, and of two the one that is ahead. They
  # span half a minute at most, in which clocks drift apart by milliseconds.
  @reports 5

  # `offset` is what the media clock lacks to the recorder's, `target` what it is on its way to, `anchor`
  # what arrivals say, `reports` what the media clock was ahead of the wall clock, the newest first.
  @type t() :: %__MODULE__{
          clock_rate: pos_integer(),
          last: integer() | nil,
          offset: float(),
          target: float(),
          anchor: float(),
          reports: [float()]
        }

  @enforce_keys [:clock_rate]
  defstruct @enforce_keys ++ [last: nil, offset: 0.0, target: 0.0, anchor: 0.0, reports: []]

  @spec new(pos_integer()) :: t()
  def new(clock_rate), do: %__MODULE__{clock_rate: clock_rate}

  @doc "Anchors the timestamps at the first packet."
  @spec arrived(t(), 0..0xFFFFFFFF, number()) :: t()
  def arrived(%{last: nil} = timeline, timestamp, at), do: anchor(timeline, timestamp, at)
  def arrived(timeline, _timestamp, _at), do: timeline

  defp anchor(timeline, extended, at) do
    offset = at - extended * 1000 / timeline.clock_rate
    %{timeline | last: extended, offset: offset, target: offset, anchor: offset, reports: []}
  end

  @doc """
  The time of a frame that arrived by `at`. Timestamps go on over their wrap; those that jump begin
  anew at `at`. With `slew?` a correction is made in small steps.
  """
  @spec time(t(), 0..0xFFFFFFFF, number(), boolean()) :: {float(), t()}
  def time(%{last: last} = timeline, timestamp, at, slew?) when last != nil do
    extended = extend(last, timestamp)
    media = extended * 1000 / timeline.clock_rate
    deviation = at - (timeline.anchor + media)

    if abs(deviation) > @max_deviation_ms do
      {at * 1.0, anchor(timeline, extended, at)}
    else
      offset = if slew?, do: step(timeline.offset, timeline.target), else: timeline.target
      anchor = timeline.anchor + deviation / @drift_frames

      {offset + media, %{timeline | last: max(extended, last), offset: offset, anchor: anchor}}
    end
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
    ahead = extend(timeline.last, rtp) * 1000 / timeline.clock_rate - wall

    if wall_offset == nil do
      {timeline.target + ahead, %{timeline | reports: [ahead]}}
    else
      {wall_offset, aim(timeline, wall_offset, ahead)}
    end
  end

  defp aim(timeline, wall_offset, ahead) do
    if abs(wall_offset - ahead - timeline.anchor) > @max_deviation_ms do
      # Made up.
      timeline
    else
      reports = Enum.take([ahead | timeline.reports], @reports)
      %{timeline | reports: reports, target: wall_offset - median(reports)}
    end
  end

  defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))
end
