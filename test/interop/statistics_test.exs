defmodule ExWebRTC.Interop.StatisticsTest do
  # The same call in our report and in the peer's.
  use ExUnit.Case, async: false

  import ExWebRTC.Interop
  import ExWebRTC.Peers, only: [eventually: 1, eventually: 2]

  alias ExWebRTC.{Comparison, Mirror, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Peer}

  @moduletag :interop
  @moduletag timeout: 120_000

  @on_the_way "the two reports are not of one moment"

  describe "Chromium" do
    setup do
      start_supervised!(Browser)
      :ok
    end

    for offerer <- [:them, :us] do
      test "says the same of a call as we do, offered by #{offerer}" do
        peer = Peer.open(:chromium)
        {mirror, pc} = call(unquote(offerer), peer)
        ref = exchange_messages(pc, peer)
        :ok = flow(mirror, peer)

        # One keyframe asked for, so that there is something to count.
        [video] = for %{kind: :video} = one <- PeerConnection.get_transceivers(pc), do: one
        :ok = PeerConnection.send_pli(pc, video.receiver.track.id)
        assert Peer.step(peer, :quiet)

        rows =
          Comparison.settle(fn ->
            chromium_rows(PeerConnection.get_stats(pc), Peer.step(peer, :stats))
          end)

        File.write!(artifact("statistics-chromium.txt"), Comparison.to_text(rows))
        assert Comparison.mismatches(rows) == [], Comparison.to_text(rows)
        assert PeerConnection.get_data_channel(pc, ref).ready_state == :open
      end
    end
  end

  test "aiortc says the same of a call as we do" do
    peer = Peer.open(:aiortc)
    {mirror, pc} = call(:them, peer)
    exchange_messages(pc, peer)
    :ok = flow(mirror, peer)
    assert Peer.step(peer, :quiet)
    certificates = Peer.step(peer, :fingerprint)

    rows =
      Comparison.settle(fn ->
        aiortc_rows(PeerConnection.get_stats(pc), Peer.step(peer, :stats), certificates)
      end)

    File.write!(artifact("statistics-aiortc.txt"), Comparison.to_text(rows))
    assert Comparison.mismatches(rows) == [], Comparison.to_text(rows)
  end

  defp call(:them, peer) do
    Peer.step(peer, :channel, %{label: "chat"})
    Peer.echo(peer, [%{kind: "audio"}, %{kind: "video"}], data_types: true)
  end

  defp call(:us, peer) do
    {mirror, pc} = Mirror.start_link(data_types: true)
    for kind <- [:audio, :video], do: {:ok, _} = PeerConnection.add_transceiver(pc, kind)
    :ok = Mirror.reflect(mirror, pc)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "chat")
    :ok = Peer.offer_to(pc, peer, add: [%{kind: "audio"}, %{kind: "video"}])
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000
    {mirror, pc}
  end

  # Three texts one way, five the other.
  defp exchange_messages(pc, peer) do
    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ref, :open}}, 20_000
    for text <- ["one", "zwei", "três"], do: :ok = PeerConnection.send_data(pc, ref, text)
    eventually(fn -> Peer.step(peer, :state)["heard"] == ["one", "zwei", "três"] end)
    5 = Peer.step(peer, :say, %{text: "hello", count: 5})
    for _ <- 1..5, do: assert_receive({:ex_webrtc, ^pc, {:data, ^ref, {:string, "hello"}}}, 5_000)
    ref
  end

  # Enough for several reports each way.
  defp flow(mirror, peer) do
    eventually(
      fn ->
        counts = for {_track, %{packets: packets}} <- Mirror.seen(mirror), do: packets
        frames = if peer.kind == :chromium, do: Peer.frames(peer), else: 50
        length(counts) == 2 and Enum.min(counts) >= 100 and frames >= 50
      end,
      3_000
    )
  end

  ## Chromium

  defp chromium_rows(ours, theirs) do
    pc = ours.peer_connection
    [their_pc] = Peer.entries(theirs, "peer-connection")

    chromium_transport(ours, theirs) ++
      candidates(ours, theirs) ++
      pairs(ours, theirs) ++
      received(ours, theirs) ++
      sent(ours, theirs) ++
      channel(ours, theirs) ++
      [
        {"data channels opened", pc.data_channels_opened, their_pc["dataChannelsOpened"], :same},
        {"data channels closed", pc.data_channels_closed, their_pc["dataChannelsClosed"], :same}
      ]
  end

  defp chromium_transport(ours, theirs) do
    [transport] = Peer.entries(theirs, "transport")
    mine = ours.transport

    [
      {"transport dtls_cipher", mine.dtls_cipher, transport["dtlsCipher"], :same},
      {"transport srtp_cipher", mine.srtp_cipher, transport["srtpCipher"], :same},
      {"transport tls_version", mine.tls_version, transport["tlsVersion"], :same},
      {"transport dtls_state", to_string(mine.dtls_state), transport["dtlsState"], :same},
      {"transport dtls_role", opposite(mine.dtls_role), transport["dtlsRole"], :same},
      {"transport ice_role", opposite(mine.ice_role), transport["iceRole"], :same},
      {"transport packets_sent", mine.packets_sent, transport["packetsReceived"], :same},
      {"transport packets_received", mine.packets_received, transport["packetsSent"], :same},
      {"transport bytes_sent", mine.bytes_sent, transport["bytesReceived"], :same},
      {"transport bytes_received", mine.bytes_received, transport["bytesSent"], :same}
    ] ++
      certificate(ours.local_certificate, find(theirs, transport["remoteCertificateId"])) ++
      certificate(ours.remote_certificate, find(theirs, transport["localCertificateId"]))
  end

  defp certificate(mine, theirs) do
    for {ours, w3c} <- [
          fingerprint: "fingerprint",
          fingerprint_algorithm: "fingerprintAlgorithm",
          base64_certificate: "base64Certificate"
        ],
        do: {"#{mine.id} #{ours}", mine[ours], theirs[w3c], :same}
  end

  @opposites %{client: "server", server: "client", controlling: "controlled"}
  defp opposite(role), do: Map.get(@opposites, role, "controlling")

  defp candidates(ours, theirs) do
    told = for one <- Peer.entries(theirs, "remote-candidate"), do: their_candidate(one)
    own = for %{"protocol" => "udp"} = one <- Peer.entries(theirs, "local-candidate"), do: one

    [
      {"our candidates",
       ours |> of(:local_candidate) |> Enum.map(&our_candidate/1) |> Enum.sort(), Enum.sort(told),
       :same},
      {"their candidates", ours |> of(:remote_candidate) |> Enum.map(&our_candidate/1),
       Enum.map(own, &their_candidate/1),
       {:subset, "it forgets those of m-lines that were bundled"}},
      {"our ufrag", ours.transport.ice_local_ufrag,
       theirs |> Peer.entries("remote-candidate") |> hd() |> Map.get("usernameFragment"), :same}
    ]
  end

  defp our_candidate(one) do
    {address(one.address), one.port, to_string(one.protocol), to_string(one.candidate_type),
     one.priority, one.foundation}
  end

  defp their_candidate(one) do
    {one["address"], one["port"], one["protocol"], one["candidateType"], one["priority"],
     one["foundation"]}
  end

  defp address(address) when is_tuple(address), do: address |> :inet.ntoa() |> to_string()
  defp address(name), do: name

  # Every pair that both know.
  defp pairs(ours, theirs) do
    named = %{sent: "Received", received: "Sent"}

    shared =
      for pair <- of(ours, :candidate_pair),
          their = their_pair(theirs, ours, pair),
          do: {pair, their}

    rows =
      for {pair, their} <- shared,
          what <- ["requests", "responses", "packets", "bytes"],
          direction <- [:sent, :received] do
        field = String.to_existing_atom("#{what}_#{direction}")
        rule = if what in ["packets", "bytes"], do: :same, else: {:within, 1, @on_the_way}
        {"pair #{pair.id} #{field}", pair[field], their[what <> named[direction]], rule}
      end

    priorities =
      for {pair, their} <- shared do
        {"pair #{pair.id} priority", pair.priority, their["priority"],
         {:within, 1_024, "64 bits do not fit a number of JavaScript"}}
      end

    [{"pairs that both know", 1, length(shared), {:at_most, "one was selected"}}] ++
      rows ++ priorities
  end

  # By both ends; theirs is the other way round.
  defp their_pair(theirs, ours, pair) do
    ends = fn local, remote ->
      {local["address"], local["port"], remote["address"], remote["port"]}
    end

    local = ours[pair.local_candidate_id]
    remote = ours[pair.remote_candidate_id]
    wanted = {address(remote.address), remote.port, address(local.address), local.port}

    theirs
    |> Peer.entries("candidate-pair")
    |> Enum.find(fn one ->
      ends.(find(theirs, one["localCandidateId"]), find(theirs, one["remoteCandidateId"])) ==
        wanted
    end)
  end

  # What it sends us.
  defp received(ours, theirs) do
    for mine <- of(ours, :inbound_rtp),
        their = theirs |> Peer.entries("outbound-rtp") |> one(%{"ssrc" => mine.ssrc}),
        row <- received_stream(ours, theirs, mine, their),
        do: row
  end

  defp received_stream(ours, theirs, mine, their) do
    name = "from them, #{mine.kind}:"
    # RTX and padding probes of Chromium come with video only; it counts them with the stream.
    video? = mine.kind == :video
    repairs = Map.get(mine, :retransmitted_packets_received, 0)
    repair_bytes = Map.get(mine, :retransmitted_bytes_received, 0)
    probes = if video?, do: get_in(ours, ["media_drops", :padding_probes]) || 0, else: 0
    remote = find(theirs, their["remoteId"]) || %{}
    reported = ours[mine[:remote_id]] || %{}
    headers = if video?, do: {:at_most, "padding and repairs are in theirs"}, else: :same

    rows = [
      {"#{name} kind", to_string(mine.kind), their["kind"], :same},
      {"#{name} mid", mine.mid, their["mid"], :same},
      {"#{name} packets", mine.packets_received + repairs + probes, their["packetsSent"], :same},
      # The two bytes of each repair that say what it repairs (RFC 4588).
      {"#{name} bytes", mine.bytes_received + repair_bytes + 2 * repairs, their["bytesSent"],
       :same},
      {"#{name} header bytes", mine.header_bytes_received, their["headerBytesSent"], headers},
      {"#{name} packets lost", mine.packets_lost, remote["packetsLost"], :same},
      {"#{name} nack count", mine.nack_count, their["nackCount"], :same},
      {"#{name} jitter in s", mine.jitter, remote["jitter"],
       {:within, 0.02, "theirs is as of our last report"}},
      {"#{name} round trip in s", 0.0, remote["roundTripTime"], {:within, 0.5, "one machine"}},
      {"#{name} reported packets", reported[:packets_sent], their["packetsSent"],
       {:at_most, "of its last report, without padding"}},
      {"#{name} reports", 1, reported[:reports_sent], {:at_most, "at least one came"}}
    ]

    codec(name, ours, theirs, mine, their) ++
      rows ++
      if video? do
        [
          {"#{name} frames", mine.markers_received, their["framesSent"], :same},
          {"#{name} pli count", mine.pli_count, their["pliCount"], :same},
          {"#{name} keyframes asked for", 1, their["pliCount"],
           {:at_most, "the test asks for one"}},
          {"#{name} fir count", mine.fir_count, their["firCount"], :same}
        ]
      else
        []
      end
  end

  # What we send it.
  defp sent(ours, theirs) do
    for mine <- of(ours, :outbound_rtp),
        their = theirs |> Peer.entries("inbound-rtp") |> one(%{"ssrc" => mine.ssrc}),
        row <- sent_stream(ours, theirs, mine, their),
        do: row
  end

  defp sent_stream(ours, theirs, mine, their) do
    name = "to them, #{mine.kind}:"
    remote = ours[mine[:remote_id]] || %{}
    reported = find(theirs, their["remoteId"]) || %{}

    rows = [
      {"#{name} kind", to_string(mine.kind), their["kind"], :same},
      {"#{name} mid", mine.mid, their["mid"], :same},
      {"#{name} packets", mine.packets_sent, their["packetsReceived"], :same},
      {"#{name} bytes", mine.bytes_sent, their["bytesReceived"], :same},
      {"#{name} header bytes", mine.header_bytes_sent, their["headerBytesReceived"], :same},
      {"#{name} packets lost", remote[:packets_lost], their["packetsLost"], :same},
      {"#{name} fraction lost", remote[:fraction_lost], 0.0, :same},
      {"#{name} jitter in s", remote[:jitter], their["jitter"],
       {:within, 0.05, "ours is as of its last report; it forgets that of a stream that ended"}},
      {"#{name} round trip in s", remote[:round_trip_time], 0.0, {:within, 0.5, "one machine"}},
      {"#{name} round trips", 1, remote[:round_trip_time_measurements],
       {:at_most, "at least one was measured"}},
      {"#{name} reported packets", mine.packets_sent, reported["packetsSent"], :same},
      {"#{name} reported bytes", mine.bytes_sent, reported["bytesSent"], :same}
    ]

    codec(name, ours, theirs, mine, their) ++
      rows ++
      if mine.kind == :video do
        [
          {"#{name} frames", mine.markers_sent, their["framesReceived"], :same},
          {"#{name} nack count", mine.nack_count, their["nackCount"], :same},
          {"#{name} pli count", mine.pli_count, their["pliCount"], :same},
          {"#{name} fir count", mine.fir_count, their["firCount"], :same}
        ]
      else
        []
      end
  end

  defp codec(name, ours, theirs, mine, their) do
    codec = ours[mine.codec_id]
    w3c = find(theirs, their["codecId"]) || %{}

    [
      {"#{name} mime type", codec.mime_type, w3c["mimeType"], :same},
      {"#{name} payload type", codec.payload_type, w3c["payloadType"], :same},
      {"#{name} clock rate", codec.clock_rate, w3c["clockRate"], :same},
      {"#{name} channels", codec[:channels] || 1, w3c["channels"] || 1, :same}
    ]
  end

  defp channel(ours, theirs) do
    [mine] = of(ours, :data_channel)
    [their] = Peer.entries(theirs, "data-channel")

    [
      {"channel id", mine.data_channel_identifier, their["dataChannelIdentifier"], :same},
      {"channel label", mine.label, their["label"], :same},
      {"channel protocol", mine.protocol, their["protocol"], :same},
      {"channel state", to_string(mine.state), their["state"], :same},
      {"channel messages sent", mine.messages_sent, their["messagesReceived"], :same},
      {"channel messages received", mine.messages_received, their["messagesSent"], :same},
      {"channel bytes sent", mine.bytes_sent, their["bytesReceived"], :same},
      {"channel bytes received", mine.bytes_received, their["bytesSent"], :same}
    ]
  end

  ## aiortc

  defp aiortc_rows(ours, theirs, certificates) do
    [transport] = Peer.entries(theirs, "transport")
    mine = ours.transport

    [
      {"transport packets_sent", mine.packets_sent, transport["packetsReceived"], :same},
      {"transport packets_received", mine.packets_received, transport["packetsSent"], :same},
      {"transport bytes_sent", mine.bytes_sent, transport["bytesReceived"], :same},
      {"transport bytes_received", mine.bytes_received, transport["bytesSent"], :same},
      {"transport ice_role", opposite(mine.ice_role), transport["iceRole"], :same},
      {"transport dtls_state", to_string(mine.dtls_state), transport["dtlsState"], :same},
      {"local_certificate fingerprint", ours.local_certificate.fingerprint,
       certificates["remote"], :same},
      {"remote_certificate fingerprint", ours.remote_certificate.fingerprint,
       certificates["local"], :same}
    ] ++ Enum.flat_map([:inbound_rtp, :outbound_rtp], &aiortc_streams(&1, ours, theirs))
  end

  defp aiortc_streams(type, ours, theirs) do
    [as_theirs, as_remote] =
      if type == :inbound_rtp,
        do: ["outbound-rtp", "remote-inbound-rtp"],
        else: ["inbound-rtp", "remote-outbound-rtp"]

    for mine <- of(ours, type),
        their = theirs |> Peer.entries(as_theirs) |> one(%{"ssrc" => mine.ssrc}),
        # Its SSRC here is that of who reported.
        remote = theirs |> Peer.entries(as_remote) |> one(%{"kind" => to_string(mine.kind)}),
        row <- aiortc_stream(type, ours, mine, their, remote),
        do: row
  end

  defp aiortc_stream(:inbound_rtp, ours, mine, their, remote) do
    name = "from them, #{mine.kind}:"
    clock = ours[mine.codec_id].clock_rate
    reported = ours[mine[:remote_id]] || %{}

    [
      {"#{name} kind", to_string(mine.kind), their["kind"], :same},
      {"#{name} packets", mine.packets_received, their["packetsSent"], :same},
      {"#{name} bytes", mine.bytes_received, their["bytesSent"], :same},
      {"#{name} packets lost", mine.packets_lost, remote["packetsLost"], :same},
      {"#{name} jitter in ticks", mine.jitter * clock, remote["jitter"],
       {:within, clock * 0.02, "theirs, in ticks, is as of our last report"}},
      {"#{name} round trip in s", 0.0, remote["roundTripTime"], {:within, 0.5, "one machine"}},
      {"#{name} reported packets", reported[:packets_sent], their["packetsSent"],
       {:at_most, "as of its last report"}}
    ]
  end

  defp aiortc_stream(:outbound_rtp, ours, mine, their, remote) do
    name = "to them, #{mine.kind}:"
    clock = ours[mine.codec_id].clock_rate
    reception = ours[mine[:remote_id]] || %{}

    [
      {"#{name} kind", to_string(mine.kind), their["kind"], :same},
      {"#{name} packets", mine.packets_sent, their["packetsReceived"], :same},
      {"#{name} packets lost", reception[:packets_lost], their["packetsLost"], :same},
      {"#{name} jitter in ticks", reception[:jitter] && reception.jitter * clock, their["jitter"],
       {:within, clock * 0.02, "ours, in s, is as of its last report"}},
      {"#{name} round trip in s", reception[:round_trip_time], 0.0,
       {:within, 0.5, "one machine"}},
      {"#{name} reported packets", mine.packets_sent, remote["packetsSent"], :same},
      {"#{name} reported bytes", mine.bytes_sent, remote["bytesSent"], :same}
    ]
  end

  ## Reports

  defp of(stats, type), do: for({_id, %{type: ^type} = entry} <- stats, do: entry)

  defp find(theirs, id), do: Enum.find(theirs, &(&1["id"] == id))

  # The one entry with these fields; an empty one, of which no row holds, where there is none.
  defp one(entries, fields) do
    Enum.find(entries, %{}, fn entry ->
      Enum.all?(fields, fn {name, value} -> entry[name] == value end)
    end)
  end
end
