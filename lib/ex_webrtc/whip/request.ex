defmodule ExWebRTC.WHIP.Request do
  @moduledoc """
  An HTTP request as `ExWebRTC.WHIP` sees it, whichever server took it off the wire.

    * `:method` - upper case, `"POST"`
    * `:path` - decoded segments, `["whip", "d3JpdGU"]`
    * `:query` - decoded parameters
    * `:headers` - values by lower-case name
    * `:body` - the whole body
  """

  @enforce_keys [:method, :path]
  defstruct [:method, :path, query: %{}, headers: %{}, body: ""]

  @type t :: %__MODULE__{
          method: String.t(),
          path: [String.t()],
          query: %{String.t() => String.t()},
          headers: %{String.t() => String.t()},
          body: binary()
        }

  @doc """
  Builds a request from a request target (`"/whip?stream=a"`).

  `:error` when a percent escape or the UTF-8 behind it is broken.
  """
  @spec parse(String.t(), String.t(), %{String.t() => String.t()}, binary()) ::
          {:ok, t()} | :error
  def parse(method, target, headers, body) do
    {path, query} =
      case String.split(target, "?", parts: 2) do
        [path, query] -> {path, query}
        [path] -> {path, ""}
      end

    with {:ok, segments} <- decode_path(path),
         {:ok, params} <- decode_query(query) do
      {:ok,
       %__MODULE__{method: method, path: segments, query: params, headers: headers, body: body}}
    end
  end

  @doc """
  The media type of the body: lower case, without parameters. `nil` if the client named none.
  """
  @spec media_type(t()) :: String.t() | nil
  def media_type(%__MODULE__{headers: headers}) do
    with value when is_binary(value) <- headers["content-type"] do
      value |> String.split(";", parts: 2) |> hd() |> String.trim() |> String.downcase()
    end
  end

  defp decode_path(path) do
    path
    |> String.split("/", trim: true)
    |> decode_all([])
  end

  defp decode_all([], decoded), do: {:ok, Enum.reverse(decoded)}

  defp decode_all([segment | rest], decoded) do
    case decode(&URI.decode/1, segment) do
      {:ok, text} -> decode_all(rest, [text | decoded])
      :error -> :error
    end
  end

  defp decode_query(query) do
    query
    |> String.split("&", trim: true)
    |> Enum.reduce_while({:ok, %{}}, fn pair, {:ok, params} ->
      [name | value] = String.split(pair, "=", parts: 2)

      with {:ok, name} <- decode(&URI.decode_www_form/1, name),
           {:ok, value} <- decode(&URI.decode_www_form/1, Enum.join(value)) do
        {:cont, {:ok, Map.put(params, name, value)}}
      else
        :error -> {:halt, :error}
      end
    end)
  end

  defp decode(decoder, text) do
    decoded = decoder.(text)
    if String.valid?(decoded), do: {:ok, decoded}, else: :error
  rescue
    ArgumentError -> :error
  end
end
