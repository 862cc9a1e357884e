defmodule ExWebRTC.RTP.PacketTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.RTP.Packet
  alias ExWebRTC.RTP.Packet.Extension

  doctest Packet

  @fields [payload_type: 96, sequence_number: 1, timestamp: 2, ssrc: 3]

  defp packet(payload \\ "payload", opts \\ []), do: Packet.new(payload, @fields ++ opts)

  defp uint(bits), do: :proper_types.integer(0, Bitwise.bsl(1, bits) - 1)

  defp binary_of(from, to),
    do: :proper_types.bind(:proper_types.integer(from, to), &:proper_types.binary/1, false)

  describe "new/2" do
    test "fills in what is not given" do
      assert %Packet{
               version: 2,
               padding: false,
               extension: false,
               marker: false,
               payload_type: 0,
               sequence_number: 0,
               timestamp: 0,
               ssrc: 0,
               csrc: [],
               extension_profile: nil,
               extensions: nil,
               payload: "x",
               padding_size: 0
             } == Packet.new("x")
    end

    test "turns padding on where it has a size" do
      assert %Packet{padding: true, padding_size: 4} = packet("x", padding: 4)
    end

    test "takes each option in any order" do
      options = [
        payload_type: 1,
        sequence_number: 2,
        timestamp: 3,
        ssrc: 4,
        marker: true,
        csrc: [5],
        padding: 6
      ]

      for options <- [options, Enum.reverse(options)] do
        packet = Packet.new("x", options)
        fields = Map.put(Map.from_struct(packet), :padding, packet.padding_size)
        assert Map.take(fields, Keyword.keys(options)) == Map.new(options)
      end
    end

    test "raises for an option that does not exist, is given twice, or is none, and names it" do
      for {options, named} <- [
            {[sequence: 1], ":sequence"},
            {[ssrc: 1, ssrc: 2], ":ssrc"},
            {[:ssrc], ":ssrc"},
            {[{:ssrc, 1, 2}], ":ssrc"}
          ] do
        assert_raise ArgumentError, ~r/#{named}/, fn -> Packet.new("x", options) end
      end
    end
  end

  test "the wire format is that of RFC 3550" do
    packet = packet("ab", marker: true, csrc: [7], padding: 2)

    assert <<0xA1, 0xE0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 7, "ab", 0, 2>> ==
             Packet.encode(packet)
  end

  test "one-byte extensions have a length of one less and are padded to a word" do
    packet = packet("p") |> Packet.add_extension(Extension.new(5, <<1, 2, 3>>))

    assert <<0x90, _::88, 0xBEDE::16, 1::16, 0x52, 1, 2, 3, "p">> = Packet.encode(packet)
  end

  test "an element that only the two-byte form can carry moves all elements to it" do
    packet =
      packet("p")
      |> Packet.add_extension(Extension.new(5, <<1>>))
      |> Packet.add_extension(Extension.new(15, <<>>))

    assert packet.extension_profile == 0x1000

    assert <<0x90, _::88, 0x1000::16, 2::16, 5, 1, 1, 15, 0, 0, 0, 0, "p">> =
             Packet.encode(packet)

    assert {:ok, ^packet} = packet |> Packet.encode() |> Packet.decode()
  end

  test "padding between elements is skipped" do
    data = <<0, 0x10, 9, 0, 0, 0x20, 8, 0>>
    bytes = <<0x90, 96, 1::16, 2::32, 3::32, 0xBEDE::16, 2::16, data::binary, "p">>

    assert {:ok, %Packet{extensions: [%Extension{id: 1, data: <<9>>}, %{id: 2, data: <<8>>}]}} =
             Packet.decode(bytes)
  end

  test "what follows the reserved id 15 is ignored, what comes before is kept" do
    data = <<0x10, 9, 0xF0, 1, 0x20, 8, 0, 0>>
    bytes = <<0x90, 96, 1::16, 2::32, 3::32, 0xBEDE::16, 2::16, data::binary, "p">>

    assert {:ok, %Packet{extensions: [%Extension{id: 1, data: <<9>>}], payload: "p"}} =
             Packet.decode(bytes)
  end

  test "an extension of the application's own profile stays a binary" do
    packet = packet("p") |> Packet.set_extension(0xABCD, <<1, 2, 3, 4>>)
    assert {:ok, ^packet} = packet |> Packet.encode() |> Packet.decode()
    assert :error == Packet.fetch_extension(packet, 1)
    assert packet == Packet.remove_extension(packet, 1)
  end

  test "the profiles of RFC 8285 cannot be set" do
    for profile <- [0xBEDE, 0x1000, 0x100F] do
      assert_raise ArgumentError, ~r/add_extension/, fn ->
        Packet.set_extension(packet(), profile, <<>>)
      end
    end
  end

  test "elements are fetched and removed by id" do
    one = Extension.new(1, "one")
    two = Extension.new(2, "two")
    packet = packet() |> Packet.add_extension(one) |> Packet.add_extension(two)

    assert {:ok, two} == Packet.fetch_extension(packet, 2)
    assert :error == Packet.fetch_extension(packet, 3)
    assert %Packet{extension: true, extensions: [^two]} = Packet.remove_extension(packet, 1)
    assert packet() == packet |> Packet.remove_extension(1) |> Packet.remove_extension(2)
    assert packet() == Packet.remove_extensions(packet)
  end

  describe "encode/1 raises for" do
    test "more than 15 CSRCs" do
      assert_raise ArgumentError, ~r/15 CSRCs/, fn ->
        Packet.encode(packet("p", csrc: List.duplicate(1, 16)))
      end
    end

    test "fields that do not fit their bits, naming the field" do
      for {field, last} <- [
            payload_type: 127,
            sequence_number: 65_535,
            timestamp: 0xFFFFFFFF,
            ssrc: 0xFFFFFFFF
          ] do
        packet = Packet.new("p", [{field, last}])
        assert {:ok, packet} == packet |> Packet.encode() |> Packet.decode()

        for wrong <- [last + 1, -1, nil] do
          assert_raise ArgumentError,
                       ~r/#{inspect(field)} .*in 0\.\.#{last}, got: #{wrong}/,
                       fn ->
                         Packet.encode(Packet.new("p", [{field, wrong}]))
                       end
        end
      end

      for {field, wrong} <- [
            csrc: [0x100000000],
            csrc: nil,
            marker: 1,
            version: 4,
            payload: nil,
            padding: nil,
            extension: nil
          ] do
        assert_raise ArgumentError, ~r/expected #{inspect(field)} /, fn ->
          Packet.encode(%{Packet.new("p") | field => wrong})
        end
      end

      for wrong <- [nil, 65_536] do
        packet = %{Packet.new("p") | extension: true, extensions: "", extension_profile: wrong}
        assert_raise ArgumentError, ~r/extension_profile/, fn -> Packet.encode(packet) end
      end
    end

    test "more padding than a byte can count" do
      assert_raise ArgumentError, ~r/padding/, fn -> Packet.encode(packet("p", padding: 256)) end
    end

    test "an element that its form has no room for" do
      for {profile, element} <- [
            {0xBEDE, Extension.new(15, "a")},
            {0xBEDE, Extension.new(1, "")},
            {0x1000, Extension.new(256, "a")},
            {0x1000, Extension.new(1, :binary.copy("a", 256))}
          ] do
        packet = %{packet() | extension: true, extension_profile: profile, extensions: [element]}
        assert_raise ArgumentError, ~r/header extension/, fn -> Packet.encode(packet) end
      end
    end
  end

  describe "decode/1 returns an error for" do
    test "bytes that end too early" do
      bytes = packet("", csrc: [1]) |> Packet.set_extension(1, <<0::64>>) |> Packet.encode()

      for size <- 0..(byte_size(bytes) - 1) do
        assert {:error, :not_enough_data} == bytes |> binary_part(0, size) |> Packet.decode()
      end
    end

    test "another version" do
      assert {:error, :unsupported_version} == Packet.decode(<<1::2, 0::94>>)
    end

    test "a padding count of zero, or of more than the packet has" do
      for payload <- [<<0>>, <<1, 3>>] do
        bytes = <<0xA0, 0::88, payload::binary>>
        assert {:error, :invalid_padding} == Packet.decode(bytes)
      end

      assert {:error, :not_enough_data} == Packet.decode(<<0xA0, 0::88>>)
    end
  end

  property "what is encoded is decoded", [
    payload <- :proper_types.binary(),
    marker <- :proper_types.boolean(),
    payload_type <- uint(7),
    sequence_number <- uint(16),
    timestamp <- uint(32),
    ssrc <- uint(32),
    csrc <- :proper_types.resize(15, :proper_types.list(uint(32))),
    padding <- uint(8),
    elements <-
      :proper_types.list(
        :proper_types.oneof([
          {:proper_types.integer(1, 14), binary_of(1, 16)},
          {:proper_types.integer(1, 255), binary_of(0, 255)}
        ])
      )
  ] do
    packet =
      Packet.new(payload,
        marker: marker,
        payload_type: payload_type,
        sequence_number: sequence_number,
        timestamp: timestamp,
        ssrc: ssrc,
        csrc: Enum.take(csrc, 15),
        padding: padding
      )

    packet =
      Enum.reduce(elements, packet, fn {id, data}, packet ->
        Packet.add_extension(packet, Extension.new(id, data))
      end)

    assert {:ok, packet} == packet |> Packet.encode() |> Packet.decode()
  end

  property "random bytes decode to an error or to a packet that encodes again", [
    first <- :proper_types.integer(0x80, 0xBF),
    bytes <- :proper_types.resize(120, :proper_types.binary())
  ] do
    case Packet.decode(<<first, bytes::binary>>) do
      {:ok, packet} -> assert {:ok, packet} == packet |> Packet.encode() |> Packet.decode()
      {:error, reason} -> assert reason in [:not_enough_data, :invalid_padding]
    end
  end

  property "random extension data never raises", [
    profile <- :proper_types.oneof([0xBEDE, 0x1000, 0x100A, uint(16)]),
    data <- :proper_types.binary()
  ] do
    words = div(byte_size(data), 4)
    data = binary_part(data, 0, words * 4)
    bytes = <<0x90, 96, 1::16, 2::32, 3::32, profile::16, words::16, data::binary, "p">>
    assert {:ok, %Packet{extension_profile: ^profile, payload: "p"}} = Packet.decode(bytes)
  end
end
