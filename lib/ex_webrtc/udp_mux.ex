defmodule ExWebRTC.UDPMux do
  @moduledoc """
  Connections that share a UDP port: the option `ice_udp_mux` of a connection.

      {:ok, pc} = ExWebRTC.PeerConnection.start_link(ice_udp_mux: 3478)

  Everything that such connections send and receive goes through one port on each address of this
  host, which is what firewalls and load balancers like. Whose a datagram is says ICE: the user name
  of a check, and then the address that a check with the right password came from. What belongs to
  nobody is dropped, and counted in `ports/0`.

  The port is opened when the first connection with it starts, and closed with the last one, before
  `ExWebRTC.PeerConnection.close/1` returns. The kernel spreads its datagrams over the native threads.
  """

  alias ExWebRTC.Native
  alias ExWebRTC.PeerConnection.Configuration

  @typedoc """
  What a shared port has seen since it was opened, in datagrams:

  - `received`: all,
  - `handed_over`: those that another native thread received than the one their connection lives on,
  - `unknown`: those that belong to no connection,
  - `dropped`: those that their connection had no room for, because it did not keep up.
  """
  @type port_stats() :: %{
          port: :inet.port_number(),
          connections: pos_integer(),
          received: non_neg_integer(),
          handed_over: non_neg_integer(),
          unknown: non_neg_integer(),
          dropped: non_neg_integer()
        }

  @doc "The ports that connections of this node share now, in the order of their numbers."
  @spec ports() :: [port_stats()]
  def ports, do: Enum.sort_by(Native.shared_ports(), & &1.port)

  @doc false
  # What a new connection needs to be on the port of its configuration; `nil` where it has none.
  @spec join(Configuration.t()) ::
          {:ok, reference() | nil}
          | {:error, {:ice_udp_mux, :inet.port_number() | true, :inet.posix() | String.t()}}
  def join(%Configuration{ice_udp_mux: nil}), do: {:ok, nil}

  def join(%Configuration{ice_udp_mux: wanted} = configuration) do
    port = if wanted == true, do: nil, else: wanted

    with {:error, reason} <- Native.share_port(port, addresses(configuration)),
         do: {:error, {:ice_udp_mux, wanted, reason}}
  end

  @doc false
  @spec leave(reference() | nil) :: :ok
  def leave(nil), do: :ok
  def leave(share), do: Native.unshare_port(share)

  defp addresses(%{ice_ip_filter: nil}), do: nil
  defp addresses(%{ice_ip_filter: filter}), do: Enum.filter(Native.host_addresses(), filter)
end
