defmodule ExWebRTC.Interop.IdentityTest do
  # One side is told something wrong of the other by whoever carried the description. Between two of
  # our own: native/engine/tests/identity.rs.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers, only: [eventually: 2]

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Peer}
  alias ExWebRTC.RTP.Packet

  @moduletag :interop
  @moduletag capture_log: true
  @moduletag timeout: 120_000

  setup_all do
    start_supervised!(Browser)
    :ok
  end

  @calls for offerer <- [:us, :them],
             deceived <- [:us, :them],
             role <- [:client, :server],
             do: {offerer, deceived, role}

  for kind <- [:chromium, :aiortc] do
    test "with a wrong fingerprint nothing passes between us and #{kind}, whoever offers, is lied to or is DTLS client" do
      for {offerer, deceived, role} = call <- @calls do
        {pc, peer} = begin(unquote(kind), offerer, role, deceived, &wrong_fingerprint/1)

        assert_refused(peer, pc, call)
        assert_nothing_passed(pc, peer, call)
      end
    end

    test "with a wrong ICE password nothing passes between us and #{kind}, whoever offers or is lied to" do
      calls = for {offerer, deceived, :client} <- @calls, do: {offerer, deceived, :client}

      # They take as long as ICE does to give up: all at once.
      started =
        for {offerer, deceived, role} = call <- calls do
          {call, begin(unquote(kind), offerer, role, deceived, &wrong_password/1)}
        end

      for {{_offerer, deceived, _role} = call, {pc, peer}} <- started do
        # Who was lied to finds nobody; the other one waits for a handshake.
        if deceived == :us,
          do: assert_state(pc, :failed, call),
          else: eventually(fn -> connection(peer) in ["failed", "closed"] end, 6_000)

        assert_nothing_passed(pc, peer, call)
      end
    end
  end

  # Both want to send video and a message as soon as they may; our DTLS role is `role`.
  defp begin(kind, offerer, role, deceived, lie) do
    peer = Peer.open(kind)
    {:ok, pc} = PeerConnection.start_link(dtls_role: if(offerer == :them, do: role))
    # An answerer takes what an offer leaves it.
    setup = "a=setup:" <> if role == :client, do: "active", else: "passive"
    leave = &String.replace(&1, "a=setup:actpass", setup)
    track = MediaStreamTrack.new(:video)

    case offerer do
      :us ->
        {:ok, _sender} = PeerConnection.add_track(pc, track)
        {:ok, _channel} = PeerConnection.create_data_channel(pc, "secrets")

        Peer.offer_to(pc, peer,
          add: [%{kind: "video"}],
          mangle_offer: &mangle(leave.(&1), deceived == :them, lie),
          mangle_answer: &mangle(&1, deceived == :us, lie)
        )

      :them ->
        Peer.step(peer, :add, %{kind: "video"})
        Peer.step(peer, :channel, %{label: "secrets"})

        Peer.answer_to(pc, peer,
          prepare: fn -> {:ok, _sender} = PeerConnection.add_track(pc, track) end,
          mangle_offer: &mangle(&1, deceived == :us, lie),
          mangle_answer: &mangle(&1, deceived == :them, lie)
        )
    end

    for n <- 1..20,
        do: PeerConnection.send_rtp(pc, track.id, Packet.new("secret", sequence_number: n))

    {pc, peer}
  end

  defp mangle(sdp, true, lie), do: lie.(sdp)
  defp mangle(sdp, false, _lie), do: sdp

  # By every hash function there is: one that fits would do.
  defp wrong_fingerprint(sdp), do: other_character(sdp, "a=fingerprint:\\S+ ")
  defp wrong_password(sdp), do: other_character(sdp, "a=ice-pwd:")

  defp other_character(sdp, name) do
    Regex.replace(~r/^(#{name})(.)/m, sdp, fn _all, start, character ->
      start <> if(character == "A", do: "B", else: "A")
    end)
  end

  # aiortc looks when the handshake is complete; it then says nothing and takes nothing.
  defp assert_refused(%Peer{kind: :aiortc} = peer, _pc, {_offerer, :them, _role}),
    do: eventually(fn -> connection(peer) in ["failed", "closed"] end, 2_000)

  defp assert_refused(_peer, pc, call), do: assert_state(pc, :failed, call)

  defp connection(peer), do: Peer.step(peer, :state)["connection"]

  defp assert_state(pc, state, call) do
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, ^state}}, 60_000, inspect(call)
  end

  defp assert_nothing_passed(pc, peer, call) do
    state = Peer.step(peer, :state)
    refute "open" in state["channels"], inspect(call)
    assert state["heard"] == []
    assert (state["frames"] || %{"video" => 0})["video"] == 0
    stats = Peer.step(peer, :stats)
    for one <- Peer.entries(stats, "inbound-rtp"), do: assert(one["packetsReceived"] == 0)

    refute_received {:ex_webrtc, ^pc, {:rtp, _track, _rid, _packet}}
    refute_received {:ex_webrtc, ^pc, {:rtcp, _packets}}
    refute_received {:ex_webrtc, ^pc, {:data_channel, _channel}}
    refute_received {:ex_webrtc, ^pc, {:data, _ref, _data}}
    received = for {_id, %{type: :inbound_rtp} = one} <- PeerConnection.get_stats(pc), do: one
    assert received == []
  end
end
