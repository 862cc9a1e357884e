defmodule ExWebRTC.JSONReader do
  @moduledoc false
  # Reads JSON (RFC 8259) in tests: what browsers and Python print. Raises on anything else.

  @doc "Decodes a text: objects are maps with string keys, `null` is `nil`."
  def decode!(text) do
    {value, rest} = text |> skip() |> value()
    "" = skip(rest)
    value
  end

  defp value("{" <> rest), do: rest |> skip() |> object(%{})
  defp value("[" <> rest), do: rest |> skip() |> array([])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}

  defp value(text) do
    [number] = Regex.run(~r/\A-?\d+(\.\d+)?([eE][+-]?\d+)?/, text, capture: :first)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))

    case Integer.parse(number) do
      {integer, ""} -> {integer, rest}
      _float -> {number |> Float.parse() |> elem(0), rest}
    end
  end

  defp object("}" <> rest, read), do: {read, rest}
  defp object("," <> rest, read), do: rest |> skip() |> object(read)

  defp object("\"" <> rest, read) do
    {name, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = rest |> skip() |> value()
    rest |> skip() |> object(Map.put(read, name, value))
  end

  defp array("]" <> rest, read), do: {Enum.reverse(read), rest}
  defp array("," <> rest, read), do: rest |> skip() |> array(read)

  defp array(text, read) do
    {value, rest} = value(text)
    rest |> skip() |> array([value | read])
  end

  defp string("\"" <> rest, read), do: {read |> Enum.reverse() |> IO.iodata_to_binary(), rest}

  defp string("\\u" <> <<high::binary-size(4), "\\u", low::binary-size(4), rest::binary>>, read)
       when binary_part(high, 0, 1) in ["d", "D"] do
    units = <<String.to_integer(high, 16)::16, String.to_integer(low, 16)::16>>
    string(rest, [:unicode.characters_to_binary(units, :utf16) | read])
  end

  defp string("\\u" <> <<code::binary-size(4), rest::binary>>, read),
    do: string(rest, [<<String.to_integer(code, 16)::utf8>> | read])

  defp string(<<"\\", escape, rest::binary>>, read) do
    character = %{?n => "\n", ?t => "\t", ?r => "\r", ?b => "\b", ?f => "\f"}
    string(rest, [Map.get(character, escape, <<escape>>) | read])
  end

  defp string(<<character::utf8, rest::binary>>, read),
    do: string(rest, [<<character::utf8>> | read])

  defp skip(<<space, rest::binary>>) when space in [?\s, ?\t, ?\r, ?\n], do: skip(rest)
  defp skip(text), do: text
end
