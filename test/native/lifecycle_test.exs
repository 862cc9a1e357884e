defmodule ExWebRTC.Native.LifecycleTest do
  # However a connection ends, the native side of it ends too. Counts connections of the whole VM.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{Handles, Native, PeerConnection}
  alias ExWebRTC.PeerConnection.Configuration

  setup do
    # What earlier tests left is on its way out.
    eventually(fn -> Native.connections() == 0 end)
  end

  defp start do
    {:ok, pc} = PeerConnection.start()
    assert_receive {:ex_webrtc, ^pc, {:signaling_state_change, :stable}}
    assert Native.connections() == 1
    pc
  end

  defp native_configuration do
    []
    |> Configuration.parse!(self())
    |> Configuration.to_native()
    |> Map.put_new(:data_types, false)
  end

  test "a killed process takes its connection along" do
    pc = start()
    Process.exit(pc, :kill)
    eventually(fn -> Native.connections() == 0 end)
    eventually(fn -> Handles.fetch(pc) == :error end)
    refute pc in PeerConnection.get_all_running()
  end

  test "a killed process takes the connection along that it is linked to" do
    test = self()

    owner =
      spawn(fn ->
        {:ok, pc} = PeerConnection.start_link(controlling_process: test)
        send(test, {:started, pc})
        Process.sleep(:infinity)
      end)

    assert_receive {:started, pc}
    monitor = Process.monitor(pc)
    assert_receive {:ex_webrtc, ^pc, {:signaling_state_change, :stable}}
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pc, :killed}
    eventually(fn -> Native.connections() == 0 end)
  end

  test "a handle that nobody holds any more takes its connection along" do
    configuration = native_configuration()
    owner = self()

    {pid, monitor} =
      spawn_monitor(fn -> {:ok, _handle} = Native.open(configuration, owner, owner) end)

    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    eventually(fn -> Native.connections() == 0 end)
    assert_receive :ex_webrtc_closed
  end

  test "a handle outlives its connection: whatever is asked of it is closed" do
    pc = start()
    {:ok, handle} = Handles.fetch(pc)
    Process.exit(pc, :kill)
    eventually(fn -> Native.connections() == 0 end)

    packet = ExWebRTC.RTP.Packet.new("payload")
    assert Native.request(handle, 1, :create_answer) == {:error, :closed}
    assert Native.set_controller(handle, 2, self()) == {:error, :closed}
    assert Native.send_rtp(handle, 1, packet, false) == {:error, :closed}
    assert Native.send_pli(handle, 1, nil) == {:error, :closed}
    assert Native.send_rtcp(handle, <<>>) == {:error, :closed}
  end

  test "an owner that is dead already gets no connection" do
    {owner, monitor} = spawn_monitor(fn -> :ok end)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
    assert {:error, :closed} = Native.open(native_configuration(), owner, self())
    eventually(fn -> Native.connections() == 0 end)
  end

  test "stop/1 ends the process and the connection" do
    pc = start()
    monitor = Process.monitor(pc)
    assert PeerConnection.stop(pc) == :ok
    assert_receive {:DOWN, ^monitor, :process, ^pc, :normal}
    eventually(fn -> Native.connections() == 0 end)
  end

  test "close/1 keeps the process, which answers" do
    pc = start()
    assert PeerConnection.close(pc) == :ok
    assert PeerConnection.close(pc) == :ok
    assert PeerConnection.get_signaling_state(pc) == :closed
    assert PeerConnection.get_connection_state(pc) == :closed
    assert PeerConnection.create_offer(pc) == {:error, :invalid_state}
    assert PeerConnection.controlling_process(pc, self()) == {:error, :invalid_state}
    assert PeerConnection.get_transceivers(pc) == []
    refute_received {:ex_webrtc, ^pc, {:connection_state_change, :closed}}
    PeerConnection.stop(pc)
  end

  test "requests under way end with the process, and nobody waits for ever" do
    pc = start()

    callers =
      for _ <- 1..50 do
        spawn_monitor(fn -> ask_for_ever(pc) end)
      end

    # All of them are at it.
    for _ <- 1..100, do: PeerConnection.get_stats(pc)
    Process.exit(pc, :kill)

    for {pid, monitor} <- callers do
      assert_receive {:DOWN, ^monitor, :process, ^pid, {reason, {GenServer, :call, _}}}, 5_000
      assert reason in [:killed, :noproc]
    end

    eventually(fn -> Native.connections() == 0 end)
  end

  defp ask_for_ever(pc) do
    %{peer_connection: _} = PeerConnection.get_stats(pc)
    ask_for_ever(pc)
  end

  test "a controlling process that dies takes nothing along, and can be replaced" do
    {controller, monitor} = spawn_monitor(fn -> receive(do: (:end -> :ok)) end)
    {:ok, pc} = PeerConnection.start(controlling_process: controller)
    send(controller, :end)
    assert_receive {:DOWN, ^monitor, :process, ^controller, :normal}

    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
    refute_received {:ex_webrtc, ^pc, _message}
    assert PeerConnection.controlling_process(pc, self()) == :ok
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_received {:ex_webrtc, ^pc, {:signaling_state_change, :have_local_offer}}
    PeerConnection.stop(pc)
  end

  test "a controlling process that reads nothing holds nobody else up" do
    test = self()

    sleeper =
      spawn_link(fn ->
        # Takes over where the test has left off, and never looks at its mailbox.
        receive(do: (:end -> send(test, {:waiting, Process.info(self(), :message_queue_len)})))
      end)

    {sender, receiver} = ExWebRTC.Peers.start()
    track = ExWebRTC.MediaStreamTrack.new(:audio)
    {:ok, _sender} = PeerConnection.add_track(sender, track)
    :ok = ExWebRTC.Peers.connect(sender, receiver)
    :ok = PeerConnection.controlling_process(receiver, sleeper)

    for number <- 1..5_000 do
      packet = ExWebRTC.RTP.Packet.new("payload", sequence_number: number, timestamp: number)
      :ok = PeerConnection.send_rtp(sender, track.id, packet)
      if rem(number, 500) == 0, do: %{} = PeerConnection.get_stats(receiver)
    end

    eventually(fn -> elem(Process.info(sleeper, :message_queue_len), 1) > 500 end)
    assert PeerConnection.get_connection_state(receiver) == :connected
    send(sleeper, :end)
    assert_receive {:waiting, {:message_queue_len, _length}}, 5_000
  end

  test "functions that send return :ok for a process that is gone, calls exit" do
    pc = start()
    PeerConnection.stop(pc)
    packet = ExWebRTC.RTP.Packet.new("payload")
    assert PeerConnection.send_rtp(pc, 1, packet) == :ok
    assert PeerConnection.send_pli(pc, 1) == :ok
    assert PeerConnection.send_data(pc, make_ref(), "text") == :ok
    assert {:noproc, _call} = catch_exit(PeerConnection.create_offer(pc))
  end
end
