defmodule ExWebRTC.RTCP.SourceDescription.Item do
  @moduledoc """
  One item of a source description (RFC 3550 section 6.5, RFC 8852, RFC 9143).
  """

  # The SDES item types that IANA has registered and WebRTC meets, with the names of `ex_rtcp`.
  @types [
    {1, :cname},
    {2, :name},
    {3, :email},
    {4, :phone},
    {5, :location},
    {6, :tool},
    {7, :note},
    {8, :priv},
    {12, :rtp_stream_id},
    {13, :repaired_rtp_stream_id},
    {15, :mid}
  ]

  @type type() ::
          :cname
          | :name
          | :email
          | :phone
          | :location
          | :tool
          | :note
          | :priv
          | :rtp_stream_id
          | :repaired_rtp_stream_id
          | :mid

  @typedoc """
  - `type`: an atom, or the number of a type that has none
  - `text`: at most 255 bytes; for `:priv` with the length-prefixed prefix (RFC 3550 section 6.5.8)
  """
  @type t() :: %__MODULE__{type: type() | 1..255, text: binary()}

  @enforce_keys [:type, :text]
  defstruct @enforce_keys

  @doc false
  @spec new(1..255, binary()) :: t()
  def new(type, text), do: %__MODULE__{type: type_name(type), text: text}

  @doc false
  @spec encode(t()) :: binary()
  def encode(%__MODULE__{type: type, text: text}) when byte_size(text) <= 255,
    do: <<type_number(type), byte_size(text), text::binary>>

  def encode(%__MODULE__{} = item) do
    raise ArgumentError, "the text of an item is at most 255 bytes, got: #{inspect(item)}"
  end

  for {number, name} <- @types do
    defp type_name(unquote(number)), do: unquote(name)
    defp type_number(unquote(name)), do: unquote(number)
  end

  defp type_name(number), do: number
  defp type_number(number) when number in 1..255, do: number

  defp type_number(other) do
    names = Enum.map_join(@types, ", ", fn {_number, name} -> inspect(name) end)

    raise ArgumentError,
          "the type of an item is one of #{names}, or a number in 1..255, got: #{inspect(other)}"
  end
end
