defmodule ExWebRTC.SDPAttribute do
  @moduledoc """
  Stands for the attribute structs of an SDP library, of which we know `String.Chars` only. It is
  compiled with the project, as protocols are consolidated after that.
  """

  defstruct [:text]

  defimpl String.Chars do
    def to_string(attribute), do: attribute.text
  end
end
