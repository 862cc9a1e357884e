defmodule ExWebRTC.WHIP.SDPFragmentTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.WHIP.SDPFragment

  test "reads candidates with their media section and the credentials" do
    # After the example of RFC 9725, section 4.3.1.
    body = """
    a=group:BUNDLE 0 1
    m=audio 9 UDP/TLS/RTP/SAVPF 111
    a=mid:0
    a=ice-ufrag:EsAw
    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0
    a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0
    a=end-of-candidates
    """

    assert {:ok, fragment} = SDPFragment.parse(body)
    assert fragment.ufrag == "EsAw"
    assert fragment.pwd == "P2uYro0UCOQ4zxjKXaWCBui1"
    assert fragment.end_of_candidates

    assert [%{mid: "0", candidate: "candidate:1387637174 " <> _}, %{mid: "0"}] =
             fragment.candidates
  end

  test "refuses what is no fragment" do
    for body <- ["", "\r\n", "hello", "a", "=", "a=mid:0\r\n", "a=ice-pwd:x\r\n", <<255>>] do
      assert {:error, reason} = SDPFragment.parse(body)
      assert is_binary(reason)
    end

    many = String.duplicate("a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n", 1_000)
    assert {:error, _reason} = SDPFragment.parse(many)
  end

  test "random bytes never raise" do
    for _ <- 1..500 do
      body = Enum.random(["", "a=", "a=candidate:", "m="]) <> :rand.bytes(:rand.uniform(60))
      assert elem(SDPFragment.parse(body), 0) in [:ok, :error]
    end
  end

  test "makes the offer that a restart stands for" do
    remote =
      "v=0\r\no=- 1 5 IN IP4 0.0.0.0\r\nm=audio 9 X 0\r\na=mid:a\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\n" <>
        "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\nm=video 9 X 0\r\na=mid:b\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\n"

    {:ok, fragment} =
      SDPFragment.parse(
        "a=ice-ufrag:new\r\na=ice-pwd:newpwd\r\na=candidate:2 1 udp 1 10.0.0.2 1 typ host\r\n"
      )

    assert SDPFragment.restart?(fragment, remote)
    offer = SDPFragment.restart_offer(fragment, remote)

    assert offer ==
             "v=0\r\no=- 1 6 IN IP4 0.0.0.0\r\nm=audio 9 X 0\r\na=mid:a\r\n" <>
               "a=candidate:2 1 udp 1 10.0.0.2 1 typ host\r\na=ice-ufrag:new\r\na=ice-pwd:newpwd\r\n" <>
               "m=video 9 X 0\r\na=mid:b\r\na=ice-ufrag:new\r\na=ice-pwd:newpwd\r\n"

    refute SDPFragment.restart?(fragment, offer)
    assert SDPFragment.current?(fragment, offer)
    refute SDPFragment.current?(fragment, remote)
  end

  test "tells the first section's credentials and candidates" do
    local =
      "v=0\r\no=- 1 5 IN IP4 0.0.0.0\r\na=group:BUNDLE a b\r\nm=audio 9 X 0\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\n" <>
        "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=sendrecv\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\nm=video 9 X 0\r\na=mid:b\r\n"

    assert SDPFragment.from_description(local) ==
             "a=group:BUNDLE a b\r\nm=audio 9 X 0\r\na=mid:a\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n" <>
               "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n"
  end
end
