defmodule ExWebRTC.PeerConnection.Requests do
  @moduledoc false
  # The requests that the native side has not answered yet: pure, numbers to whatever is to be done
  # with the answer.

  # Request ids start above this one, which is for requests that nobody waits for.
  @unanswered 0

  @type id() :: non_neg_integer()
  @opaque t(entry) :: %__MODULE__{next: id(), waiting: %{id() => entry}}
  @type t() :: t(term())

  defstruct next: @unanswered + 1, waiting: %{}

  @doc "No requests."
  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "The id of requests whose answer is thrown away."
  @spec unanswered() :: id()
  def unanswered, do: @unanswered

  @doc "Remembers a request under a new id."
  @spec put(t(entry), entry) :: {id(), t(entry)} when entry: term()
  def put(%__MODULE__{next: id, waiting: waiting}, entry),
    do: {id, %__MODULE__{next: id + 1, waiting: Map.put(waiting, id, entry)}}

  @doc "Takes a request out; `:error` when it was answered before, or is nobody's."
  @spec pop(t(entry), id()) :: {{:ok, entry} | :error, t(entry)} when entry: term()
  def pop(%__MODULE__{waiting: waiting} = requests, id) do
    case Map.pop(waiting, id, :none) do
      {:none, _waiting} -> {:error, requests}
      {entry, waiting} -> {{:ok, entry}, %{requests | waiting: waiting}}
    end
  end

  @doc "Takes all requests out, oldest first."
  @spec pop_all(t(entry)) :: {[entry], t(entry)} when entry: term()
  def pop_all(%__MODULE__{waiting: waiting} = requests) do
    entries = for {_id, entry} <- Enum.sort_by(waiting, fn {id, _entry} -> id end), do: entry
    {entries, %{requests | waiting: %{}}}
  end
end
