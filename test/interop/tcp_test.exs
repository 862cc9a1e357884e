defmodule ExWebRTC.Interop.TCPTest do
  # Chromium connects to our port: ICE over TCP (RFC 6544), where it is the active side.
  use ExUnit.Case, async: false

  import ExWebRTC.Peers, only: [eventually: 1]

  alias ExWebRTC.{NetworkNamespace, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Call, Peer}

  @moduletag timeout: 120_000

  describe "told of TCP candidates only" do
    @describetag :interop

    setup do
      start_supervised!(Browser)
      :ok
    end

    for offerer <- [:us, :them], lite? <- [false, true] do
      test "video and messages go both ways, offered by #{offerer}, lite: #{lite?}" do
        options = [ice_tcp: true, ice_lite: unquote(lite?), mangle: &tcp_only/1]
        call = Call.connect(:chromium, unquote(offerer), options)
        Call.assert_alive(call)
        assert_over_tcp(call)
      end
    end

    test "a browser that starts ICE again stays connected" do
      %{pc: pc, peer: peer} =
        call = Call.connect(:chromium, :us, ice_tcp: :passive, mangle: &tcp_only/1)

      changes = fn -> PeerConnection.get_stats(pc).transport.selected_candidate_pair_changes end
      before = changes.()
      mangle = [mangle_offer: &tcp_only/1, mangle_answer: &tcp_only/1]
      :ok = Peer.answer_to(pc, peer, [offer: [restart: true]] ++ mangle)
      eventually(fn -> changes.() > before end)
      Call.assert_alive(call)
      assert_over_tcp(call)
    end
  end

  describe "behind a firewall that lets no UDP through" do
    @describetag :namespace

    setup do
      namespace = NetworkNamespace.create()
      :ok = NetworkNamespace.lose(namespace, 100)
      start_supervised!({Browser, within: NetworkNamespace.within(namespace)})
      %{namespace: namespace}
    end

    for offerer <- [:us, :them] do
      test "video and messages go both ways, offered by #{offerer}", %{namespace: namespace} do
        options = [ice_tcp: :passive, ice_ip_filter: NetworkNamespace.filter(namespace)]
        call = Call.connect(:chromium, unquote(offerer), options)
        Call.assert_alive(call)
        assert_over_tcp(call)
      end
    end
  end

  defp assert_over_tcp(%{pc: pc, peer: peer}) do
    assert {%{protocol: :tcp, tcp_type: :passive}, %{protocol: :tcp, tcp_type: :active}} =
             Call.selected(pc)

    assert {%{"protocol" => "tcp"}, %{"protocol" => "tcp"}} = Call.selected_by(peer)
  end

  defp tcp_only(sdp), do: Call.keep_candidates(sdp, &(&1 =~ ~r/^a=candidate:\S+ 1 tcp /i))
end
