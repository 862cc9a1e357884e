defmodule ExWebRTC.Peers do
  @moduledoc """
  Two connections of our own and what goes between them. The calling process controls both.
  """

  import ExUnit.Assertions

  alias ExWebRTC.PeerConnection

  # Set-up takes milliseconds; this is for a machine that is busy with other tests.
  @timeout 10_000

  @doc "Starts two connections that end with the test."
  @spec start(keyword(), keyword()) :: {pid(), pid()}
  def start(first_opts \\ [], second_opts \\ []) do
    {:ok, first} = PeerConnection.start_link(first_opts)
    {:ok, second} = PeerConnection.start_link(second_opts)
    {first, second}
  end

  @doc "Offer and answer."
  @spec negotiate(pid(), pid()) :: :ok
  def negotiate(offerer, answerer) do
    {:ok, offer} = PeerConnection.create_offer(offerer)
    :ok = PeerConnection.set_local_description(offerer, offer)
    :ok = PeerConnection.set_remote_description(answerer, offer)
    {:ok, answer} = PeerConnection.create_answer(answerer)
    :ok = PeerConnection.set_local_description(answerer, answer)
    :ok = PeerConnection.set_remote_description(offerer, answer)
  end

  @doc "Offer, answer and candidates, until both are connected."
  @spec connect(pid(), pid()) :: :ok
  def connect(offerer, answerer) do
    :ok = negotiate(offerer, answerer)
    pass_candidates(offerer, answerer)
  end

  @doc "Candidates, after offer and answer, until both are connected."
  @spec pass_candidates(pid(), pid()) :: :ok
  def pass_candidates(one, other),
    do: trickle(%{one => other, other => one}, MapSet.new([one, other]))

  defp trickle(others, waiting) do
    if MapSet.size(waiting) == 0 do
      :ok
    else
      receive do
        {:ex_webrtc, pc, {:ice_candidate, candidate}} when is_map_key(others, pc) ->
          :ok = PeerConnection.add_ice_candidate(Map.fetch!(others, pc), candidate)
          trickle(others, waiting)

        {:ex_webrtc, pc, {:connection_state_change, :connected}} when is_map_key(others, pc) ->
          trickle(others, MapSet.delete(waiting, pc))

        {:ex_webrtc, pc, {:connection_state_change, :failed}} when is_map_key(others, pc) ->
          flunk("#{inspect(pc)} could not connect")
      after
        @timeout -> flunk("#{inspect(MapSet.to_list(waiting))} did not connect")
      end
    end
  end

  @doc "Waits until it holds: for what has no message, such as counts of the system."
  @spec eventually((() -> boolean()), non_neg_integer()) :: :ok
  def eventually(holds?, tries \\ 1_000) do
    cond do
      holds?.() ->
        :ok

      tries == 0 ->
        flunk("it did not come to hold")

      true ->
        receive after: (10 -> eventually(holds?, tries - 1))
    end
  end

  @doc "Waits until what `sample` says stays the same for a while: for what has no last message."
  @spec steady((() -> term()), term()) :: :ok
  def steady(sample, last \\ nil) do
    case sample.() do
      ^last -> :ok
      next -> receive after: (700 -> steady(sample, next))
    end
  end
end
