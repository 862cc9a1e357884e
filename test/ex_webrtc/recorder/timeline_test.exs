defmodule ExWebRTC.Recorder.TimelineTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.Recorder.Timeline

  defp ntp(milliseconds), do: div(milliseconds * 0x100000000, 1000)

  defp time(timeline, timestamp, at) do
    {time, timeline} = Timeline.time(timeline, timestamp, at, false)
    {round(time), timeline}
  end

  test "times go on over the wrap of the timestamps" do
    timeline = Timeline.arrived(Timeline.new(90_000), 0xFFFFFFFF - 44_999, 1000)
    assert {1000, timeline} = time(timeline, 0xFFFFFFFF - 44_999, 1000)
    assert {2000, timeline} = time(timeline, 45_000, 2000)
    # A picture that is shown before the one it comes behind.
    assert {1500, _timeline} = time(timeline, 0, 2000)
  end

  test "timestamps of another source begin anew where they arrive" do
    timeline = Timeline.arrived(Timeline.new(90_000), 0, 1000)
    {1000, timeline} = time(timeline, 0, 1000)
    assert {3000, timeline} = time(timeline, 0x70000000, 3000)
    assert {3100, _timeline} = time(timeline, 0x70000000 + 9000, 3110)
  end

  test "a report moves the second track of a sender to the first" do
    audio = Timeline.arrived(Timeline.new(48_000), 0, 300)
    video = Timeline.arrived(Timeline.new(90_000), 0, 0)
    {wall, video} = Timeline.report(video, ntp(50_000), 90_000, nil)
    {^wall, audio} = Timeline.report(audio, ntp(50_000), 48_000, wall)
    assert {1000, _video} = time(video, 90_000, 1000)
    assert {1000, _audio} = time(audio, 48_000, 1300)
  end

  # Of a media clock that begins when the recorder's does, made `late` ms too late each.
  defp report_all(timeline, lateness) do
    for {late, second} <- Enum.with_index(lateness), reduce: timeline do
      timeline ->
        ntp = ntp(50_000 + second * 1000 + late)
        {_wall, timeline} = Timeline.report(timeline, ntp, second * 48_000, -50_000.0)
        timeline
    end
  end

  test "a report that a busy sender made late moves nothing, wherever it comes" do
    timeline = Timeline.arrived(Timeline.new(48_000), 0, 0)

    for lateness <- [[0, 90], [90, 0], [0, 0, 90], [0, 90, 1], [0, 1, 0, 2, 90, 85, 0]] do
      assert {time, _timeline} = time(report_all(timeline, lateness), 96_000, 2000)
      assert_in_delta time, 2000, 2, inspect(lateness)
    end
  end

  test "reports that agree move a track, and the last ones count" do
    timeline = Timeline.arrived(Timeline.new(48_000), 0, 0)
    assert {2090, _timeline} = time(report_all(timeline, [90, 90]), 96_000, 2000)
    assert {2090, _timeline} = time(report_all(timeline, [0, 0, 0, 90, 90, 90]), 96_000, 2000)
  end

  test "a report that is years off moves nothing" do
    timeline = Timeline.arrived(Timeline.new(90_000), 0, 0)
    {wall, timeline} = Timeline.report(timeline, ntp(50_000), 0, nil)
    {^wall, timeline} = Timeline.report(timeline, ntp(99_000_000), 0, wall)
    assert {0, _timeline} = time(timeline, 0, 0)
  end

  test "with frames in the file a correction takes small steps" do
    timeline = Timeline.arrived(Timeline.new(90_000), 0, 0)
    {_wall, timeline} = Timeline.report(timeline, ntp(50_100), 0, -50_000.0)
    {first, timeline} = Timeline.time(timeline, 0, 0, true)
    {second, _timeline} = Timeline.time(timeline, 9000, 100, true)
    assert {first, second} == {1.0, 102.0}
  end

  test "clocks that drift apart are no jump, however long the call" do
    # 200 ppm for a day of a frame each second: 17 seconds in all.
    timeline = Timeline.arrived(Timeline.new(90_000), 0, 0)

    {last, _timeline} =
      Enum.reduce(0..86_400, {0, timeline}, fn second, {_last, timeline} ->
        timestamp = Bitwise.band(second * 90_000, 0xFFFFFFFF)
        Timeline.time(timeline, timestamp, second * 1000.2, false)
      end)

    assert round(last) == 86_400_000
  end

  property "no timestamps and reports put a frame far from when it arrived", [
    steps <-
      :proper_types.list(
        {:proper_types.integer(0, 0xFFFFFFFF), :proper_types.integer(0, 0xFFFFFFFFFFFFFFFF),
         :proper_types.integer(0, 5000)}
      )
  ] do
    timeline = Timeline.arrived(Timeline.new(90_000), 0, 0)

    Enum.reduce(steps, {timeline, nil, 0}, fn {timestamp, ntp, later}, {timeline, wall, now} ->
      now = now + later
      {wall, timeline} = Timeline.report(timeline, ntp, timestamp, wall)
      {time, timeline} = Timeline.time(timeline, timestamp, now, false)
      # By the arrival, and by a report that is off.
      assert abs(time - now) <= 20_000
      {timeline, wall, now}
    end)
  end
end
