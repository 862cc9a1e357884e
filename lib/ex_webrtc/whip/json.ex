defmodule ExWebRTC.WHIP.JSON do
  @moduledoc false
  # Writes JSON (RFC 8259): what the session resources need, without a JSON library.

  @doc """
  Encodes maps with atom or string keys, lists, strings, numbers, booleans, `nil`; other atoms
  become strings, IP addresses text, and terms that JSON has no word for what `inspect/1` shows.
  """
  @spec encode(term()) :: iodata()
  def encode(nil), do: "null"
  def encode(boolean) when is_boolean(boolean), do: Atom.to_string(boolean)
  def encode(atom) when is_atom(atom), do: string(Atom.to_string(atom))
  def encode(integer) when is_integer(integer), do: Integer.to_string(integer)
  def encode(float) when is_float(float), do: Float.to_string(float)
  def encode(%{__struct__: _module} = struct), do: struct |> Map.from_struct() |> encode()

  def encode(map) when is_map(map) do
    pairs = Enum.map(map, fn {key, value} -> [string(to_string(key)), ?:, encode(value)] end)
    [?{, Enum.intersperse(pairs, ?,), ?}]
  end

  def encode(list) when is_list(list) do
    [?[, list |> Enum.map(&encode/1) |> Enum.intersperse(?,), ?]]
  end

  def encode(binary) when is_binary(binary) do
    if String.valid?(binary), do: string(binary), else: string(Base.encode64(binary))
  end

  def encode(tuple) when is_tuple(tuple) and tuple_size(tuple) in [4, 8] do
    case :inet.ntoa(tuple) do
      {:error, :einval} -> string(inspect(tuple))
      text -> string(List.to_string(text))
    end
  end

  def encode(term), do: string(inspect(term))

  defp string(text), do: [?", escape(text, []), ?"]

  defp escape(<<>>, escaped), do: Enum.reverse(escaped)
  defp escape(<<?", rest::binary>>, escaped), do: escape(rest, ["\\\"" | escaped])
  defp escape(<<?\\, rest::binary>>, escaped), do: escape(rest, ["\\\\" | escaped])

  defp escape(<<control, rest::binary>>, escaped) when control < 0x20 do
    code = control |> Integer.to_string(16) |> String.pad_leading(4, "0")
    escape(rest, ["\\u" <> code | escaped])
  end

  defp escape(<<character::utf8, rest::binary>>, escaped),
    do: escape(rest, [<<character::utf8>> | escaped])
end
