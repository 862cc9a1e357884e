defmodule ExWebRTC.Interop.GlareTest do
  # Both sides offer whenever they like; neither has more code for it than the W3C's pattern.
  use ExUnit.Case, async: false

  import ExWebRTC.Directions

  alias ExWebRTC.Interop.{Browser, Peer}
  alias ExWebRTC.{ICECandidate, MediaStreamTrack, PeerConnection, PerfectNegotiation}
  alias ExWebRTC.{Peers, SessionDescription}

  @moduletag :interop
  @moduletag timeout: 120_000

  # What each side asks for at the same moment.
  @wishes [
    {:video, %{kind: "video", direction: "sendrecv"}},
    {:audio, %{direction: "recvonly"}},
    {:inactive, %{kind: "audio", direction: "sendonly"}},
    {:video, %{stop: true}},
    {:restart, %{direction: "sendrecv"}},
    {:stop, %{kind: "video", direction: "recvonly"}},
    {:sendrecv, %{direction: "inactive"}},
    {:stop, %{stop: true}},
    {:audio, %{kind: "audio", direction: "sendrecv"}},
    {:restart, %{direction: "sendrecv"}}
  ]

  setup do
    start_supervised!(Browser)
    :ok
  end

  for polite <- [:us, :them] do
    test "glare with Chromium resolves itself, #{polite} polite, and what both wanted is agreed on" do
      peer = Peer.open(:chromium)
      true = Peer.step(peer, :perfect, %{polite: unquote(polite) == :them})
      {:ok, pc} = PeerConnection.start_link()
      side = %PerfectNegotiation{pc: pc, polite?: unquote(polite) == :us}

      track = MediaStreamTrack.new(:video)
      {:ok, _sender} = PeerConnection.add_track(pc, track)
      true = Peer.step(peer, :add, %{kind: "video"})
      settle(side, peer)

      for {ours, theirs} <- @wishes do
        wish(pc, ours)
        true = Peer.step(peer, :wish, theirs)
        settle(side, peer)
      end

      assert Peer.step(peer, :transceivers)["collisions"] > 0
      assert PeerConnection.get_connection_state(pc) == :connected
      # Chromium's camera still arrives, so the agreement is one on what flows.
      flush_rtp(pc)
      assert_receive {:ex_webrtc, ^pc, {:rtp, _track, nil, _packet}}, 10_000
    end
  end

  defp wish(pc, kind) when kind in [:audio, :video],
    do: {:ok, _transceiver} = PeerConnection.add_transceiver(pc, kind)

  defp wish(pc, :restart), do: :ok = PeerConnection.restart_ice(pc)

  defp wish(pc, :stop) do
    last = pc |> live() |> List.last()
    :ok = PeerConnection.stop_transceiver(pc, last.id)
  end

  defp wish(pc, direction) do
    for %{id: id} <- pc |> live() |> Enum.drop(1),
        do: :ok = PeerConnection.set_transceiver_direction(pc, id, direction)
  end

  defp live(pc), do: pc |> PeerConnection.get_transceivers() |> Enum.reject(& &1.stopped)

  # Both offers are made before either side hears of the other's.
  defp settle(side, peer) do
    Peers.eventually(fn ->
      sent = ours(side, [])
      for message <- signal(peer, sent), do: deliver(side, message, peer)
      agreed?(side.pc, Peer.step(peer, :transceivers)) and not waiting?(side.pc)
    end)
  end

  defp signal(peer, messages), do: Peer.step(peer, :signal, %{messages: messages})

  # What this side has for the other.
  defp ours(%{pc: pc} = side, sent) do
    receive do
      {:ex_webrtc, ^pc, :negotiation_needed} ->
        ours(side, sent ++ Enum.map(PerfectNegotiation.offer(side), &describe/1))

      {:ex_webrtc, ^pc, {:ice_candidate, candidate}} ->
        ours(side, sent ++ [%{candidate: ICECandidate.to_json(candidate)}])
    after
      0 -> sent
    end
  end

  defp describe(description), do: %{description: SessionDescription.to_json(description)}

  defp deliver(side, %{"description" => json}, peer) do
    description = SessionDescription.from_json(json)

    case PerfectNegotiation.receive_description(side, description) do
      [] ->
        :ok

      answers ->
        for message <- signal(peer, Enum.map(answers, &describe/1)),
            do: deliver(side, message, peer)
    end
  end

  # One of an offer that was ignored is of no use.
  defp deliver(%{pc: pc}, %{"candidate" => json}, _peer) do
    assert PeerConnection.add_ice_candidate(pc, ICECandidate.from_json(json)) in [
             :ok,
             {:error, :invalid_candidate},
             {:error, :no_remote_description}
           ]
  end

  defp waiting?(pc) do
    receive do
      {:ex_webrtc, ^pc, :negotiation_needed} ->
        send(self(), {:ex_webrtc, pc, :negotiation_needed})
        true
    after
      0 -> false
    end
  end

  defp agreed?(pc, theirs) do
    mine = live(pc)

    PeerConnection.get_signaling_state(pc) == :stable and theirs["signaling"] == "stable" and
      Enum.sort(Enum.map(mine, & &1.mid)) ==
        Enum.sort(Enum.map(theirs["transceivers"], & &1["mid"])) and
      Enum.all?(mine, fn transceiver ->
        their = Enum.find(theirs["transceivers"], &(&1["mid"] == transceiver.mid))

        agreed =
          both(transceiver.direction, reversed(String.to_existing_atom(their["direction"])))

        transceiver.current_direction == agreed and
          Atom.to_string(reversed(agreed)) == their["current"] and
          Atom.to_string(transceiver.kind) == their["kind"]
      end)
  end

  defp flush_rtp(pc) do
    receive do
      {:ex_webrtc, ^pc, {:rtp, _track, _rid, _packet}} -> flush_rtp(pc)
    after
      0 -> :ok
    end
  end
end
