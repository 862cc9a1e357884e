defmodule Jason do
  @moduledoc """
  Stands for the JSON library of an application that follows the guides.
  """

  def encode!(term), do: term |> ExWebRTC.WHIP.JSON.encode() |> IO.iodata_to_binary()
  def decode!(text), do: ExWebRTC.JSONReader.decode!(text)
end
