defmodule ExWebRTC.RTCP do
  @moduledoc """
  RTCP packets (RFC 3550 section 6, RFC 4585) to and from bytes.

  A datagram carries a compound: packets one behind the other. `decode/1` takes compounds and
  reduced-size ones (RFC 5506) alike, and keeps packets of types it does not know as
  `ExWebRTC.RTCP.Unknown`, so that `encode/1` gives them back unchanged.

      iex> alias ExWebRTC.RTCP
      iex> pli = %RTCP.PLI{sender_ssrc: 1, media_ssrc: 2}
      iex> {:ok, [^pli]} = pli |> RTCP.encode() |> RTCP.decode()
      iex> pli.media_ssrc
      2
  """

  alias ExWebRTC.PacketStructs

  alias ExWebRTC.RTCP.{
    APP,
    FIR,
    Goodbye,
    NACK,
    PLI,
    REMB,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    TransportCC,
    Unknown,
    XR
  }

  @type packet() ::
          SenderReport.t()
          | ReceiverReport.t()
          | SourceDescription.t()
          | Goodbye.t()
          | APP.t()
          | NACK.t()
          | TransportCC.t()
          | PLI.t()
          | FIR.t()
          | REMB.t()
          | XR.t()
          | Unknown.t()

  @typedoc """
  Why bytes are not RTCP:

  - `:not_enough_data`: they end before what a header announces, or there are none
  - `:unsupported_version`: the version is not 2
  - `:invalid_padding`: the padding count is no multiple of 4, or more than there is
  - `:invalid_packet`: a packet of a known type does not have its form
  """
  @type decode_error() ::
          :not_enough_data | :unsupported_version | :invalid_padding | :invalid_packet

  @packets [
    SenderReport,
    ReceiverReport,
    SourceDescription,
    Goodbye,
    APP,
    NACK,
    TransportCC,
    PLI,
    FIR,
    REMB,
    XR,
    Unknown
  ]

  # The length of a packet is counted in 16 bits, in words of 32 bits, without the first.
  @max_body_words 65_535

  @doc """
  Encodes a packet, or a list of packets to a compound. Packets of `ex_rtcp` are taken as well.

  Raises `ArgumentError` for what a packet cannot carry, such as 32 reports, or a number outside of its
  range, which it names.
  """
  @spec encode(packet() | struct() | [packet() | struct()]) :: binary()
  def encode(packets) when is_list(packets),
    do: for(packet <- packets, into: <<>>, do: encode(packet))

  def encode(packet) do
    {{count, type}, body} = packet |> PacketStructs.to_ours() |> encode_body()
    words = div(byte_size(body), 4)

    if count not in 0..31 or rem(byte_size(body), 4) != 0 or words > @max_body_words do
      raise ArgumentError, "no RTCP packet can carry #{inspect(packet)}"
    end

    <<2::2, 0::1, count::5, type, words::16, body::binary>>
  end

  defp encode_body(%module{} = packet) when module in @packets, do: module.encode_body(packet)

  defp encode_body(other) do
    raise ArgumentError,
          "expected a packet of ExWebRTC.RTCP or ex_rtcp, or a list of them, got: #{inspect(other)}"
  end

  @doc """
  Decodes all packets of a datagram, in their order.
  """
  @spec decode(binary()) :: {:ok, [packet(), ...]} | {:error, decode_error()}
  def decode(data) when is_binary(data), do: decode(data, [])

  defp decode(<<>>, [_ | _] = packets), do: {:ok, Enum.reverse(packets)}

  defp decode(
         <<2::2, padding::1, count::5, type, words::16, body::binary-size(words)-unit(32),
           rest::binary>>,
         packets
       ) do
    with {:ok, unpadded} <- remove_padding(padding, body),
         {:ok, packet} <- decode_packet({count, type}, unpadded) do
      decode(rest, [packet | packets])
    end
  end

  defp decode(<<version::2, _rest::bitstring>>, _packets) when version != 2,
    do: {:error, :unsupported_version}

  defp decode(_data, _packets), do: {:error, :not_enough_data}

  defp remove_padding(0, body), do: {:ok, body}
  defp remove_padding(1, <<>>), do: {:error, :invalid_padding}

  defp remove_padding(1, body) do
    size = :binary.last(body)

    # Whole words (RFC 3550 section 6.4.1).
    if size in 4..byte_size(body)//4,
      do: {:ok, binary_part(body, 0, byte_size(body) - size)},
      else: {:error, :invalid_padding}
  end

  defp decode_packet({count, type}, body) do
    case module(type, count, body).decode_body(count, body) do
      {:ok, %Unknown{} = packet} -> {:ok, %{packet | type: type}}
      {:ok, packet} -> {:ok, packet}
      :error -> {:error, :invalid_packet}
    end
  end

  defp module(200, _count, _body), do: SenderReport
  defp module(201, _count, _body), do: ReceiverReport
  defp module(202, _count, _body), do: SourceDescription
  defp module(203, _count, _body), do: Goodbye
  defp module(204, _count, _body), do: APP
  # Transport layer feedback: the count is the format (RFC 4585 section 6.2).
  defp module(205, 1, _body), do: NACK
  defp module(205, 15, _body), do: TransportCC
  # Payload-specific feedback (RFC 4585 section 6.3, RFC 5104 section 4.3).
  defp module(206, 1, _body), do: PLI
  defp module(206, 4, _body), do: FIR
  # Application layer feedback is REMB only where it says so.
  defp module(206, 15, <<_ssrcs::64, "REMB", _rest::binary>>), do: REMB
  defp module(207, _count, _body), do: XR
  defp module(_type, _count, _body), do: Unknown
end
