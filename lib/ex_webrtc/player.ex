defmodule ExWebRTC.Player do
  @moduledoc """
  Plays a file to tracks at the pace of its time: WebM and Matroska, IVF (VP8, VP9, AV1), Ogg/Opus,
  Annex B (H264, H265) and WAV with G.711.

      {:ok, player} =
        ExWebRTC.Player.start_link(
          path: "video.ivf",
          codec: codec,
          to: {pc, track.id},
          loop: true
        )

  Audio and video of a WebM file stay together when one player plays both:

      ExWebRTC.Player.start_link(
        path: "film.webm",
        tracks: [%{codec: vp8, to: {pc, video.id}}, %{codec: opus, to: {pc, audio.id}}]
      )

  The extension of the file tells its format. At the end the process that started the player gets
  `{:ex_webrtc_player, player, :finished}`, or `{:error, reason}` in place of `:finished` if the file
  is broken, and the player stops. Stop it earlier with `GenServer.stop/1`; it also stops with the
  process that started it, and within a second when a connection that it plays to is closed or gone,
  which is told as `{:error, :connection_ended}`.
  """

  use GenServer, restart: :temporary

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, RTPCodecParameters}
  alias ExWebRTC.OptionCheck
  alias ExWebRTC.PeerConnection.Client
  alias ExWebRTC.Player.{Pace, Source}
  alias ExWebRTC.RTP.{Packet, Payloader}

  # How often connections are asked whether they are closed: their processes outlive that. In
  # milliseconds.
  @ask_every 1_000

  @typedoc "The connection and track, or a function that takes each packet."
  @type destination() ::
          {PeerConnection.peer_connection(), MediaStreamTrack.id()} | (Packet.t() -> term())

  @typedoc """
  - `path`: the file
  - `codec`: what the packets are to be: that of the sender, whose payload type they get
  - `to`: where they go
  - `tracks`: in place of these two, several of them; of a file with several tracks, the first of each
    codec is played
  - `loop`: begin again at the end; default `false`
  - `frame_rate`: of H264 and H265 files, which have no times; default 30
  - `max_payload_size`: see `ExWebRTC.RTP.Payloader`
  """
  @type options() :: [
          path: Path.t(),
          codec: RTPCodecParameters.t(),
          to: destination(),
          tracks: [%{codec: RTPCodecParameters.t(), to: destination()}],
          loop: boolean(),
          frame_rate: number(),
          max_payload_size: pos_integer()
        ]

  @doc """
  Starts to play. Errors: `:no_payloader_for_codec`, `:codec_not_in_file`, `:unknown_format`,
  `:invalid_file`, `:connection_ended` and those of `File.open/2`. What is wrong in an option raises.
  """
  @spec start_link(options()) :: GenServer.on_start()
  def start_link(opts) do
    opts =
      Keyword.validate!(opts, [
        :path,
        :codec,
        :to,
        :tracks,
        loop: false,
        frame_rate: 30,
        max_payload_size: 1000
      ])

    OptionCheck.check!(opts,
      path: OptionCheck.path(),
      loop: [true, false],
      frame_rate: {&(is_number(&1) and &1 > 0), "a positive number"}
    )

    tracks = tracks!(opts)
    # Raises for a size that cannot be.
    for track <- tracks, do: Payloader.new(track.codec, max_payload_size: opts[:max_payload_size])

    GenServer.start_link(__MODULE__, {opts |> Map.new() |> Map.put(:tracks, tracks), self()})
  end

  defp tracks!(opts) do
    tracks =
      case {opts[:tracks], opts[:codec], opts[:to]} do
        {nil, codec, to} -> [%{codec: codec, to: to}]
        {tracks, nil, nil} -> tracks
        _both -> []
      end

    if not (is_list(tracks) and tracks != [] and Enum.all?(tracks, &track?/1)) do
      raise ArgumentError,
            "expected :codec and :to, or :tracks as a list of maps with these, got: #{inspect(opts)}"
    end

    tracks
  end

  defp track?(%{codec: %RTPCodecParameters{}, to: {_pc, id}}), do: is_integer(id)
  defp track?(%{codec: %RTPCodecParameters{}, to: to}), do: is_function(to, 1)
  defp track?(_other), do: false

  @impl true
  def init({opts, owner}) do
    with {:ok, outputs} <- outputs(opts.tracks, opts, []),
         {:ok, connections} <- monitor(opts.tracks),
         {:ok, source} <- open(opts) do
      Process.monitor(owner)

      state = %{
        opts: opts,
        owner: owner,
        source: source,
        # By the index of the track.
        outputs:
          outputs |> Enum.with_index() |> Map.new(fn {output, index} -> {index, output} end),
        pace: Pace.new(System.monotonic_time(:millisecond)),
        # Of the rounds before this one, and where this one ends.
        elapsed: 0.0,
        end: 0.0,
        pending: nil,
        # The connections, each with the question whether it is closed.
        asked: Enum.map(connections, &{&1, nil})
      }

      Process.send_after(self(), :ask, @ask_every)
      {:ok, state, {:continue, :next}}
    else
      {:error, reason} -> {:stop, reason}
    end
  end

  defp outputs([], _opts, outputs), do: {:ok, Enum.reverse(outputs)}

  defp outputs([track | tracks], opts, outputs) do
    with {:ok, payloader} <-
           Payloader.new(track.codec, max_payload_size: opts.max_payload_size) do
      output = %{
        to: track.to,
        clock_rate: track.codec.clock_rate,
        payloader: payloader,
        sequence_number: :rand.uniform(0x10000) - 1,
        timestamp: :rand.uniform(0x100000000) - 1
      }

      outputs(tracks, opts, [output | outputs])
    end
  end

  # Nobody is left to play to when a connection is gone.
  defp monitor(tracks) do
    connections = for %{to: {pc, _track_id}} <- tracks, uniq: true, do: GenServer.whereis(pc)

    if nil in connections do
      {:error, :connection_ended}
    else
      Enum.each(connections, &Process.monitor/1)
      {:ok, connections}
    end
  end

  defp open(opts) do
    mime_types = Enum.map(opts.tracks, &String.downcase(&1.codec.mime_type))
    Source.open(opts.path, mime_types, opts.frame_rate)
  end

  @impl true
  def handle_continue(:next, state), do: next(state)

  @impl true
  def handle_info(:due, %{pending: {index, frame, time}} = state),
    do: next(play(%{state | pending: nil}, index, frame, time))

  def handle_info({:DOWN, _monitor, :process, owner, _reason}, %{owner: owner} = state),
    do: {:stop, :normal, state}

  def handle_info({:DOWN, _monitor, :process, _connection, _reason}, state),
    do: finish(state, {:error, :connection_ended})

  def handle_info(:ask, state) do
    Process.send_after(self(), :ask, @ask_every)
    asked = for {pc, request} <- state.asked, do: {pc, request || Client.ask_closed(pc)}
    {:noreply, %{state | asked: asked}}
  end

  def handle_info(message, state) do
    answers =
      for {pc, request} <- state.asked,
          request != nil,
          {:ok, closed?} <- [Client.said_closed(message, request)],
          do: {pc, closed?}

    case answers do
      [{_pc, true}] -> finish(state, {:error, :connection_ended})
      [{pc, false}] -> {:noreply, %{state | asked: List.keystore(state.asked, pc, 0, {pc, nil})}}
      [] -> {:noreply, state}
    end
  end

  @impl true
  def terminate(_reason, state), do: Source.close(state.source)

  # Plays what is due, then waits for what is not; also then through the mailbox, so that the player
  # can be stopped.
  defp next(state) do
    case Source.next(state.source) do
      {:ok, {index, frame, time, duration}, source} ->
        at = state.elapsed + time
        {wait, pace} = Pace.wait(state.pace, at, System.monotonic_time(:millisecond))
        Process.send_after(self(), :due, wait)

        {:noreply,
         %{
           state
           | source: source,
             pace: pace,
             end: max(state.end, time + duration),
             pending: {index, frame, at}
         }}

      :eof when state.opts.loop and state.end > 0 ->
        again(state)

      :eof ->
        finish(state, :finished)

      {:error, reason} ->
        finish(state, {:error, reason})
    end
  end

  defp again(state) do
    Source.close(state.source)

    case open(state.opts) do
      {:ok, source} ->
        next(%{state | source: source, elapsed: state.elapsed + state.end, end: 0.0})

      {:error, reason} ->
        finish(state, {:error, reason})
    end
  end

  defp finish(state, result) do
    send(state.owner, {:ex_webrtc_player, self(), result})
    {:stop, :normal, state}
  end

  defp play(state, index, frame, time) do
    output = Map.fetch!(state.outputs, index)
    {packets, payloader} = Payloader.payload(output.payloader, frame)
    ticks = round(time * output.clock_rate / 1000)
    timestamp = Bitwise.band(output.timestamp + ticks, 0xFFFFFFFF)

    {packets, sequence_number} =
      Enum.map_reduce(packets, output.sequence_number, fn packet, number ->
        {%{packet | sequence_number: number, timestamp: timestamp},
         Bitwise.band(number + 1, 0xFFFF)}
      end)

    transmit(output.to, packets)
    output = %{output | payloader: payloader, sequence_number: sequence_number}
    %{state | outputs: %{state.outputs | index => output}}
  end

  defp transmit({pc, track_id}, packets),
    do: PeerConnection.send_rtp(pc, for(packet <- packets, do: {track_id, packet}))

  defp transmit(fun, packets) when is_function(fun, 1), do: Enum.each(packets, fun)
end
