defmodule ExWebRTC.Native.FlowControlTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  # Kept without credit, see `native/ex_webrtc/src/flow.rs`.
  @held 1024

  # A video track and a data channel from the first to the second connection. No RTCP, which counts as
  # well and comes when it likes.
  defp pair(options) do
    {sender, receiver} = start([features: []], [features: []] ++ options)
    track = MediaStreamTrack.new(:video)
    {:ok, _} = PeerConnection.add_transceiver(sender, track, direction: :sendonly)
    {:ok, %{ref: mine}} = PeerConnection.create_data_channel(sender, "flow")
    :ok = connect(sender, receiver)
    assert_receive {:ex_webrtc, ^receiver, {:data_channel, %{ref: theirs}}}, 5_000
    assert_receive {:ex_webrtc, ^sender, {:data_channel_state_change, ^mine, :open}}, 5_000
    %{sender: sender, receiver: receiver, track: track.id, mine: mine, theirs: theirs}
  end

  defp packet(n), do: Packet.new(:binary.copy(<<n::32>>, 20), sequence_number: n)

  defp send_packets(pair, numbers),
    do: :ok = PeerConnection.send_rtp(pair.sender, for(n <- numbers, do: {pair.track, packet(n)}))

  defp arrived(pair) do
    stats = PeerConnection.get_stats(pair.receiver)

    for({_id, %{type: :inbound_rtp} = inbound} <- stats, do: inbound.packets_received)
    |> Enum.sum()
  end

  # Sends packets and waits until all have arrived on the other side, told or not.
  defp send_and_wait(pair, numbers) do
    before = arrived(pair)

    for chunk <- Enum.chunk_every(numbers, 500) do
      send_packets(pair, chunk)
      last = before + List.last(chunk) - Enum.at(numbers, 0) + 1
      eventually(fn -> arrived(pair) == last end)
    end
  end

  defp not_taken(pair) do
    case PeerConnection.get_stats(pair.receiver) do
      %{"media_drops" => %{not_taken_packets: count}} -> count
      _none -> 0
    end
  end

  # What the test was sent, packets by their numbers. All that could be told is told between two
  # turns of the shard, and each request is carried out in a turn of its own.
  defp told(%{receiver: receiver} = pair) do
    for _turn <- 1..2, do: PeerConnection.get_connection_state(receiver)
    told(pair, [])
  end

  defp told(%{receiver: receiver, theirs: theirs} = pair, got) do
    receive do
      {:ex_webrtc, ^receiver, {:rtp, _track, nil, %{payload: <<n::32, _::binary>> = payload}}} ->
        assert payload == packet(n).payload
        told(pair, [n | got])

      {:ex_webrtc, ^receiver, {:rtp_batch, batch}} ->
        told(pair, [for({_, nil, %{payload: <<n::32, _::binary>>}} <- batch, do: n) | got])

      {:ex_webrtc, ^receiver, {:data, ^theirs, "data " <> number}} ->
        told(pair, [{:data, String.to_integer(number)} | got])

      {:ex_webrtc, ^receiver, :passive} ->
        told(pair, [:passive | got])
    after
      0 -> Enum.reverse(got)
    end
  end

  test "n messages come, then :passive, and no more until they are asked for" do
    pair = pair(flow_control: {:active, 3})
    send_and_wait(pair, 0..9)
    assert told(pair) == [0, 1, 2, :passive]

    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 2})
    assert told(pair) == [3, 4, :passive]

    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 6})
    assert told(pair) == [5, 6, 7, 8, 9]

    # One is left, and two more.
    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 2})
    send_and_wait(pair, 10..14)
    assert told(pair) == [10, 11, 12, :passive]

    :ok = PeerConnection.set_flow_control(pair.receiver, :none)
    send_and_wait(pair, 15..19)
    assert told(pair) == Enum.to_list(13..19)
    assert not_taken(pair) == 0
  end

  test "counting can begin at any time" do
    pair = pair([])
    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 2})
    send_and_wait(pair, 0..4)
    assert told(pair) == [0, 1, :passive]
  end

  test "of media that waits the oldest is dropped and counted" do
    pair = pair(flow_control: {:active, 1})
    send_and_wait(pair, 0..2999)
    assert told(pair) == [0, :passive]
    assert not_taken(pair) == 2999 - @held

    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 5000})
    assert told(pair) == Enum.to_list((3000 - @held)..2999)
  end

  test "a batch counts as one message, and what has waited comes in batches as well" do
    pair = pair(flow_control: {:active, 1}, rtp_delivery: {:batch, 8})
    send_and_wait(pair, 0..20)
    assert [first, :passive] = told(pair)

    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 1})
    assert [second, :passive] = told(pair)
    assert length(second) in 2..8

    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 10})
    rest = told(pair)
    assert List.flatten([first, second, rest]) == Enum.to_list(0..20)
    assert Enum.all?(rest, &(length(&1) <= 8))
  end

  test "data waits with the peer, and all of it comes" do
    pair = pair(flow_control: {:active, 10})
    # More than the receive window holds.
    count = 1_000
    filling = :binary.copy("x", 16_384)

    for n <- 1..count do
      :ok = PeerConnection.send_data(pair.sender, pair.mine, "#{n} #{filling}")
    end

    eventually(fn -> stable?(fn -> PeerConnection.buffered_amount(pair.sender, pair.mine) end) end)

    waiting = PeerConnection.buffered_amount(pair.sender, pair.mine)
    assert waiting > count * 16_384 - 6 * 1_048_576

    assert Enum.reduce(1..100, 0, fn _round, got ->
             for n <- (got + 1)..(got + 10) do
               data = "#{n} #{filling}"
               %{receiver: receiver, theirs: theirs} = pair
               assert_receive {:ex_webrtc, ^receiver, {:data, ^theirs, received}}, 5_000
               assert received == data
             end

             %{receiver: receiver} = pair
             assert_receive {:ex_webrtc, ^receiver, :passive}, 5_000
             refute_received {:ex_webrtc, ^receiver, {:data, _, _}}
             :ok = PeerConnection.set_flow_control(receiver, {:active, 10})
             got + 10
           end) == count

    eventually(fn -> PeerConnection.buffered_amount(pair.sender, pair.mine) == 0 end)
  end

  # The same twice, with the time that a round trip of the system takes between.
  defp stable?(value) do
    before = value.()
    receive(after: (50 -> :ok))
    before == value.()
  end

  test "media and data that both wait take turns" do
    pair = pair(flow_control: {:active, 1})
    send_and_wait(pair, 0..20)
    for n <- 1..20, do: :ok = PeerConnection.send_data(pair.sender, pair.mine, "data #{n}")
    eventually(fn -> PeerConnection.buffered_amount(pair.sender, pair.mine) == 0 end)

    got =
      for _round <- 1..20 do
        got = told(pair)
        :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 1})
        assert List.last(got) == :passive and length(got) == 2
        hd(got)
      end

    {data, media} = Enum.split_with(got, &match?({:data, _}, &1))
    assert abs(length(data) - length(media)) <= 2
    assert media == Enum.to_list(0..(length(media) - 1))
    assert data == for(n <- 1..length(data), do: {:data, n})
  end

  test "what is no media and no data comes without credit" do
    %{sender: sender, receiver: receiver} = pair = pair(flow_control: {:active, 1})
    send_and_wait(pair, 0..9)
    assert told(pair) == [0, :passive]

    {:ok, %{ref: second}} = PeerConnection.create_data_channel(sender, "second")
    assert_receive {:ex_webrtc, ^receiver, {:data_channel, %{label: "second", ref: ref}}}, 5_000
    assert_receive {:ex_webrtc, ^receiver, {:data_channel_state_change, ^ref, :open}}, 5_000
    :ok = PeerConnection.close_data_channel(sender, second)
    assert_receive {:ex_webrtc, ^receiver, {:data_channel_state_change, ^ref, :closed}}, 5_000
    assert told(pair) == []
  end

  test "a registered controlling process is told and asks for more as a pid does" do
    name = :"#{__MODULE__}.#{System.unique_integer([:positive])}"
    Process.register(self(), name)
    pair = pair(flow_control: {:active, 2}, controlling_process: name)
    send_and_wait(pair, 0..9)
    assert told(pair) == [0, 1, :passive]
    :ok = PeerConnection.set_flow_control(pair.receiver, {:active, 3})
    assert told(pair) == [2, 3, 4, :passive]
  end

  test "a wrong argument raises, and changes nothing" do
    pair = pair(flow_control: {:active, 1})

    for wrong <- [{:active, 0}, {:active, -1}, {:active, :once}, :active, true, nil, 5] do
      assert_raise ArgumentError, ~r/:flow_control: expected :none or {:active, n}/, fn ->
        PeerConnection.set_flow_control(pair.receiver, wrong)
      end

      assert_raise ArgumentError, ~r/:flow_control/, fn ->
        PeerConnection.start_link(flow_control: wrong)
      end
    end

    send_and_wait(pair, 0..2)
    assert told(pair) == [0, :passive]
  end

  describe "a controlling process that does not read" do
    # Takes over a connection, and takes nothing.
    defp takes_nothing(pc) do
      process = spawn_link(fn -> Process.sleep(:infinity) end)
      :ok = PeerConnection.controlling_process(pc, process)
      process
    end

    defp mailbox(process) do
      {:message_queue_len, length} = Process.info(process, :message_queue_len)
      length
    end

    test "has no more in its mailbox than it asked for" do
      pair = pair(flow_control: {:active, 100})
      process = takes_nothing(pair.receiver)
      send_and_wait(pair, 0..2999)
      # Those, and `:passive`.
      assert mailbox(process) == 101
    end

    test "with 100,000 messages in its mailbox costs its neighbours nothing" do
      full = pair([])
      process = takes_nothing(full.receiver)
      for n <- 1..100_000, do: send(process, n)

      neighbours = for _ <- 1..4, do: pair([])

      for round <- 0..9 do
        numbers = (round * 100)..(round * 100 + 99)
        send_packets(full, numbers)
        for pair <- neighbours, do: send_packets(pair, numbers)

        for %{receiver: receiver} <- neighbours, n <- numbers do
          assert_receive {:ex_webrtc, ^receiver,
                          {:rtp, _, nil, %{payload: <<^n::32, _::binary>>}}},
                         5_000
        end
      end

      eventually(fn -> mailbox(process) == 101_000 end)
    end
  end
end
