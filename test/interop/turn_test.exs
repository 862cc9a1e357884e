defmodule ExWebRTC.Interop.TurnTest do
  use ExUnit.Case, async: false

  import ExWebRTC.Peers

  alias ExWebRTC.{Native, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Call}

  # No other socket of this machine has a port from here.
  @relayed 61_001..65_000

  @moduletag :interop
  @moduletag timeout: 120_000

  # Over TLS, with wrong credentials and so on: native/driver/tests/turn.rs.
  for transport <- ["udp", "tcp"] do
    test "two that may use relays only talk over coturn, which they reach over #{transport}" do
      server = server(start_coturn(), unquote(transport))
      relay = [ice_servers: [server], ice_transport_policy: :relay]
      {offerer, answerer} = start(relay, relay)
      {:ok, channel} = PeerConnection.create_data_channel(offerer, "chat")
      connect(offerer, answerer)
      ref = channel.ref
      assert_receive {:ex_webrtc, ^offerer, {:data_channel_state_change, ^ref, :open}}, 5_000
      assert_receive {:ex_webrtc, ^answerer, {:data_channel, far}}, 5_000

      :ok = PeerConnection.send_data(offerer, ref, "over there")
      assert_receive {:ex_webrtc, ^answerer, {:data, _ref, "over there"}}, 5_000
      :ok = PeerConnection.send_data(answerer, far.ref, "and back")
      assert_receive {:ex_webrtc, ^offerer, {:data, ^ref, "and back"}}, 5_000

      local = PeerConnection.get_local_description(offerer).sdp
      assert local =~ " typ relay "
      refute local =~ " typ host"
    end
  end

  for peer <- [:chromium, :aiortc], transport <- ["udp", "tcp"] do
    test "we relay over #{transport}, #{peer} does not: video goes both ways, and messages" do
      start_peer(unquote(peer))
      server = server(start_coturn(), unquote(transport))
      offerer = if unquote(transport) == "udp", do: :us, else: :them
      options = [ice_servers: [server], ice_transport_policy: :relay]
      call = Call.connect(unquote(peer), offerer, options)
      Call.assert_alive(call)

      relay_protocol = String.to_existing_atom(unquote(transport))
      {local, _remote} = Call.selected(call.pc)
      assert %{candidate_type: :relay, protocol: :udp, relay_protocol: ^relay_protocol} = local
    end

    test "#{peer} relays over #{transport}, we do not: video goes both ways, and messages" do
      start_peer(unquote(peer))
      server = server(start_coturn(), unquote(transport))
      offerer = if unquote(transport) == "udp", do: :them, else: :us
      configuration = %{iceServers: [server], iceTransportPolicy: "relay"}
      call = Call.connect(unquote(peer), offerer, peer: configuration)
      Call.assert_alive(call)

      {_local, remote} = Call.selected(call.pc)
      # Its check may have come before its candidate.
      assert %{candidate_type: type, protocol: :udp, port: port} = remote
      assert type in [:relay, :prflx]
      assert port in @relayed
    end
  end

  test "both relay, Chromium over TCP and we over UDP: video goes both ways, and messages" do
    start_peer(:chromium)
    coturn = start_coturn()
    configuration = %{iceServers: [server(coturn, "tcp")], iceTransportPolicy: "relay"}
    options = [ice_servers: [server(coturn, "udp")], ice_transport_policy: :relay]
    call = Call.connect(:chromium, :us, [peer: configuration] ++ options)
    Call.assert_alive(call)

    assert {%{"candidateType" => "relay", "relayProtocol" => "tcp"}, _ours} =
             Call.selected_by(call.peer)
  end

  defp start_peer(:chromium), do: start_supervised!(Browser)
  defp start_peer(:aiortc), do: :ok

  defp server({host, port}, transport) do
    %{
      urls: "turn:#{host}:#{port}?transport=#{transport}",
      username: "user",
      credential: "secret"
    }
  end

  # On an address that host candidates have as well.
  defp start_coturn do
    ip = Enum.find(Native.host_addresses(), &(tuple_size(&1) == 4))
    host = to_string(:inet.ntoa(ip))
    {:ok, socket} = :gen_tcp.listen(0, [])
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)

    arguments =
      ~w(-n --no-cli --lt-cred-mech --realm=example.org --user=user:secret --log-file=stdout) ++
        ~w(--no-tls --no-dtls --pidfile=#{Path.join(System.tmp_dir!(), "coturn#{port}.pid")}) ++
        ~w(--listening-ip=#{host} --relay-ip=#{host} --listening-port=#{port}) ++
        ~w(--min-port=#{@relayed.first} --max-port=#{@relayed.last} --allow-loopback-peers)

    coturn = System.find_executable("turnserver")

    process =
      Port.open({:spawn_executable, coturn}, [:binary, :stderr_to_stdout, args: arguments])

    {:os_pid, pid} = Port.info(process, :os_pid)
    on_exit(fn -> System.cmd("kill", [to_string(pid)], stderr_to_stdout: true) end)

    eventually(fn ->
      case :gen_tcp.connect(ip, port, []) do
        {:ok, socket} -> :gen_tcp.close(socket) == :ok
        {:error, _reason} -> false
      end
    end)

    {host, port}
  end
end
