defmodule ExWebRTC.Demo.LayerSelectorTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.Demo.LayerSelector

  test "begins with a keyframe of any layer and keeps its numbers" do
    selector = LayerSelector.new()
    assert {:drop, selector} = push(selector, "l", 10, 1_000, 100, false, 0)

    assert {:send, %{sequence_number: 11, timestamp: 1_000}, selector} =
             push(selector, "l", 11, 1_000, 100, true, 0)

    assert {:send, %{sequence_number: 12}, selector} =
             push(selector, "l", 12, 4_000, 100, false, 33)

    assert {:drop, selector} = push(selector, "h", 500, 9_000, 900, true, 33)
    assert LayerSelector.target(selector) == "l"
  end

  test "moves to a larger layer at its keyframe, without a gap" do
    {:send, _packet, selector} =
      push(LayerSelector.new(), "l", 65_534, 4_294_967_000, 100, true, 0)

    {:drop, selector} = push(selector, "h", 500, 9_000, 900, false, 10)
    assert {"h", selector} = LayerSelector.evaluate(selector)
    assert LayerSelector.target(selector) == "h"

    assert {:send, %{sequence_number: 65_535}, selector} =
             push(selector, "l", 65_535, 4_294_967_000, 100, false, 20)

    assert {:drop, selector} = push(selector, "h", 501, 9_000, 900, false, 30)
    assert {:send, first, selector} = push(selector, "h", 502, 12_000, 900, true, 40)
    assert first.sequence_number == 0
    # 20 ms after the last packet, in ticks of 90 kHz, over the wrap.
    assert first.timestamp == 4_294_967_000 + 1_800 - 4_294_967_296

    assert {:send, %{sequence_number: 1, timestamp: timestamp}, selector} =
             push(selector, "h", 503, 15_000, 900, false, 73)

    assert timestamp == first.timestamp + 3_000
    assert {:drop, _selector} = push(selector, "l", 1, 4_294_970_000, 100, true, 80)
  end

  test "numbers the pictures of VP8 on" do
    codec = %{mime_type: "video/VP8"}

    packet = fn sequence, picture_id ->
      payload = <<0x90, 0x80, 1::1, picture_id::15, 0>>
      %{sequence_number: sequence, timestamp: 0, payload: payload}
    end

    selector = LayerSelector.new()
    {:send, _packet, selector} = LayerSelector.push(selector, "l", packet.(1, 70), true, 0, codec)
    large = %{packet.(500, 9) | payload: String.duplicate("x", 900)}
    {:drop, selector} = LayerSelector.push(selector, "h", large, false, 10, codec)
    {"h", selector} = LayerSelector.evaluate(selector)

    assert {:send, %{payload: <<0x90, 0x80, 1::1, 71::15, 0>>}, _selector} =
             LayerSelector.push(selector, "h", packet.(501, 10), true, 20, codec)
  end

  test "drops what comes late from before the switch, and keeps a loss a loss" do
    {:send, _packet, selector} = push(LayerSelector.new(), "l", 1, 0, 100, true, 0)
    {:drop, selector} = push(selector, "h", 500, 0, 900, false, 10)
    {"h", selector} = LayerSelector.evaluate(selector)
    {:send, %{sequence_number: 2}, selector} = push(selector, "h", 501, 0, 900, true, 20)
    assert {:drop, selector} = push(selector, "h", 499, 0, 900, false, 21)
    assert {:send, %{sequence_number: 5}, selector} = push(selector, "h", 504, 0, 900, false, 22)
    assert {:send, %{sequence_number: 4}, _selector} = push(selector, "h", 503, 0, 900, false, 23)
  end

  test "sends on after 70,000 packets of one layer" do
    {:send, _packet, selector} = push(LayerSelector.new(), "l", 0, 0, 100, true, 0)

    Enum.reduce(1..70_000, selector, fn n, selector ->
      number = rem(n, 65_536)

      assert {:send, %{sequence_number: ^number}, selector} =
               push(selector, "l", number, n, 1, false, n)

      selector
    end)
  end

  test "leaves a layer that has gone silent" do
    {:send, _packet, selector} = push(LayerSelector.new(), "h", 1, 0, 900, true, 0)
    {nil, selector} = LayerSelector.evaluate(selector)
    {:drop, selector} = push(selector, "l", 7, 0, 100, false, 1_500)
    assert {"l", _selector} = LayerSelector.evaluate(selector)
  end

  test "stays where the other is hardly larger, and when nothing comes" do
    {:send, _packet, selector} = push(LayerSelector.new(), "l", 1, 0, 1_000, true, 0)
    {:drop, selector} = push(selector, "h", 7, 0, 1_100, false, 0)
    assert {nil, selector} = LayerSelector.evaluate(selector)
    assert {nil, selector} = LayerSelector.evaluate(selector)
    assert LayerSelector.target(selector) == "l"
  end

  defp push(selector, rid, sequence, timestamp, size, keyframe?, now) do
    packet = %{
      sequence_number: sequence,
      timestamp: timestamp,
      payload: String.duplicate("x", size)
    }

    LayerSelector.push(selector, rid, packet, keyframe?, now)
  end
end
