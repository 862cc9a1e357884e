defmodule ExWebRTC.RTP.JitterBuffer do
  @moduledoc """
  Puts packets in order, and waits a limited time for those that are missing.

  It is a data structure: the caller keeps it, gives it packets, and sets the timers that it asks
  for. Each call returns the packets that are due, in the order of their sequence numbers, and the
  milliseconds after which to call `handle_timeout/1`, or `nil` where no (further) timer is wanted.

      iex> alias ExWebRTC.RTP.{JitterBuffer, Packet}
      iex> buffer = JitterBuffer.new(latency: 100)
      iex> {[], 100, buffer} = JitterBuffer.insert(buffer, Packet.new("a", sequence_number: 2))
      iex> {[], nil, buffer} = JitterBuffer.insert(buffer, Packet.new("b", sequence_number: 1))
      iex> {packets, nil, _buffer} = JitterBuffer.handle_timeout(buffer)
      iex> Enum.map(packets, & &1.sequence_number)
      [1, 2]

  In a process:

      def handle_info({:ex_webrtc, _pc, {:rtp, _id, _rid, packet}}, state) do
        state.buffer |> JitterBuffer.insert(packet) |> handle_result(state)
      end

      def handle_info(:jitter_buffer_timeout, state) do
        state.buffer |> JitterBuffer.handle_timeout() |> handle_result(state)
      end

      defp handle_result({packets, timer, buffer}, state) do
        if timer, do: Process.send_after(self(), :jitter_buffer_timeout, timer)
        Enum.each(packets, &play/1)
        {:noreply, %{state | buffer: buffer}}
      end

  ## What it does

  The first packets are kept for the whole latency, as the first to arrive need not be the first that
  was sent. From then on a packet that is next in order is returned at once. Behind a gap, packets wait
  until the gap is filled, or until one of them has waited for the latency: then the gap is skipped.
  Packets that come after that are dropped, and so are duplicates; `stats/1` counts them.

  A jump of the sequence numbers that no loss explains (RFC 3550 appendix A.1) is a new stream if the
  packet after it follows: the buffer is emptied and begins anew.

  ## Latency

  With `adaptive: true` the latency follows what reordering and retransmission took lately: it grows as
  soon as a packet comes late, and shrinks slowly while none does, between `:min_latency` and
  `:max_latency`.
  """

  import Bitwise

  # RFC 3550 appendix A.1: MAX_DROPOUT and MAX_MISORDER, the latter wide enough for retransmissions.
  @max_dropout 3000
  @max_misorder 1000

  # The latency that covers a delay, with a little to spare.
  @margin_percent 25
  # Without a late packet for this long, the adaptive latency shrinks by an eighth.
  @shrink_interval 5_000

  @default_latency 200
  @default_min_latency 20
  @default_max_latency 500

  @typedoc """
  - `latency`: milliseconds to wait for a missing packet; default 200
  - `adaptive`: whether the latency changes; default `false`
  - `min_latency`, `max_latency`: its bounds then; default 20 and 500
  """
  @type options() :: [
          latency: non_neg_integer(),
          adaptive: boolean(),
          min_latency: non_neg_integer(),
          max_latency: pos_integer()
        ]

  @typedoc "Packets that are due, in order; milliseconds until `handle_timeout/1`; the buffer."
  @type result() :: {[packet()], non_neg_integer() | nil, t()}

  @typedoc "`ExWebRTC.RTP.Packet` or any struct with its sequence number."
  @type packet() :: %{:sequence_number => 0..65_535, optional(atom()) => term()}

  @typedoc """
  Counts since the beginning:

  - `received`: packets given to `insert/2`
  - `lost`: numbers that were skipped
  - `late`: packets that came after their number was skipped, in the last gap; they are in `lost` too
  - `duplicates`: other packets that were dropped: they had come before, or were too old to tell
  - `resets`: new streams
  - `buffered`: packets that wait now
  - `latency`: milliseconds, now
  """
  @type stats() :: %{
          received: non_neg_integer(),
          lost: non_neg_integer(),
          late: non_neg_integer(),
          duplicates: non_neg_integer(),
          resets: non_neg_integer(),
          buffered: non_neg_integer(),
          latency: non_neg_integer()
        }

  # Sequence numbers are extended to integers that do not wrap. `next` is the one to return next,
  # `highest` the highest that came; `waiting` maps others to `{packet, arrival}`. `suspect` is the
  # number that would follow a jump. `deadline` is when the timer that the caller has set fires.
  @opaque t() :: %__MODULE__{}

  @enforce_keys [:latency, :bounds]
  defstruct @enforce_keys ++
              [
                phase: :starting,
                next: nil,
                highest: nil,
                waiting: %{},
                suspect: nil,
                deadline: nil,
                quiet_since: nil,
                skipped: nil,
                received: 0,
                lost: 0,
                late: 0,
                duplicates: 0,
                resets: 0
              ]

  @doc "Makes an empty buffer. An unknown option raises."
  @spec new(options()) :: t()
  def new(opts \\ []) do
    opts =
      Keyword.validate!(opts,
        latency: @default_latency,
        adaptive: false,
        min_latency: @default_min_latency,
        max_latency: @default_max_latency
      )

    for name <- [:latency, :min_latency, :max_latency] do
      if not (is_integer(opts[name]) and opts[name] >= 0),
        do: raise(ArgumentError, "expected #{inspect(name)} in ms, got: #{inspect(opts[name])}")
    end

    bounds = if opts[:adaptive], do: {opts[:min_latency], opts[:max_latency]}
    %__MODULE__{latency: opts[:latency], bounds: bounds}
  end

  @doc """
  Takes a packet. `now` is the time in milliseconds of a clock that never goes back.
  """
  @spec insert(t(), packet(), integer()) :: result()
  def insert(buffer, packet, now \\ System.monotonic_time(:millisecond))

  # Most packets: in order, and nothing waits.
  def insert(
        %__MODULE__{phase: :running, waiting: waiting, next: next} = buffer,
        %{sequence_number: number} = packet,
        _now
      )
      when (next &&& 0xFFFF) == number and map_size(waiting) == 0 do
    {[packet], nil,
     %{buffer | next: next + 1, highest: next, suspect: nil, received: buffer.received + 1}}
  end

  def insert(%__MODULE__{} = buffer, packet, now) do
    buffer = %{buffer | received: buffer.received + 1}

    case place(buffer, packet.sequence_number) do
      {:ok, index} -> buffer |> accept(index, packet, now) |> advance(now)
      :suspect -> {[], nil, %{buffer | suspect: packet.sequence_number + 1 &&& 0xFFFF}}
      :reset -> reset(buffer, packet, now)
    end
  end

  @doc """
  Returns everything that waits, in order, and begins anew. The numbers that are missing in between
  count as lost.
  """
  @spec flush(t()) :: result()
  def flush(%__MODULE__{} = buffer) do
    {packets, buffer} = drain(buffer)

    {packets, nil, %{begin_anew(buffer) | deadline: nil}}
  end

  @doc """
  Call when the timer fires: returns what has waited long enough.
  """
  @spec handle_timeout(t(), integer()) :: result()
  def handle_timeout(buffer, now \\ System.monotonic_time(:millisecond))

  def handle_timeout(%__MODULE__{deadline: nil} = buffer, now), do: advance(buffer, now)

  # Timers may fire a fraction of a millisecond early: the time is at least what was asked for.
  def handle_timeout(%__MODULE__{deadline: deadline} = buffer, now) do
    now = max(now, deadline)
    buffer = shrink(%{buffer | deadline: nil, phase: :running}, now)
    {due, buffer} = skip(buffer, now)
    {packets, timer, buffer} = advance(buffer, now)
    {due ++ packets, timer, buffer}
  end

  @doc "What happened to the packets so far."
  @spec stats(t()) :: stats()
  def stats(%__MODULE__{} = buffer) do
    buffer
    |> Map.take([:received, :lost, :late, :duplicates, :resets, :latency])
    |> Map.put(:buffered, map_size(buffer.waiting))
  end

  ## Where a packet belongs

  # The extended number that is closest to the highest one.
  defp place(%{highest: nil}, number), do: {:ok, number + 0x10000}

  defp place(%{highest: highest, suspect: suspect}, number) do
    distance = signed(number - highest)

    cond do
      distance in -@max_misorder..@max_dropout -> {:ok, highest + distance}
      number == suspect -> :reset
      true -> :suspect
    end
  end

  defp signed(difference) do
    difference = difference &&& 0xFFFF
    if difference >= 0x8000, do: difference - 0x10000, else: difference
  end

  # The packet before this one, which made it suspect, was not kept.
  defp reset(buffer, packet, now) do
    {packets, buffer} = drain(buffer)

    buffer = begin_anew(%{buffer | resets: buffer.resets + 1})

    {:ok, index} = place(buffer, packet.sequence_number)
    {more, timer, buffer} = buffer |> accept(index, packet, now) |> advance(now)
    {packets ++ more, timer, buffer}
  end

  defp begin_anew(buffer),
    do: %{buffer | phase: :starting, next: nil, highest: nil, suspect: nil, skipped: nil}

  defp accept(%{phase: :running, next: next} = buffer, index, _packet, now) when index < next do
    buffer = %{buffer | suspect: nil}

    with {missing, at} <- buffer.skipped, true <- MapSet.member?(missing, index) do
      skipped = {MapSet.delete(missing, index), at}
      # Had the latency covered the time since the skip as well, it would not have been late.
      grow(%{buffer | late: buffer.late + 1, skipped: skipped}, buffer.latency + now - at, now)
    else
      _returned_or_long_ago -> %{buffer | duplicates: buffer.duplicates + 1}
    end
  end

  defp accept(%{waiting: waiting} = buffer, index, _packet, _now) when is_map_key(waiting, index),
    do: %{buffer | duplicates: buffer.duplicates + 1, suspect: nil}

  defp accept(buffer, index, packet, now) do
    buffer =
      if fills_gap?(buffer, index), do: grow(buffer, waited(buffer, now), now), else: buffer

    %{
      buffer
      | waiting: Map.put(buffer.waiting, index, {packet, now}),
        highest: max(index, buffer.highest || index),
        suspect: nil,
        quiet_since: buffer.quiet_since || now
    }
  end

  defp fills_gap?(%{highest: nil}, _index), do: false
  defp fills_gap?(%{highest: highest}, index), do: index < highest

  # How long the packet that has waited longest has waited.
  defp waited(%{waiting: waiting}, _now) when map_size(waiting) == 0, do: 0
  defp waited(buffer, now), do: now - oldest(buffer)

  defp oldest(%{waiting: waiting}),
    do: waiting |> Enum.map(fn {_index, {_packet, arrival}} -> arrival end) |> Enum.min()

  ## What is due

  # Returns what is next in order, and asks for a timer for the rest.
  defp advance(%{phase: :starting} = buffer, now), do: arm([], buffer, now)

  defp advance(buffer, now) do
    {packets, buffer} = take_next(buffer, [])
    arm(packets, buffer, now)
  end

  defp take_next(%{next: nil, waiting: waiting} = buffer, []) when map_size(waiting) > 0,
    do: take_next(%{buffer | next: first(waiting)}, [])

  defp take_next(%{next: next, waiting: waiting} = buffer, packets)
       when is_map_key(waiting, next) do
    {{packet, _arrival}, waiting} = Map.pop!(waiting, next)
    take_next(%{buffer | next: next + 1, waiting: waiting}, [packet | packets])
  end

  defp take_next(buffer, packets), do: {Enum.reverse(packets), buffer}

  # One timer at a time: while one runs, no other is asked for.
  defp arm(packets, %{deadline: nil, waiting: waiting} = buffer, now)
       when map_size(waiting) > 0 do
    deadline = max(oldest(buffer) + buffer.latency, now)
    {packets, deadline - now, %{buffer | deadline: deadline}}
  end

  defp arm(packets, buffer, _now), do: {packets, nil, buffer}

  # Takes everything up to the last packet that has waited long enough, and forgets the gaps.
  defp skip(buffer, now) do
    due =
      for {index, {_packet, arrival}} <- buffer.waiting,
          arrival + buffer.latency <= now,
          do: index

    case due do
      [] -> {[], buffer}
      due -> take_until(buffer, Enum.max(due), now)
    end
  end

  defp take_until(buffer, last, now) do
    {due, waiting} = Enum.split_with(buffer.waiting, fn {index, _entry} -> index <= last end)
    due = Map.new(due)
    next = buffer.next || first(due)

    missing =
      for index <- next..last//1, not is_map_key(due, index), into: MapSet.new(), do: index

    buffer = %{
      buffer
      | waiting: Map.new(waiting),
        next: last + 1,
        lost: buffer.lost + MapSet.size(missing)
    }

    buffer = if MapSet.size(missing) > 0, do: %{buffer | skipped: {missing, now}}, else: buffer
    {in_order(due), buffer}
  end

  # Behind gaps that nothing fills any more.
  defp drain(%{waiting: waiting} = buffer) when map_size(waiting) == 0, do: {[], buffer}

  defp drain(%{waiting: waiting} = buffer) do
    next = buffer.next || first(waiting)
    lost = Enum.max(Map.keys(waiting)) - next + 1 - map_size(waiting)
    {in_order(waiting), %{buffer | waiting: %{}, lost: buffer.lost + lost}}
  end

  defp in_order(waiting) do
    waiting |> Enum.sort_by(&elem(&1, 0)) |> Enum.map(fn {_index, {packet, _at}} -> packet end)
  end

  defp first(waiting), do: waiting |> Map.keys() |> Enum.min()

  ## The latency

  defp grow(%{bounds: nil} = buffer, _delay, _now), do: buffer

  defp grow(%{bounds: {_min, max}} = buffer, delay, now) do
    needed = min(max, delay + div(delay * @margin_percent, 100))

    if needed >= buffer.latency,
      do: %{buffer | latency: needed, quiet_since: now},
      else: shrink(buffer, now)
  end

  defp shrink(%{bounds: {min, _max}, quiet_since: since, latency: latency} = buffer, now)
       when is_integer(since) and now - since >= @shrink_interval and latency > min do
    latency = max(min, latency - max(1, div(latency, 8)))
    shrink(%{buffer | latency: latency, quiet_since: since + @shrink_interval}, now)
  end

  defp shrink(buffer, _now), do: buffer
end
