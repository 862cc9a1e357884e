defmodule ExWebRTC.Demo.Assets do
  @moduledoc false
  # The demo's page, embedded at compile time: nothing to install, nothing to find at run time.

  @directory Path.expand("../../../priv/demo", __DIR__)

  @types %{
    ".html" => "text/html; charset=utf-8",
    ".css" => "text/css; charset=utf-8",
    ".js" => "text/javascript; charset=utf-8",
    ".svg" => "image/svg+xml"
  }

  @files @directory
         |> File.ls!()
         |> Enum.sort()
         |> Enum.filter(&is_map_key(@types, Path.extname(&1)))

  for file <- @files do
    path = Path.join(@directory, file)
    @external_resource path
    body = File.read!(path)

    etag =
      ~s(") <>
        (body |> :erlang.md5() |> Base.encode16(case: :lower)) <>
        ~s(")

    type = Map.fetch!(@types, Path.extname(file))

    def fetch(unquote(file)), do: {:ok, unquote(type), unquote(body), unquote(etag)}
  end

  @doc "A file of the page: content type, body and entity tag."
  @spec fetch(String.t()) :: {:ok, String.t(), binary(), String.t()} | :error
  def fetch(_name), do: :error
end
