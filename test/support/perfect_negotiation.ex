defmodule ExWebRTC.PerfectNegotiation do
  @moduledoc """
  The W3C's [perfect negotiation](https://www.w3.org/TR/webrtc/#perfect-negotiation-example) for one
  side: what an application writes so that both sides may offer at any time.

  The functions return what is to be sent to the other side. Calls are synchronous, so there is no
  `makingOffer`.
  """

  alias ExWebRTC.{PeerConnection, SessionDescription}

  @enforce_keys [:pc, :polite?]
  defstruct @enforce_keys

  @type t() :: %__MODULE__{pc: pid(), polite?: boolean()}

  @doc "`onnegotiationneeded`. Nothing is sent while an exchange is under way."
  @spec offer(t()) :: [SessionDescription.t()]
  def offer(%__MODULE__{pc: pc}) do
    if PeerConnection.get_signaling_state(pc) == :stable do
      :ok = PeerConnection.set_local_description(pc)
      [PeerConnection.get_local_description(pc)]
    else
      []
    end
  end

  @doc "A description of the other side. `provisional?`: answer with a `:pranswer` for now."
  @spec receive_description(t(), SessionDescription.t(), boolean()) :: [SessionDescription.t()]
  def receive_description(side, description, provisional? \\ false)

  def receive_description(%{pc: pc} = side, %{type: :offer} = offer, provisional?) do
    collision? = PeerConnection.get_signaling_state(pc) != :stable

    if collision? and not side.polite? do
      []
    else
      :ok = PeerConnection.set_remote_description(pc, offer)
      if provisional?, do: provisionally_answer(pc), else: answer(side)
    end
  end

  def receive_description(%{pc: pc}, answer, _provisional?) do
    :ok = PeerConnection.set_remote_description(pc, answer)
    []
  end

  @doc "The answer that ends an exchange, where one is owed."
  @spec answer(t()) :: [SessionDescription.t()]
  def answer(%__MODULE__{pc: pc}) do
    if PeerConnection.get_signaling_state(pc) in [:have_remote_offer, :have_local_pranswer] do
      :ok = PeerConnection.set_local_description(pc)
      [PeerConnection.get_local_description(pc)]
    else
      []
    end
  end

  defp provisionally_answer(pc) do
    {:ok, answer} = PeerConnection.create_answer(pc)
    :ok = PeerConnection.set_local_description(pc, %{answer | type: :pranswer})
    [PeerConnection.get_local_description(pc)]
  end
end
