defmodule ExWebRTC.NumberedPackets do
  @moduledoc """
  Packets for tests of forwards: each is a whole keyframe of VP8, and tells its number.
  """

  import ExUnit.Assertions

  alias ExWebRTC.RTP.Packet

  # A VP8 payload that begins a keyframe: its first partition, and a frame header with P clear.
  @keyframe <<0x10, 0x00>>

  @spec packet(1..0xFFFF) :: Packet.t()
  def packet(number) do
    Packet.new(payload(number),
      sequence_number: number,
      timestamp: number * 3_000,
      marker: true
    )
  end

  @doc "The 1,002 bytes of packet `number`."
  @spec payload(0..0xFFFFFFFF) :: binary()
  def payload(number), do: @keyframe <> :binary.copy(<<number::32>>, 250)

  @doc "That this is packet `number`, as it was sent."
  @spec assert_packet(Packet.t(), 1..0xFFFF) :: true
  def assert_packet(packet, number) do
    assert %{sequence_number: ^number, marker: true} = packet
    assert packet.timestamp == number * 3_000
    assert packet.payload == payload(number)
  end
end
