defmodule ExWebRTC.Native.ArgumentsTest do
  # A wrong argument to any NIF raises, and neither crashes the VM nor does anything.
  use ExUnit.Case, async: true

  import Bitwise, only: [<<<: 2]

  alias ExWebRTC.{MediaStreamTrack, Native}
  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.RTP.Packet

  setup do
    configuration = [] |> Configuration.parse!(self()) |> Configuration.to_native()
    configuration = Map.put_new(configuration, :data_types, false)
    {:ok, handle} = Native.open(configuration, self(), self())
    %{handle: handle, configuration: configuration}
  end

  @wrong [nil, :atom, -1, 1.5, "text", [], [1 | 2], {}, {:a, :b}, %{}, <<1::1>>]

  defp assert_badarg(fun), do: assert_raise(ArgumentError, fun)

  # Every function of the library that takes an argument; a new one belongs here, and below.
  @covered [
    start: 1,
    open: 3,
    request: 3,
    set_controller: 3,
    add_credit: 2,
    forward: 6,
    forward_elsewhere: 5,
    forward_in: 2,
    forward_lost: 2,
    forward_refused: 3,
    send_rtp: 4,
    send_rtp_batch: 3,
    send_pli: 3,
    send_rtcp: 2,
    send_data: 4,
    send_data_sync: 5,
    send_large_data: 4,
    send_large_data_sync: 5,
    buffered_amount: 1,
    share_port: 2,
    unshare_port: 1,
    random_bytes: 1
  ]

  test "no function is forgotten" do
    tests_only = fn {name, _arity} -> name |> to_string() |> String.starts_with?("test_") end

    functions =
      for {_name, arity} = function <- Native.__info__(:functions), arity > 0, do: function

    assert Enum.reject(functions, tests_only) -- @covered == []
  end

  test "open", %{configuration: configuration} do
    for wrong <- @wrong do
      assert_badarg(fn -> Native.open(wrong, self(), self()) end)
      assert_badarg(fn -> Native.open(configuration, wrong, self()) end)
      assert_badarg(fn -> Native.open(configuration, self(), wrong) end)
    end
  end

  test "every key of the configuration is needed", %{configuration: configuration} do
    for {key, _value} <- configuration,
        do: assert_badarg(fn -> Native.open(Map.delete(configuration, key), self(), self()) end)
  end

  test "every key of the configuration is checked", %{configuration: configuration} do
    for {key, _value} <- configuration do
      wrong = Map.put(configuration, key, {:wrong, make_ref()})
      assert_badarg(fn -> Native.open(wrong, self(), self()) end)
    end
  end

  test "start" do
    for wrong <- @wrong, do: assert_badarg(fn -> Native.start(wrong) end)
  end

  test "shared ports" do
    for wrong <- @wrong -- [nil], do: assert_badarg(fn -> Native.share_port(wrong, nil) end)
    for wrong <- [0, 65_536], do: assert_badarg(fn -> Native.share_port(wrong, nil) end)

    for wrong <- (@wrong -- [nil, []]) ++ [[{1, 2, 3}], [{1, 2, 3, 256}]],
        do: assert_badarg(fn -> Native.share_port(nil, wrong) end)

    for wrong <- [make_ref() | @wrong], do: assert_badarg(fn -> Native.unshare_port(wrong) end)
  end

  test "a share is good for one connection", %{configuration: configuration} do
    {:ok, share} = Native.share_port(nil, [{127, 0, 0, 1}])
    configuration = %{configuration | udp_mux: share}
    assert {:ok, _handle} = Native.open(configuration, self(), self())
    assert_badarg(fn -> Native.open(configuration, self(), self()) end)
  end

  test "handles: anything else, and a reference that is none, is refused" do
    packet = Packet.new("payload")

    for wrong <- [make_ref(), self() | @wrong] do
      assert_badarg(fn -> Native.request(wrong, 1, :create_answer) end)
      assert_badarg(fn -> Native.set_controller(wrong, 1, self()) end)
      assert_badarg(fn -> Native.send_rtp(wrong, 1, packet, false) end)
      assert_badarg(fn -> Native.send_pli(wrong, 1, nil) end)
      assert_badarg(fn -> Native.send_rtcp(wrong, "") end)
      assert_badarg(fn -> Native.send_data(wrong, make_ref(), :string, "") end)
      assert_badarg(fn -> Native.send_data_sync(wrong, 1, make_ref(), :string, "") end)
    end
  end

  test "forward", %{handle: handle} do
    name = {1, "label"}
    options = {1, :auto, false}

    for wrong <- @wrong do
      assert_badarg(fn -> Native.forward(wrong, 1, name, options, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, wrong, name, options, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, wrong, options, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, {1, wrong}, wrong, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, name, wrong, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, name, {wrong, :auto, false}, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, name, {1, :auto, wrong}, handle, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, name, options, wrong, 1) end)
      assert_badarg(fn -> Native.forward(handle, 1, name, options, handle, wrong) end)
    end

    for wrong <- @wrong -- ["text"],
        do: assert_badarg(fn -> Native.forward(handle, 1, name, {1, wrong, false}, handle, 1) end)
  end

  test "forwards between nodes", %{handle: handle} do
    name = {1, "label"}
    options = {1, :auto, false}

    for wrong <- @wrong do
      assert_badarg(fn -> Native.forward_elsewhere(wrong, 1, name, options, 1) end)
      assert_badarg(fn -> Native.forward_elsewhere(handle, wrong, name, options, 1) end)
      assert_badarg(fn -> Native.forward_elsewhere(handle, 1, wrong, options, 1) end)
      assert_badarg(fn -> Native.forward_elsewhere(handle, 1, name, wrong, 1) end)
      assert_badarg(fn -> Native.forward_elsewhere(handle, 1, name, options, wrong) end)
      assert_badarg(fn -> Native.forward_in("", [{1, wrong, 0, 1}]) end)
      assert_badarg(fn -> Native.forward_in("", [{wrong, handle, 0, 1}]) end)
      assert_badarg(fn -> Native.forward_in("", [{1, handle, wrong, 1}]) end)
      assert_badarg(fn -> Native.forward_in("", [{1, handle, 0, wrong}]) end)
      assert_badarg(fn -> Native.forward_lost(wrong, 1) end)
      assert_badarg(fn -> Native.forward_lost(handle, wrong) end)
      assert_badarg(fn -> Native.forward_refused(wrong, 1, 1) end)
      assert_badarg(fn -> Native.forward_refused(handle, wrong, 1) end)
      assert_badarg(fn -> Native.forward_refused(handle, 1, wrong) end)
    end

    for wrong <- @wrong -- ["text"],
        do: assert_badarg(fn -> Native.forward_in(wrong, [{1, handle, 0, 1}]) end)

    for wrong <- @wrong -- [[]],
        do: assert_badarg(fn -> Native.forward_in("", wrong) end)

    for bytes <- ["", "text", <<1>>, <<2, 2, 255>>],
        do: assert(Native.forward_in(bytes, [{1, handle, 0, 1}]) == :malformed)
  end

  test "request ids and commands", %{handle: handle} do
    for wrong <- @wrong do
      assert_badarg(fn -> Native.request(handle, wrong, :create_answer) end)
      assert_badarg(fn -> Native.request(handle, 1, wrong) end)
    end
  end

  test "every command with arguments of the wrong type, and with too many", %{handle: handle} do
    commands = [
      create_offer: 1,
      set_local_description: 1,
      set_remote_description: 1,
      add_ice_candidate: 1,
      add_transceiver: 4,
      set_transceiver_direction: 2,
      stop_transceiver: 1,
      set_codec_preferences: 2,
      add_track: 1,
      replace_track: 2,
      remove_track: 1,
      set_sender_codec: 2,
      create_data_channel: 1,
      get_data_channel: 1,
      close_data_channel: 1,
      set_buffered_amount_low_threshold: 2,
      get: 1,
      set_forward_layer: 2,
      stop_forward: 1,
      set_packet_loss: 1,
      set_host_addresses: 1
    ]

    for {name, arity} <- commands, wrong <- [:wrong, -1, 1.5, [1 | 2], {:wrong}, %{wrong: 1}] do
      command = List.to_tuple([name | List.duplicate(wrong, arity)])
      assert_badarg(fn -> Native.request(handle, 1, command) end)
      assert_badarg(fn -> Native.request(handle, 1, Tuple.append(command, wrong)) end)
      assert_badarg(fn -> Native.request(handle, 1, name) end)
    end

    assert_badarg(fn -> Native.request(handle, 1, {:set_packet_loss, 101}) end)

    assert_badarg(fn ->
      Native.request(handle, 1, {:set_host_addresses, [{{1, 2, 3, 256}, nil}]})
    end)
  end

  test "tracks and packets", %{handle: handle} do
    track = MediaStreamTrack.new(:audio)
    packet = Packet.new("payload")

    for wrong <- @wrong do
      assert_badarg(fn -> Native.request(handle, 1, {:add_track, %{track | kind: wrong}}) end)
      assert_badarg(fn -> Native.send_rtp(handle, wrong, packet, false) end)
      assert_badarg(fn -> Native.send_rtp(handle, 1, wrong, false) end)
      assert_badarg(fn -> Native.send_rtp(handle, 1, packet, wrong) end)

      assert_badarg(fn ->
        Native.send_rtp(handle, 1, %{packet | sequence_number: wrong}, false)
      end)

      assert_badarg(fn -> Native.send_rtp_batch(handle, [{wrong, packet}], false) end)
      assert_badarg(fn -> Native.send_rtp_batch(handle, [{1, packet}, {1, wrong}], false) end)
      assert_badarg(fn -> Native.send_rtp_batch(handle, [{1, packet} | :tail], false) end)
      assert_badarg(fn -> Native.send_rtp_batch(handle, [{1, packet}], wrong) end)
      assert_badarg(fn -> Native.send_pli(handle, wrong, nil) end)
    end

    for {field, value} <- [
          payload_type: 128,
          sequence_number: 65_536,
          timestamp: 0x100000000,
          ssrc: -1,
          csrc: Enum.to_list(1..16),
          csrc: [1 | 2],
          marker: 1,
          padding_size: 256,
          payload: :payload,
          payload: <<1::1>>,
          extensions: [%{id: 1}],
          extensions: [%{id: 256, data: ""}]
        ],
        do:
          assert_badarg(fn ->
            Native.send_rtp(handle, 1, Map.put(packet, field, value), false)
          end)

    for wrong <- [1, :l, %{}, <<0xFF>>],
        do: assert_badarg(fn -> Native.send_pli(handle, 1, wrong) end)

    for wrong <- [1, :l, %{}, [1], <<1::1>>],
        do: assert_badarg(fn -> Native.send_rtcp(handle, wrong) end)
  end

  test "random bytes: as many as asked for, within bounds" do
    for wrong <- [1_025, 1 <<< 64 | @wrong],
        do: assert_badarg(fn -> Native.random_bytes(wrong) end)

    for count <- [0, 1, 16, 1_024], do: assert(byte_size(Native.random_bytes(count)) == count)
    names = for _ <- 1..1_000, do: Native.random_bytes(16)
    assert names |> Enum.uniq() |> length() == 1_000
  end

  test "controllers must be pids", %{handle: handle} do
    for wrong <- @wrong, do: assert_badarg(fn -> Native.set_controller(handle, 1, wrong) end)
  end

  test "channels, kinds and data", %{handle: handle} do
    for wrong <- @wrong do
      assert_badarg(fn -> Native.send_data(handle, wrong, :string, "") end)
      assert_badarg(fn -> Native.send_large_data(handle, wrong, :string, "") end)
      assert_badarg(fn -> Native.send_large_data_sync(handle, 1, wrong, :string, "") end)
      assert_badarg(fn -> Native.send_data(handle, make_ref(), wrong, "") end)
      assert_badarg(fn -> Native.buffered_amount(wrong) end)
    end

    for wrong <- [1, :data, %{}, [], <<1::1>>],
        do: assert_badarg(fn -> Native.send_data(handle, make_ref(), :binary, wrong) end)
  end

  test "a reference that is no channel is a channel that is not open", %{handle: handle} do
    assert Native.send_data(handle, make_ref(), :string, "") == {:error, :closed}
    assert Native.send_data_sync(handle, 1, make_ref(), :binary, "") == {:error, :closed}
    assert Native.buffered_amount(make_ref()) == 0
  end
end
