defmodule ExWebRTC.PeerConnection.Controller do
  @moduledoc false
  # The controlling process, seen from the connection's process: whom events go to, and what
  # happens when that is on another node.
  #
  # Events for a pid of this node never come here: the shard sends them. For any other destination
  # the native side sends them to the connection's process, which hands them on with `forward/2`.

  require Logger

  alias ExWebRTC.Cluster.Watcher

  @enforce_keys [:dest]
  defstruct [:dest, :monitor, undelivered: 0]

  @type dest() :: Process.dest() | reference()

  @type t() :: %__MODULE__{
          dest: dest(),
          monitor: reference() | nil,
          undelivered: non_neg_integer()
        }

  # What is worth less the later it comes. Everything else must arrive.
  @media [:rtp, :rtp_batch, :rtcp]

  @doc "Whom the native side sends events to: the destination itself, or the calling connection."
  @spec native_destination(dest()) :: pid()
  def native_destination(dest) when is_pid(dest) and node(dest) == node(), do: dest
  def native_destination(_dest), do: self()

  @doc "The calling connection is controlled by `dest` from now on."
  @spec new(dest()) :: t()
  def new(dest) do
    if remote?(dest), do: Watcher.watch(self(), dest)
    %__MODULE__{dest: dest, monitor: monitor(dest)}
  end

  @doc "It is controlled by somebody else now."
  @spec replace(t(), dest()) :: t()
  def replace(%__MODULE__{} = controller, dest) do
    if controller.monitor, do: Process.demonitor(controller.monitor, [:flush])
    if remote?(controller.dest), do: Watcher.unwatch(self(), controller.dest)
    %{new(dest) | undelivered: controller.undelivered}
  end

  @doc """
  Hands an event on.

  Overflow policy "connection → controlling process of another node": media is dropped and counted
  while the connection between the nodes is busy; other events wait for it.
  """
  @spec forward(t(), tuple()) :: t()
  def forward(%__MODULE__{} = controller, {:ex_webrtc, _pc, event} = message) do
    options = if media?(event), do: [:nosuspend], else: []

    case Process.send(controller.dest, message, options) do
      :ok -> controller
      :nosuspend -> %{controller | undelivered: controller.undelivered + packets(event)}
    end
  rescue
    # Nobody has the name at the moment.
    ArgumentError -> controller
  end

  @doc "Statistics with what `forward/2` has dropped."
  @spec add_to_stats(t(), map()) :: map()
  def add_to_stats(%__MODULE__{undelivered: 0}, stats), do: stats

  def add_to_stats(%__MODULE__{undelivered: count}, stats) do
    drops =
      Map.get_lazy(stats, "media_drops", fn ->
        %{id: "media_drops", type: :media_drops, timestamp: System.system_time(:millisecond)}
      end)

    Map.put(stats, "media_drops", Map.put(drops, :undelivered, count))
  end

  defp media?(event), do: is_tuple(event) and elem(event, 0) in @media

  defp packets({:rtp_batch, packets}), do: length(packets)
  defp packets({:rtcp, packets}), do: length(packets)
  defp packets(_rtp), do: 1

  # A name may be taken again when its node is back; a pid is gone with its node, and so is an
  # alias, which itself cannot be monitored.
  defp monitor(dest) when is_pid(dest) and node(dest) != node(), do: Process.monitor(dest)

  defp monitor(dest) when is_reference(dest) and node(dest) != node(),
    do: Process.monitor({Watcher, node(dest)})

  defp monitor(_dest), do: nil

  defp remote?(dest) when is_pid(dest) or is_reference(dest), do: node(dest) != node()
  defp remote?({_name, node}), do: node != node()
  defp remote?(_name), do: false
end
