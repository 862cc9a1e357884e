defmodule ExWebRTC.RTCP.TransportCC do
  @moduledoc """
  Transport-wide congestion control feedback: which packets arrived, and when
  (draft-holmer-rmcat-transport-wide-cc-extensions-01).
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.TransportCC.{RunLength, StatusVector}

  @typedoc """
  - `:not_received`
  - `:small_delta`: received, the delta is 0 to 255
  - `:large_delta`: received, the delta is -32,768 to 32,767
  - `:no_delta`: received, without a time; reserved in the text of the draft, used in its examples
  """
  @type status_symbol() :: :not_received | :no_delta | :small_delta | :large_delta

  @typedoc """
  - `base_sequence_number`: of the first packet it is about
  - `packet_status_count`: how many packets it is about
  - `reference_time`: in 64 ms, signed 24 bits; the first delta counts from it
  - `fb_pkt_count`: goes up by one with each feedback packet
  - `packet_chunks`: the status of each packet, possibly some more to fill the last chunk
  - `recv_deltas`: in 250 µs, one for each `:small_delta` and `:large_delta`
  """
  @type t() :: %__MODULE__{
          sender_ssrc: 0..0xFFFFFFFF,
          media_ssrc: 0..0xFFFFFFFF,
          base_sequence_number: 0..65_535,
          packet_status_count: 0..65_535,
          reference_time: -0x800000..0x7FFFFF,
          fb_pkt_count: 0..255,
          packet_chunks: [RunLength.t() | StatusVector.t()],
          recv_deltas: [-0x8000..0x7FFF]
        }

  @enforce_keys [
    :sender_ssrc,
    :media_ssrc,
    :base_sequence_number,
    :packet_status_count,
    :reference_time,
    :fb_pkt_count,
    :packet_chunks,
    :recv_deltas
  ]
  defstruct @enforce_keys

  @impl true
  def encode_body(
        %__MODULE__{
          sender_ssrc: sender_ssrc,
          media_ssrc: media_ssrc,
          base_sequence_number: base_sequence_number,
          packet_status_count: count,
          reference_time: reference_time,
          fb_pkt_count: fb_pkt_count
        } = feedback
      )
      when is_uint32(sender_ssrc) and is_uint32(media_ssrc) and
             is_uint16(base_sequence_number) and is_uint16(count) and
             reference_time in -0x800000..0x7FFFFF and is_uint8(fb_pkt_count) do
    chunks = encode_chunks(feedback.packet_chunks, count, <<>>)
    deltas = encode_deltas(symbols(feedback), feedback.recv_deltas, <<>>)

    body =
      <<sender_ssrc::32, media_ssrc::32, base_sequence_number::16, count::16, reference_time::24,
        fb_pkt_count, chunks::binary, deltas::binary>>

    zeros = rem(4 - rem(byte_size(body), 4), 4)
    {{15, 205}, <<body::binary, 0::size(zeros)-unit(8)>>}
  end

  def encode_body(%__MODULE__{} = feedback) do
    raise_wrong_field!(feedback,
      sender_ssrc: 0..0xFFFFFFFF,
      media_ssrc: 0..0xFFFFFFFF,
      base_sequence_number: 0..0xFFFF,
      packet_status_count: 0..0xFFFF,
      reference_time: -0x800000..0x7FFFFF,
      fb_pkt_count: 0..255
    )
  end

  # Readers take chunks until they have the status of `left` packets more: what is between the last
  # of them and the deltas would be read as deltas.
  defp encode_chunks([%RunLength{run_length: length} = chunk | chunks], left, encoded)
       when left > 0,
       do: encode_chunks(chunks, left - length, encoded <> RunLength.encode(chunk))

  defp encode_chunks([%StatusVector{symbols: symbols} = chunk | chunks], left, encoded)
       when left > 0,
       do: encode_chunks(chunks, left - length(symbols), encoded <> StatusVector.encode(chunk))

  defp encode_chunks([], left, encoded) when left <= 0, do: encoded

  defp encode_chunks(chunks, left, _encoded) do
    raise ArgumentError,
          "packet_chunks do not match packet_status_count: #{inspect(chunks)} left for #{max(left, 0)} packets"
  end

  defp symbols(%{packet_chunks: chunks, packet_status_count: count}) do
    chunks
    |> Stream.flat_map(fn %module{} = chunk -> module.symbols(chunk) end)
    |> Enum.take(count)
  end

  defp encode_deltas([:small_delta | symbols], [delta | deltas], encoded) when delta in 0..255,
    do: encode_deltas(symbols, deltas, <<encoded::binary, delta>>)

  defp encode_deltas([:large_delta | symbols], [delta | deltas], encoded)
       when delta in -0x8000..0x7FFF,
       do: encode_deltas(symbols, deltas, <<encoded::binary, delta::16>>)

  defp encode_deltas([symbol | symbols], deltas, encoded)
       when symbol in [:not_received, :no_delta],
       do: encode_deltas(symbols, deltas, encoded)

  defp encode_deltas([], [], encoded), do: encoded

  defp encode_deltas(symbols, deltas, _encoded) do
    raise ArgumentError,
          "recv_deltas do not match the status symbols: #{inspect(deltas)} left for #{inspect(symbols)}"
  end

  @impl true
  def decode_body(
        _format,
        <<sender_ssrc::32, media_ssrc::32, base_sequence_number::16, count::16,
          reference_time::signed-24, fb_pkt_count, rest::binary>>
      ) do
    with {:ok, chunks, rest} <- decode_chunks(count, rest, []),
         feedback = %__MODULE__{
           sender_ssrc: sender_ssrc,
           media_ssrc: media_ssrc,
           base_sequence_number: base_sequence_number,
           packet_status_count: count,
           reference_time: reference_time,
           fb_pkt_count: fb_pkt_count,
           packet_chunks: chunks,
           recv_deltas: []
         },
         {:ok, deltas} <- decode_deltas(symbols(feedback), rest, []) do
      {:ok, %{feedback | recv_deltas: deltas}}
    end
  end

  def decode_body(_format, _body), do: :error

  defp decode_chunks(count, rest, chunks) when count <= 0, do: {:ok, Enum.reverse(chunks), rest}

  defp decode_chunks(count, <<0::1, _bits::15, rest::binary>> = data, chunks) do
    chunk = RunLength.decode(binary_part(data, 0, 2))

    # An empty run does not get anywhere: a packet full of them is an attack or a fault.
    if chunk.run_length == 0,
      do: :error,
      else: decode_chunks(count - chunk.run_length, rest, [chunk | chunks])
  end

  defp decode_chunks(count, <<1::1, _bits::15, rest::binary>> = data, chunks) do
    chunk = StatusVector.decode(binary_part(data, 0, 2))
    decode_chunks(count - length(chunk.symbols), rest, [chunk | chunks])
  end

  defp decode_chunks(_count, _data, _chunks), do: :error

  defp decode_deltas([:small_delta | symbols], <<delta, rest::binary>>, deltas),
    do: decode_deltas(symbols, rest, [delta | deltas])

  defp decode_deltas([:large_delta | symbols], <<delta::signed-16, rest::binary>>, deltas),
    do: decode_deltas(symbols, rest, [delta | deltas])

  defp decode_deltas([symbol | symbols], rest, deltas) when symbol in [:not_received, :no_delta],
    do: decode_deltas(symbols, rest, deltas)

  defp decode_deltas([], _zeros, deltas), do: {:ok, Enum.reverse(deltas)}
  defp decode_deltas(_symbols, _too_short, _deltas), do: :error
end
