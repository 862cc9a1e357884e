defmodule ExWebRTC.Documentation do
  @moduledoc """
  The code in README.md and in the guides, so that tests run what readers copy.
  """

  @doc "The Elixir code blocks of a file, in their order."
  @spec elixir_blocks(Path.t()) :: [String.t()]
  def elixir_blocks(path) do
    for [_all, code] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, File.read!(path)), do: code
  end
end
