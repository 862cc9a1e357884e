defmodule ExWebRTC.Interop.SimulcastOfferTest do
  # An SFU's offer to receive simulcast: Chromium and we understand the same by it.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Peer}

  @moduletag :interop
  @moduletag timeout: 120_000

  @layers ["l", "m", "h"]

  setup_all do
    start_supervised!(Browser)
    :ok
  end

  test "Chromium answers it as we do, and its layers arrive" do
    sfu = sfu()
    peer = Peer.open(:chromium)
    test = self()

    Peer.offer_to(sfu, peer,
      ice_restart: true,
      add: [%{kind: "video", width: 1280, height: 720, direction: "sendonly"}],
      mangle_offer: fn sdp ->
        send(test, {:offer, sdp})
        sdp
      end,
      mangle_answer: fn sdp ->
        send(test, {:answer, sdp})
        sdp
      end
    )

    assert_received {:offer, offer}
    assert_received {:answer, theirs}
    ours = answer_of_ours(offer)
    assert simulcast(ours) == Enum.map(@layers, &"a=rid:#{&1} send") ++ ["a=simulcast:send l;m;h"]
    assert simulcast(theirs) == simulcast(ours)

    for rid <- @layers do
      assert_receive {:ex_webrtc, ^sfu, {:rtp, _track, ^rid, _packet}}, 30_000
    end
  end

  # Who has taken layers offers to receive them when it offers next.
  defp sfu do
    {publisher, sfu} = start()

    {:ok, _transceiver} =
      PeerConnection.add_transceiver(publisher, :video,
        direction: :sendonly,
        send_encodings: for(rid <- @layers, do: %{rid: rid})
      )

    :ok = negotiate(publisher, sfu)
    :ok = PeerConnection.stop(publisher)
    sfu
  end

  defp answer_of_ours(offer) do
    {:ok, pc} = PeerConnection.start_link()

    :ok =
      PeerConnection.set_remote_description(pc, %ExWebRTC.SessionDescription{
        type: :offer,
        sdp: offer
      })

    {:ok, _sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(:video))
    {:ok, answer} = PeerConnection.create_answer(pc)
    answer.sdp
  end

  defp simulcast(sdp) do
    for line <- String.split(sdp, ["\r\n", "\n"]), line =~ ~r/^a=(rid|simulcast):/, do: line
  end
end
