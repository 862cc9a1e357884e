defmodule ExWebRTC.Interop.AiortcTest do
  use ExUnit.Case, async: false

  import ExWebRTC.Interop
  import ExWebRTC.Peers, only: [eventually: 2]

  alias ExWebRTC.{Demo, PeerConnection, SessionDescription}

  @moduletag :interop
  @moduletag timeout: 90_000

  test "its media and messages come back when it offers" do
    {demo, base} = start_demo()
    port = aiortc(["offer", base <> "/echo"])
    assert_echoed(read_line(port))
    eventually(fn -> Demo.sessions(demo) == 0 end, 2_000)
  end

  test "its media and messages come back when we offer" do
    {:ok, pc} = PeerConnection.start_link(data_types: true)
    peer = {PeerConnection, pc}
    {:ok, state, _pc_options} = Demo.Echo.init(%{}, [])

    for kind <- [:audio, :video],
        do: {:ok, _transceiver} = PeerConnection.add_transceiver(pc, kind)

    {:ok, state} = Demo.Echo.handle_offer(peer, state)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "ours")

    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 5_000

    port = aiortc(["answer"])
    write_line(port, %{sdp: PeerConnection.get_local_description(pc).sdp})
    %{"sdp" => sdp} = read_line(port)
    :ok = PeerConnection.set_remote_description(pc, %SessionDescription{type: :answer, sdp: sdp})
    {:ok, state} = Demo.Echo.handle_answer(peer, state)

    port |> echo_until_result(peer, state) |> assert_echoed()
    :ok = PeerConnection.stop(pc)
  end

  # This process is the controlling one: it does what the echo's session does.
  defp echo_until_result(port, {_api, pc} = peer, state) do
    receive do
      {:ex_webrtc, ^pc, message} ->
        {:ok, state} = Demo.Echo.handle_message(message, peer, state)
        echo_until_result(port, peer, state)

      {:retry, _ref} = message ->
        {:ok, state} = Demo.Echo.handle_message(message, peer, state)
        echo_until_result(port, peer, state)

      {^port, {:data, {:eol, "{" <> _rest = line}}} ->
        ExWebRTC.JSONReader.decode!(line)

      {^port, {:exit_status, status}} ->
        flunk("aiortc ended with #{status}")
    after
      60_000 -> flunk("nothing happens")
    end
  end

  defp assert_echoed(result) do
    assert result["state"] == "connected"
    assert result["frames"]["audio"] >= 30
    assert result["frames"]["video"] >= 30
    assert result["size"] == [640, 480]
    assert result["echoed"] == 7
    assert result["kinds"]
    assert result["same"]
  end
end
