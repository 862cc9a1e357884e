defmodule ExWebRTC.Interop.ForwardBandwidthTest do
  # One Chromium publishes three layers, another one watches from behind a link of a megabit.
  use ExUnit.Case, async: false

  import ExUnit.Assertions

  alias ExWebRTC.Interop.{Browser, Peer}
  alias ExWebRTC.{MediaStreamTrack, NetworkNamespace, PeerConnection}

  @moduletag :namespace
  @moduletag timeout: 180_000

  @encodings [
    %{rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000},
    %{rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000},
    %{rid: "h", maxBitrate: 1_800_000}
  ]
  @width 1280

  # In kbit/s. The best layer is far from fitting the narrow link, the next one fits it easily.
  @narrow 1_000
  @wide 20_000
  @least_best 1_500
  @most_middle 700

  # In milliseconds. A picture's longest; what the way down may take; and the way up: a probe comes
  # each three seconds while little is sent, some may be needed, and what they find has to last for
  # a second, or two where the last way up was soon one down.
  @freeze 300
  @down_within 3_000
  @up_within 15_000
  # For how long it has to stay as it is then.
  @steady 8_000

  setup do
    namespace = NetworkNamespace.create()
    start_supervised!({Browser, name: :publishing})
    start_supervised!({Browser, within: NetworkNamespace.within(namespace)})
    {source, track} = publish()
    %{namespace: namespace, source: source, track: track}
  end

  test "behind a megabit a viewer gets a layer that fits within 3 s, and the best one once it has room",
       %{namespace: namespace, source: source, track: track} do
    :ok = NetworkNamespace.limit(namespace, @narrow)
    viewer = view(namespace, source, track)
    # Nothing is known of the link at first, and the best layer comes.
    rates(viewer.source, @down_within)
    assert_narrower(viewer)
    :ok = NetworkNamespace.limit(namespace, @wide)
    await_best(viewer)
  end

  test "behind a link that becomes a megabit a viewer gets a layer that fits within 3 s, and the best one again",
       %{namespace: namespace, source: source, track: track} do
    viewer = view(namespace, source, track)
    await_only_best(viewer, now() + @up_within)
    watch(viewer)
    :ok = NetworkNamespace.limit(namespace, @narrow)
    rates(viewer.source, @down_within)
    seen = seen(viewer)
    assert seen["longest"] <= @freeze, inspect(seen)
    assert_narrower(viewer)
    :ok = NetworkNamespace.limit(namespace, @wide)
    await_best(viewer)
  end

  # Three layers, each of which has reached its rate.
  defp publish do
    {:ok, source} = PeerConnection.start_link(rtp_delivery: :none)
    publisher = Peer.open(:chromium, %{browser: :publishing})

    true =
      Peer.step(publisher, :add, %{
        kind: "video",
        noise: true,
        width: @width,
        height: 720,
        direction: "sendonly",
        encodings: @encodings
      })

    :ok = Peer.answer_to(source, publisher)
    assert_receive {:ex_webrtc, ^source, {:track, track}}, 20_000
    await_layers(source, 40)
    {source, track.id}
  end

  defp await_layers(source, seconds) do
    rates = rates(source, 1_000)
    ready? = map_size(rates) == 3 and rates["h"] > @least_best
    if not ready? and seconds == 0, do: flunk("the best layer stays low: #{inspect(rates)}")
    unless ready?, do: await_layers(source, seconds - 1)
  end

  defp view(namespace, source, track) do
    {:ok, sink} = PeerConnection.start_link(ice_ip_filter: NetworkNamespace.filter(namespace))
    video = MediaStreamTrack.new(:video)
    {:ok, transceiver} = PeerConnection.add_transceiver(sink, video, direction: :sendonly)
    page = Peer.open(:chromium)
    :ok = Peer.offer_to(sink, page)
    assert_receive {:ex_webrtc, ^sink, {:connection_state_change, :connected}}, 20_000
    viewer = %{page: page, sink: sink, source: source}
    watch(viewer)
    {:ok, _ref} = PeerConnection.forward(source, track, sink, transceiver.sender.id)
    viewer
  end

  # What is seen counts from here on.
  defp watch(viewer), do: true = Peer.step(viewer.page, :watch)
  defp seen(viewer), do: Peer.step(viewer.page, :seen)

  # The best layer is also what is shown before anything is known of the link, and left again.
  defp await_only_best(viewer, deadline) do
    watch(viewer)
    rates(viewer.source, 2_000)
    seen = seen(viewer)
    only? = seen["widths"] == [@width]
    if not only? and now() > deadline, do: flunk("the best layer does not stay: #{inspect(seen)}")
    unless only?, do: await_only_best(viewer, deadline)
  end

  # From here on only layers that fit are shown.
  defp assert_narrower(viewer) do
    watch(viewer)
    refute @width in steadily_seen(viewer)["widths"]
  end

  # The best layer comes, without a freeze, and stays.
  defp await_best(viewer) do
    watch(viewer)
    await_best_shown(viewer, now() + @up_within)
    assert steadily_seen(viewer)["width"] == @width
  end

  defp await_best_shown(viewer, deadline) do
    seen = seen(viewer)
    shown? = seen["width"] == @width

    if not shown? and now() > deadline,
      do: flunk("#{inspect(seen)} at an estimate of #{inspect(estimate(viewer.sink))}")

    unless shown?, do: await_best_shown(viewer, deadline)
  end

  # What is seen after some time in which the layers are what they have to be and no picture froze.
  defp steadily_seen(viewer) do
    rates = rates(viewer.source, @steady)
    seen = seen(viewer)
    assert rates["h"] > @least_best, inspect(rates)
    assert rates["m"] < @most_middle, inspect(rates)
    assert seen["longest"] <= @freeze, inspect(seen)
    seen
  end

  defp estimate(sink) do
    stats = PeerConnection.get_stats(sink)
    stats[stats.transport.selected_candidate_pair_id][:available_outgoing_bitrate]
  end

  # What arrives of each layer in that time, in kbit/s.
  defp rates(source, milliseconds) do
    before = received(source)

    receive do
    after
      milliseconds ->
        for {rid, {at, bytes}} <- received(source), into: %{} do
          {then, first} = Map.get(before, rid, {at - milliseconds, 0})
          {rid, round((bytes - first) * 8 / (at - then))}
        end
    end
  end

  defp received(source) do
    at = now()

    for {_id, %{type: :inbound_rtp} = stats} <- PeerConnection.get_stats(source),
        into: %{},
        do: {stats.rid, {at, stats.bytes_received}}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
