defmodule ExWebRTC.NetworkTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{Native, PeerConnection}

  test "the filter decides about every address, also about those that relays would be reached from" do
    [kept | _] = addresses = Native.host_addresses()
    test = self()

    filter = fn address ->
      send(test, {:asked, address})
      address == kept
    end

    lines = candidates(ice_ip_filter: filter)
    for address <- addresses, do: assert_received({:asked, ^address})
    assert [_ | _] = lines
    assert Enum.all?(lines, &(address(&1) == to_string(:inet.ntoa(kept))))

    assert candidates(ice_ip_filter: fn _address -> false end) == []
  end

  test "the mapper adds what the world sees of an address" do
    lines = candidates(host_to_srflx_ip_mapper: fn ip -> if v4?(ip), do: {203, 0, 113, 9} end)
    assert [mapped] = lines |> Enum.filter(&(&1 =~ " typ srflx ")) |> Enum.uniq_by(&address/1)
    assert address(mapped) == "203.0.113.9"
    assert Enum.any?(lines, &(&1 =~ " typ host"))
  end

  test "ports come from the range; a range that is used up is an error, and the connection lives" do
    {:ok, socket} = :gen_udp.open(0, ip: {0, 0, 0, 0})
    {:ok, port} = :inet.port(socket)
    options = [ice_port_range: [port], ice_ip_filter: &v4?/1]
    assert candidates(options) == []

    assert_received {:ex_webrtc, pc, {:ice_candidate_error, error}}
    assert %{url: "", error_code: 701, error_text: text} = error
    assert text =~ "ice_port_range"
    assert PeerConnection.get_ice_gathering_state(pc) == :complete

    :ok = :gen_udp.close(socket)
    lines = candidates(options)
    assert [_ | _] = lines
    assert Enum.all?(lines, &(&1 |> String.split(" ") |> Enum.at(5) == to_string(port)))
  end

  test "a server whose name does not exist is an error, and gathering completes" do
    url = "stun:no-such-server.invalid:3478"
    assert [_ | _] = candidates(ice_servers: [%{urls: url}])
    assert_received {:ex_webrtc, _pc, {:ice_candidate_error, %{url: ^url, error_code: 701}}}
  end

  test "each URL that is of no use is an error of its own, and the others are used" do
    # Over TCP and TLS a server says nothing about UDP.
    unusable = ["stun:127.0.0.1?transport=tcp", "stuns:127.0.0.1"]
    gone = "stun:no-such-server.invalid:3478"
    assert [_ | _] = candidates(ice_servers: [%{urls: unusable ++ [gone]}])

    for url <- [gone | unusable] do
      assert_received {:ex_webrtc, _pc,
                       {:ice_candidate_error, %{url: ^url, error_code: 701} = error}}

      if url in unusable, do: assert(error.error_text =~ "ice_tcp")
    end
  end

  describe "over TCP" do
    test "candidates say who connects; only the listening ones have a port" do
      types = fn value ->
        lines = Enum.filter(candidates(ice_tcp: value, ice_ip_filter: &v4?/1), &(&1 =~ " tcp "))
        lines |> Enum.map(&(&1 |> String.split(" ") |> List.last())) |> Enum.uniq() |> Enum.sort()
      end

      assert types.(false) == []
      assert types.(:passive) == ["passive"]
      assert types.(:active) == ["active"]
      assert types.(true) == ["active", "passive"]

      lines = Enum.filter(candidates(ice_tcp: true), &(&1 =~ "tcptype active"))
      assert Enum.all?(lines, &(&1 =~ ~r/ 9 typ host tcptype active$/))
    end

    test "a STUN server over TCP is asked from the listening port, and tells where a NAT has it" do
      ip = Enum.find(Native.host_addresses(), &v4?/1)
      {url, task} = stun_server_over_tcp(ip, {198, 51, 100, 7}, 6000)
      options = [ice_servers: [%{urls: url}], ice_ip_filter: &(&1 == ip)]

      for value <- [:passive, true] do
        lines = candidates([ice_tcp: value] ++ options)
        assert_received {:asked, ^url, ^ip, port}
        host = to_string(:inet.ntoa(ip))
        assert Enum.any?(lines, &(&1 =~ " #{host} #{port} typ host tcptype passive"))
        assert [reflexive] = Enum.filter(lines, &(&1 =~ " typ srflx "))
        seen = " 198.51.100.7 6000 typ srflx raddr #{host} rport #{port} tcptype passive"
        assert String.ends_with?(reflexive, seen)
        refute_received {:ex_webrtc, _pc, {:ice_candidate_error, _error}}
      end

      for value <- [:active, false] do
        candidates([ice_tcp: value] ++ options)
        assert_received {:ex_webrtc, _pc, {:ice_candidate_error, %{url: ^url, error_code: 701}}}
      end

      refute_received {:asked, ^url, _ip, _port}
      Task.shutdown(task)
    end

    test "a lite side does not connect, and nobody is told of TCP where only relays may be used" do
      refute Enum.any?(candidates(ice_tcp: true, ice_lite: true), &(&1 =~ "tcptype active"))
      assert candidates(ice_tcp: true, ice_transport_policy: :relay) == []
    end

    test "two connections that are told of nothing else connect, and closing frees the port",
      do: assert_connect_over_tcp([])

    test "each connection of a shared UDP port listens for itself",
      do: assert_connect_over_tcp(ice_udp_mux: true)

    defp assert_connect_over_tcp(options) do
      {passive, active} = start([ice_tcp: :passive] ++ options, [ice_tcp: :active] ++ options)
      {:ok, channel} = PeerConnection.create_data_channel(passive, "chat")
      ref = channel.ref
      :ok = negotiate(passive, active)
      address = trickle_tcp(passive, active)

      for pc <- [passive, active],
          do: assert_receive({:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 10_000)

      assert_receive {:ex_webrtc, ^passive, {:data_channel_state_change, ^ref, :open}}, 5_000
      :ok = PeerConnection.send_data(passive, ref, "over TCP")
      assert_receive {:ex_webrtc, ^active, {:data, _ref, "over TCP"}}, 5_000

      stats = PeerConnection.get_stats(active)
      pair = stats[stats.transport.selected_candidate_pair_id]
      assert %{protocol: :tcp, tcp_type: :active, port: 9} = stats[pair.local_candidate_id]
      assert %{protocol: :tcp, tcp_type: :passive} = stats[pair.remote_candidate_id]

      :ok = PeerConnection.close(passive)
      {ip, port} = address
      assert {:error, :econnrefused} = :gen_tcp.connect(ip, port, [])
    end
  end

  # Sees everybody at this address, and tells the test who has asked.
  defp stun_server_over_tcp(ip, {a, b, c, d}, port) do
    {:ok, listening} = :gen_tcp.listen(0, [:binary, ip: ip, active: false])
    {:ok, server_port} = :inet.port(listening)
    url = "stun:#{:inet.ntoa(ip)}:#{server_port}?transport=tcp"
    test = self()
    <<address::32>> = <<a, b, c, d>>

    serve = fn serve ->
      {:ok, socket} = :gen_tcp.accept(listening)
      {:ok, {from, from_port}} = :inet.peername(socket)
      {:ok, <<0x0001::16, 0::16, 0x2112A442::32, id::binary-12>>} = :gen_tcp.recv(socket, 20)
      send(test, {:asked, url, from, from_port})
      # RFC 8489 section 14.2.
      seen = <<0, 1, Bitwise.bxor(port, 0x2112)::16, Bitwise.bxor(address, 0x2112A442)::32>>
      answer = <<0x0101::16, 12::16, 0x2112A442::32, id::binary, 0x0020::16, 8::16, seen::binary>>
      :ok = :gen_tcp.send(socket, answer)
      serve.(serve)
    end

    {url, Task.async(fn -> serve.(serve) end)}
  end

  # Passes on where the passive side listens, until it has told everything; the last of these.
  defp trickle_tcp(passive, active) do
    assert_receive {:ex_webrtc, ^passive, {:ice_gathering_state_change, :complete}}, 10_000
    lines = Enum.filter(told(passive), &(&1 =~ "tcptype passive"))

    for line <- lines,
        do:
          :ok =
            PeerConnection.add_ice_candidate(active, %ExWebRTC.ICECandidate{
              candidate: line,
              sdp_mid: "0"
            })

    line = List.last(lines)
    {:ok, ip} = line |> address() |> String.to_charlist() |> :inet.parse_address()
    {ip, line |> String.split(" ") |> Enum.at(5) |> String.to_integer()}
  end

  test "nothing of this host is told where only relays may be used" do
    assert candidates(ice_transport_policy: :relay) == []
  end

  test "a lite side, an aggressive side and any other connect" do
    for {first, second} <- [
          {[ice_lite: true], []},
          {[], [ice_lite: true]},
          {[ice_aggressive_nomination: true], [ice_aggressive_nomination: false]},
          {[ice_aggressive_nomination: false], [ice_aggressive_nomination: true]}
        ] do
      {offerer, answerer} = start(first, second)
      {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :audio)
      connect(offerer, answerer)
    end
  end

  test "ICE is completed when neither side has candidates to come" do
    {offerer, answerer} = start()
    {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :audio)
    connect(offerer, answerer)

    for pc <- [offerer, answerer] do
      :ok = PeerConnection.add_ice_candidate(pc, %ExWebRTC.ICECandidate{candidate: ""})
      assert_receive {:ex_webrtc, ^pc, {:ice_connection_state_change, :completed}}
      assert PeerConnection.get_connection_state(pc) == :connected
    end
  end

  # What is told until gathering is complete.
  defp candidates(options) do
    {:ok, pc} = PeerConnection.start_link(options)
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 10_000
    told(pc)
  end

  defp told(pc) do
    receive do
      {:ex_webrtc, ^pc, {:ice_candidate, candidate}} -> [candidate.candidate | told(pc)]
    after
      0 -> []
    end
  end

  defp address(line), do: line |> String.split(" ") |> Enum.at(4)

  defp v4?(ip), do: tuple_size(ip) == 4
end
