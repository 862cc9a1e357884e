defmodule ExWebRTC.ImpairedLink do
  @moduledoc """
  A bad network between two connections, with real sockets and without root: a process that stands
  for each of them towards the other, and loses, delays, reorders and repeats their datagrams.

  Each side is told the link's address as the other's candidate; to either the link is a NAT with
  one mapping. What becomes of a datagram is drawn from a generator whose seed is logged, which
  `capture_log` shows when a test fails; `LINK_SEED` gives it again. It counts what it does to RTP, by the SSRC in the
  clear of every packet (RFC 3711 section 3.1), so that a test knows the losses.
  """

  use GenServer

  require Logger

  alias ExWebRTC.{ICECandidate, Native}

  @typedoc """
  In percent, but `delay` and `jitter` in ms: every datagram is late by `delay` and up to `jitter`
  more, which reorders those that are closer together.
  """
  @type impairment :: %{
          optional(:loss) => 0..100,
          optional(:repeat) => 0..100,
          optional(:delay) => non_neg_integer(),
          optional(:jitter) => non_neg_integer()
        }

  @doc "Starts a link; it goes with the test."
  @spec start() :: pid()
  def start do
    seed = String.to_integer(System.get_env("LINK_SEED", "#{:rand.uniform(1_000_000_000)}"))
    Logger.warning("LINK_SEED=#{seed}")
    ExUnit.Callbacks.start_supervised!({__MODULE__, seed})
  end

  def start_link(seed), do: GenServer.start_link(__MODULE__, seed)

  @doc "What to do to datagrams from now on; nothing that is not named."
  @spec impair(pid(), impairment()) :: :ok
  def impair(link, impairment), do: GenServer.call(link, {:impair, impairment})

  @doc """
  Tells the link a host candidate of `side`, and returns the candidate that the other side is to be
  given for it. Only one of each side is taken: `nil` for the others.
  """
  @spec candidate(pid(), :first | :second, ICECandidate.t()) :: ICECandidate.t() | nil
  def candidate(link, side, candidate), do: GenServer.call(link, {:candidate, side, candidate})

  @doc "What went through from `side`, by SSRC: `%{sent:, lost:, repeated:}`."
  @spec counts(pid(), :first | :second) :: %{optional(non_neg_integer()) => map()}
  def counts(link, side), do: GenServer.call(link, {:counts, side})

  @doc "An `ice_ip_filter` that leaves the one address that the link has."
  @spec filter() :: (:inet.ip_address() -> boolean())
  def filter do
    address = address()
    &(&1 == address)
  end

  defp address, do: Enum.find(Native.host_addresses(), &(tuple_size(&1) == 4))

  @impl true
  def init(seed) do
    # What either side sends arrives at the socket that stands for the other one.
    sockets = for side <- [:first, :second], into: %{}, do: {side, open()}

    {:ok,
     %{
       sockets: sockets,
       peers: %{},
       impairment: %{},
       random: :rand.seed_s(:exsss, seed),
       counts: %{first: %{}, second: %{}}
     }}
  end

  defp open do
    {:ok, socket} = :gen_udp.open(0, [:binary, ip: address(), active: true, recbuf: 4_194_304])
    socket
  end

  @impl true
  def handle_call({:impair, impairment}, _from, state),
    do: {:reply, :ok, %{state | impairment: impairment}}

  def handle_call({:counts, side}, _from, state), do: {:reply, state.counts[side], state}

  def handle_call({:candidate, side, _candidate}, _from, %{peers: peers} = state)
      when is_map_key(peers, side),
      do: {:reply, nil, state}

  def handle_call({:candidate, side, candidate}, _from, state) do
    [foundation, component, transport, priority, host, port | rest] =
      String.split(candidate.candidate, " ")

    {:ok, host} = host |> String.to_charlist() |> :inet.parse_address()
    {:ok, ours} = :inet.port(state.sockets[side])
    here = address() |> :inet.ntoa() |> to_string()

    line = Enum.join([foundation, component, transport, priority, here, "#{ours}" | rest], " ")

    peers = Map.put(state.peers, side, {host, String.to_integer(port)})
    {:reply, %{candidate | candidate: line}, %{state | peers: peers}}
  end

  # The socket that stands for one side is written to by the other.
  @impl true
  def handle_info({:udp, socket, _host, _port, datagram}, %{sockets: sockets} = state) do
    from = if sockets.first == socket, do: :second, else: :first
    {:noreply, pass(state, from, datagram)}
  end

  def handle_info({:late, from, datagram}, state) do
    forward(state, from, datagram)
    {:noreply, state}
  end

  defp pass(%{impairment: impairment} = state, from, datagram) do
    {lost?, state} = chance(state, Map.get(impairment, :loss, 0))
    {repeated?, state} = chance(state, Map.get(impairment, :repeat, 0))
    state = count(state, from, datagram, lost?, repeated?)

    cond do
      lost? -> state
      repeated? -> state |> send_late(from, datagram) |> send_late(from, datagram)
      true -> send_late(state, from, datagram)
    end
  end

  defp send_late(%{impairment: impairment} = state, from, datagram) do
    {more, random} = :rand.uniform_s(Map.get(impairment, :jitter, 0) + 1, state.random)

    case Map.get(impairment, :delay, 0) + more - 1 do
      0 -> forward(state, from, datagram)
      ms -> Process.send_after(self(), {:late, from, datagram}, ms)
    end

    %{state | random: random}
  end

  # From the socket that stands for the sender, to the other side.
  defp forward(state, from, datagram) do
    with {host, port} <- state.peers[other(from)],
         do: :gen_udp.send(state.sockets[from], host, port, datagram)
  end

  defp other(:first), do: :second
  defp other(:second), do: :first

  defp chance(state, percent) do
    {drawn, random} = :rand.uniform_s(100, state.random)
    {drawn <= percent, %{state | random: random}}
  end

  # RFC 7983: RTP and RTCP begin with 128 to 191; RFC 5761: RTCP has the types 192 to 223.
  defp count(
         state,
         from,
         <<2::2, _::6, type, _::binary-size(6), ssrc::32, _::binary>>,
         lost?,
         repeated?
       )
       when type not in 192..223 do
    counts = %{sent: 1, lost: if(lost?, do: 1, else: 0), repeated: if(repeated?, do: 1, else: 0)}
    add = fn before -> Map.merge(before, counts, fn _key, old, new -> old + new end) end
    %{state | counts: Map.update!(state.counts, from, &Map.update(&1, ssrc, counts, add))}
  end

  defp count(state, _from, _other, _lost?, _repeated?), do: state
end
