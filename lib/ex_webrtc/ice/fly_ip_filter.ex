defmodule ExWebRTC.ICE.FlyIpFilter do
  @moduledoc """
  Keeps the candidates of a connection to the one address on which Fly.io takes UDP.

      ExWebRTC.PeerConnection.start_link(ice_ip_filter: &ExWebRTC.ICE.FlyIpFilter.ip_filter/1)

  A machine there has several addresses, but UDP from outside reaches only what is bound to the IPv4
  address of the name `fly-global-services`, and is answered only from there
  (<https://fly.io/docs/networking/udp-and-tcp/>).
  """

  @name ~c"fly-global-services"

  @doc """
  Whether this is the IPv4 address of `fly-global-services`. Where that name has none, as outside of
  Fly.io, no address is.

  The name is looked up at each call: machines have it in their `/etc/hosts`.
  """
  @spec ip_filter(:inet.ip_address()) :: boolean()
  def ip_filter(ip_address), do: ip_filter(ip_address, &:inet.getaddr(&1, :inet))

  @doc false
  # With another way to look names up, for tests.
  @spec ip_filter(
          :inet.ip_address(),
          (charlist() -> {:ok, :inet.ip4_address()} | {:error, term()})
        ) ::
          boolean()
  def ip_filter(ip_address, resolve), do: resolve.(@name) == {:ok, ip_address}
end
