defmodule ExWebRTC.Native.PanicTest do
  # A panic in one connection's step ends that connection, with its text, and nothing else.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.Packet

  @moduletag :capture_log

  defp panic(pc), do: GenServer.call(pc, {:request, :panic})

  test "the process stops with the panic's text, and its callers are answered" do
    {:ok, pc} = PeerConnection.start()
    monitor = Process.monitor(pc)

    log =
      capture_log(fn ->
        assert panic(pc) == {:error, :closed}
        assert_receive {:DOWN, ^monitor, :process, ^pc, {:native_panic, text}}
        assert is_binary(text) and text != ""
      end)

    assert log =~ "native_panic"
  end

  test "ten other connections keep sending through a panic" do
    senders =
      for _ <- 1..5 do
        {sender, receiver} = start()
        track = MediaStreamTrack.new(:audio)
        {:ok, _sender} = PeerConnection.add_track(sender, track)
        :ok = connect(sender, receiver)
        assert_receive {:ex_webrtc, ^receiver, {:track, %MediaStreamTrack{kind: :audio}}}
        {sender, receiver, track.id}
      end

    {:ok, victim} = PeerConnection.start()
    monitor = Process.monitor(victim)

    for number <- 1..200 do
      for {sender, _receiver, track_id} <- senders do
        packet = Packet.new(<<number::32>>, sequence_number: number, timestamp: number * 960)
        :ok = PeerConnection.send_rtp(sender, track_id, packet)
      end

      if number == 100 do
        panic(victim)
        assert_receive {:DOWN, ^monitor, :process, ^victim, {:native_panic, _text}}
      end
    end

    for {_sender, receiver, _track_id} <- senders, number <- 1..200 do
      assert_receive {:ex_webrtc, ^receiver, {:rtp, _id, nil, %Packet{payload: <<^number::32>>}}},
                     2_000
    end

    assert {:ok, pc} = PeerConnection.start_link()
    assert PeerConnection.get_connection_state(pc) == :new
  end
end
