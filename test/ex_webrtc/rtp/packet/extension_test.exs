defmodule ExWebRTC.RTP.Packet.ExtensionTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.RTP.Packet.Extension

  alias ExWebRTC.RTP.Packet.Extension.{
    AbsSendTime,
    AudioLevel,
    SourceDescription,
    TWCC,
    VideoOrientation
  }

  test "an audio level has the voice flag in the top bit" do
    level = AudioLevel.new(true, 120)
    assert %Extension{id: 5, data: <<0xF8>>} == AudioLevel.to_raw(level, 5)
    assert {:ok, level} == AudioLevel.from_raw(Extension.new(5, <<0xF8>>))
    assert {:ok, level} == AudioLevel.from_raw(Extension.new(5, <<0xF8, 0>>))
    assert {:error, :invalid_extension} == AudioLevel.from_raw(Extension.new(5, <<>>))
  end

  test "what does not fit the bits of an extension raises, naming the field" do
    for {field, extension} <- [
          timestamp: %AbsSendTime{timestamp: 0x1000000},
          level: %AudioLevel{voice: true, level: 128},
          voice: %AudioLevel{voice: nil, level: 0},
          sequence_number: %TWCC{sequence_number: -1}
        ] do
      assert_raise ArgumentError, ~r/expected #{inspect(field)} /, fn ->
        extension.__struct__.to_raw(extension, 1)
      end
    end
  end

  test "a source description is its text" do
    mid = SourceDescription.new("0", :mid)
    assert %Extension{id: 1, data: "0"} == SourceDescription.to_raw(mid, 1)
    assert {:ok, SourceDescription.new("0")} == SourceDescription.from_raw(Extension.new(1, "0"))
  end

  test "a transport-wide sequence number is two bytes, with or without a feedback request" do
    assert %Extension{id: 3, data: <<1, 2>>} == TWCC.to_raw(TWCC.new(0x0102), 3)
    assert {:ok, TWCC.new(0x0102)} == TWCC.from_raw(Extension.new(3, <<1, 2>>))
    assert {:ok, TWCC.new(0x0102)} == TWCC.from_raw(Extension.new(3, <<1, 2, 0x80, 1>>))
    assert {:error, :invalid_extension} == TWCC.from_raw(Extension.new(3, <<1>>))
  end

  test "an absolute send time is three bytes" do
    assert %Extension{id: 2, data: <<1, 2, 3>>} ==
             AbsSendTime.to_raw(AbsSendTime.new(0x010203), 2)

    assert {:ok, AbsSendTime.new(0x010203)} == AbsSendTime.from_raw(Extension.new(2, <<1, 2, 3>>))
    assert {:error, :invalid_extension} == AbsSendTime.from_raw(Extension.new(2, <<1, 2>>))
  end

  test "a video orientation is one byte" do
    orientation = VideoOrientation.new(camera: :back, flip: true, rotation: 270)
    assert %Extension{id: 4, data: <<0x0F>>} == VideoOrientation.to_raw(orientation, 4)
    assert {:ok, orientation} == VideoOrientation.from_raw(Extension.new(4, <<0x0F>>))
    assert {:ok, VideoOrientation.new()} == VideoOrientation.from_raw(Extension.new(4, <<0, 0>>))
    assert {:error, :invalid_extension} == VideoOrientation.from_raw(Extension.new(4, <<>>))
  end

  property "random data is an extension or an error", [data <- :proper_types.binary()] do
    for module <- [AbsSendTime, AudioLevel, SourceDescription, TWCC, VideoOrientation] do
      case module.from_raw(Extension.new(1, data)) do
        {:ok, extension} -> assert %Extension{id: 1} = module.to_raw(extension, 1)
        error -> assert error == {:error, :invalid_extension}
      end
    end
  end
end
