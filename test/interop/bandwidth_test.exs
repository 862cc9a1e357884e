defmodule ExWebRTC.Interop.BandwidthTest do
  # Chromium behind a link of a few megabits: its feedback makes our estimate, ours makes its.
  use ExUnit.Case, async: false

  import ExUnit.Assertions

  alias ExWebRTC.Interop.{Browser, Peer}
  alias ExWebRTC.{MediaStreamTrack, NetworkNamespace, PeerConnection, Peers}
  alias ExWebRTC.RTP.Packet

  @moduletag :namespace
  @moduletag timeout: 120_000

  @payload :binary.copy(<<0>>, 1_100)
  # In milliseconds, between the bursts of a source that keeps to the estimate.
  @tick 10

  setup do
    namespace = NetworkNamespace.create()
    start_supervised!({Browser, within: NetworkNamespace.within(namespace)})
    %{namespace: namespace}
  end

  test "what Chromium tells us of arrivals finds the rate of the link, down and up again",
       %{namespace: namespace} do
    :ok = NetworkNamespace.limit(namespace, 1_000)
    filter = NetworkNamespace.filter(namespace)
    {:ok, pc} = PeerConnection.start_link(ice_ip_filter: filter, bandwidth_estimate: true)
    track = MediaStreamTrack.new(:video)
    {:ok, _} = PeerConnection.add_transceiver(pc, track, direction: :sendonly)
    :ok = Peer.offer_to(pc, Peer.open(:chromium))
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000

    source = %{
      pc: pc,
      track: track.id,
      number: 0,
      debt: 0,
      estimate: 300_000,
      told: [],
      at: now()
    }

    source = film(source, 12)
    assert_near(source.told, 1_000)
    :ok = NetworkNamespace.limit(namespace, 400)
    source = film(%{source | told: []}, 12)
    assert_near(source.told, 400)
    :ok = NetworkNamespace.limit(namespace, 3_000)
    source = film(%{source | told: []}, 20)
    assert_near(source.told, 3_000)
  end

  test "what we tell Chromium of arrivals lets it send more than a megabit", %{
    namespace: namespace
  } do
    {:ok, pc} =
      PeerConnection.start_link(
        ice_ip_filter: NetworkNamespace.filter(namespace),
        rtp_delivery: :none
      )

    peer = Peer.open(:chromium)
    Peer.step(peer, :add, %{kind: "video", width: 1280, height: 720})
    :ok = Peer.answer_to(pc, peer)
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000

    Peers.eventually(
      fn ->
        pairs = peer |> Peer.step(:stats) |> Peer.entries("candidate-pair")
        Enum.any?(pairs, &((&1["availableOutgoingBitrate"] || 0) > 1_000_000))
      end,
      3_000
    )
  end

  # The mean of what was told in the last half of the time. A machine that is busy with other tests
  # sends and decodes in fits and starts, which looks like a path that is full.
  defp assert_near(told, kilobits) do
    {late, _early} = Enum.split(told, max(div(length(told), 2), 1))
    share = Enum.sum(late) / length(late) / 1_000 / kilobits
    assert share > 0.5 and share < 1.2, inspect({kilobits, Enum.reverse(told)}, limit: :infinity)
  end

  # Sends as much as the estimate allows.
  defp film(source, seconds), do: film_until(source, now() + seconds * 1_000)

  defp film_until(source, ends) do
    source = source |> listen() |> send_due()

    receive do
    after
      @tick -> if now() < ends, do: film_until(source, ends), else: source
    end
  end

  defp listen(%{pc: pc} = source) do
    receive do
      {:ex_webrtc, ^pc, {:bandwidth_estimate, bits}} ->
        listen(%{source | estimate: bits, told: [bits | source.told]})
    after
      0 -> source
    end
  end

  defp send_due(source) do
    at = now()
    due = source.debt + source.estimate * (at - source.at) / 8_000
    debt = min(due, 20 * byte_size(@payload))
    packets = trunc(debt / byte_size(@payload))

    for number <- source.number..(source.number + packets - 1)//1 do
      packet = Packet.new(@payload, sequence_number: rem(number, 65_536), timestamp: number * 90)
      :ok = PeerConnection.send_rtp(source.pc, source.track, packet)
    end

    debt = debt - packets * byte_size(@payload)
    %{source | number: source.number + packets, debt: debt, at: at}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
