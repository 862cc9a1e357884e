defmodule ExWebRTC.Interop.SRTPTest do
  # Whoever is the DTLS server chooses how media is encrypted.
  use ExUnit.Case, async: false

  alias ExWebRTC.{Mirror, PeerConnection}
  alias ExWebRTC.Interop.{Browser, Peer}

  @moduletag :interop
  @moduletag timeout: 120_000

  setup_all do
    start_supervised!(Browser)
    :ok
  end

  test "a browser that offers gets AES-GCM from a DTLS server of ours" do
    peer = Peer.open(:chromium)
    assert {:server, "SRTP_AEAD_AES_128_GCM"} = flowing(peer, dtls_role: :server)
    assert chosen_by(peer) == {"client", "SRTP_AEAD_AES_128_GCM"}
  end

  # `dtls_role` is documented by this. A Chromium that chooses AES-GCM makes the advice needless.
  test "a browser that offers and is the DTLS server chooses AES-CM" do
    peer = Peer.open(:chromium)
    assert {:client, "SRTP_AES128_CM_HMAC_SHA1_80"} = flowing(peer, [])
    assert chosen_by(peer) == {"server", "SRTP_AES128_CM_HMAC_SHA1_80"}
  end

  test "a browser that offers takes AES-GCM where we have nothing else, in either DTLS role" do
    for role <- [:client, :server] do
      peer = Peer.open(:chromium)
      options = [dtls_role: role, srtp_profiles: [:aead_aes_128_gcm]]
      assert {^role, "SRTP_AEAD_AES_128_GCM"} = flowing(peer, options)
    end
  end

  # Its audio and video come, and ours are decoded; our DTLS role and the cipher.
  defp flowing(peer, options) do
    {mirror, pc} = Peer.echo(peer, [%{kind: "audio"}, %{kind: "video"}], options)
    Peer.await_frames(peer, 30)
    counts = for {_stream, %{packets: packets}} <- Mirror.seen(mirror), do: packets
    assert [_audio, _video] = counts
    assert Enum.min(counts) > 30
    %{transport: transport} = PeerConnection.get_stats(pc)
    {transport.dtls_role, transport.srtp_cipher}
  end

  defp chosen_by(peer) do
    [transport] = peer |> Peer.step(:stats) |> Peer.entries("transport")
    {transport["dtlsRole"], transport["srtpCipher"]}
  end
end
