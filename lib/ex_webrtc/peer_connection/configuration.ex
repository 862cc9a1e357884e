defmodule ExWebRTC.PeerConnection.Configuration do
  @moduledoc """
  What `ExWebRTC.PeerConnection.start_link/2` can be told: every option, its default, its checks.

  An option with a value that it cannot have, and an option that does not exist, raise
  `ArgumentError` in the process that starts the connection.
  """

  alias ExWebRTC.PeerConnection.Codecs
  alias ExWebRTC.RTPCodecParameters

  @mid_uri "urn:ietf:params:rtp-hdrext:sdes:mid"
  @rid_uri "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
  @repaired_rid_uri "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
  @twcc_uri "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

  @features [:twcc, :inbound_rtx, :outbound_rtx, :rtcp_reports]
  @srtp_profiles [:aead_aes_128_gcm, :aes128_cm_hmac_sha1_80]
  @feedbacks [:nack, :fir, :pli, :twcc]
  @url_schemes ["stun:", "stuns:", "turn:", "turns:"]

  # What browsers announce in `a=max-message-size`.
  @default_max_message_size 262_144
  # More than one turn of a shard ever has.
  @max_batch 65_535
  # 64 MiB: many full receive windows, yet far from what exhausts a node.
  @default_data_buffer_limit 64 * 1024 * 1024

  @typedoc """
  A STUN or TURN server: one URL or several (RFC 7064, RFC 7065), and for TURN its credentials.

  URLs look like `"stun:stun.example.org:3478"`, `"turn:turn.example.org"` (UDP),
  `"turn:turn.example.org?transport=tcp"` or `"turns:turn.example.org"` (TLS). Eight URLs are asked
  at most. One that gives no candidate within five seconds is told with `:ice_candidate_error`.
  """
  @type ice_server() :: %{
          required(:urls) => String.t() | [String.t()],
          optional(:username) => String.t(),
          optional(:credential) => String.t()
        }

  @typedoc """
  Parts of the media path that can be turned off:

  - `:twcc`: tell the sender when its packets arrived, so that it can adapt to the network. Adds the
    transport-wide sequence number extension and the `transport-cc` feedback to all codecs.
  - `:inbound_rtx`: ask for video packets that are missing, and take their retransmissions. Adds the
    `nack` feedback, an RTX payload type for each video codec and the repaired RID extension.
  - `:outbound_rtx`: keep video packets that were sent, and repeat those that the peer misses. Adds
    the `nack` feedback and an RTX payload type for each video codec.
  - `:rtcp_reports`: send sender and receiver reports. Without them the peer has no round trip time
    and cannot play audio and video in sync.
  """
  @type feature() :: :twcc | :inbound_rtx | :outbound_rtx | :rtcp_reports

  @typedoc "An SRTP protection profile (RFC 7714 section 14.2, RFC 5764 section 4.1.2)."
  @type srtp_profile() :: :aead_aes_128_gcm | :aes128_cm_hmac_sha1_80

  @typedoc "A header extension (RFC 8285) for the m-lines of one kind or of all."
  @type rtp_header_extension() :: %{type: :audio | :video | :all, uri: String.t()}

  @typedoc "A feedback message (RFC 4585) for the codecs of one kind or of all."
  @type rtcp_feedback() :: %{
          type: :audio | :video | :all,
          feedback: :nack | :fir | :pli | :twcc
        }

  @typedoc "A name that stands for a codec with the parameters that browsers use."
  @type audio_codec_name() :: :opus | :pcmu | :pcma | :g722

  @typedoc "As `t:audio_codec_name/0`. `:h264` stands for both packetization modes."
  @type video_codec_name() :: :vp8 | :vp9 | :h264 | :h265 | :av1

  @typedoc """
  Options of `ExWebRTC.PeerConnection.start_link/2`:

  - `controlling_process`: who gets the messages of the connection. A pid, a registered name or
    `{name, node}`. Default: the caller.
  - `ice_servers`: STUN and TURN servers to gather candidates from. Default `[]`: host candidates
    only, which do not reach through a NAT.
  - `ice_tls_ca_pem`: the authorities that must vouch for `turns:` servers, as PEM. Default `nil`:
    those that the system trusts (Debian: `ca-certificates`).
  - `ice_transport_policy`: `:relay` uses candidates of TURN servers only, and so hides the
    addresses of this host. Default `:all`.
  - `ice_ip_filter`: called with each address of this host; `false` keeps it out of the candidates.
    Default: every usable address.
  - `ice_port_range`: local UDP ports to choose from, any enumerable. A connection takes one port
    per address; when all are taken, it gathers no candidates on that address, and says so with
    `:ice_candidate_error` (code 701, no URL) and in the log. Default `[0]`: any free port.
  - `ice_aggressive_nomination`: as controlling agent, take the first pair that works, rather than
    wait for a better one. Connects faster, but may start on a slower path. Default `true`.
  - `host_to_srflx_ip_mapper`: called with each address of this host; a public address in return
    becomes a server-reflexive candidate, without asking a STUN server (1:1 NAT, as in clouds).
    Default: none.
  - `ice_lite`: answer connectivity checks only (RFC 8445 section 2.5), for a server with a public
    address. Default `false`.
  - `audio_codecs`, `video_codecs`: what to offer and accept, preferred first: structs or names, not
    mixed. RTX is added by `features`. Default `default_audio_codecs/0` and
    `default_video_codecs/0`.
  - `features`: see `t:feature/0`. Default `default_features/0`.
  - `rtp_header_extensions`: added to those that `features` imply. The MID extension cannot be
    turned off. Default `default_rtp_header_extensions/0`.
  - `rtcp_feedbacks`: added to those that `features` imply. Default `default_rtcp_feedbacks/0`.
  - `rtp_delivery`: how received RTP packets come to the controlling process. Default `:packet`: a
    message for each. `{:batch, max}`: the packets that are there, at most `max`, in one
    `{:rtp_batch, packets}`; a batch never waits for more. Cheaper where many packets come, but their
    payloads share memory: use `:binary.copy/1` for one that is kept long. `:none` keeps packets out
    of the mailbox, for a connection that only forwards or counts.
  - `data_types`: `true` tells text from binary: messages of data channels then come as
    `{:data, ref, {:string | :binary, data}}`. Default `false`.
  - `certificates`: a list with a DTLS certificate and its private key, both PEM in one string; one
    at most. The fingerprint stays the same over connections that share it. Default `[]`: a fresh
    ECDSA P-256 certificate for each connection.
  - `dtls_role`: `:client` or `:server`, the role to take where the choice is ours, that is, in
    answers. Default `nil`: `:client`, as RFC 8842 recommends.
  - `srtp_profiles`: the SRTP protection profiles to offer and accept, best first (RFC 5764 section
    4.1.2): `:aead_aes_128_gcm`, `:aes128_cm_hmac_sha1_80`. A peer that shares none fails to connect.
    Default: both, in this order; AES-GCM costs about half the CPU.
  - `sdp_validation`: `:strict` refuses remote descriptions that JSEP allows but that lack a BUNDLE
    group, or ICE or DTLS attributes on any m-line. Default `:w3c`.
  - `sctp_max_message_size`: the largest data channel message that is taken, in bytes; announced to
    the peer. Default #{@default_max_message_size}.
  - `data_buffer_limit`: bytes that may wait in one data channel before
    `ExWebRTC.PeerConnection.send_data/4` returns `{:error, :buffer_full}`.
    Default #{@default_data_buffer_limit} (64 MiB).
  """
  @type options() :: [
          controlling_process: Process.dest(),
          ice_servers: [ice_server()],
          ice_tls_ca_pem: String.t() | nil,
          ice_transport_policy: :all | :relay,
          ice_ip_filter: (:inet.ip_address() -> boolean()) | nil,
          ice_port_range: Enumerable.t(),
          ice_aggressive_nomination: boolean(),
          host_to_srflx_ip_mapper: (:inet.ip_address() -> :inet.ip_address() | nil) | nil,
          ice_lite: boolean(),
          audio_codecs: [RTPCodecParameters.t()] | [audio_codec_name()],
          video_codecs: [RTPCodecParameters.t()] | [video_codec_name()],
          features: [feature()],
          rtp_header_extensions: [rtp_header_extension()],
          rtcp_feedbacks: [rtcp_feedback()],
          rtp_delivery: :packet | {:batch, pos_integer()} | :none,
          data_types: boolean(),
          certificates: [String.t()],
          dtls_role: :client | :server | nil,
          srtp_profiles: [srtp_profile()],
          sdp_validation: :w3c | :strict,
          sctp_max_message_size: pos_integer(),
          data_buffer_limit: pos_integer()
        ]

  @typedoc """
  A checked configuration.

  `audio_extensions` and `video_extensions` are the header extensions in use with their ids, empty
  before the first negotiation.
  """
  @type t() :: %__MODULE__{
          controlling_process: Process.dest(),
          ice_servers: [ice_server()],
          ice_tls_ca_pem: String.t() | nil,
          ice_transport_policy: :all | :relay,
          ice_ip_filter: (:inet.ip_address() -> boolean()) | nil,
          ice_port_range: Enumerable.t(),
          ice_aggressive_nomination: boolean(),
          host_to_srflx_ip_mapper: (:inet.ip_address() -> :inet.ip_address() | nil) | nil,
          ice_lite: boolean(),
          audio_codecs: [RTPCodecParameters.t()],
          video_codecs: [RTPCodecParameters.t()],
          features: [feature()],
          rtp_header_extensions: [rtp_header_extension()],
          rtcp_feedbacks: [rtcp_feedback()],
          rtp_delivery: :packet | {:batch, pos_integer()} | :none,
          data_types: boolean(),
          certificates: [String.t()],
          dtls_role: :client | :server | nil,
          srtp_profiles: [srtp_profile()],
          sdp_validation: :w3c | :strict,
          sctp_max_message_size: pos_integer(),
          data_buffer_limit: pos_integer(),
          audio_extensions: [%{id: 1..255, uri: String.t()}],
          video_extensions: [%{id: 1..255, uri: String.t()}]
        }

  @enforce_keys [:controlling_process]
  defstruct [
    :controlling_process,
    :ice_ip_filter,
    :ice_tls_ca_pem,
    :host_to_srflx_ip_mapper,
    :dtls_role,
    ice_servers: [],
    ice_transport_policy: :all,
    ice_port_range: [0],
    ice_aggressive_nomination: true,
    ice_lite: false,
    audio_codecs: [],
    video_codecs: [],
    features: [],
    rtp_header_extensions: [],
    rtcp_feedbacks: [],
    rtp_delivery: :packet,
    data_types: false,
    certificates: [],
    srtp_profiles: @srtp_profiles,
    sdp_validation: :w3c,
    sctp_max_message_size: @default_max_message_size,
    data_buffer_limit: @default_data_buffer_limit,
    audio_extensions: [],
    video_extensions: []
  ]

  # What negotiation finds out is no option.
  @negotiated [:audio_extensions, :video_extensions]

  @doc "Opus."
  @spec default_audio_codecs() :: [RTPCodecParameters.t()]
  def default_audio_codecs, do: Codecs.audio([:opus])

  @doc "VP8, H264 in both packetization modes, and AV1."
  @spec default_video_codecs() :: [RTPCodecParameters.t()]
  def default_video_codecs, do: Codecs.video([:vp8, :h264, :av1])

  @doc "Requests for keyframes: `:fir` and `:pli`, for video."
  @spec default_rtcp_feedbacks() :: [rtcp_feedback()]
  def default_rtcp_feedbacks,
    do: [%{type: :video, feedback: :fir}, %{type: :video, feedback: :pli}]

  @doc "The MID for all, and the RID, which simulcast needs, for video."
  @spec default_rtp_header_extensions() :: [rtp_header_extension()]
  def default_rtp_header_extensions,
    do: [%{type: :all, uri: @mid_uri}, %{type: :video, uri: @rid_uri}]

  @doc "All of `t:feature/0`."
  @spec default_features() :: [feature()]
  def default_features, do: @features

  @doc false
  # `caller` is the default controlling process.
  @spec parse!(keyword(), pid()) :: t()
  def parse!(opts, caller) do
    if not Keyword.keyword?(opts),
      do: raise(ArgumentError, "expected options as a keyword list, got: #{inspect(opts)}")

    defaults = %__MODULE__{
      controlling_process: caller,
      audio_codecs: default_audio_codecs(),
      video_codecs: default_video_codecs(),
      features: default_features(),
      rtp_header_extensions: default_rtp_header_extensions(),
      rtcp_feedbacks: default_rtcp_feedbacks()
    }

    opts
    |> Enum.reduce(defaults, fn {name, value}, config ->
      if not known?(name), do: raise(ArgumentError, unknown_option(name))
      Map.put(config, name, parse_option!(name, value))
    end)
    |> check_payload_types!()
  end

  @doc false
  # `setConfiguration` (W3C webrtc-pc section 4.4.1.6): the servers and the policy are replaced,
  # nothing else may be other than it is.
  @spec change(t(), keyword() | t()) :: {:ok, t()} | {:error, :invalid_modification}
  def change(current, %__MODULE__{} = wanted) do
    replaced = replace(current, wanted.ice_servers, wanted.ice_transport_policy)
    if wanted == replaced, do: {:ok, replaced}, else: {:error, :invalid_modification}
  end

  def change(current, opts) do
    wanted = parse!(opts, current.controlling_process)
    {_changeable, rest} = Keyword.split(opts, [:ice_servers, :ice_transport_policy])

    if Enum.all?(rest, fn {name, _value} -> Map.get(wanted, name) == Map.get(current, name) end) do
      {:ok, replace(current, wanted.ice_servers, wanted.ice_transport_policy)}
    else
      {:error, :invalid_modification}
    end
  end

  defp replace(current, servers, policy) do
    %{
      current
      | ice_servers: parse_option!(:ice_servers, servers),
        ice_transport_policy: parse_option!(:ice_transport_policy, policy)
    }
  end

  defp known?(name), do: name in option_names()

  defp option_names,
    do: Map.keys(%__MODULE__{controlling_process: nil}) -- [:__struct__ | @negotiated]

  defp unknown_option(name) do
    "unknown option #{inspect(name)}, the options are: " <>
      Enum.map_join(option_names(), ", ", &inspect/1)
  end

  defp parse_option!(name, value) do
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
      _other -> {:expected, "a pid, a registered name or {name, node}"}
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

  defp parse_option(:ice_ip_filter, value),
    do:
      check(
        value == nil or is_function(value, 1),
        value,
        "a function of one argument, an IP address"
      )

  defp parse_option(:host_to_srflx_ip_mapper, value),
    do:
      check(
        value == nil or is_function(value, 1),
        value,
        "a function of one argument, an IP address"
      )

  defp parse_option(:ice_port_range, ports) do
    check(
      Enumerable.impl_for(ports) != nil and Enum.all?(ports, &(&1 in 0..65_535)),
      ports,
      "an enumerable of ports in 0..65535"
    )
  end

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

  defp parse_option(:rtp_delivery, value) do
    check(
      match?({:batch, max} when max in 1..@max_batch, value) or value in [:packet, :none],
      value,
      ":packet, {:batch, max} with max in 1..#{@max_batch}, or :none"
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

  # All m-lines share one transport (BUNDLE), so a payload type means one codec (RFC 9143 section 10.1.1).
  defp check_payload_types!(config) do
    payload_types = Enum.map(config.audio_codecs ++ config.video_codecs, & &1.payload_type)

    case payload_types -- Enum.uniq(payload_types) do
      [] ->
        config

      [payload_type | _] ->
        raise ArgumentError,
              "invalid value for options :audio_codecs and :video_codecs: expected every codec to " <>
                "have its own payload type, got #{payload_type} more than once"
    end
  end

  @doc false
  # The map that `ExWebRTC.Native.open/3` takes: keys as the fields of `engine::config::Config`.
  # `host_addresses` comes from `host_addresses/2`, as it needs the interfaces of now.
  @spec to_native(t()) :: map()
  def to_native(%__MODULE__{} = config) do
    %{
      ice_servers: Enum.map(config.ice_servers, &native_ice_server/1),
      ice_tls_ca_pem: config.ice_tls_ca_pem,
      ice_transport_policy: config.ice_transport_policy,
      host_addresses: nil,
      ice_ports: config.ice_port_range |> Enum.reject(&(&1 == 0)) |> Enum.uniq(),
      ice_aggressive_nomination: config.ice_aggressive_nomination,
      ice_lite: config.ice_lite,
      audio_codecs: config.audio_codecs,
      video_codecs: config.video_codecs,
      header_extensions: native_header_extensions(config),
      rtcp_feedbacks: native_rtcp_feedbacks(config),
      features: Map.new(@features, &{&1, &1 in config.features}),
      dtls_role: config.dtls_role,
      srtp_profiles: config.srtp_profiles,
      sdp_validation: config.sdp_validation,
      sctp_max_message_size: config.sctp_max_message_size,
      data_buffer_limit: config.data_buffer_limit,
      data_types: config.data_types,
      deliver_rtp: config.rtp_delivery != :none,
      rtp_batch_size: batch_size(config.rtp_delivery),
      certificate_pem: List.first(config.certificates)
    }
  end

  defp batch_size({:batch, max}), do: max
  defp batch_size(_each_or_none), do: nil

  @doc false
  # What the two address options say of these interface addresses: those to use, each with its
  # public address or `nil`. `nil` where neither option is set: use every address.
  @spec host_addresses(t(), [:inet.ip_address()]) ::
          [{:inet.ip_address(), :inet.ip_address() | nil}] | nil
  def host_addresses(%__MODULE__{ice_ip_filter: nil, host_to_srflx_ip_mapper: nil}, _addresses),
    do: nil

  def host_addresses(%__MODULE__{} = config, addresses) do
    filter = config.ice_ip_filter || fn _address -> true end
    mapper = config.host_to_srflx_ip_mapper || fn _address -> nil end
    for address <- addresses, filter.(address), do: {address, mapper.(address)}
  end

  @doc false
  # The configuration with what negotiation made of it: codecs with the payload types and
  # extensions with the ids in use.
  @spec negotiated(t(), [RTPCodecParameters.t()], [RTPCodecParameters.t()], [{1..255, String.t()}]) ::
          t()
  def negotiated(%__MODULE__{} = config, audio_codecs, video_codecs, header_extensions) do
    native = native_header_extensions(config)

    of_kind = fn kind ->
      for {id, uri} <- header_extensions,
          Enum.any?(native, &(&1.uri == uri and &1.kind in [nil, kind])),
          do: %{id: id, uri: uri}
    end

    %{
      config
      | audio_codecs: audio_codecs,
        video_codecs: video_codecs,
        audio_extensions: of_kind.(:audio),
        video_extensions: of_kind.(:video)
    }
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
