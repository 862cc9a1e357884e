defmodule ExWebRTC.FakePeerConnection do
  @moduledoc false
  # A stand-in for `ExWebRTC.PeerConnection` in tests of what is above it: it answers offers from
  # their m-lines, remembers what it was asked to send, and says what the test tells it to.

  use GenServer

  alias ExWebRTC.{
    DataChannel,
    MediaStreamTrack,
    RTPCodecParameters,
    RTPReceiver,
    RTPSender,
    RTPTransceiver,
    SessionDescription
  }

  # ---- for tests

  @doc "Sends a message to the controlling process, as the connection does."
  def emit(pc, message), do: GenServer.call(pc, {:emit, message})

  @doc "The calls that changed or sent something, oldest first."
  def calls(pc), do: GenServer.call(pc, :calls)

  @doc "Makes the next `send_data/4` calls fail until it is told otherwise."
  def full(pc, full?), do: GenServer.call(pc, {:full, full?})

  # ---- the API

  def start_link(options, _gen_options \\ []) do
    GenServer.start_link(__MODULE__, {options, self()})
  end

  def set_remote_description(pc, description), do: GenServer.call(pc, {:remote, description})
  def create_answer(pc), do: GenServer.call(pc, :create_answer)
  def set_local_description(pc, description), do: GenServer.call(pc, {:local, description})
  def get_local_description(pc), do: GenServer.call(pc, :get_local)
  def get_remote_description(pc), do: GenServer.call(pc, :get_remote)
  def get_ice_gathering_state(pc), do: GenServer.call(pc, :gathering)
  def get_connection_state(_pc), do: :connected
  def get_ice_connection_state(_pc), do: :connected
  def get_signaling_state(_pc), do: :stable

  def get_stats(_pc) do
    %{"pair" => %{id: "pair", type: :candidate_pair, current_round_trip_time: 0.001}}
  end

  def add_ice_candidate(pc, candidate), do: GenServer.call(pc, {:candidate, candidate})
  def get_transceivers(pc), do: GenServer.call(pc, :transceivers)
  def add_track(pc, track), do: GenServer.call(pc, {:add_track, track})
  def create_data_channel(pc, label, options), do: GenServer.call(pc, {:channel, label, options})
  def close_data_channel(pc, ref), do: GenServer.call(pc, {:close_channel, ref})

  def send_data(pc, ref, data, kind \\ :string),
    do: GenServer.call(pc, {:data, ref, kind, data})

  def send_rtp(pc, track_id, packet), do: GenServer.call(pc, {:rtp, track_id, packet})
  def send_pli(pc, track_id, rid \\ nil), do: GenServer.call(pc, {:pli, track_id, rid})

  def forward(pc, track_id, sink, sender_id) do
    :ok = GenServer.call(pc, {:forward, track_id, sink, sender_id})
    {:ok, make_ref()}
  end

  def stop(pc), do: GenServer.stop(pc)

  # ---- the process

  @impl true
  def init({options, owner}) do
    {:ok,
     %{
       options: options,
       owner: owner,
       remote: nil,
       previous: nil,
       transceivers: [],
       calls: [],
       full: false,
       answers: 0
     }}
  end

  @impl true
  def handle_call({:emit, message}, _from, state) do
    send(state.owner, {:ex_webrtc, self(), message})
    {:reply, :ok, state}
  end

  def handle_call(:calls, _from, state), do: {:reply, Enum.reverse(state.calls), state}
  def handle_call({:full, full?}, _from, state), do: {:reply, :ok, %{state | full: full?}}

  def handle_call({:remote, %SessionDescription{type: :rollback}}, _from, state),
    do: {:reply, :ok, %{state | remote: state.previous}}

  def handle_call({:remote, %SessionDescription{type: :offer, sdp: sdp}}, _from, state) do
    case sdp do
      "v=0" <> _rest ->
        transceivers = state.transceivers ++ new_transceivers(sdp, length(state.transceivers))

        {:reply, :ok, %{state | previous: state.remote, remote: sdp, transceivers: transceivers}}

      _garbage ->
        {:reply, {:error, :invalid_sdp_syntax}, state}
    end
  end

  def handle_call(:create_answer, _from, state) do
    sdp =
      "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:pw\r\n"

    {:reply, {:ok, %SessionDescription{type: :answer, sdp: sdp}}, state}
  end

  def handle_call({:local, _answer}, _from, state),
    do: {:reply, :ok, %{state | answers: state.answers + 1}}

  def handle_call(:get_local, _from, state) do
    sdp =
      "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ours#{state.answers}\r\n" <>
        "a=ice-pwd:pw\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"

    {:reply, %SessionDescription{type: :answer, sdp: sdp}, state}
  end

  def handle_call(:get_remote, _from, %{remote: nil} = state), do: {:reply, nil, state}

  def handle_call(:get_remote, _from, state),
    do: {:reply, %SessionDescription{type: :offer, sdp: state.remote}, state}

  def handle_call(:gathering, _from, state), do: {:reply, :complete, state}
  def handle_call(:transceivers, _from, state), do: {:reply, state.transceivers, state}

  def handle_call({:add_track, track}, _from, state) do
    index =
      Enum.find_index(state.transceivers, &(&1.kind == track.kind and &1.sender.track == nil))

    transceiver = Enum.at(state.transceivers, index)
    sender = %RTPSender{transceiver.sender | track: track}
    transceivers = List.replace_at(state.transceivers, index, %{transceiver | sender: sender})
    {:reply, {:ok, sender}, %{state | transceivers: transceivers}}
  end

  def handle_call({:channel, label, options} = call, _from, state) do
    channel = %DataChannel{
      ref: make_ref(),
      id: options[:id],
      label: label,
      ordered: true,
      protocol: "",
      ready_state: :connecting
    }

    {:reply, {:ok, channel}, %{state | calls: [call | state.calls]}}
  end

  def handle_call({:data, _ref, _kind, _data}, _from, %{full: true} = state),
    do: {:reply, {:error, :buffer_full}, state}

  def handle_call({:candidate, %{candidate: "candidate:bad" <> _rest}}, _from, state),
    do: {:reply, {:error, :invalid_candidate}, state}

  def handle_call(call, _from, state), do: {:reply, :ok, %{state | calls: [call | state.calls]}}

  defp new_transceivers(sdp, known) do
    kinds = for "m=" <> rest <- String.split(sdp, "\r\n"), kind = kind(rest), do: kind

    for {kind, index} <- kinds |> Enum.with_index() |> Enum.drop(known) do
      codec = codec(kind)

      %RTPTransceiver{
        id: index,
        kind: kind,
        direction: :recvonly,
        mid: Integer.to_string(index),
        codecs: [codec],
        receiver: %RTPReceiver{id: index, track: MediaStreamTrack.new(kind)},
        sender: %RTPSender{id: index}
      }
    end
  end

  defp kind("audio" <> _rest), do: :audio
  defp kind("video" <> _rest), do: :video
  defp kind(_other), do: nil

  defp codec(:audio),
    do: %RTPCodecParameters{payload_type: 111, mime_type: "audio/opus", clock_rate: 48_000}

  defp codec(:video),
    do: %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}
end
