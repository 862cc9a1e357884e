defmodule ExWebRTC.Demo.Streams do
  @moduledoc false
  # Who publishes what. A publisher's session registers its stream's name, so the name is free
  # again when the session ends, however it ends.

  @type track :: %{id: integer(), kind: :audio | :video}

  @max_name_length 64

  def child_spec(name), do: Registry.child_spec(keys: :unique, name: name)

  @doc "The stream a request is about: `?stream=NAME`, default `live`."
  @spec name(%{String.t() => String.t()}) :: {:ok, String.t()} | {:refuse, 400, String.t()}
  def name(query) do
    name = Map.get(query, "stream", "live")

    if byte_size(name) <= @max_name_length and name =~ ~r/\A[A-Za-z0-9_.\-]+\z/ do
      {:ok, name}
    else
      {:refuse, 400, "a stream's name is 1 to #{@max_name_length} of A-Z a-z 0-9 _ . -"}
    end
  end

  @doc "Takes a name for the calling process."
  @spec publish(atom(), String.t()) :: :ok | {:refuse, 409, String.t()}
  def publish(streams, name) do
    case Registry.register(streams, name, []) do
      {:ok, _owner} -> :ok
      {:error, {:already_registered, _pid}} -> {:refuse, 409, "#{name} is being published"}
    end
  end

  @doc "Tells what the calling publisher's stream consists of now."
  @spec put_tracks(atom(), String.t(), [track()]) :: :ok
  def put_tracks(streams, name, tracks) do
    {_new, _old} = Registry.update_value(streams, name, fn _old -> tracks end)
    :ok
  end

  @doc "Finds a stream's publisher and tracks."
  @spec find(atom(), String.t()) :: {:ok, pid(), [track()]} | {:refuse, 404, String.t()}
  def find(streams, name) do
    case Registry.lookup(streams, name) do
      [{publisher, tracks}] -> {:ok, publisher, tracks}
      [] -> {:refuse, 404, "nobody publishes #{name}"}
    end
  end

  @doc "The names of all streams."
  @spec names(atom()) :: [String.t()]
  def names(streams) do
    streams |> Registry.select([{{:"$1", :_, :_}, [], [:"$1"]}]) |> Enum.sort()
  end
end
