defmodule ExWebRTC.Interop.TurnTest do
  use ExUnit.Case, async: false

  import ExWebRTC.Peers

  alias ExWebRTC.{Native, PeerConnection}

  @moduletag :interop

  # Over TLS, with wrong credentials and so on: native/driver/tests/turn.rs.
  for transport <- ["udp", "tcp"] do
    test "two that may use relays only talk over coturn, which they reach over #{transport}" do
      {host, port} = start_coturn()

      server = %{
        urls: "turn:#{host}:#{port}?transport=#{unquote(transport)}",
        username: "user",
        credential: "secret"
      }

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
        ~w(--allow-loopback-peers)

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
