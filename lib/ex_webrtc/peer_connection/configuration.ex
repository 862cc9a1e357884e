defmodule ExWebRTC.PeerConnection.Configuration do
  @moduledoc """
  What `ExWebRTC.PeerConnection.start_link/2` can be told: every option, its default, its checks.

  An option with a value that it cannot have, and an option that does not exist, raise
  `ArgumentError` in the process that starts the connection.
  """

  alias ExWebRTC.PeerConnection.Codecs
  alias ExWebRTC.RTPCodecParameters
  alias __MODULE__.{Engine, Options}

  @mid_uri "urn:ietf:params:rtp-hdrext:sdes:mid"
  @rid_uri "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"

  # What browsers announce in `a=max-message-size`.
  @default_max_message_size 262_144
  # 64 MiB: many full receive windows, yet far from what exhausts a node.
  @default_data_buffer_limit 64 * 1024 * 1024

  # Every option once, with the type of its checked value.
  @options [
    controlling_process: quote(do: Process.dest() | reference()),
    ice_servers: quote(do: [ice_server()]),
    ice_tls_ca_pem: quote(do: String.t() | nil),
    ice_transport_policy: quote(do: :all | :relay),
    ice_ip_filter: quote(do: (:inet.ip_address() -> boolean()) | nil),
    ice_port_range: quote(do: Enumerable.t()),
    ice_aggressive_nomination: quote(do: boolean()),
    host_to_srflx_ip_mapper: quote(do: (:inet.ip_address() -> :inet.ip_address() | nil) | nil),
    ice_lite: quote(do: boolean()),
    ice_tcp: quote(do: boolean() | :active | :passive),
    ice_udp_mux: quote(do: :inet.port_number() | true | nil),
    audio_codecs: quote(do: [RTPCodecParameters.t()]),
    video_codecs: quote(do: [RTPCodecParameters.t()]),
    features: quote(do: [feature()]),
    rtp_header_extensions: quote(do: [rtp_header_extension()]),
    rtcp_feedbacks: quote(do: [rtcp_feedback()]),
    rtp_delivery: quote(do: :packet | {:batch, pos_integer()} | :none),
    flow_control: quote(do: :none | {:active, pos_integer()}),
    bandwidth_estimate: quote(do: boolean()),
    data_types: quote(do: boolean()),
    certificates: quote(do: [String.t()]),
    dtls_role: quote(do: :client | :server | nil),
    srtp_profiles: quote(do: [srtp_profile()]),
    sdp_validation: quote(do: :w3c | :strict),
    sctp_max_message_size: quote(do: pos_integer()),
    data_buffer_limit: quote(do: pos_integer())
  ]

  # What negotiation finds out, which is no option.
  @negotiated [
    audio_extensions: quote(do: [%{id: 1..255, uri: String.t()}]),
    video_extensions: quote(do: [%{id: 1..255, uri: String.t()}])
  ]

  @typedoc """
  A STUN or TURN server: one URL or several (RFC 7064, RFC 7065), and for TURN its credentials.

  URLs look like `"stun:stun.example.org:3478"`, `"turn:turn.example.org"` (UDP),
  `"turn:turn.example.org?transport=tcp"` or `"turns:turn.example.org"` (TLS). Eight URLs are asked
  at most. One that gives no candidate within five seconds is told with `:ice_candidate_error`.

  `"stun:stun.example.org?transport=tcp"` and `"stuns:stun.example.org"` (TLS) say how a NAT maps TCP
  connections, so they need `ice_tcp: :passive` or `true`: each port that is listened on becomes a
  server-reflexive candidate too (RFC 6544 section 5.2), for peers that the NAT lets in. The
  connection to the server is kept as long as such a candidate may be of use.
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

  - `controlling_process`: who gets the messages of the connection. A pid, a registered name,
    `{name, node}` or an alias. Default: the caller.
  - `ice_servers`: STUN and TURN servers to gather candidates from. Default `[]`: host candidates
    only, which do not reach through a NAT.
  - `ice_tls_ca_pem`: the authorities that must vouch for `turns:` and `stuns:` servers, as PEM. Default `nil`:
    those that the system trusts (Debian: `ca-certificates`).
  - `ice_transport_policy`: `:relay` uses candidates of TURN servers only, and so hides the
    addresses of this host. Default `:all`.
  - `ice_ip_filter`: called with each address of this host; `false` keeps it out of the candidates.
    Default: every usable address. For Fly.io there is `ExWebRTC.ICE.FlyIpFilter`.
  - `ice_port_range`: local ports to choose from, any enumerable. A connection takes one port
    per address; when all are taken, it gathers no candidates on that address, and says so with
    `:ice_candidate_error` (code 701, no URL) and in the log. Default `[0]`: any free port.
  - `ice_aggressive_nomination`: as controlling agent, take the first pair that works, rather than
    wait for a better one. Connects faster, but may start on a slower path. Default `true`.
  - `host_to_srflx_ip_mapper`: called with each address of this host; a public address in return
    becomes a server-reflexive candidate, without asking a STUN server (1:1 NAT, as in clouds).
    Default: none.
  - `ice_lite`: answer connectivity checks only (RFC 8445 section 2.5), for a server with a public
    address. Default `false`.
  - `ice_tcp`: candidates over TCP too (RFC 6544), for peers that UDP does not reach. `:passive`
    listens on each address of this host, on a port of `ice_port_range` (also with `ice_udp_mux`),
    and lets peers connect, as browsers do; `:active` connects to peers that listen; `true` is both.
    UDP is preferred where both work. Where a NAT has the listening port is told by a STUN server
    over TCP or TLS, see `t:ice_server/0`. With `ice_lite`, only `:passive`. Default `false`.
  - `ice_udp_mux`: a UDP port, and all connections of this node with the same one share it, on each
    address of this host. `true` is a free port that is chosen once, for all that say `true`. A port
    that another program has is an error of the start, see
    `ExWebRTC.PeerConnection.start_link/2`. It is open as long as a connection uses it. Connections
    are told apart by ICE: two between the same two ports cannot be, so peers must not share their
    port in turn. Relayed candidates over UDP and `ice_tcp` need ports of their own, of
    `ice_port_range`. See `ExWebRTC.UDPMux`. Default `nil`: a port for each connection.
  - `audio_codecs`, `video_codecs`: what to offer and accept, preferred first: structs or names, not
    mixed. RTX is added by `features`. Default `default_audio_codecs/0` and
    `default_video_codecs/0`.
  - `features`: see `t:feature/0`. Default `default_features/0`.
  - `rtp_header_extensions`: added to those that `features` imply. The MID extension cannot be
    turned off. Default `default_rtp_header_extensions/0`.
  - `rtcp_feedbacks`: added to those that `features` imply. Default `default_rtcp_feedbacks/0`.
  - `rtp_delivery`: how received RTP packets come to the controlling process. Default `:packet`: a
    message for each. `{:batch, max}`: the packets that are there, at most `max`, in one
    `{:rtp_batch, packets}`; a batch never waits for more, and is cheaper where many packets come.
    `:none` keeps packets out of the mailbox, for a connection that only forwards or counts, except
    those of a forward with `tap: true`. Payloads
    that arrive together share memory, up to 16 KiB: use `:binary.copy/1` for one that is kept long.
  - `flow_control`: `{:active, n}` sends the controlling process `n` messages with media or data, then
    `:passive`, and no more of them until `ExWebRTC.PeerConnection.set_flow_control/2` is called.
    Default `:none`: all that come.
  - `bandwidth_estimate`: `true` tells the controlling process what the path to the peer carries:
    `{:bandwidth_estimate, bits_per_second}`, of RTP packets with their headers, on changes of at
    least 5 %, at most five times a second. Needs the `:twcc` feature at both ends, or goes by the
    loss that the peer reports. Bursts of video are then spread over up to half a second, and short
    bursts of padding, on RTX, find out whether there is more than is sent, up to 10 Mbit/s.
    Default `false`; the estimate is in the statistics either way, as `available_outgoing_bitrate`.
  - `data_types`: `true` tells text from binary: messages of data channels then come as
    `{:data, ref, {:string | :binary, data}}`. Default `false`.
  - `certificates`: a list with a DTLS certificate and its private key, both PEM in one string; one
    at most. The fingerprint stays the same over connections that share it. Default `[]`: a fresh
    ECDSA P-256 certificate for each connection.
  - `dtls_role`: `:client` or `:server`, the role to take where the choice is ours, that is, in
    answers. Default `nil`: `:client`, as RFC 8842 recommends. The DTLS server chooses the SRTP
    profile: Chromium takes AES-CM, we take AES-GCM wherever the client has it. Where browsers offer,
    `:server` therefore saves up to half of the CPU of media: to send and receive a packet that the
    program does not see costs 2.8 instead of 6.0 µs on one machine, 4.9 instead of 6.3 µs on another
    (`bench/README.md`). The handshake takes a round trip more, for the cookie that our server asks
    for.
  - `srtp_profiles`: the SRTP protection profiles to offer and accept, best first (RFC 5764 section
    4.1.2): `:aead_aes_128_gcm`, `:aes128_cm_hmac_sha1_80`. A peer that shares none fails to connect.
    Default: both, in this order; a packet under AES-GCM costs less CPU.
  - `sdp_validation`: `:strict` refuses remote descriptions that JSEP allows but that lack a BUNDLE
    group, or ICE or DTLS attributes on any m-line. Default `:w3c`.
  - `sctp_max_message_size`: the largest data channel message that is taken, in bytes; announced to
    the peer. Default #{@default_max_message_size}.
  - `data_buffer_limit`: bytes that may wait in one data channel before
    `ExWebRTC.PeerConnection.send_data/4` returns `{:error, :buffer_full}`.
    Default #{@default_data_buffer_limit} (64 MiB).
  """
  @type options() :: [
          unquote_splicing(
            Keyword.merge(@options,
              audio_codecs: quote(do: [RTPCodecParameters.t()] | [audio_codec_name()]),
              video_codecs: quote(do: [RTPCodecParameters.t()] | [video_codec_name()])
            )
          )
        ]

  @typedoc """
  A checked configuration.

  `audio_extensions` and `video_extensions` are the header extensions in use with their ids, empty
  before the first negotiation.
  """
  @type t() :: %__MODULE__{unquote_splicing(@options ++ @negotiated)}

  @enforce_keys [:controlling_process]
  # The lists that depend on others (codecs, features and what they imply) are filled in by `parse!/2`.
  defstruct Keyword.merge(
              for({name, _type} <- @options ++ @negotiated, do: {name, nil}),
              ice_servers: [],
              ice_transport_policy: :all,
              ice_port_range: [0],
              ice_aggressive_nomination: true,
              ice_lite: false,
              ice_tcp: false,
              audio_codecs: [],
              video_codecs: [],
              features: [],
              rtp_header_extensions: [],
              rtcp_feedbacks: [],
              rtp_delivery: :packet,
              flow_control: :none,
              bandwidth_estimate: false,
              data_types: false,
              certificates: [],
              srtp_profiles: Options.srtp_profiles(),
              sdp_validation: :w3c,
              sctp_max_message_size: @default_max_message_size,
              data_buffer_limit: @default_data_buffer_limit,
              audio_extensions: [],
              video_extensions: []
            )

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
  def default_features, do: Options.features()

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
      Map.put(config, name, Options.parse!(name, value))
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
      | ice_servers: Options.parse!(:ice_servers, servers),
        ice_transport_policy: Options.parse!(:ice_transport_policy, policy)
    }
  end

  @option_names Keyword.keys(@options)

  defp known?(name), do: name in @option_names

  defp unknown_option(name) do
    "unknown option #{inspect(name)}, the options are: " <>
      Enum.map_join(@option_names, ", ", &inspect/1)
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
  # What `ExWebRTC.Native.open/3` takes.
  @spec to_native(t()) :: map()
  defdelegate to_native(config), to: Engine

  @doc false
  # Whether an option says which addresses to use: where none does, every one is.
  @spec chooses_addresses?(t()) :: boolean()
  def chooses_addresses?(%__MODULE__{} = config),
    do: config.ice_ip_filter != nil or config.host_to_srflx_ip_mapper != nil

  @doc false
  # What the two address options say of these interface addresses: those to use, each with its
  # public address or `nil`.
  @spec host_addresses(t(), [:inet.ip_address()]) ::
          [{:inet.ip_address(), :inet.ip_address() | nil}]
  def host_addresses(%__MODULE__{} = config, addresses) do
    filter = config.ice_ip_filter || fn _address -> true end
    mapper = config.host_to_srflx_ip_mapper || fn _address -> nil end
    for address <- addresses, filter.(address), do: {address, mapper.(address)}
  end

  @doc false
  # The configuration with what negotiation made of it: codecs with the payload types and
  # extensions with the ids in use.
  @spec negotiated(t(), [RTPCodecParameters.t()], [RTPCodecParameters.t()], [
          %{id: 1..255, uri: String.t()}
        ]) ::
          t()
  def negotiated(%__MODULE__{} = config, audio_codecs, video_codecs, header_extensions) do
    %{
      config
      | audio_codecs: audio_codecs,
        video_codecs: video_codecs,
        audio_extensions: Engine.extensions_of(config, :audio, header_extensions),
        video_extensions: Engine.extensions_of(config, :video, header_extensions)
    }
  end
end
