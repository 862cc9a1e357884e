defmodule ExWebRTC.PeerConnection.ConfigurationTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.RTPCodecParameters

  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
  @mid "urn:ietf:params:rtp-hdrext:sdes:mid"
  @rid "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
  @repaired_rid "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
  @twcc "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

  defp parse(opts \\ []), do: Configuration.parse!(opts, self())
  defp native(opts), do: opts |> parse() |> Configuration.to_native()

  describe "without options" do
    test "the caller controls, and every codec is a default one" do
      config = parse()
      assert config.controlling_process == self()

      assert [{111, "audio/opus", 48_000, 2}] ==
               for(
                 c <- config.audio_codecs,
                 do: {c.payload_type, c.mime_type, c.clock_rate, c.channels}
               )

      assert [{96, "video/VP8"}, {98, "video/H264"}, {99, "video/H264"}, {45, "video/AV1"}] ==
               for(c <- config.video_codecs, do: {c.payload_type, c.mime_type})
    end

    test "H264 comes in both packetization modes, and AV1 with its profile" do
      [_vp8, mode_0, mode_1, av1] = Configuration.default_video_codecs()

      assert mode_0.sdp_fmtp_line ==
               "profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=0"

      assert mode_1.sdp_fmtp_line ==
               "profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1"

      assert av1.sdp_fmtp_line == "level-idx=5;profile=0;tier=0"
    end

    test "ice_tcp says who connects" do
      for {value, active, passive} <- [
            {false, false, false},
            {:active, true, false},
            {:passive, false, true},
            {true, true, true}
          ] do
        assert %{ice_tcp: %{active: ^active, passive: ^passive}} = native(ice_tcp: value)
      end
    end

    test "the native side is told of the features and what they imply" do
      assert %{
               ice_servers: [],
               ice_transport_policy: :all,
               host_addresses: nil,
               ice_ports: [],
               ice_lite: false,
               ice_tcp: %{active: false, passive: false},
               features: %{twcc: true, inbound_rtx: true, outbound_rtx: true, rtcp_reports: true},
               header_extensions: extensions,
               rtcp_feedbacks: feedbacks,
               dtls_role: nil,
               sdp_validation: :w3c,
               sctp_max_message_size: 262_144,
               data_buffer_limit: 67_108_864,
               deliver_rtp: true,
               bandwidth_estimate: false,
               certificate_pem: nil
             } = native([])

      assert MapSet.new([{nil, @mid}, {nil, @twcc}, {:video, @rid}, {:video, @repaired_rid}]) ==
               MapSet.new(extensions, &{&1.kind, &1.uri})

      assert length(extensions) == 4
      assert [{:video, :fir}, {:video, :pli}, {:video, :nack}, {nil, :twcc}] == feedbacks
    end
  end

  test "every field of the native configuration is given" do
    # What the engine is configured with, and what the border beside it is.
    engine = fields_of("Config", "native/engine/src/config.rs")
    border = fields_of("Decoded", "native/ex_webrtc/src/terms/config.rs") -- ["config"]
    given = native([]) |> Map.keys() |> Enum.map(&Atom.to_string/1)
    assert "ice_servers" in engine
    assert "data_types" in border
    assert Enum.sort(engine ++ border) == Enum.sort(given)
  end

  defp fields_of(struct, path) do
    [_, body] = Regex.run(~r/pub struct #{struct} \{(.*?)\n\}/s, File.read!(path))
    for [_, name] <- Regex.scan(~r/^    pub (\w+):/m, body), do: name
  end

  test "without features nothing is implied but the MID" do
    assert %{header_extensions: [%{kind: nil, uri: @mid}], rtcp_feedbacks: [], features: features} =
             native(features: [], rtp_header_extensions: [], rtcp_feedbacks: [])

    refute Enum.any?(Map.values(features))
  end

  test "codec names stand for the codecs, in the order given" do
    config = parse(video_codecs: [:h265, :vp9, :vp8], audio_codecs: [:g722, :pcma, :pcmu, :opus])

    assert ["video/H265", "video/VP9", "video/VP8"] ==
             Enum.map(config.video_codecs, & &1.mime_type)

    assert [9, 8, 0, 111] == Enum.map(config.audio_codecs, & &1.payload_type)
  end

  test "all codec names together have payload types of their own" do
    assert %Configuration{} =
             parse(
               audio_codecs: [:opus, :pcmu, :pcma, :g722],
               video_codecs: [:vp8, :vp9, :h264, :h265, :av1]
             )
  end

  test "codec structs get plain strings" do
    assert %{video_codecs: [%{sdp_fmtp_line: "max-fs=12", rtcp_fbs: ["nack pli"]}]} =
             native(
               video_codecs: [
                 %{@vp8 | sdp_fmtp_line: "fmtp:96 max-fs=12", rtcp_fbs: ["rtcp-fb:96 nack pli"]}
               ]
             )
  end

  test "no codecs of a kind are allowed" do
    assert %{video_codecs: []} = native(video_codecs: [])
  end

  test "one URL and several reach the native side as a list" do
    servers = [
      %{urls: "stun:a.example"},
      %{urls: ["turn:b.example", "turns:b.example"], username: "user", credential: "secret"}
    ]

    assert %{
             ice_servers: [
               %{urls: ["stun:a.example"], username: "", credential: ""},
               %{
                 urls: ["turn:b.example", "turns:b.example"],
                 username: "user",
                 credential: "secret"
               }
             ]
           } = native(ice_servers: servers)
  end

  test "ports come from any enumerable, and port 0 means any" do
    assert %{ice_ports: [5000, 5001, 5002]} = native(ice_port_range: 5000..5002)
    assert %{ice_ports: [7, 9]} = native(ice_port_range: MapSet.new([7, 9]))
    assert %{ice_ports: []} = native(ice_port_range: [0])
  end

  test "a certificate is passed on as it is" do
    pem =
      "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n"

    assert %{certificate_pem: ^pem} = native(certificates: [pem])
  end

  test "rtp_delivery: {:batch, max} is told to the mailbox" do
    assert %{deliver_rtp: true, rtp_batch_size: nil} = native([])
    assert %{deliver_rtp: true, rtp_batch_size: 32} = native(rtp_delivery: {:batch, 32})
  end

  test "flow_control is told to the mailbox as credit" do
    assert %{credit: nil} = native([])
    assert %{credit: nil} = native(flow_control: :none)
    assert %{credit: 100} = native(flow_control: {:active, 100})
  end

  test "rtp_delivery: :none turns the delivery of packets off" do
    assert %{deliver_rtp: false} = native(rtp_delivery: :none)
  end

  test "the controlling process may be registered, here or on another node" do
    assert %{controlling_process: :name} = parse(controlling_process: :name)

    assert %{controlling_process: {:name, :node@host}} =
             parse(controlling_process: {:name, :node@host})
  end

  test "the controlling process may be an alias" do
    alias_of_mine = :erlang.alias()
    assert %{controlling_process: ^alias_of_mine} = parse(controlling_process: alias_of_mine)
  end

  describe "an invalid value raises and names its option:" do
    for {option, value} <- [
          controlling_process: nil,
          controlling_process: "name",
          ice_servers: %{urls: "stun:a"},
          ice_servers: [%{url: "stun:a"}],
          ice_servers: [%{urls: "http://a"}],
          ice_servers: [%{urls: []}],
          ice_servers: [%{urls: "turn:a"}],
          ice_servers: [%{urls: "turn:a", username: :user, credential: "x"}],
          ice_transport_policy: :host,
          ice_tls_ca_pem: "certificate",
          ice_ip_filter: :all,
          host_to_srflx_ip_mapper: %{},
          ice_port_range: 5000,
          ice_port_range: [65_536],
          ice_aggressive_nomination: :yes,
          ice_lite: nil,
          ice_tcp: :both,
          ice_udp_mux: 0,
          ice_udp_mux: 65_536,
          ice_udp_mux: false,
          audio_codecs: :opus,
          audio_codecs: [:mp3],
          audio_codecs: [:vp8],
          video_codecs: [:vp8, "video/VP8"],
          features: [:nack],
          features: [:twcc, :twcc],
          rtp_header_extensions: [%{uri: "urn:x"}],
          rtcp_feedbacks: [%{type: :video, feedback: :remb}],
          rtp_delivery: :batch,
          rtp_delivery: {:batch, 0},
          flow_control: {:active, 0},
          flow_control: :active,
          rtp_delivery: {:batch, 65_536},
          bandwidth_estimate: 1_000_000,
          certificates: ["pem"],
          dtls_role: :active,
          sdp_validation: :lax,
          sctp_max_message_size: 0,
          data_buffer_limit: 1.5
        ] do
      test "#{option}: #{inspect(value)}" do
        option = unquote(option)

        assert_raise ArgumentError, ~r/option #{inspect(option)}: expected .+, got: /, fn ->
          parse([{option, unquote(Macro.escape(value))}])
        end
      end
    end

    test "codec names mixed with structs, either way around" do
      for codecs <- [[:vp9, @vp8], [@vp8, :vp9]] do
        assert_raise ArgumentError, ~r/:video_codecs/, fn -> parse(video_codecs: codecs) end
      end
    end

    test "a codec of the other kind" do
      assert_raise ArgumentError, ~r/:audio_codecs.*"video\/VP8"/, fn ->
        parse(audio_codecs: [@vp8])
      end
    end

    test "a payload type given twice, also across the kinds" do
      opus = %{@vp8 | mime_type: "audio/opus", clock_rate: 48_000}

      for opts <- [[video_codecs: [@vp8, @vp8]], [video_codecs: [@vp8], audio_codecs: [opus]]] do
        assert_raise ArgumentError, ~r/payload type, got 96 more than once/, fn -> parse(opts) end
      end
    end
  end

  test "an option that does not exist raises and lists those that do" do
    assert_raise ArgumentError, ~r/unknown option :ice_server,.*:ice_servers/, fn ->
      parse(ice_server: [])
    end

    assert_raise ArgumentError, ~r/unknown option :audio_extensions/, fn ->
      parse(audio_extensions: [])
    end

    assert_raise ArgumentError, ~r/keyword list/, fn -> parse(%{}) end
  end

  describe "host_addresses/2" do
    @addresses [{10, 0, 0, 1}, {10, 0, 0, 2}]

    test "is asked for with a filter or a mapper only" do
      refute Configuration.chooses_addresses?(parse())
      assert Configuration.chooses_addresses?(parse(ice_ip_filter: fn _ip -> true end))
      assert Configuration.chooses_addresses?(parse(host_to_srflx_ip_mapper: fn _ip -> nil end))
    end

    test "keeps what the filter takes, with what the mapper says" do
      config =
        parse(
          ice_ip_filter: &(&1 == {10, 0, 0, 2}),
          host_to_srflx_ip_mapper: fn {10, 0, 0, 2} -> {1, 2, 3, 4} end
        )

      assert [{{10, 0, 0, 2}, {1, 2, 3, 4}}] == Configuration.host_addresses(config, @addresses)
    end

    test "takes all with a mapper only" do
      config = parse(host_to_srflx_ip_mapper: fn _address -> nil end)

      assert [{{10, 0, 0, 1}, nil}, {{10, 0, 0, 2}, nil}] ==
               Configuration.host_addresses(config, @addresses)
    end
  end

  test "negotiated codecs and extension ids replace those of the options" do
    codec = %{@vp8 | payload_type: 120}

    extensions =
      for {id, uri} <- [{4, @mid}, {10, @rid}, {3, "urn:other"}], do: %{id: id, uri: uri}

    config = Configuration.negotiated(parse(), [], [codec], extensions)

    assert %{audio_codecs: [], video_codecs: [^codec]} = config
    assert config.audio_extensions == [%{id: 4, uri: @mid}]
    assert config.video_extensions == [%{id: 4, uri: @mid}, %{id: 10, uri: @rid}]
  end
end
