defmodule ExWebRTC.Player do
  @moduledoc """
  Plays a file to a track at the pace of its time: IVF (VP8, VP9, AV1), Ogg/Opus, Annex B (H264, H265)
  and WAV with G.711.

      {:ok, player} =
        ExWebRTC.Player.start_link(
          path: "video.ivf",
          codec: codec,
          to: {pc, track.id},
          loop: true
        )

  The extension of the file tells its format. At the end the process that started the player gets
  `{:ex_webrtc_player, player, :finished}`, or `{:error, reason}` in place of `:finished` if the file
  is broken, and the player stops. Stop it earlier with `GenServer.stop/1`; it also stops with its
  owner.
  """

  use GenServer, restart: :temporary

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, RTPCodecParameters}
  alias ExWebRTC.Player.Source
  alias ExWebRTC.RTP.{Packet, Payloader}

  # More that is due at once is a machine that slept; the rest is played from now on.
  @max_lag 1000

  @typedoc """
  - `path`: the file
  - `codec`: what the packets are to be: that of the sender, whose payload type they get
  - `to`: the connection and track, or a function that takes each packet
  - `loop`: begin again at the end; default `false`
  - `frame_rate`: of H264 and H265 files, which have no times; default 30
  - `max_payload_size`: see `ExWebRTC.RTP.Payloader`
  """
  @type options() :: [
          path: Path.t(),
          codec: RTPCodecParameters.t(),
          to: {PeerConnection.peer_connection(), MediaStreamTrack.id()} | (Packet.t() -> term()),
          loop: boolean(),
          frame_rate: pos_integer(),
          max_payload_size: pos_integer()
        ]

  @doc """
  Starts to play. Errors: `:no_payloader_for_codec`, `:unknown_format`, `:invalid_file` and those of
  `File.open/2`.
  """
  @spec start_link(options()) :: GenServer.on_start()
  def start_link(opts) do
    opts =
      Keyword.validate!(opts, [
        :path,
        :codec,
        :to,
        loop: false,
        frame_rate: 30,
        max_payload_size: 1000
      ])

    for name <- [:path, :codec, :to], do: Keyword.fetch!(opts, name)
    GenServer.start_link(__MODULE__, {Map.new(opts), self()})
  end

  @impl true
  def init({opts, owner}) do
    with {:ok, payloader} <-
           Payloader.new(opts.codec, max_payload_size: opts.max_payload_size),
         {:ok, source} <- Source.open(opts.path, opts.frame_rate) do
      state = %{
        opts: opts,
        owner: owner,
        source: source,
        payloader: payloader,
        sequence_number: :rand.uniform(0x10000) - 1,
        timestamp: :rand.uniform(0x100000000) - 1,
        start: System.monotonic_time(:millisecond),
        # Of the rounds before this one.
        elapsed: 0.0,
        end: 0.0,
        pending: nil
      }

      {:ok, state, {:continue, :next}}
    else
      {:error, reason} -> {:stop, reason}
    end
  end

  @impl true
  def handle_continue(:next, state), do: next(state)

  @impl true
  def handle_info(:due, %{pending: {time, frame}} = state),
    do: next(play(%{state | pending: nil}, time, frame))

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state), do: Source.close(state.source)

  # Plays what is due, then waits for what is not.
  defp next(state) do
    case Source.next(state.source) do
      {:ok, frame, time, duration, source} ->
        at = state.elapsed + time
        state = %{state | source: source, end: time + duration, pending: {at, frame}}
        wait(state, round(state.start + at) - System.monotonic_time(:millisecond))

      :eof when state.opts.loop and state.end > 0 ->
        again(state)

      :eof ->
        finish(state, :finished)

      {:error, reason} ->
        finish(state, {:error, reason})
    end
  end

  defp wait(state, milliseconds) when milliseconds > 0 do
    Process.send_after(self(), :due, milliseconds)
    {:noreply, state}
  end

  defp wait(state, late) do
    state = if -late > @max_lag, do: %{state | start: state.start - late}, else: state
    # Through the mailbox, so that the player can be stopped.
    send(self(), :due)
    {:noreply, state}
  end

  defp again(state) do
    Source.close(state.source)

    case Source.open(state.opts.path, state.opts.frame_rate) do
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

  defp play(state, time, frame) do
    {packets, payloader} = Payloader.payload(state.payloader, frame)
    ticks = round(time * state.opts.codec.clock_rate / 1000)
    timestamp = Bitwise.band(state.timestamp + ticks, 0xFFFFFFFF)

    sequence_number =
      Enum.reduce(packets, state.sequence_number, fn packet, number ->
        transmit(state.opts.to, %{packet | sequence_number: number, timestamp: timestamp})
        Bitwise.band(number + 1, 0xFFFF)
      end)

    %{state | payloader: payloader, sequence_number: sequence_number}
  end

  defp transmit({pc, track_id}, packet), do: PeerConnection.send_rtp(pc, track_id, packet)
  defp transmit(fun, packet) when is_function(fun, 1), do: fun.(packet)
end
