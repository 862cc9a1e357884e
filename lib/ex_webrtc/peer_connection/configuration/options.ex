defmodule ExWebRTC.PeerConnection.Configuration.Options do
  @moduledoc false
  # What values each option of a connection can have.

  alias ExWebRTC.PeerConnection.Codecs
  alias ExWebRTC.RTPCodecParameters

  @features [:twcc, :inbound_rtx, :outbound_rtx, :rtcp_reports]
  @srtp_profiles [:aead_aes_128_gcm, :aes128_cm_hmac_sha1_80]
  @feedbacks [:nack, :fir, :pli, :twcc]
  @url_schemes ["stun:", "stuns:", "turn:", "turns:"]

  # More than one turn of a shard ever has.
  @max_batch 65_535
  # As good as no limit.
  @max_credit 0x7FFFFFFF

  @doc "Every feature."
  @spec features() :: [atom()]
  def features, do: @features

  @doc "Every SRTP protection profile, best first."
  @spec srtp_profiles() :: [atom()]
  def srtp_profiles, do: @srtp_profiles

  @doc "The value of an option as it is kept; one that it can't have raises."
  @spec parse!(atom(), term()) :: term()
  def parse!(name, value) do
    case parse_option(name, value) do
      {:ok, parsed} -> parsed
      {:expected, what} -> raise ArgumentError, message(name, what, value)
    end
  end

  defp message(name, what, value),
    do: "invalid value for option #{inspect(name)}: expected #{what}, got: #{inspect(value)}"

  defp parse_option(:controlling_process, dest) do
    case dest do
      pid when is_pid(pid) -> {:ok, pid}
      name when is_atom(name) and name not in [nil, true, false] -> {:ok, name}
      {name, node} when is_atom(name) and is_atom(node) -> {:ok, dest}
      alias when is_reference(alias) -> {:ok, alias}
      _other -> {:expected, "a pid, a registered name, {name, node} or an alias"}
    end
  end

  defp parse_option(:ice_servers, servers) do
    check(is_list(servers) and Enum.all?(servers, &ice_server?/1), servers, """
    a list of maps with :urls (a string or a list of strings that begin with #{Enum.join(@url_schemes, ", ")}), \
    and with strings under :username and :credential for TURN\
    """)
  end

  defp parse_option(:ice_tls_ca_pem, value) do
    check(
      value == nil or (is_binary(value) and value =~ "-----BEGIN CERTIFICATE-----"),
      value,
      "certificates in one PEM string"
    )
  end

  defp parse_option(:ice_transport_policy, value), do: one_of(value, [:all, :relay])

  defp parse_option(name, value) when name in [:ice_ip_filter, :host_to_srflx_ip_mapper] do
    check(
      value == nil or is_function(value, 1),
      value,
      "a function of one argument, an IP address"
    )
  end

  defp parse_option(:ice_port_range, ports) do
    check(
      Enumerable.impl_for(ports) != nil and Enum.all?(ports, &(&1 in 0..65_535)),
      ports,
      "an enumerable of ports in 0..65535"
    )
  end

  defp parse_option(:ice_udp_mux, value),
    do: check(value in [nil, true] or value in 1..65_535, value, "a port in 1..65535, or true")

  defp parse_option(:ice_tcp, value), do: one_of(value, [true, false, :active, :passive])

  defp parse_option(name, value) when name in [:ice_aggressive_nomination, :ice_lite],
    do: check(is_boolean(value), value, "a boolean")

  defp parse_option(:audio_codecs, value),
    do: codecs(value, "audio/", &Codecs.audio/1, Codecs.audio_names())

  defp parse_option(:video_codecs, value),
    do: codecs(value, "video/", &Codecs.video/1, Codecs.video_names())

  defp parse_option(:features, value),
    do:
      check(
        is_list(value) and value -- @features == [],
        value,
        "a list of #{list(@features)}, each once"
      )

  defp parse_option(:rtp_header_extensions, value) do
    check(
      is_list(value) and Enum.all?(value, &header_extension?/1),
      value,
      "a list of %{type: :audio | :video | :all, uri: string}"
    )
  end

  defp parse_option(:rtcp_feedbacks, value) do
    check(
      is_list(value) and Enum.all?(value, &rtcp_feedback?/1),
      value,
      "a list of %{type: :audio | :video | :all, feedback: one of #{list(@feedbacks)}}"
    )
  end

  defp parse_option(:data_types, value), do: one_of(value, [true, false])
  defp parse_option(:bandwidth_estimate, value), do: one_of(value, [true, false])

  defp parse_option(:rtp_delivery, value) do
    check(
      match?({:batch, max} when max in 1..@max_batch, value) or value in [:packet, :none],
      value,
      ":packet, {:batch, max} with max in 1..#{@max_batch}, or :none"
    )
  end

  defp parse_option(:flow_control, value) do
    check(
      value == :none or match?({:active, n} when n in 1..@max_credit, value),
      value,
      ":none or {:active, n} with n in 1..#{@max_credit}"
    )
  end

  defp parse_option(:certificates, value) do
    check(
      is_list(value) and length(value) <= 1 and Enum.all?(value, &certificate?/1),
      value,
      "at most one PEM string with a certificate and its private key"
    )
  end

  defp parse_option(:dtls_role, value), do: one_of(value, [:client, :server, nil])

  defp parse_option(:srtp_profiles, value) do
    check(
      is_list(value) and value != [] and Enum.all?(value, &(&1 in @srtp_profiles)),
      value,
      "a list of one or more of #{list(@srtp_profiles)}"
    )
  end

  defp parse_option(:sdp_validation, value), do: one_of(value, [:w3c, :strict])

  defp parse_option(:sctp_max_message_size, value),
    do: check(value in 1..0xFFFFFFFF, value, "a number of bytes in 1..4294967295")

  defp parse_option(:data_buffer_limit, value),
    do: check(is_integer(value) and value > 0, value, "a positive number of bytes")

  defp check(true, value, _what), do: {:ok, value}
  defp check(false, _value, what), do: {:expected, what}

  defp one_of(value, allowed), do: check(value in allowed, value, "one of #{list(allowed)}")

  defp list(atoms), do: Enum.map_join(atoms, ", ", &inspect/1)

  defp ice_server?(%{urls: urls} = server) do
    urls = List.wrap(urls)
    credentials = [Map.get(server, :username), Map.get(server, :credential)]

    urls != [] and Enum.all?(urls, &url?/1) and
      Enum.all?(credentials, &(is_binary(&1) or &1 == nil)) and
      (not Enum.any?(urls, &turn?/1) or Enum.all?(credentials, &is_binary/1))
  end

  defp ice_server?(_other), do: false

  defp url?(url), do: is_binary(url) and String.starts_with?(url, @url_schemes)
  defp turn?(url), do: String.starts_with?(url, ["turn:", "turns:"])

  defp header_extension?(%{type: type, uri: uri}),
    do: type in [:audio, :video, :all] and is_binary(uri)

  defp header_extension?(_other), do: false

  defp rtcp_feedback?(%{type: type, feedback: feedback}),
    do: type in [:audio, :video, :all] and feedback in @feedbacks

  defp rtcp_feedback?(_other), do: false

  defp certificate?(pem) do
    is_binary(pem) and pem =~ "-----BEGIN CERTIFICATE-----" and pem =~ "PRIVATE KEY-----"
  end

  defp codecs([name | _] = names, _kind, from_names, known) when is_atom(name) do
    check_result =
      check(Enum.all?(names, &(&1 in known)), names, "only codec names: #{list(known)}")

    with {:ok, names} <- check_result, do: {:ok, from_names.(names)}
  end

  defp codecs(codecs, kind, _from_names, _known) when is_list(codecs) do
    case Enum.find_value(codecs, &codec_problem(&1, kind)) do
      nil -> {:ok, Enum.map(codecs, &RTPCodecParameters.normalize/1)}
      problem -> {:expected, "only codec structs or only codec names (#{problem})"}
    end
  end

  defp codecs(_other, _kind, _from_names, _known), do: {:expected, "a list of codecs"}

  defp codec_problem(codec, kind) do
    RTPCodecParameters.problem(codec) ||
      if not String.starts_with?(codec.mime_type, kind),
        do: "the mime_type of #{inspect(codec.mime_type)} must begin with #{inspect(kind)}"
  end
end
