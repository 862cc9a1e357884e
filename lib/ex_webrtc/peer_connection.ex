defmodule ExWebRTC.PeerConnection do
  @moduledoc """
  A WebRTC connection: the W3C [RTCPeerConnection](https://www.w3.org/TR/webrtc/#rtcpeerconnection-interface)
  as a process.

  Names are the W3C's in snake_case. What a browser fires as events comes as messages to the
  *controlling process*, by default the one that started the connection; see `t:message/0`.

      {:ok, pc} = ExWebRTC.PeerConnection.start_link(ice_servers: [%{urls: "stun:stun.example.org"}])
      :ok = ExWebRTC.PeerConnection.set_remote_description(pc, offer)
      {:ok, answer} = ExWebRTC.PeerConnection.create_answer(pc)
      :ok = ExWebRTC.PeerConnection.set_local_description(pc, answer)

  ## Which process does what

  The process that is started here serves the functions below. Media, encryption and the network
  belong to native threads. Received packets and all other messages go from there straight to the
  controlling process; packets that are sent go straight there from the caller. The connection
  ends with its process, and the process with the one it is linked to.

  ## Where it runs

  `pc` may be a pid, a registered name or `{name, node}`, also of another node. The controlling
  process may be on another node too; messages then pass through the connection's process.
  `ExWebRTC.Cluster` has names for the whole cluster, and says what happens when a node is lost.

  ## Errors

  What a peer can cause is returned as `{:error, reason}`. An argument that no program should pass,
  such as a string for a track, raises `ArgumentError` or `FunctionClauseError` in the caller. On
  top of the reasons listed with each function, every function that returns `{:error, reason}` may
  return

  - `:busy`: more than a thousand requests of this connection wait for an answer,
  - `:closed`: the process ended while the request was waiting.

  A call to a process that does not exist exits, as with `GenServer.call/3`; functions that send
  media return `:ok`.
  """

  alias ExWebRTC.{
    DataChannel,
    Forward,
    ICECandidate,
    MediaStreamTrack,
    RTCP,
    RTPCodecParameters,
    RTPReceiver,
    RTPSender,
    RTPTransceiver,
    SessionDescription
  }

  alias ExWebRTC.PeerConnection.{Arguments, Client, Configuration, Server}

  # The types of this module, `message()` among them.
  use ExWebRTC.PeerConnection.Types

  ## Starting, stopping

  @doc """
  Starts a connection that is not linked to the caller. As `start_link/2`.
  """
  @spec start(Configuration.options(), GenServer.options()) :: GenServer.on_start()
  def start(pc_opts \\ [], gen_server_opts \\ []),
    do: Server.start(&GenServer.start/3, Configuration.parse!(pc_opts, self()), gen_server_opts)

  @doc """
  Starts a connection.

  The options are described in `ExWebRTC.PeerConnection.Configuration`; a wrong one raises
  `ArgumentError` here. `gen_server_opts` are those of `GenServer.start_link/3`, such as `:name`.

  Errors, besides those of `GenServer.start_link/3`: `{:ice_udp_mux, port, reason}` when the port of
  that option cannot be opened. `reason` is `:eaddrinuse` where another program has it, `:eacces`
  where this one may not, `:eaddrnotavail` where `ice_ip_filter` leaves no address, or what the
  system says. No process was started then.
  """
  @spec start_link(Configuration.options(), GenServer.options()) :: GenServer.on_start()
  def start_link(pc_opts \\ [], gen_server_opts \\ []) do
    configuration = Configuration.parse!(pc_opts, self())
    Server.start(&GenServer.start_link/3, configuration, gen_server_opts)
  end

  @doc """
  A connection as the child of a supervisor: `{ExWebRTC.PeerConnection, opts}`, with the options of
  `start_link/2`.

  The supervisor is the one that starts it, and so its controlling process, which would only log
  what it is sent. Name another one with the option `controlling_process`, or call
  `controlling_process/2`:

      children = [{ExWebRTC.PeerConnection, controlling_process: MyApp.Calls}]
      Supervisor.start_link(children, strategy: :one_for_one)

  As with `use GenServer` the child is restarted whenever it ends (`restart: :permanent`). What is
  restarted is a new connection, which no peer knows of: where each belongs to one call,
  `Supervisor.child_spec({ExWebRTC.PeerConnection, opts}, restart: :temporary)` suits better, and so
  does an `id` of its own for each.
  """
  @spec child_spec(Configuration.options()) :: Supervisor.child_spec()
  def child_spec(pc_opts),
    do: %{id: __MODULE__, start: {__MODULE__, :start_link, [pc_opts]}}

  @doc """
  Sends messages to another process from here on: a pid, a registered name, `{name, node}`, or an
  alias (`:erlang.alias/0`).

  Anything else raises `ArgumentError`, as with the option `controlling_process`. A port is no
  destination either: it takes none of these messages, and would end its owner for them.

  Errors: `:invalid_state` when the connection is closed.
  """
  @spec controlling_process(peer_connection(), Process.dest() | reference()) ::
          :ok | {:error, atom()}
  def controlling_process(pc, dest),
    do: Client.controlling_process(pc, Configuration.Options.parse!(:controlling_process, dest))

  @doc "The connections that run on this node, in no order."
  @spec get_all_running() :: [pid()]
  def get_all_running,
    do: Registry.select(ExWebRTC.Registry, [{{:"$1", :_, :_}, [], [:"$1"]}])

  @doc """
  Closes the connection ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-close)).

  When it returns, the sockets are closed, transceivers are stopped and channels `:closed`. No
  messages about it are sent. The process lives on and answers getters. Closing again is fine.
  """
  @spec close(peer_connection()) :: :ok | {:error, atom()}
  def close(pc), do: Client.request(pc, :close)

  @doc "Closes the connection and stops its process."
  @spec stop(peer_connection()) :: :ok
  def stop(pc), do: Client.stop(pc)

  ## Configuration and states

  @doc """
  The configuration in use: what was given at the start, with the payload types and extension ids
  that were negotiated since.
  """
  @spec get_configuration(peer_connection()) :: Configuration.t()
  def get_configuration(pc), do: Client.configuration(pc)

  @doc "The state of the connection as a whole."
  @spec get_connection_state(peer_connection()) :: connection_state()
  def get_connection_state(pc), do: Client.get(pc, {:get, :connection_state})

  @doc "The state of ICE."
  @spec get_ice_connection_state(peer_connection()) :: ice_connection_state()
  def get_ice_connection_state(pc), do: Client.get(pc, {:get, :ice_connection_state})

  @doc "How far candidates have been gathered."
  @spec get_ice_gathering_state(peer_connection()) :: ice_gathering_state()
  def get_ice_gathering_state(pc), do: Client.get(pc, {:get, :ice_gathering_state})

  @doc "The state of DTLS."
  @spec get_dtls_transport_state(peer_connection()) :: dtls_transport_state()
  def get_dtls_transport_state(pc), do: Client.get(pc, {:get, :dtls_transport_state})

  @doc "Where the exchange of descriptions stands; `:closed` after `close/1`."
  @spec get_signaling_state(peer_connection()) :: signaling_state()
  def get_signaling_state(pc), do: Client.get(pc, {:get, :signaling_state})

  @doc """
  Whether the peer takes candidates after its description; `nil` before it has set one.
  """
  @spec can_trickle_ice_candidates(peer_connection()) :: boolean() | nil
  def can_trickle_ice_candidates(pc), do: Client.get(pc, {:get, :can_trickle_ice_candidates})

  @doc """
  The local description, pending before current, with the candidates gathered so far.
  """
  @spec get_local_description(peer_connection()) :: SessionDescription.t() | nil
  def get_local_description(pc), do: Client.get(pc, {:get, :local_description})

  @doc "The remote description, pending before current, with the candidates added so far."
  @spec get_remote_description(peer_connection()) :: SessionDescription.t() | nil
  def get_remote_description(pc), do: Client.get(pc, {:get, :remote_description})

  @doc "The local description that was last agreed on."
  @spec get_current_local_description(peer_connection()) :: SessionDescription.t() | nil
  def get_current_local_description(pc), do: Client.get(pc, {:get, :current_local_description})

  @doc "The remote description that was last agreed on."
  @spec get_current_remote_description(peer_connection()) :: SessionDescription.t() | nil
  def get_current_remote_description(pc), do: Client.get(pc, {:get, :current_remote_description})

  @doc "The local description of an exchange that has not ended."
  @spec get_pending_local_description(peer_connection()) :: SessionDescription.t() | nil
  def get_pending_local_description(pc), do: Client.get(pc, {:get, :pending_local_description})

  @doc "The remote description of an exchange that has not ended."
  @spec get_pending_remote_description(peer_connection()) :: SessionDescription.t() | nil
  def get_pending_remote_description(pc), do: Client.get(pc, {:get, :pending_remote_description})

  @doc """
  Changes the ICE servers and the transport policy, from the next gathering of candidates on: that
  of an ICE restart, or the first
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-setconfiguration)).

  Takes options of `start_link/2`, or what `get_configuration/1` returned with changes. As with the
  W3C, `ice_servers` and `ice_transport_policy` that are left out of options become their defaults,
  no servers and `:all`.

  Errors: `:invalid_modification` when another option is not as it is, `:invalid_state` when the
  connection is closed. Options that are invalid raise, as with `start_link/2`.
  """
  @spec set_configuration(peer_connection(), keyword() | Configuration.t()) ::
          :ok | {:error, atom()}
  def set_configuration(pc, configuration), do: Client.set_configuration(pc, configuration)

  ## Negotiation

  @doc """
  Makes an offer ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-createoffer)).

  `ice_restart: true` gives it new ICE credentials.

  Errors: `:invalid_state` unless the signaling state is `:stable` or `:have_local_offer`.
  """
  @spec create_offer(peer_connection(), ice_restart: boolean()) ::
          {:ok, SessionDescription.t()} | {:error, atom()}
  def create_offer(pc, opts \\ []),
    do:
      Client.request(
        pc,
        {:create_offer, Keyword.validate!(opts, ice_restart: false)[:ice_restart]}
      )

  @doc """
  Makes an answer ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-createanswer)).

  Errors: `:invalid_state` unless there is a remote offer.
  """
  @spec create_answer(peer_connection()) :: {:ok, SessionDescription.t()} | {:error, atom()}
  def create_answer(pc), do: Client.request(pc, :create_answer)

  @doc """
  Makes the description that the signaling state asks for, an offer or an answer, and sets it
  ([W3C](https://www.w3.org/TR/webrtc/#dom-peerconnection-setlocaldescription)).
  """
  @spec set_local_description(peer_connection()) :: :ok | {:error, atom()}
  def set_local_description(pc), do: Client.request(pc, {:set_local_description, nil})

  @doc """
  Sets the description that `create_offer/2` or `create_answer/1` made; gathering begins.

  `%SessionDescription{type: :rollback, sdp: ""}` takes an offer back.

  Errors: `:invalid_state`, `:invalid_sdp_syntax`, `:description_altered` when it is another
  description than the one made (RFC 9429 section 5.4).
  """
  @spec set_local_description(peer_connection(), SessionDescription.t()) :: :ok | {:error, atom()}
  def set_local_description(pc, description) do
    with {:ok, description} <- Arguments.description(description),
         do: Client.request(pc, {:set_local_description, description})
  end

  @doc """
  Sets the peer's description
  ([W3C](https://www.w3.org/TR/webrtc/#dom-peerconnection-setremotedescription)).

  An offer that comes while there is a local one takes the local one back: with "perfect
  negotiation" no code is needed for glare. The signaling state is then told twice, as with the W3C:
  `:stable`, and `:have_remote_offer`.

  Errors, after any of which the connection is as it was: `:invalid_state`, `:invalid_sdp_syntax`,
  `:empty_sdp`, `:missing_mid`, `:duplicated_mid`, `:missing_bundle_group`,
  `:multiple_bundle_groups`, `:non_exhaustive_bundle_group`, `:invalid_bundle_group`,
  `:multiple_data_mlines`, `:invalid_datachannel_format`, `:no_sctp_port`, `:missing_rtcp_mux`,
  `:missing_ice_credentials`, `:missing_ice_ufrag`, `:missing_ice_pwd`,
  `:conflicting_ice_credentials`, `:missing_cert_fingerprint`, `:conflicting_cert_fingerprints`,
  `:unsupported_cert_fingerprint_hash_function`, `:missing_dtls_role`, `:conflicting_dtls_roles`.
  """
  @spec set_remote_description(peer_connection(), SessionDescription.t()) ::
          :ok | {:error, atom()}
  def set_remote_description(pc, description) do
    with {:ok, description} <- Arguments.description(description),
         do: Client.request(pc, {:set_remote_description, description})
  end

  @doc """
  Adds a candidate of the peer; `nil`, or one with an empty `candidate`, is the end of candidates.

  One that is written as RFC 8839 has it and of no use, such as one with a host name that is no
  `.local` one, or of a transport that is not known, is left alone.

  Errors: `:no_remote_description`, `:invalid_state`, `:invalid_candidate`.
  """
  @spec add_ice_candidate(peer_connection(), ICECandidate.t() | nil) :: :ok | {:error, atom()}
  def add_ice_candidate(pc, candidate) do
    with {:ok, candidate} <- Arguments.candidate(candidate),
         do: Client.request(pc, {:add_ice_candidate, candidate})
  end

  @doc """
  Makes the next offer restart ICE; `:negotiation_needed` follows
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-restartice)).
  """
  @spec restart_ice(peer_connection()) :: :ok | {:error, atom()}
  def restart_ice(pc), do: Client.request(pc, :restart_ice)

  ## Transceivers, tracks

  @doc """
  Adds a transceiver for a kind, or for a track to send
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-addtransceiver)).

      layers = [%{rid: "l", max_bitrate: 150_000}, %{rid: "h"}]
      {:ok, transceiver} = PeerConnection.add_transceiver(pc, track, send_encodings: layers)

  How to say which layer a packet is of: see `send_rtp/4`.

  Errors: `:invalid_state`, also for a track that another sender has: packets are sent by the id of
  their track, so it can be in one only.
  """
  @spec add_transceiver(
          peer_connection(),
          RTPTransceiver.kind() | MediaStreamTrack.t(),
          transceiver_options()
        ) :: {:ok, RTPTransceiver.t()} | {:error, atom()}
  def add_transceiver(pc, kind_or_track, opts \\ []),
    do: Client.request(pc, Arguments.transceiver(kind_or_track, opts))

  @doc """
  Sets the direction of a transceiver, to be negotiated.

  Errors: `:invalid_transceiver_id`, `:invalid_state` when it is stopped.
  """
  @spec set_transceiver_direction(
          peer_connection(),
          RTPTransceiver.id(),
          RTPTransceiver.direction()
        ) :: :ok | {:error, atom()}
  def set_transceiver_direction(pc, transceiver_id, direction) do
    Client.request(
      pc,
      {:set_transceiver_direction, transceiver_id, Arguments.direction!(direction)}
    )
  end

  @doc """
  Stops a transceiver; its m-line is free for another one once that is negotiated
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiver-stop)).

  Errors: `:invalid_transceiver_id`, `:invalid_state`.
  """
  @spec stop_transceiver(peer_connection(), RTPTransceiver.id()) :: :ok | {:error, atom()}
  def stop_transceiver(pc, transceiver_id),
    do: Client.request(pc, {:stop_transceiver, transceiver_id})

  @doc """
  Sets which codecs of the configuration a transceiver offers and accepts, preferred first; `[]`
  goes back to all ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiver-setcodecpreferences)).

  Errors: `:invalid_transceiver_id`, `:invalid_modification` for a codec that is not configured.
  """
  @spec set_codec_preferences(peer_connection(), RTPTransceiver.id(), [RTPCodecParameters.t()]) ::
          :ok | {:error, atom()}
  def set_codec_preferences(pc, transceiver_id, codecs) when is_list(codecs) do
    Client.request(
      pc,
      {:set_codec_preferences, transceiver_id, Enum.map(codecs, &Arguments.codec!/1)}
    )
  end

  @doc """
  What a sender sends
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-getparameters)).

  Errors: `:invalid_sender_id`.
  """
  @spec get_sender_parameters(peer_connection(), RTPSender.id()) ::
          {:ok, sender_parameters()} | {:error, atom()}
  def get_sender_parameters(pc, sender_id),
    do: Client.request(pc, {:get_sender_parameters, sender_id})

  @doc """
  Changes the `encodings` of what `get_sender_parameters/2` returned last; once
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-setparameters)).

      {:ok, parameters} = PeerConnection.get_sender_parameters(pc, sender.id)
      paused = Enum.map(parameters.encodings, &%{&1 | active: false})
      :ok = PeerConnection.set_sender_parameters(pc, sender.id, %{parameters | encodings: paused})

  Errors: `:invalid_sender_id`; `:invalid_state` when the transceiver is stopped, or
  `get_sender_parameters/2` was not called since the last change; `:invalid_modification` when
  anything but the settings of encodings is not as it was, or one of them is out of range.
  """
  @spec set_sender_parameters(peer_connection(), RTPSender.id(), sender_parameters()) ::
          :ok | {:error, atom()}
  def set_sender_parameters(pc, sender_id, %{encodings: _, transaction_id: _} = parameters),
    do: Client.request(pc, {:set_sender_parameters, sender_id, parameters})

  @doc """
  What a receiver receives
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getparameters)).

  Errors: `:invalid_receiver_id`.
  """
  @spec get_receiver_parameters(peer_connection(), RTPReceiver.id()) ::
          {:ok, receiver_parameters()} | {:error, atom()}
  def get_receiver_parameters(pc, receiver_id),
    do: Client.request(pc, {:get_receiver_parameters, receiver_id})

  @doc """
  Sets the streams that the sender's track belongs to for the peer; `:negotiation_needed` follows
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-setstreams)).

  Errors: `:invalid_sender_id`, `:invalid_state`, `:invalid_option` for ids that SDP can't carry
  (they have 1 to 64 visible ASCII characters), and for more than 16.
  """
  @spec set_streams(peer_connection(), RTPSender.id(), [MediaStreamTrack.stream_id()]) ::
          :ok | {:error, atom()}
  def set_streams(pc, sender_id, streams) when is_list(streams),
    do: Client.request(pc, {:set_streams, sender_id, streams})

  @doc """
  The SSRCs that a receiver has heard in the last 10 seconds, latest first
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getsynchronizationsources)).

  Errors: `:invalid_receiver_id`.
  """
  @spec get_synchronization_sources(peer_connection(), RTPReceiver.id()) ::
          {:ok, [rtp_source()]} | {:error, atom()}
  def get_synchronization_sources(pc, receiver_id),
    do: Client.request(pc, {:get_synchronization_sources, receiver_id})

  @doc """
  The CSRCs that a mixer put into what a receiver has heard in the last 10 seconds, latest first
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpreceiver-getcontributingsources)).

  Errors: `:invalid_receiver_id`.
  """
  @spec get_contributing_sources(peer_connection(), RTPReceiver.id()) ::
          {:ok, [rtp_source()]} | {:error, atom()}
  def get_contributing_sources(pc, receiver_id),
    do: Client.request(pc, {:get_contributing_sources, receiver_id})

  @doc """
  Plays DTMF tones on an audio sender, as telephone events (RFC 4733)
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcdtmfsender-insertdtmf)).

  `tones` are any of `0`-`9`, `A`-`D` (in either case), `#`, `*`, and `,` for two seconds of
  silence. Tones that wait are replaced; `""` takes them back. As each one begins, the controlling
  process is sent `{:tone_change, sender_id, tone}`, and with `""` when all were played.

  Options, in milliseconds, brought into the range of the W3C:

  - `duration`: of each tone, 40 to 6000, default 100
  - `inter_tone_gap`: the silence behind each one, 30 to 6000, default 70

  Errors: `:invalid_sender_id`; `:invalid_option` for other characters; `:invalid_state` while the
  sender may not send, or where no `audio/telephone-event` was negotiated: it is a codec to be named
  in the option `audio_codecs`.
  """
  @spec insert_dtmf(peer_connection(), RTPSender.id(), String.t(),
          duration: non_neg_integer(),
          inter_tone_gap: non_neg_integer()
        ) :: :ok | {:error, atom()}
  def insert_dtmf(pc, sender_id, tones, opts \\ []) do
    with {:ok, {tones, duration, gap}} <- Arguments.dtmf(tones, opts),
         do: Client.request(pc, {:insert_dtmf, sender_id, tones, duration, gap})
  end

  @doc "All transceivers, in the order of their m-lines."
  @spec get_transceivers(peer_connection()) :: [RTPTransceiver.t()]
  def get_transceivers(pc), do: Client.get(pc, :get_transceivers)

  @doc """
  Adds a track to send, on a transceiver that has nothing to send or a new one
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-addtrack)).

  Errors: `:invalid_state`, also for a track that a sender has already.
  """
  @spec add_track(peer_connection(), MediaStreamTrack.t()) ::
          {:ok, RTPSender.t()} | {:error, atom()}
  def add_track(pc, %MediaStreamTrack{} = track), do: Client.request(pc, {:add_track, track})

  @doc """
  Sends another track, or none, without negotiation
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtpsender-replacetrack)).

  Errors: `:invalid_sender_id`, `:invalid_track_type` for a track of the other kind,
  `:invalid_transceiver_direction`, `:invalid_state`, also for a track that another sender has.
  """
  @spec replace_track(peer_connection(), RTPSender.id(), MediaStreamTrack.t() | nil) ::
          :ok | {:error, atom()}
  def replace_track(pc, sender_id, track),
    do: Client.request(pc, {:replace_track, sender_id, track})

  @doc """
  Stops sending a track; the transceiver goes on to receive
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcpeerconnection-removetrack)).

  Errors: `:invalid_sender_id`, `:invalid_state`.
  """
  @spec remove_track(peer_connection(), RTPSender.id()) :: :ok | {:error, atom()}
  def remove_track(pc, sender_id), do: Client.request(pc, {:remove_track, sender_id})

  @doc """
  Chooses which of the negotiated codecs packets are sent with: an entry of the transceiver's `codecs`
  or of the configuration. What counts is what the codec is; the payload type, which the peer may have
  numbered its own way, only tells two of the same apart.

  Errors: `:invalid_sender_id`, `:invalid_codec` for one that was not negotiated,
  `:invalid_transceiver_direction`, `:invalid_state`.
  """
  @spec set_sender_codec(peer_connection(), RTPSender.id(), RTPCodecParameters.t()) ::
          :ok | {:error, atom()}
  def set_sender_codec(pc, sender_id, codec),
    do: Client.request(pc, {:set_sender_codec, sender_id, Arguments.codec!(codec)})

  ## Media

  @doc """
  Sends a packet on a track that was added. Never blocks.

  Payload type, SSRC and the header extensions that were negotiated are filled in. `rtx?: true`
  sends it as a retransmission (RFC 4588). While the connection is not connected, nothing is sent;
  packets for a track that no sender has are dropped, with one warning in the log. What no packet can
  carry raises `ArgumentError`.

  Where the track has several `send_encodings` (see `add_transceiver/3`), the packet says which of
  them it is of, in a header extension (`ExWebRTC.RTP.Packet.Extension.SourceDescription`) with the rid.
  Its id is known when the connection is negotiated:

      rid_uri = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
      transceivers = PeerConnection.get_transceivers(pc)
      transceiver = Enum.find(transceivers, &(&1.sender.track && &1.sender.track.id == track.id))
      %{id: id} = Enum.find(transceiver.header_extensions, &(&1.uri == rid_uri))
      low = SourceDescription.to_raw(SourceDescription.new("l"), id)
      PeerConnection.send_rtp(pc, track.id, Packet.add_extension(packet, low))

  A packet that has the SSRC of a layer is of that layer, whatever its rid; one that has neither is of
  the first.

  See `send_rtp/2` for many packets at once.
  """
  @spec send_rtp(peer_connection(), MediaStreamTrack.id(), rtp_packet(), rtx?: boolean()) :: :ok
  def send_rtp(pc, track_id, packet, opts),
    do: Client.send_rtp(pc, track_id, packet, Keyword.get(opts, :rtx?, false))

  @doc "`send_rtp/4` without options, or `send_rtp/2` with them."
  @spec send_rtp(peer_connection(), MediaStreamTrack.id(), rtp_packet()) :: :ok
  @spec send_rtp(peer_connection(), [{MediaStreamTrack.id(), rtp_packet()}], rtx?: boolean()) ::
          :ok
  def send_rtp(pc, packets, opts) when is_list(packets),
    do: Client.send_rtp_batch(pc, packets, Keyword.get(opts, :rtx?, false))

  def send_rtp(pc, track_id, packet), do: Client.send_rtp(pc, track_id, packet, false)

  @doc """
  Sends packets, each on its track, in this order: as `send_rtp/4` for each, but cheaper.

  What came in one `{:rtp_batch, packets}` can so leave in one call.
  """
  @spec send_rtp(peer_connection(), [{MediaStreamTrack.id(), rtp_packet()}]) :: :ok
  def send_rtp(pc, packets) when is_list(packets), do: Client.send_rtp_batch(pc, packets, false)

  @doc """
  Says how many messages with media or data the controlling process takes, as the option
  `flow_control` does at the start: like `:inet.setopts(socket, active: n)`.

  `{:active, n}` adds `n` to what is left of the messages asked for before, or begins to count.
  Behind the last of them comes `:passive`; then `{:rtp, ...}`, `{:rtp_batch, ...}`, `{:rtcp, ...}` and
  `{:data, ...}` wait for the next call, each such message counted as one, also a batch. All other
  messages come in any case. `:none` ends the counting.

      def handle_info({:ex_webrtc, pc, :passive}, state) do
        :ok = PeerConnection.set_flow_control(pc, {:active, 100})
        {:noreply, state}
      end

  What waits is bounded. Of media the newest 1,024 messages or 2 MiB are kept and the rest is
  dropped, oldest first, and counted as `not_taken_packets` in `"media_drops"` of the statistics. Of
  data nothing is lost: the receive window closes, so that the peer keeps what it sends, and opens
  again. When both wait they take turns. What waits in a channel that the peer closes comes before
  its `{:data_channel_state_change, ref, :closed}`.

  Any process may call this. Never blocks.
  """
  @spec set_flow_control(peer_connection(), :none | {:active, pos_integer()}) :: :ok
  def set_flow_control(pc, flow_control) do
    case Configuration.Options.parse!(:flow_control, flow_control) do
      {:active, messages} -> Client.add_credit(pc, messages)
      :none -> Client.add_credit(pc, nil)
    end
  end

  @doc """
  Asks the peer for a keyframe of a received track, of one layer where it is simulcast. Never blocks.
  """
  @spec send_pli(peer_connection(), MediaStreamTrack.id(), MediaStreamTrack.rid() | nil) :: :ok
  def send_pli(pc, track_id, rid \\ nil), do: Client.send_pli(pc, track_id, rid)

  @doc "Sends RTCP packets as one compound: structs, or bytes as they are. Never blocks."
  @spec send_rtcp(peer_connection(), RTCP.packet() | [RTCP.packet()] | binary()) :: :ok
  def send_rtcp(pc, packet) when is_binary(packet), do: Client.send_rtcp(pc, packet)
  def send_rtcp(pc, packets), do: Client.send_rtcp(pc, RTCP.encode(packets))

  @doc """
  Drops this share of RTP packets, in percent, both ways: for experiments.
  """
  @spec set_packet_loss(peer_connection(), 0..100) :: :ok | {:error, atom()}
  def set_packet_loss(pc, percent) when percent in 0..100,
    do: Client.request(pc, {:set_packet_loss, percent})

  ## Forwarding

  @doc """
  Forwards a received track to a sender: its packets go from `source` to `sink` inside the engine,
  without entering the BEAM. Both connections may be one.

  One track goes to any number of senders; a sender has one source at a time. Forwarding another
  track to a sender replaces its source at the next keyframe: for the viewer the stream goes on,
  without a gap in sequence numbers or timestamps. A forward takes the place of the sender's track,
  which may be `nil`: packets given to `send_rtp/4` for it are dropped and counted while it lasts.

  Packets are renumbered, take the payload type of the same codec at the sink, and keep the header
  extensions that both connections negotiated. Loss is repaired between each two neighbours.
  Keyframe requests of the viewers reach the source's peer, at most one in 300 ms a layer; one is
  made for every beginning and every switch. Where eight senders or more take a track, the packets of
  a picture leave together, with the last one, or 5 ms after the first where that does not come.

  Keep it free of loops: where two connections with each other both forward to it what they receive
  from it, a packet goes round for ever, as fast as the machines and the network can. Neither of them
  can tell. Who echoes what a peer sends must know that the peer does not.

  It may be called before either connection is connected. Options:

  - `layer`: of a simulcast track, the rid of a layer, or `:auto` (the default): the best one that
    fits what the sink's network carries. Where the layer that was asked for does not arrive, the
    best one stands in.
  - `tap`: also send the packets to the controlling process of `source`; default `false`. One
    forward of a track with it is enough. They come also where `rtp_delivery` is `:none`, each in a
    message.

  When either end goes away the forward ends, and both controlling processes are sent
  `{:forward_ended, ref, reason}`; see `t:forward_end/0`. A negotiation that leaves the two no codec in
  common is noticed, as `:codec_mismatch`, at the next packet that comes from the source. Statistics have an entry of type `:forward`
  at each end.

  Errors: `:invalid_track_id` for a track that `source` does not receive, `:invalid_sender_id`,
  `:invalid_track_type` where one is audio and the other video, `:invalid_layer`, `:codec_mismatch`
  where both are negotiated and have no codec in common, `:invalid_state` when one of the
  connections is closed, `:closed` when the process of `sink` is gone.

  The two connections and the caller may be on any nodes of the cluster. Between nodes the packets of
  a turn cross the distribution as one message; while the connection between the nodes is busy they
  are dropped, counted with the forward (`packets_dropped`), and a keyframe is asked for.
  """
  @spec forward(
          peer_connection(),
          MediaStreamTrack.id(),
          peer_connection(),
          RTPSender.id(),
          forward_options()
        ) :: {:ok, Forward.t()} | {:error, atom()}
  def forward(source, track_id, sink, sender_id, opts \\ []) do
    {layer, tap?} = Arguments.forward(opts)
    track = {Arguments.id!(track_id, :track_id), layer, tap?}
    Client.forward(source, track, sink, Arguments.id!(sender_id, :sender_id))
  end

  @doc """
  Chooses another layer for a forward of a simulcast track: a rid, or `:auto`. The switch is made at
  the layer's next keyframe, which is asked for.

  Errors: `:invalid_forward` for one that has ended, `:invalid_layer`.
  """
  @spec set_forward_layer(Forward.t(), MediaStreamTrack.rid() | :auto) :: :ok | {:error, atom()}
  def set_forward_layer(%Forward{id: id} = ref, layer),
    do: Client.forward_request(ref, {:set_forward_layer, id, Arguments.layer!(layer)})

  @doc """
  Ends a forward. What was received before is still sent on.

  Errors: `:invalid_forward` for one that has ended.
  """
  @spec stop_forward(Forward.t()) :: :ok | {:error, atom()}
  def stop_forward(%Forward{id: id} = ref), do: Client.forward_request(ref, {:stop_forward, id})

  @doc "The forwards that begin or end at a connection, in no order."
  @spec get_forwards(peer_connection()) :: [forward_info()]
  def get_forwards(pc), do: Client.get(pc, :get_forwards)

  ## Data channels

  @doc """
  Makes a data channel ([W3C](https://www.w3.org/TR/webrtc/#dom-peerconnection-createdatachannel)).

  It waits for an m-line, and closes (`{:data_channel_state_change, ref, :closed}`) where the peer
  refuses that. One that is made afterwards asks for it again.

  Errors: `:invalid_option` for options that do not exist, do not go together or are out of range,
  and for ids in use; `:invalid_state` when the connection is closed.
  """
  @spec create_data_channel(peer_connection(), String.t(), data_channel_options()) ::
          {:ok, DataChannel.t()} | {:error, atom()}
  def create_data_channel(pc, label, opts \\ []) do
    with {:ok, options} <- Arguments.channel(label, opts),
         do: Client.request(pc, {:create_data_channel, options})
  end

  @doc """
  A channel as it is now, `nil` for one that is not there (any more). After `close/1` those that
  lived until then are `:closed`.
  """
  @spec get_data_channel(peer_connection(), DataChannel.ref()) :: DataChannel.t() | nil
  def get_data_channel(pc, ref), do: Client.get(pc, {:get_data_channel, ref})

  @doc """
  Closes a channel, after what waits in it has been sent
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcdatachannel-close)).
  """
  @spec close_data_channel(peer_connection(), DataChannel.ref()) :: :ok | {:error, atom()}
  def close_data_channel(pc, ref), do: Client.request(pc, {:close_data_channel, ref})

  @doc """
  Sends a message, text (`:string`) or `:binary`. Never blocks.

  On a channel that is not open it is dropped, with a warning in the log.

  Errors: `:buffer_full` when `data_buffer_limit` bytes wait in the channel. The message was then
  not taken. A message that is larger than the peer takes raises `ArgumentError`, as it is a
  `TypeError` in the W3C's interface.
  """
  @spec send_data(peer_connection(), DataChannel.ref(), binary(), :string | :binary) ::
          :ok | {:error, :buffer_full}
  def send_data(pc, ref, data, data_type \\ :string),
    do: Client.send_data(pc, ref, data_type, data)

  @doc """
  Sends a message and waits until the channel has room for another: the way to send much without
  flooding. `timeout` in milliseconds, or `:infinity`; after one, the message may still be sent.

  Errors: `:buffer_full`, `:closed`, `:timeout`.
  """
  @spec send_data_sync(
          peer_connection(),
          DataChannel.ref(),
          binary(),
          :string | :binary,
          timeout()
        ) :: :ok | {:error, :buffer_full | :closed | :timeout}
  def send_data_sync(pc, ref, data, data_type \\ :string, timeout \\ 5_000),
    do: Client.send_data_sync(pc, ref, data_type, data, timeout)

  @doc """
  Bytes of a channel that were given to `send_data/4` and are not sent yet
  ([W3C](https://www.w3.org/TR/webrtc/#dom-datachannel-bufferedamount)).
  """
  @spec buffered_amount(peer_connection(), DataChannel.ref()) :: non_neg_integer()
  def buffered_amount(pc, ref), do: Client.buffered_amount(pc, ref)

  @doc """
  Sends `{:buffered_amount_low, ref}` whenever `buffered_amount/2` falls to this many bytes
  ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcdatachannel-bufferedamountlowthreshold)). On a channel
  that is closed it means nothing.
  """
  @spec set_buffered_amount_low_threshold(
          peer_connection(),
          DataChannel.ref(),
          non_neg_integer()
        ) :: :ok | {:error, atom()}
  def set_buffered_amount_low_threshold(pc, ref, bytes),
    do: Client.request(pc, {:set_buffered_amount_low_threshold, ref, bytes})

  ## Statistics

  @doc """
  Statistics ([webrtc-stats](https://www.w3.org/TR/webrtc-stats/)): a map keyed by id.

  `:peer_connection`, `:transport`, `:local_certificate` and `:remote_certificate` are ids of their
  own; the others are strings. A counter that nobody counts is absent.
  """
  @spec get_stats(peer_connection()) :: stats()
  def get_stats(pc), do: Client.get(pc, :get_stats)

  @doc """
  Statistics of one track, sender or receiver: its streams, and all entries that these refer to
  ([W3C](https://www.w3.org/TR/webrtc/#the-stats-selection-algorithm)). `nil` selects everything.

  Errors: `:invalid_track_id`, `:invalid_sender_id`, `:invalid_receiver_id`.
  """
  @spec get_stats(
          peer_connection(),
          MediaStreamTrack.t() | RTPSender.t() | RTPReceiver.t() | nil
        ) :: stats() | {:error, atom()}
  def get_stats(pc, nil), do: get_stats(pc)
  def get_stats(pc, selector), do: Client.get(pc, Arguments.stats_selector(selector))
end
