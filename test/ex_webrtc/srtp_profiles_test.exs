defmodule ExWebRTC.SRTPProfilesTest do
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.PeerConnection

  for {profile, cipher} <- [
        aead_aes_128_gcm: "SRTP_AEAD_AES_128_GCM",
        aes128_cm_hmac_sha1_80: "SRTP_AES128_CM_HMAC_SHA1_80"
      ],
      limited <- [:offerer, :answerer] do
    test "#{profile} is used when the #{limited} has no other" do
      options = %{offerer: [], answerer: []}
      options = Map.put(options, unquote(limited), srtp_profiles: [unquote(profile)])
      {offerer, answerer} = start(options.offerer, options.answerer)
      {:ok, _transceiver} = PeerConnection.add_transceiver(offerer, :video)
      :ok = connect(offerer, answerer)

      for pc <- [offerer, answerer] do
        assert %{transport: %{srtp_cipher: unquote(cipher)}} = PeerConnection.get_stats(pc)
      end
    end
  end

  test "a list without a known profile is refused in the caller" do
    for bad <- [[], [:null], :aead_aes_128_gcm] do
      assert_raise ArgumentError, ~r/:srtp_profiles/, fn ->
        PeerConnection.start(srtp_profiles: bad)
      end
    end
  end
end
