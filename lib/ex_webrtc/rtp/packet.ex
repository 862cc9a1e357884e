defmodule ExWebRTC.RTP.Packet do
  @moduledoc """
  An RTP packet (RFC 3550 section 5.1) with its header extensions (RFC 8285).

      iex> alias ExWebRTC.RTP.Packet
      iex> packet = Packet.new("frame", payload_type: 96, sequence_number: 7, timestamp: 90_000, ssrc: 1)
      iex> {:ok, ^packet} = packet |> Packet.encode() |> Packet.decode()
      iex> packet.payload
      "frame"

  The extension fields belong together (`extension`, `extension_profile`, `extensions`): change them
  with `add_extension/2`, `set_extension/3` and the `remove_` functions.

  The functions take packets of the package `ex_rtp` as well: they have the same fields.
  """

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTP.Packet.Extension

  # RFC 8285 section 4.2.
  @one_byte_profile 0xBEDE
  # RFC 8285 section 4.3: 12 fixed bits, then 4 bits that receivers ignore.
  @two_byte_profile 0x1000
  @two_byte_profiles 0x1000..0x100F

  @max_csrcs 15
  # The length of an extension is counted in 16 bits, in words of 32 bits.
  @max_extension_words 65_535

  @typedoc """
  - `version`: always 2
  - `marker`: the meaning depends on the payload format; the last packet of a frame for video
  - `csrc`: at most 15 contributing sources
  - `extension_profile`: `0xBEDE` for one-byte extensions, `0x1000..0x100F` for two-byte ones
    (RFC 8285), any other number for one of the application's own; `nil` without
  - `extensions`: the elements in their order, for the application's own profile the bytes
  - `padding_size`: bytes of padding behind the payload, the count byte included; 0 without
  """
  @type t() :: %__MODULE__{
          version: 0..3,
          padding: boolean(),
          extension: boolean(),
          marker: boolean(),
          payload_type: 0..127,
          sequence_number: 0..65_535,
          timestamp: 0..4_294_967_295,
          ssrc: 0..4_294_967_295,
          csrc: [0..4_294_967_295],
          extension_profile: 0..65_535 | nil,
          extensions: [Extension.t()] | binary() | nil,
          payload: binary(),
          padding_size: 0..255
        }

  @enforce_keys [:payload_type, :sequence_number, :timestamp, :ssrc, :payload]
  defstruct @enforce_keys ++
              [
                version: 2,
                padding: false,
                extension: false,
                marker: false,
                csrc: [],
                extension_profile: nil,
                extensions: nil,
                padding_size: 0
              ]

  @typedoc """
  Why bytes are not an RTP packet:

  - `:not_enough_data`: they end before what the header announces
  - `:unsupported_version`: the version is not 2
  - `:invalid_padding`: the padding count is 0 or more than there is
  """
  @type decode_error() :: :not_enough_data | :unsupported_version | :invalid_padding

  # An option that was not given.
  @no :not_given

  @options [:payload_type, :sequence_number, :timestamp, :ssrc, :marker, :csrc, :padding]

  @doc """
  Makes a packet with this payload.

  Options: `:payload_type`, `:sequence_number`, `:timestamp`, `:ssrc` (all 0 by default), `:marker`
  (default `false`), `:csrc` (a list, default empty) and `:padding`, the number of bytes to pad with
  (default 0). An unknown option raises, as does one that is given twice.
  """
  @spec new(binary(), keyword()) :: t()
  def new(payload, opts \\ []) when is_binary(payload) do
    with :error <- new(opts, payload, @no, @no, @no, @no, @no, @no, @no) do
      # Always raises, and says why.
      Keyword.validate!(opts, @options)
    end
  end

  # Once for each packet that a program sends: its options in one pass, without garbage. None is
  # taken twice.
  defp new([{:payload_type, value} | opts], payload, @no, seq, ts, ssrc, marker, csrc, pad),
    do: new(opts, payload, value, seq, ts, ssrc, marker, csrc, pad)

  defp new([{:sequence_number, value} | opts], payload, pt, @no, ts, ssrc, marker, csrc, pad),
    do: new(opts, payload, pt, value, ts, ssrc, marker, csrc, pad)

  defp new([{:timestamp, value} | opts], payload, pt, seq, @no, ssrc, marker, csrc, pad),
    do: new(opts, payload, pt, seq, value, ssrc, marker, csrc, pad)

  defp new([{:ssrc, value} | opts], payload, pt, seq, ts, @no, marker, csrc, pad),
    do: new(opts, payload, pt, seq, ts, value, marker, csrc, pad)

  defp new([{:marker, value} | opts], payload, pt, seq, ts, ssrc, @no, csrc, pad),
    do: new(opts, payload, pt, seq, ts, ssrc, value, csrc, pad)

  defp new([{:csrc, value} | opts], payload, pt, seq, ts, ssrc, marker, @no, pad),
    do: new(opts, payload, pt, seq, ts, ssrc, marker, value, pad)

  defp new([{:padding, value} | opts], payload, pt, seq, ts, ssrc, marker, csrc, @no),
    do: new(opts, payload, pt, seq, ts, ssrc, marker, csrc, value)

  defp new([], payload, pt, seq, ts, ssrc, marker, csrc, pad) do
    padding_size = given(pad, 0)

    %__MODULE__{
      payload_type: given(pt, 0),
      sequence_number: given(seq, 0),
      timestamp: given(ts, 0),
      ssrc: given(ssrc, 0),
      marker: given(marker, false),
      csrc: given(csrc, []),
      padding: padding_size > 0,
      padding_size: padding_size,
      payload: payload
    }
  end

  defp new(_opts, _payload, _pt, _seq, _ts, _ssrc, _marker, _csrc, _pad), do: :error

  defp given(@no, default), do: default
  defp given(value, _default), do: value

  @doc """
  Encodes a packet.

  Raises `ArgumentError` for what no packet can carry, and names it: a field outside of its range
  (see `t:t/0`), more than 15 CSRCs, an extension element with an id or size that the profile does not
  have, more than 255 bytes of padding.
  """
  @spec encode(t()) :: binary()
  def encode(
        %_packet{
          version: version,
          payload_type: payload_type,
          sequence_number: sequence_number,
          timestamp: timestamp,
          ssrc: ssrc,
          payload: payload
        } = packet
      )
      when version in 0..3 and payload_type in 0..127 and is_uint16(sequence_number) and
             is_uint32(timestamp) and is_uint32(ssrc) and is_binary(payload) do
    csrcs = uint32s(packet.csrc, :csrc)
    csrc_count = div(byte_size(csrcs), 4)

    if csrc_count > @max_csrcs,
      do: raise(ArgumentError, "a packet has at most #{@max_csrcs} CSRCs, got: #{csrc_count}")

    <<version::2, bit(packet.padding, :padding)::1, bit(packet.extension, :extension)::1,
      csrc_count::4, bit(packet.marker, :marker)::1, payload_type::7, sequence_number::16,
      timestamp::32, ssrc::32, csrcs::binary, encode_extension(packet)::binary, payload::binary,
      encode_padding(packet)::binary>>
  end

  def encode(%_packet{} = packet) do
    raise_wrong_field!(packet,
      version: 0..3,
      payload_type: 0..127,
      sequence_number: 0..0xFFFF,
      timestamp: 0..0xFFFFFFFF,
      ssrc: 0..0xFFFFFFFF,
      payload: :binary
    )
  end

  def encode(other) do
    raise ArgumentError,
          "expected an RTP packet of ExWebRTC or ex_rtp, got: #{inspect(other)}"
  end

  defp bit(true, _field), do: 1
  defp bit(false, _field), do: 0
  defp bit(other, field), do: raise_wrong!(field, "true or false", other)

  defp encode_padding(%{padding: false}), do: <<>>

  defp encode_padding(%{padding_size: size}) when size in 1..255,
    do: <<0::size(size - 1)-unit(8), size>>

  defp encode_padding(%{padding_size: size}),
    do: raise(ArgumentError, "padding is 1 to 255 bytes, got: #{inspect(size)}")

  defp encode_extension(%{extension: false}), do: <<>>

  defp encode_extension(%{extension_profile: profile, extensions: extensions})
       when is_uint16(profile) do
    data = pad_to_word(encode_elements(profile, extensions))
    words = div(byte_size(data), 4)

    if words > @max_extension_words,
      do:
        raise(ArgumentError, "header extensions of #{byte_size(data)} bytes do not fit a packet")

    <<profile::16, words::16, data::binary>>
  end

  defp encode_extension(packet), do: raise_wrong_field!(packet, extension_profile: 0..0xFFFF)

  defp encode_elements(_profile, data) when is_binary(data), do: data

  defp encode_elements(@one_byte_profile, elements) when is_list(elements),
    do: for(element <- elements, into: <<>>, do: encode_one_byte(element))

  defp encode_elements(profile, elements)
       when profile in @two_byte_profiles and is_list(elements),
       do: for(element <- elements, into: <<>>, do: encode_two_byte(element))

  defp encode_elements(profile, other) do
    raise ArgumentError,
          "the extension of profile #{inspect(profile)} must be a binary, got: #{inspect(other)}"
  end

  # Id 15 is reserved (RFC 8285 section 4.2); the length field is one less than the length.
  defp encode_one_byte(%{id: id, data: data})
       when id in 1..14 and byte_size(data) in 1..16,
       do: <<id::4, byte_size(data) - 1::4, data::binary>>

  defp encode_one_byte(element) do
    raise ArgumentError,
          "a one-byte header extension has an id in 1..14 and 1 to 16 bytes, got: #{inspect(element)}"
  end

  defp encode_two_byte(%{id: id, data: data})
       when id in 1..255 and byte_size(data) in 0..255,
       do: <<id, byte_size(data), data::binary>>

  defp encode_two_byte(element) do
    raise ArgumentError,
          "a two-byte header extension has an id in 1..255 and at most 255 bytes, got: " <>
            inspect(element)
  end

  defp pad_to_word(data) do
    case rem(byte_size(data), 4) do
      0 -> data
      rest -> <<data::binary, 0::size(4 - rest)-unit(8)>>
    end
  end

  @doc """
  Decodes a packet. The payload is a sub-binary of the input.
  """
  @spec decode(binary()) :: {:ok, t()} | {:error, decode_error()}
  def decode(
        <<2::2, padding::1, extension::1, csrc_count::4, marker::1, payload_type::7,
          sequence_number::16, timestamp::32, ssrc::32, csrcs::binary-size(csrc_count)-unit(32),
          rest::binary>>
      ) do
    with {:ok, profile, extensions, rest} <- decode_extension(extension, rest),
         {:ok, payload, padding_size} <- decode_padding(padding, rest) do
      {:ok,
       %__MODULE__{
         padding: padding == 1,
         extension: extension == 1,
         marker: marker == 1,
         payload_type: payload_type,
         sequence_number: sequence_number,
         timestamp: timestamp,
         ssrc: ssrc,
         csrc: for(<<csrc::32 <- csrcs>>, do: csrc),
         extension_profile: profile,
         extensions: extensions,
         payload: payload,
         padding_size: padding_size
       }}
    end
  end

  def decode(<<version::2, _rest::bitstring>>) when version != 2,
    do: {:error, :unsupported_version}

  def decode(data) when is_binary(data), do: {:error, :not_enough_data}

  defp decode_extension(0, rest), do: {:ok, nil, nil, rest}

  defp decode_extension(
         1,
         <<profile::16, words::16, data::binary-size(words)-unit(32), rest::binary>>
       ),
       do: {:ok, profile, decode_elements(profile, data), rest}

  defp decode_extension(1, _rest), do: {:error, :not_enough_data}

  defp decode_elements(@one_byte_profile, data), do: decode_one_byte(data, [])

  defp decode_elements(profile, data) when profile in @two_byte_profiles,
    do: decode_two_byte(data, [])

  defp decode_elements(_profile, data), do: data

  # Id 0 is a byte of padding; with id 15, and where an element is cut off, the rest is to be
  # ignored and what came before is kept (RFC 8285 section 4.2).
  defp decode_one_byte(<<0::4, 0::4, rest::binary>>, elements),
    do: decode_one_byte(rest, elements)

  defp decode_one_byte(<<id::4, size::4, data::binary-size(size + 1), rest::binary>>, elements)
       when id in 1..14,
       do: decode_one_byte(rest, [%Extension{id: id, data: data} | elements])

  defp decode_one_byte(_rest, elements), do: Enum.reverse(elements)

  defp decode_two_byte(<<0, rest::binary>>, elements), do: decode_two_byte(rest, elements)

  defp decode_two_byte(<<id, size, data::binary-size(size), rest::binary>>, elements),
    do: decode_two_byte(rest, [%Extension{id: id, data: data} | elements])

  defp decode_two_byte(_rest, elements), do: Enum.reverse(elements)

  defp decode_padding(0, payload), do: {:ok, payload, 0}
  defp decode_padding(1, <<>>), do: {:error, :not_enough_data}

  defp decode_padding(1, rest) do
    padding_size = :binary.last(rest)

    if padding_size in 1..byte_size(rest) do
      {:ok, binary_part(rest, 0, byte_size(rest) - padding_size), padding_size}
    else
      {:error, :invalid_padding}
    end
  end

  @doc """
  The first header extension with this id.
  """
  @spec fetch_extension(t(), 1..255) :: {:ok, Extension.t()} | :error
  def fetch_extension(%_packet{extensions: elements}, id) when is_list(elements) do
    case Enum.find(elements, &(&1.id == id)) do
      nil -> :error
      element -> {:ok, element}
    end
  end

  def fetch_extension(%_packet{}, _id), do: :error

  @doc """
  Adds a header extension (RFC 8285) behind those that are there.

  The packet takes the one-byte form if all of its extensions fit that, otherwise the two-byte form
  (id above 14, no data, or more than 16 bytes). An extension set by `set_extension/3` is replaced.
  """
  @spec add_extension(t(), Extension.t()) :: t()
  def add_extension(%_packet{} = packet, %{id: _, data: _} = extension) do
    elements =
      if is_list(packet.extensions), do: packet.extensions ++ [extension], else: [extension]

    %{
      packet
      | extension: true,
        extension_profile: profile(packet, elements),
        extensions: elements
    }
  end

  defp profile(packet, elements) do
    cond do
      packet.extension_profile in @two_byte_profiles -> packet.extension_profile
      Enum.all?(elements, &one_byte?/1) -> @one_byte_profile
      true -> @two_byte_profile
    end
  end

  defp one_byte?(%{id: id, data: data}), do: id in 1..14 and byte_size(data) in 1..16

  @doc """
  Sets the one header extension of the application's own profile (RFC 3550 section 5.3.1) in place
  of all that are there.

  `data` is padded with zeros to a multiple of four bytes when the packet is encoded. The profiles
  of RFC 8285 raise `ArgumentError`: use `add_extension/2`.
  """
  @spec set_extension(t(), 0..65_535, binary()) :: t()
  def set_extension(%_packet{}, profile, _data)
      when profile == @one_byte_profile or profile in @two_byte_profiles do
    raise ArgumentError, "profile #{inspect(profile)} is one of RFC 8285: use add_extension/2"
  end

  def set_extension(%_packet{} = packet, profile, data)
      when profile in 0..65_535 and is_binary(data) do
    %{packet | extension: true, extension_profile: profile, extensions: data}
  end

  @doc """
  Removes every header extension with this id.
  """
  @spec remove_extension(t(), 1..255) :: t()
  def remove_extension(%_packet{extensions: elements} = packet, id) when is_list(elements) do
    case Enum.reject(elements, &(&1.id == id)) do
      [] -> remove_extensions(packet)
      elements -> %{packet | extensions: elements}
    end
  end

  def remove_extension(%_packet{} = packet, _id), do: packet

  @doc """
  Removes all header extensions.
  """
  @spec remove_extensions(t()) :: t()
  def remove_extensions(%_packet{} = packet),
    do: %{packet | extension: false, extension_profile: nil, extensions: nil}
end
