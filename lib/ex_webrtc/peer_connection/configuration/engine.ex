defmodule ExWebRTC.PeerConnection.Configuration.Engine do
  @moduledoc false
  # The configuration as the engine takes it: with the header extensions and the feedback that the
  # features imply.

  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.PeerConnection.Configuration.Options

  @mid_uri "urn:ietf:params:rtp-hdrext:sdes:mid"
  @repaired_rid_uri "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
  @twcc_uri "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

  @doc """
  The map that `ExWebRTC.Native.open/3` takes: keys as the fields of `engine::config::Config`.
  `host_addresses` comes from `Configuration.host_addresses/2`, as it needs the interfaces of now,
  and `udp_mux` from `ExWebRTC.UDPMux.join/1`.
  """
  @spec to_native(Configuration.t()) :: map()
  def to_native(config) do
    %{
      ice_servers: Enum.map(config.ice_servers, &native_ice_server/1),
      ice_tls_ca_pem: config.ice_tls_ca_pem,
      ice_transport_policy: config.ice_transport_policy,
      host_addresses: nil,
      ice_ports: config.ice_port_range |> Enum.reject(&(&1 == 0)) |> Enum.uniq(),
      ice_aggressive_nomination: config.ice_aggressive_nomination,
      ice_lite: config.ice_lite,
      ice_tcp: %{
        active: config.ice_tcp in [true, :active],
        passive: config.ice_tcp in [true, :passive]
      },
      audio_codecs: config.audio_codecs,
      video_codecs: config.video_codecs,
      header_extensions: native_header_extensions(config),
      rtcp_feedbacks: native_rtcp_feedbacks(config),
      features: Map.new(Options.features(), &{&1, &1 in config.features}),
      dtls_role: config.dtls_role,
      srtp_profiles: config.srtp_profiles,
      sdp_validation: config.sdp_validation,
      sctp_max_message_size: config.sctp_max_message_size,
      data_buffer_limit: config.data_buffer_limit,
      data_types: config.data_types,
      credit: credit(config.flow_control),
      deliver_rtp: config.rtp_delivery != :none,
      rtp_batch_size: batch_size(config.rtp_delivery),
      bandwidth_estimate: config.bandwidth_estimate,
      certificate_pem: List.first(config.certificates),
      udp_mux: nil
    }
  end

  defp credit({:active, messages}), do: messages
  defp credit(:none), do: nil

  defp batch_size({:batch, max}), do: max
  defp batch_size(_each_or_none), do: nil

  @doc "Those of the negotiated header extensions that are for m-lines of a kind."
  @spec extensions_of(Configuration.t(), :audio | :video, [%{id: 1..255, uri: String.t()}]) ::
          [%{id: 1..255, uri: String.t()}]
  def extensions_of(config, kind, negotiated) do
    wanted = native_header_extensions(config)

    Enum.filter(negotiated, fn %{uri: uri} ->
      Enum.any?(wanted, &(&1.uri == uri and &1.kind in [nil, kind]))
    end)
  end

  defp native_ice_server(server) do
    %{
      urls: List.wrap(server.urls),
      username: Map.get(server, :username) || "",
      credential: Map.get(server, :credential) || ""
    }
  end

  defp native_header_extensions(config) do
    implied =
      [%{type: :all, uri: @mid_uri}] ++
        if(:twcc in config.features, do: [%{type: :all, uri: @twcc_uri}], else: []) ++
        if(:inbound_rtx in config.features,
          do: [%{type: :video, uri: @repaired_rid_uri}],
          else: []
        )

    (config.rtp_header_extensions ++ implied)
    |> Enum.map(&%{kind: native_kind(&1.type), uri: &1.uri})
    |> Enum.uniq()
  end

  defp native_rtcp_feedbacks(config) do
    rtx? = :inbound_rtx in config.features or :outbound_rtx in config.features

    implied =
      if(rtx?, do: [%{type: :video, feedback: :nack}], else: []) ++
        if(:twcc in config.features, do: [%{type: :all, feedback: :twcc}], else: [])

    (config.rtcp_feedbacks ++ implied)
    |> Enum.map(&{native_kind(&1.type), &1.feedback})
    |> Enum.uniq()
  end

  defp native_kind(:all), do: nil
  defp native_kind(kind), do: kind
end
