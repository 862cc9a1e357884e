defmodule ExWebRTC.UDPBridge do
  @moduledoc """
  Plain RTP and RTCP over UDP, in and out: what ffmpeg, GStreamer and SIP gateways speak.

  Out, to a port where another program listens:

      {:ok, bridge} =
        ExWebRTC.UDPBridge.start_link(
          tracks: [%{id: track.id, codec: codec, remote: {{127, 0, 0, 1}, 5004}}]
        )

      File.write!("stream.sdp", ExWebRTC.UDPBridge.sdp(bridge))
      # ffplay -protocol_whitelist file,udp,rtp stream.sdp

      def handle_info({:ex_webrtc, _pc, {:rtp, track_id, _rid, packet}}, state) do
        ExWebRTC.UDPBridge.send_rtp(state.bridge, track_id, packet)
        {:noreply, state}
      end

  In, from a program that sends to a port of ours:

      {:ok, bridge} = ExWebRTC.UDPBridge.start_link(tracks: [%{id: track.id, codec: codec, port: 6000}])
      # ffmpeg -re -i film.mp4 -an -c:v libvpx -f rtp rtp://127.0.0.1:6000

      def handle_info({:ex_webrtc_udp, _bridge, {:rtp, track_id, packet}}, state) do
        ExWebRTC.PeerConnection.send_rtp(state.pc, track_id, packet)
        {:noreply, state}
      end

  The process that starts the bridge gets `{:ex_webrtc_udp, bridge, message}` with

  - `{:rtp, track_id, packet}`: `ExWebRTC.RTP.Packet`
  - `{:rtcp, track_id, packets}`: from the port above that of RTP (RFC 3550 section 11), or from the
    same port (RFC 5761)

  What is neither is dropped, and so is what comes while that process has 10,000 messages to read. The
  bridge stops with it. There is no encryption and no authentication: keep it on one machine or
  in a network that you trust. Sockets are bound to 127.0.0.1 unless `:ip` says otherwise.
  """

  use GenServer

  alias ExWebRTC.{MediaStreamTrack, OptionCheck, RTCP, RTPCodecParameters}
  alias ExWebRTC.RTP.Packet

  # A burst of a keyframe must fit.
  @receive_buffer 2 * 1024 * 1024
  # Datagrams between looks at how far the owner is behind, messages that it may be, and milliseconds
  # until the next look. The kernel drops what does not fit its buffer.
  @active 100
  @max_owner_queue 10_000
  @owner_pause 10
  # RTCP is at the port above.
  @max_rtp_port 65_534
  # Pairs of ports to try where none was asked for.
  @attempts 50

  @typedoc """
  - `id`, `codec`: of the track
  - `remote`: address and RTP port to send to; RTCP goes to the port above. Without, only received.
  - `port`: the RTP port to receive at; an even one that is free by default
  """
  @type track() :: %{
          required(:id) => MediaStreamTrack.id(),
          required(:codec) => RTPCodecParameters.t(),
          optional(:remote) => {:inet.ip_address(), :inet.port_number()},
          optional(:port) => :inet.port_number()
        }

  @doc """
  Opens the sockets. What arrives is sent to the caller, and the bridge ends with it: so start it
  from the process that forwards, not as the child of a supervisor. Options: `tracks` and `ip`, the
  address to bind to (default 127.0.0.1). What is wrong in them raises.

  Errors: the reasons of `:gen_udp.open/2`, such as `:eaddrinuse`.
  """
  @spec start_link([tracks: [track()], ip: :inet.ip_address()], GenServer.options()) ::
          GenServer.on_start()
  def start_link(opts, gen_server_opts \\ []) do
    opts =
      opts
      |> Keyword.validate!([:tracks, ip: {127, 0, 0, 1}])
      |> OptionCheck.check!(
        ip: {&:inet.is_ip_address/1, "an IP address as a tuple"},
        tracks: {&is_list/1, "a list of tracks"}
      )

    for track <- opts[:tracks], do: track!(track)
    ids = Enum.map(opts[:tracks], & &1.id)
    if Enum.uniq(ids) != ids, do: raise(ArgumentError, "expected each :id of :tracks once")
    GenServer.start_link(__MODULE__, {Map.new(opts), self()}, gen_server_opts)
  end

  defp track!(%{id: id, codec: codec} = track) do
    port = 1..@max_rtp_port

    OptionCheck.check!(
      [id: id, codec: codec, remote: track[:remote], port: track[:port]],
      id: {&is_integer/1, "the id of a track"},
      codec: {&(RTPCodecParameters.problem(&1) == nil), "a codec"},
      remote: {&(&1 == nil or remote?(&1)), "an IP address and a port in #{inspect(port)}"},
      port: {&(&1 == nil or (is_integer(&1) and &1 in port)), "in #{inspect(port)}"}
    )
  end

  defp track!(other) do
    raise ArgumentError,
          "expected :tracks to be maps with :id and :codec, got: #{inspect(other)}"
  end

  defp remote?({ip, port}),
    do: :inet.is_ip_address(ip) and is_integer(port) and port in 1..@max_rtp_port

  defp remote?(_other), do: false

  @doc """
  Sends a packet of a track to its remote address, with the payload type of the track's codec. Never
  blocks; unknown tracks are ignored. What no packet can carry raises `ArgumentError`.
  """
  @spec send_rtp(GenServer.server(), MediaStreamTrack.id(), struct()) :: :ok
  def send_rtp(bridge, track_id, packet),
    do: GenServer.cast(bridge, {:rtp, track_id, Packet.encode(packet)})

  @doc """
  Sends RTCP packets of a track. Never blocks; unknown tracks are ignored. What no packet can carry
  raises `ArgumentError`.
  """
  @spec send_rtcp(GenServer.server(), MediaStreamTrack.id(), [RTCP.packet()]) :: :ok
  def send_rtcp(bridge, track_id, packets),
    do: GenServer.cast(bridge, {:rtcp, track_id, RTCP.encode(packets)})

  @doc "The RTP port that each track is received at, by track id."
  @spec ports(GenServer.server()) :: %{MediaStreamTrack.id() => :inet.port_number()}
  def ports(bridge), do: GenServer.call(bridge, :ports)

  @doc """
  The SDP (RFC 8866) with which another program receives what is sent. With `:in` it is what a
  program needs that is to send to us.
  """
  @spec sdp(GenServer.server(), :out | :in) :: String.t()
  def sdp(bridge, direction \\ :out), do: GenServer.call(bridge, {:sdp, direction})

  @impl true
  def init({opts, owner}) do
    Process.monitor(owner)

    case open_all(opts.tracks, opts.ip, []) do
      {:ok, tracks} -> {:ok, %{owner: owner, ip: opts.ip, tracks: Map.new(tracks, &{&1.id, &1})}}
      {:error, reason} -> {:stop, reason}
    end
  end

  defp open_all([], _ip, opened), do: {:ok, Enum.reverse(opened)}

  defp open_all([track | tracks], ip, opened) do
    with {:ok, rtp, rtcp} <- open(Map.get(track, :port), ip, @attempts) do
      track = Map.merge(%{remote: nil}, track)
      open_all(tracks, ip, [Map.merge(track, %{rtp: rtp, rtcp: rtcp}) | opened])
    end
  end

  # RTP at an even port, RTCP at the one above.
  defp open(nil, _ip, 0), do: {:error, :eaddrinuse}

  defp open(nil, ip, attempts) do
    with {:ok, socket} <- bind(ip, 0), {:ok, port} <- :inet.port(socket) do
      :gen_udp.close(socket)

      case open(port - rem(port, 2), ip, 1) do
        {:ok, rtp, rtcp} -> {:ok, rtp, rtcp}
        {:error, _taken} -> open(nil, ip, attempts - 1)
      end
    end
  end

  defp open(port, ip, _attempts) do
    with {:ok, rtp} <- bind(ip, port) do
      case bind(ip, port + 1) do
        {:ok, rtcp} ->
          {:ok, rtp, rtcp}

        {:error, reason} ->
          :gen_udp.close(rtp)
          {:error, reason}
      end
    end
  end

  defp bind(ip, port) do
    family = if tuple_size(ip) == 8, do: :inet6, else: :inet
    :gen_udp.open(port, [:binary, family, ip: ip, active: @active, recbuf: @receive_buffer])
  end

  @impl true
  def handle_call(:ports, _from, state) do
    {:reply, Map.new(state.tracks, fn {id, track} -> {id, port(track)} end), state}
  end

  def handle_call({:sdp, direction}, _from, state) do
    {:reply, render(Map.values(state.tracks), state.ip, direction), state}
  end

  @impl true
  def handle_cast({kind, track_id, content}, state) do
    case state.tracks do
      %{^track_id => %{remote: {ip, port}} = track} -> transmit(kind, track, ip, port, content)
      _unknown_or_only_received -> :ok
    end

    {:noreply, state}
  end

  # The network may lose it, and so may a full buffer.
  defp transmit(:rtp, track, ip, port, <<first, marker::1, _type::7, rest::binary>>) do
    data = [<<first, marker::1, track.codec.payload_type::7>>, rest]
    _ = :gen_udp.send(track.rtp, ip, port, data)
  end

  defp transmit(:rtcp, track, ip, port, packets),
    do: :gen_udp.send(track.rtcp, ip, port + 1, packets)

  @impl true
  def handle_info({:udp, socket, _ip, _port, data}, state) do
    with %{id: id} <- Enum.find(Map.values(state.tracks), &(socket in [&1.rtp, &1.rtcp])),
         {:ok, message} <- decode(data, id) do
      send(state.owner, {:ex_webrtc_udp, self(), message})
    end

    {:noreply, state}
  end

  def handle_info({:udp_passive, socket}, state) do
    if behind?(state.owner),
      do: Process.send_after(self(), {:udp_passive, socket}, @owner_pause),
      else: :inet.setopts(socket, active: @active)

    {:noreply, state}
  end

  def handle_info({:DOWN, _monitor, :process, owner, _reason}, %{owner: owner} = state),
    do: {:stop, :normal, state}

  def handle_info(_other, state), do: {:noreply, state}

  defp behind?(owner) do
    case Process.info(owner, :message_queue_len) do
      {:message_queue_len, length} -> length > @max_owner_queue
      nil -> false
    end
  end

  # Types 192 to 223 are RTCP (RFC 5761 section 4).
  defp decode(<<2::2, _::6, type, _rest::binary>> = data, id) when type in 192..223 do
    with {:ok, packets} <- RTCP.decode(data), do: {:ok, {:rtcp, id, packets}}
  end

  defp decode(data, id) do
    with {:ok, packet} <- Packet.decode(data), do: {:ok, {:rtp, id, packet}}
  end

  defp port(track) do
    {:ok, port} = :inet.port(track.rtp)
    port
  end

  defp render(tracks, ip, direction) do
    media =
      for track <- tracks, {address, port} <- target(track, ip, direction) do
        codec = RTPCodecParameters.normalize(track.codec)
        [kind, name] = String.split(codec.mime_type, "/", parts: 2)
        channels = if kind == "audio" and codec.channels, do: "/#{codec.channels}", else: ""
        type = codec.payload_type

        [
          "m=#{kind} #{port} RTP/AVP #{type}\r\n",
          "c=IN #{address(address)}\r\n",
          "a=rtpmap:#{type} #{name}/#{codec.clock_rate}#{channels}\r\n",
          if(codec.sdp_fmtp_line, do: "a=fmtp:#{type} #{codec.sdp_fmtp_line}\r\n", else: "")
        ]
      end

    IO.iodata_to_binary(["v=0\r\no=- 0 0 IN #{address(ip)}\r\ns=ExWebRTC\r\nt=0 0\r\n" | media])
  end

  defp target(%{remote: nil}, _ip, :out), do: []
  defp target(%{remote: remote}, _ip, :out), do: [remote]
  defp target(track, ip, :in), do: [{ip, port(track)}]

  defp address(ip), do: "IP#{if tuple_size(ip) == 8, do: 6, else: 4} #{:inet.ntoa(ip)}"
end
