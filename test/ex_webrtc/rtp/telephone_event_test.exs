defmodule ExWebRTC.RTP.TelephoneEventTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.RTP.{Depayloader, Packet, Payloader, TelephoneEvent}
  alias ExWebRTC.RTPCodecParameters

  doctest TelephoneEvent

  defp telephone_event do
    %RTPCodecParameters{
      payload_type: 101,
      mime_type: "audio/telephone-event",
      clock_rate: 8000
    }
  end

  property "every event comes back once, whatever is lost but one packet", [
    code <- :proper_types.integer(0, 255),
    duration <- :proper_types.integer(1, 6000),
    kept <- :proper_types.integer(0, 1000)
  ] do
    {:ok, payloader} = Payloader.new(telephone_event())
    {packets, _payloader} = Payloader.payload(payloader, %{code: code, duration: duration})
    assert hd(packets).marker

    assert {:ok, %{end: true, duration: ticks}} = TelephoneEvent.parse(List.last(packets).payload)

    assert ticks == duration * 8

    one = Enum.at(packets, rem(kept, length(packets)))
    name = TelephoneEvent.name(code)
    assert {:ok, code} == TelephoneEvent.code(name)

    for received <- [packets, [one]] do
      {:ok, depayloader} = Depayloader.new(telephone_event())

      {events, _depayloader} =
        Enum.flat_map_reduce(received, depayloader, fn packet, depayloader ->
          {event, depayloader} = Depayloader.depayload(depayloader, packet)
          {List.wrap(event), depayloader}
        end)

      assert events == [%{code: code, event: name}]
    end
  end

  test "the same digit twice is two events, and a long one is one" do
    {:ok, depayloader} = Depayloader.new(telephone_event())

    steps = [
      {0, <<5, 0x0A, 0xFF, 0xFF>>, %{code: 5, event: "5"}},
      # The next segment of the same event.
      {65_535, <<5, 0x0A, 0, 100>>, nil},
      {65_535, <<5, 0x8A, 0, 200>>, nil},
      {70_000, <<5, 0x0A, 0, 100>>, %{code: 5, event: "5"}},
      {70_000, "cut", nil},
      {80_000, <<11, 0x0A, 0, 100>>, %{code: 11, event: "#"}}
    ]

    Enum.reduce(steps, depayloader, fn {timestamp, payload, expected}, depayloader ->
      packet = Packet.new(payload, timestamp: timestamp)
      assert {^expected, depayloader} = Depayloader.depayload(depayloader, packet)
      depayloader
    end)
  end

  test "what is no event raises" do
    {:ok, payloader} = Payloader.new(telephone_event())

    for event <- [
          %{},
          %{event: "E"},
          %{code: 256},
          %{code: 1, duration: 0},
          %{code: 1, volume: 64}
        ] do
      assert_raise ArgumentError, fn -> Payloader.payload(payloader, event) end
    end
  end
end
