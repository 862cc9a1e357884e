defmodule ExWebRTC.UDPMuxTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, UDPMux}
  alias ExWebRTC.RTP.Packet

  test "connections on one port each get their own media and data" do
    port = free_port()
    pairs = for _pair <- 1..4, do: pair(ice_udp_mux: port)

    for {inside, _outside, _track, _dc} <- pairs do
      assert [^port] = inside |> local_ports() |> Enum.uniq()
    end

    for {{inside, outside, track, dc}, number} <- Enum.with_index(pairs) do
      for n <- 1..10 do
        packet = Packet.new("#{number} #{n}", sequence_number: n)
        PeerConnection.send_rtp(outside, track.id, packet)
      end

      for n <- 1..10 do
        payload = "#{number} #{n}"
        assert_receive {:ex_webrtc, ^inside, {:rtp, _track, nil, %{payload: ^payload}}}, 5_000
      end

      assert_receive {:ex_webrtc, ^outside, {:data_channel_state_change, ref, :open}}, 5_000
      assert ref == dc.ref
      :ok = PeerConnection.send_data(outside, ref, "data #{number}")
      data = "data #{number}"
      assert_receive {:ex_webrtc, ^inside, {:data, _ref, ^data}}, 5_000
    end

    assert %{connections: 4, dropped: 0, received: received} = stats(port)
    assert received > 40
    refute_received {:ex_webrtc, _pc, {:rtp, _track, _rid, _packet}}
  end

  test "any port is the same for all, on every address" do
    {:ok, first} = PeerConnection.start_link(ice_udp_mux: true)
    {:ok, second} = PeerConnection.start_link(ice_udp_mux: true)
    assert [port] = Enum.uniq(gathered_ports(first) ++ gathered_ports(second))
    assert %{connections: 2} = stats(port)
  end

  test "an ICE restart stays on the port" do
    port = free_port()
    {inside, outside, _track, _dc} = pair(ice_udp_mux: port)

    for {offerer, answerer} <- [{inside, outside}, {outside, inside}] do
      {:ok, offer} = PeerConnection.create_offer(offerer, ice_restart: true)
      :ok = PeerConnection.set_local_description(offerer, offer)
      :ok = PeerConnection.set_remote_description(answerer, offer)
      {:ok, answer} = PeerConnection.create_answer(answerer)
      :ok = PeerConnection.set_local_description(answerer, answer)
      :ok = PeerConnection.set_remote_description(offerer, answer)
      assert_receive {:ex_webrtc, ^inside, {:ice_gathering_state_change, :complete}}, 5_000
      assert [_ | _] = ports = local_ports(inside)
      assert Enum.uniq(ports) == [port]
    end
  end

  test "a port that another program has is an error of the start, and no process is left" do
    {:ok, socket} = :gen_udp.open(0)
    {:ok, port} = :inet.port(socket)
    options = [ice_udp_mux: port]
    error = {:error, {:ice_udp_mux, port, :eaddrinuse}}

    Process.flag(:trap_exit, true)
    assert PeerConnection.start(options) == error
    assert PeerConnection.start_link(options) == error
    refute_received {:EXIT, _pid, _reason}
    assert stats(port) == nil

    :ok = :gen_udp.close(socket)
    assert {:ok, pc} = PeerConnection.start_link(options)
    assert %{connections: 1} = stats(port)
    :ok = PeerConnection.stop(pc)
  end

  test "a filter that leaves no address is an error of the start" do
    filter = fn _address -> false end

    assert PeerConnection.start(ice_udp_mux: true, ice_ip_filter: filter) ==
             {:error, {:ice_udp_mux, true, :eaddrnotavail}}
  end

  test "the port is closed with the last connection, however that ends" do
    port = free_port()
    options = [ice_udp_mux: port]
    {:ok, closed} = PeerConnection.start_link(options)
    {:ok, stopped} = PeerConnection.start_link(options)
    {:ok, killed} = PeerConnection.start(options)
    assert %{connections: 3} = stats(port)
    :ok = PeerConnection.close(closed)
    assert %{connections: 2} = stats(port)
    Process.exit(killed, :kill)
    eventually(fn -> match?(%{connections: 1}, stats(port)) end)
    assert {:error, :eaddrinuse} = :gen_udp.open(port)
    # The socket is closed when the call returns.
    :ok = PeerConnection.close(stopped)
    assert stats(port) == nil
    assert {:ok, socket} = :gen_udp.open(port)
    :gen_udp.close(socket)
    assert {:ok, _again} = PeerConnection.start_link(options)
  end

  test "a name that is taken leaves the port closed" do
    port = free_port()
    Process.register(self(), __MODULE__)
    options = [ice_udp_mux: port]

    assert {:error, {:already_started, _pid}} =
             PeerConnection.start_link(options, name: __MODULE__)

    assert stats(port) == nil
  end

  test "connections may have different ports" do
    [one, other] = ports = for _port <- 1..2, do: free_port()
    for port <- ports, do: {:ok, _pc} = PeerConnection.start_link(ice_udp_mux: port)
    assert %{connections: 1} = stats(one)
    assert %{connections: 1} = stats(other)
  end

  test "candidates over TCP have ports of their own" do
    port = free_port()
    {inside, _outside, _track, _dc} = pair(ice_udp_mux: port, ice_tcp: :passive)

    for line <- candidate_lines(inside) do
      shared? = line |> String.split(" ") |> Enum.at(5) == to_string(port)
      assert shared? == (line =~ ~r/ udp /i), line
    end

    assert Enum.any?(candidate_lines(inside), &(&1 =~ ~r/ tcp /i))
  end

  test "the mapper makes a reflexive candidate with the shared port" do
    port = free_port()
    mapper = fn address -> if tuple_size(address) == 4, do: {203, 0, 113, 9} end
    {:ok, pc} = PeerConnection.start_link(ice_udp_mux: port, host_to_srflx_ip_mapper: mapper)
    gathered_ports(pc)

    assert Enum.any?(candidate_lines(pc), &(&1 =~ " 203.0.113.9 #{port} typ srflx "))
  end

  # One side is on the shared port, the other one offers a track and a channel.
  defp pair(options) do
    {inside, outside} = start(options)
    track = MediaStreamTrack.new(:audio)
    {:ok, _sender} = PeerConnection.add_track(outside, track)
    {:ok, dc} = PeerConnection.create_data_channel(outside, "chat")
    connect(outside, inside)
    {inside, outside, track, dc}
  end

  defp stats(port), do: Enum.find(UDPMux.ports(), &(&1.port == port))

  defp free_port do
    {:ok, socket} = :gen_udp.open(0)
    {:ok, port} = :inet.port(socket)
    :ok = :gen_udp.close(socket)
    port
  end

  defp gathered_ports(pc) do
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :audio)
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 10_000
    local_ports(pc)
  end

  defp local_ports(pc) do
    for line <- candidate_lines(pc),
        do: line |> String.split(" ") |> Enum.at(5) |> String.to_integer()
  end

  defp candidate_lines(pc) do
    pc
    |> PeerConnection.get_local_description()
    |> Map.fetch!(:sdp)
    |> String.split("\r\n")
    |> Enum.filter(&String.starts_with?(&1, "a=candidate:"))
  end
end
