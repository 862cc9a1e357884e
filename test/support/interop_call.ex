defmodule ExWebRTC.Interop.Call do
  @moduledoc false
  # A call between a connection of ours, which sends the video back, and one of another
  # implementation (`ExWebRTC.Interop.Peer`), with a data channel.

  import ExUnit.Assertions
  import ExWebRTC.Peers, only: [eventually: 1, eventually: 2]

  alias ExWebRTC.{Mirror, PeerConnection}
  alias ExWebRTC.Interop.Peer

  @enforce_keys [:pc, :peer, :ref]
  defstruct @enforce_keys

  @doc """
  Connects them; `offerer` is `:us` or `:them`. `:peer` is the peer's configuration, `:mangle`
  changes every description on its way, the rest are options of ours.
  """
  def connect(kind, offerer, options) do
    {configuration, options} = Keyword.pop(options, :peer, %{})
    {mangle, options} = Keyword.pop(options, :mangle)
    peer = Peer.open(kind, %{configuration: configuration})
    {mirror, pc} = Mirror.start_link(options)
    negotiate(offerer, mirror, pc, peer, mangle_offer: mangle, mangle_answer: mangle)
    assert_receive {:ex_webrtc, ^pc, {:connection_state_change, :connected}}, 20_000
    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ref, :open}}, 20_000
    %__MODULE__{pc: pc, peer: peer, ref: ref}
  end

  defp negotiate(:us, mirror, pc, peer, mangle) do
    {:ok, _transceiver} = PeerConnection.add_transceiver(pc, :video)
    :ok = Mirror.reflect(mirror, pc)
    {:ok, _channel} = PeerConnection.create_data_channel(pc, "chat")
    :ok = Peer.offer_to(pc, peer, [add: [%{kind: "video"}]] ++ mangle)
  end

  defp negotiate(:them, mirror, pc, peer, mangle) do
    Peer.step(peer, :add, %{kind: "video"})
    Peer.step(peer, :channel, %{label: "chat"})
    :ok = Peer.answer_to(pc, peer, [prepare: fn -> Mirror.reflect(mirror, pc) end] ++ mangle)
  end

  @doc "Video goes there and back, and a text each way."
  def assert_alive(%{pc: pc, peer: peer, ref: ref}) do
    before = decoded(peer)
    eventually(fn -> decoded(peer) >= before + 40 end, 3_000)
    text = "said #{System.unique_integer([:positive])}"
    :ok = PeerConnection.send_data(pc, ref, text)
    eventually(fn -> text in Peer.step(peer, :state)["heard"] end)
    1 = Peer.step(peer, :say, %{text: text})
    assert_receive {:ex_webrtc, ^pc, {:data, ^ref, ^text}}, 5_000
  end

  # Frames that the peer has shown.
  defp decoded(%{kind: :chromium} = peer) do
    received = peer |> Peer.step(:stats) |> Peer.entries("inbound-rtp")
    received |> Enum.map(&(&1["framesDecoded"] || 0)) |> Enum.sum()
  end

  defp decoded(%{kind: :aiortc} = peer), do: Peer.step(peer, :state)["frames"]["video"]

  @doc "The candidates of the pair in use, ours and the peer's, as we know them."
  def selected(pc) do
    stats = PeerConnection.get_stats(pc)
    pair = stats[stats.transport.selected_candidate_pair_id]
    {stats[pair.local_candidate_id], stats[pair.remote_candidate_id]}
  end

  @doc "The same two as Chromium knows them: its own, and ours."
  def selected_by(%{kind: :chromium} = peer) do
    stats = Map.new(Peer.step(peer, :stats), &{&1["id"], &1})
    [transport] = stats |> Map.values() |> Peer.entries("transport")
    pair = stats[transport["selectedCandidatePairId"]]
    {stats[pair["localCandidateId"]], stats[pair["remoteCandidateId"]]}
  end

  @doc "A description without the candidates whose lines the function does not take."
  def keep_candidates(sdp, keep?) do
    lines = String.split(sdp, "\r\n")

    Enum.join(
      Enum.filter(lines, &(not String.starts_with?(&1, "a=candidate:") or keep?.(&1))),
      "\r\n"
    )
  end
end
