defmodule ExWebRTC.Interop.ImpairedLinkTest do
  # Chromium over a link that loses, delays, reorders and repeats, with real sockets.
  use ExUnit.Case, async: false

  alias ExWebRTC.{ICECandidate, ImpairedLink, Mirror, PeerConnection, Peers}
  alias ExWebRTC.Interop.{Browser, Peer}

  @moduletag :interop
  @moduletag capture_log: true
  @moduletag timeout: 120_000

  @messages for n <- 1..200, do: "message #{n}"

  setup do
    start_supervised!(Browser)
    %{link: ImpairedLink.start()}
  end

  test "video is decoded and messages come in order although datagrams are late, in disorder, doubled and lost",
       %{link: link} do
    {mirror, pc, peer} = call(link)
    :ok = ImpairedLink.impair(link, %{loss: 3, repeat: 3, delay: 20, jitter: 8})
    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ref, :open}}, 20_000

    for message <- @messages, do: :ok = PeerConnection.send_data(pc, ref, message)
    Peers.eventually(fn -> Peer.step(peer, :state)["heard"] == @messages end)

    Peer.await_frames(peer, 150)
    assert Peer.step(peer, :quiet)
    :ok = ImpairedLink.impair(link, %{})
    Peers.steady(fn -> Mirror.seen(mirror) end)

    # Of what came, nothing is missing and nothing is there twice.
    assert [{_track, seen}] = Map.to_list(Mirror.seen(mirror))
    assert seen.packets == seen.delivered
    assert seen.packets >= 0.99 * seen.expected

    [received] = for {_id, %{type: :inbound_rtp} = one} <- PeerConnection.get_stats(pc), do: one

    # What really was lost, doubled, and sent again.
    %{lost: lost, repeated: repeated} = ImpairedLink.counts(link, :second)[received.ssrc]
    assert lost > 0 and repeated > 0
    [source] = peer |> Peer.step(:stats) |> Peer.entries("outbound-rtp")
    assert source["retransmittedPacketsSent"] >= 0.9 * lost - 3
    assert source["retransmittedPacketsSent"] <= 1.5 * lost + 10
  end

  defp call(link) do
    peer = Peer.open(:chromium)
    Peer.step(peer, :channel, %{label: "messages"})

    {mirror, pc} =
      Peer.echo(peer, [%{kind: "video"}], [ice_ip_filter: ImpairedLink.filter()],
        mangle_offer: &through(link, :second, &1),
        mangle_answer: &through(link, :first, &1)
      )

    {mirror, pc, peer}
  end

  # The description with the link's candidate in place of all of the side's own.
  defp through(link, side, sdp) do
    Regex.replace(~r/^a=(candidate:.*)\r\n/m, sdp, fn _line, candidate ->
      with true <- candidate =~ ~r/ udp \d+ [\d.]+ /i,
           %{candidate: other} <-
             ImpairedLink.candidate(link, side, %ICECandidate{candidate: candidate}) do
        "a=#{other}\r\n"
      else
        _another -> ""
      end
    end)
  end
end
