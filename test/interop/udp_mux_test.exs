defmodule ExWebRTC.Interop.UDPMuxTest do
  # Pages of Chromium on one UDP port.
  use ExUnit.Case, async: false

  import ExWebRTC.Interop

  alias ExWebRTC.{PeerConnection, UDPMux}
  alias ExWebRTC.Interop.Browser

  @moduletag :interop
  @moduletag timeout: 120_000

  test "a publisher and viewers, each a page, share a port" do
    start_supervised!(Browser)
    options = [ice_udp_mux: true]
    # Keeps the port open, for its counts.
    {:ok, pc} = PeerConnection.start_link(options)
    {_demo, base} = start_demo(pc_options: options)

    result = chromium("relay", base, %{viewers: 2})
    assert result["state"] == "connected"

    for viewer <- result["viewers"] do
      assert %{"state" => "connected", "before" => before, "after" => later} = viewer
      # Somebody else's packets would not decrypt: pictures and sound are this viewer's own.
      assert later["frames"] - before["frames"] >= 60
      assert later["audioPackets"] - before["audioPackets"] >= 100
      assert later["freezes"] == before["freezes"]
    end

    assert Enum.all?(result["inbound"], &(&1["packets"] > 100))
    assert [%{connections: 1, received: received, dropped: 0}] = UDPMux.ports()
    assert received > 500
    :ok = PeerConnection.stop(pc)
  end
end
