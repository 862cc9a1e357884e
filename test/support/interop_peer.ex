defmodule ExWebRTC.Interop.Peer do
  @moduledoc false
  # A connection of another implementation that a test drives step by step: a page of Chromium
  # (`test/interop/browser/peer.js`) or aiortc (`test/interop/aiortc/driven.py`).

  import ExUnit.Assertions

  alias ExWebRTC.{Interop, Mirror, PeerConnection, Peers, SessionDescription}
  alias ExWebRTC.Interop.Browser
  alias ExWebRTC.WHIP.JSON

  @enforce_keys [:kind, :at]
  defstruct [:kind, :at]

  @typedoc "A browser and a page's number in it, or the port of a Python process."
  @type t :: %__MODULE__{kind: :chromium | :aiortc, at: {atom(), pos_integer()} | port()}

  @doc """
  Opens one, with an `RTCConfiguration` under `:configuration`; it goes with the test. Chromium needs
  a running `ExWebRTC.Interop.Browser`; `:browser` is the name of another than the usual one.
  """
  @spec open(:chromium | :aiortc, map()) :: t()
  def open(kind, options \\ %{})

  def open(:chromium, options) do
    {browser, options} = Map.pop(options, :browser, Browser)
    {:ok, page} = Browser.run(browser, %{open: true})
    peer = %__MODULE__{kind: :chromium, at: {browser, page}}
    true = step(peer, :open, options)
    ExUnit.Callbacks.on_exit(fn -> close_page(browser, page) end)
    peer
  end

  def open(:aiortc, options) do
    port = Interop.python("driven.py", [])
    {:os_pid, pid} = Port.info(port, :os_pid)
    ExUnit.Callbacks.on_exit(fn -> System.cmd("kill", ["#{pid}"], stderr_to_stdout: true) end)
    peer = %__MODULE__{kind: :aiortc, at: port}
    true = step(peer, :open, Map.put_new(options, :configuration, %{}))
    peer
  end

  # The browser ends before or after the test's other callbacks.
  defp close_page(browser, page) do
    Browser.run(browser, %{close: page})
  catch
    :exit, _gone -> :ok
  end

  @doc "Runs a step; fails the test with what the peer says when it cannot."
  @spec step(t(), atom(), map()) :: term()
  def step(peer, step, options \\ %{}) do
    case try_step(peer, step, options) do
      {:ok, result} -> result
      {:error, text} -> flunk("#{peer.kind}, #{step}: #{text}")
    end
  end

  @doc "Runs a step that the peer may refuse."
  @spec try_step(t(), atom(), map()) :: {:ok, term()} | {:error, String.t()}
  def try_step(%__MODULE__{kind: :chromium, at: {browser, page}}, step, options),
    do: Browser.run(browser, %{page: page, step: step, options: options})

  def try_step(%__MODULE__{kind: :aiortc} = peer, step, options) do
    Port.command(peer.at, [JSON.encode(%{step: step, options: options}), "\n"])

    case Interop.read_line(peer.at) do
      %{"result" => result} -> {:ok, result}
      %{"error" => text} -> {:error, text}
    end
  end

  @doc """
  We offer, it answers, each with all candidates. `:mangle_offer` and `:mangle_answer` change a
  description on its way; `:add` is what the peer sends (options of its `add`).
  """
  @spec offer_to(pid(), t(), keyword()) :: :ok
  def offer_to(pc, peer, options \\ []) do
    {:ok, offer} = PeerConnection.create_offer(pc, ice_restart: options[:ice_restart] || false)
    :ok = PeerConnection.set_local_description(pc, offer)
    true = step(peer, :take, %{sdp: mangled(whole(pc), options[:mangle_offer])})
    for media <- options[:add] || [], do: true = step(peer, :add, media)
    answer = mangled(step(peer, :answer), options[:mangle_answer])
    :ok = PeerConnection.set_remote_description(pc, description(:answer, answer))
  end

  @doc """
  It offers, we answer; `:prepare` is run between its offer and our answer. Other options as in
  `offer_to/3`.
  """
  @spec answer_to(pid(), t(), keyword()) :: :ok
  def answer_to(pc, peer, options \\ []) do
    offer = mangled(step(peer, :offer, Map.new(options[:offer] || [])), options[:mangle_offer])
    :ok = PeerConnection.set_remote_description(pc, description(:offer, offer))
    if prepare = options[:prepare], do: prepare.()
    {:ok, answer} = PeerConnection.create_answer(pc)
    :ok = PeerConnection.set_local_description(pc, answer)
    true = step(peer, :accept, %{sdp: mangled(whole(pc), options[:mangle_answer])})
    :ok
  end

  @doc """
  Connects the peer, which offers `media` (each the options of its `add`), with a `Mirror` of these
  options; `through` are options of `answer_to/3`.
  """
  @spec echo(t(), [map()], keyword(), keyword()) :: {mirror :: pid(), pc :: pid()}
  def echo(peer, media, options, through \\ []) do
    {mirror, pc} = Mirror.start_link(options)
    for one <- media, do: true = step(peer, :add, one)
    :ok = answer_to(pc, peer, [prepare: fn -> Mirror.reflect(mirror, pc) end] ++ through)
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000
    {mirror, pc}
  end

  defp description(type, sdp), do: %SessionDescription{type: type, sdp: sdp}

  defp mangled(sdp, nil), do: sdp
  defp mangled(sdp, mangle), do: mangle.(sdp)

  # The local description once it has every candidate.
  defp whole(pc) do
    Peers.eventually(fn -> PeerConnection.get_ice_gathering_state(pc) == :complete end)
    PeerConnection.get_local_description(pc).sdp
  end

  @doc "How many pictures of ours Chromium has decoded."
  @spec frames(t()) :: non_neg_integer()
  def frames(peer) do
    received = peer |> step(:stats) |> entries("inbound-rtp")
    received |> Enum.map(&(&1["framesDecoded"] || 0)) |> Enum.sum()
  end

  @doc "Waits until Chromium has decoded so many more pictures."
  @spec await_frames(t(), pos_integer()) :: :ok
  def await_frames(peer, more) do
    before = frames(peer)
    Peers.eventually(fn -> frames(peer) >= before + more end, 3_000)
  end

  @doc "The peer's entries of a type of the W3C, such as `\"inbound-rtp\"`."
  @spec entries([map()], String.t()) :: [map()]
  def entries(stats, type), do: Enum.filter(stats, &(&1["type"] == type))
end
