defmodule ExWebRTC.Directions do
  @moduledoc """
  How the directions of the two sides of an m-line go together (RFC 9429 section 5.3.1).
  """

  @type t() :: ExWebRTC.RTPTransceiver.direction()

  @doc "The direction as the other side sees it."
  @spec reversed(t()) :: t()
  def reversed(:sendonly), do: :recvonly
  def reversed(:recvonly), do: :sendonly
  def reversed(direction), do: direction

  @doc "What is left of a direction when the other side, seen from this one, wants another."
  @spec both(t(), t()) :: t()
  def both(one, other) do
    case {sends?(one) and sends?(other), receives?(one) and receives?(other)} do
      {true, true} -> :sendrecv
      {true, false} -> :sendonly
      {false, true} -> :recvonly
      {false, false} -> :inactive
    end
  end

  @spec sends?(t() | nil) :: boolean()
  def sends?(direction), do: direction in [:sendrecv, :sendonly]

  @spec receives?(t() | nil) :: boolean()
  def receives?(direction), do: direction in [:sendrecv, :recvonly]
end
