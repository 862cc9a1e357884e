defmodule ExWebRTC.ICE.FlyIpFilterTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.ICE.FlyIpFilter
  alias ExWebRTC.PeerConnection

  @address {172, 19, 0, 3}

  test "only the address of fly-global-services passes" do
    resolve = fn ~c"fly-global-services" -> {:ok, @address} end
    assert FlyIpFilter.ip_filter(@address, resolve)

    for other <- [{172, 19, 0, 4}, {127, 0, 0, 1}, {0, 0, 0, 0, 0, 0xFFFF, 0xAC13, 3}] do
      refute FlyIpFilter.ip_filter(other, resolve)
    end
  end

  test "where the name has no address, none passes" do
    refute FlyIpFilter.ip_filter(@address, fn _name -> {:error, :nxdomain} end)
  end

  test "it serves as the filter of a connection, which then has no candidates outside of Fly.io" do
    {:ok, pc} = PeerConnection.start_link(ice_ip_filter: &FlyIpFilter.ip_filter/1)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "any")
    {:ok, offer} = PeerConnection.create_offer(pc)
    :ok = PeerConnection.set_local_description(pc, offer)
    assert_receive {:ex_webrtc, ^pc, {:ice_gathering_state_change, :complete}}, 5_000
    refute PeerConnection.get_local_description(pc).sdp =~ "a=candidate"
  end
end
