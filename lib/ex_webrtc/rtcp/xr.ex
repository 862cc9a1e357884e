defmodule ExWebRTC.RTCP.XR do
  @moduledoc """
  Extended reports (RFC 3611). The two blocks by which who only receives learns its round trip time
  are structs, others are kept as they are.
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  alias ExWebRTC.RTCP.XR.{DLRR, ReceiverReferenceTime}

  @typedoc "A block of another type: what its header says, and whole words of contents."
  @type unknown_block() :: %{type: 0..255, type_specific: 0..255, data: binary()}

  # The length of a block is counted in 16 bits, in words of 32 bits.
  @max_block_size 65_535 * 4

  @type block() :: ReceiverReferenceTime.t() | DLRR.t() | unknown_block()

  @type t() :: %__MODULE__{ssrc: 0..0xFFFFFFFF, blocks: [block()]}

  @enforce_keys [:ssrc, :blocks]
  defstruct @enforce_keys

  @impl true
  def encode_body(%__MODULE__{ssrc: ssrc, blocks: blocks}) when is_uint32(ssrc) do
    blocks = for block <- blocks, into: <<>>, do: encode_block(block)
    {{0, 207}, <<ssrc::32, blocks::binary>>}
  end

  def encode_body(%__MODULE__{} = xr), do: raise_wrong_field!(xr, ssrc: 0..0xFFFFFFFF)

  defp encode_block(%ReceiverReferenceTime{ntp_timestamp: ntp_timestamp})
       when is_uint64(ntp_timestamp),
       do: <<4, 0, 2::16, ntp_timestamp::64>>

  defp encode_block(%ReceiverReferenceTime{} = block),
    do: raise_wrong_field!(block, ntp_timestamp: 0..0xFFFFFFFFFFFFFFFF)

  defp encode_block(%DLRR{reports: reports}) do
    data = for report <- reports, into: <<>>, do: encode_report(report)
    encode_block(%{type: 5, type_specific: 0, data: data})
  end

  defp encode_block(%{type: type, type_specific: type_specific, data: data})
       when is_uint8(type) and is_uint8(type_specific) and rem(byte_size(data), 4) == 0 and
              byte_size(data) <= @max_block_size,
       do: <<type, type_specific, div(byte_size(data), 4)::16, data::binary>>

  defp encode_block(other) do
    raise_wrong!(
      :blocks,
      "blocks, others as maps with :type and :type_specific in 0..255 and :data of whole words",
      other,
      __MODULE__
    )
  end

  defp encode_report(%{ssrc: ssrc, last_rr: last_rr, delay: delay})
       when is_uint32(ssrc) and is_uint32(last_rr) and is_uint32(delay),
       do: <<ssrc::32, last_rr::32, delay::32>>

  defp encode_report(other) do
    raise_wrong!(:reports, "maps with :ssrc, :last_rr and :delay in 0..4294967295", other, DLRR)
  end

  @impl true
  def decode_body(_reserved, <<ssrc::32, blocks::binary>>) do
    with {:ok, blocks} <- decode_blocks(blocks, []),
         do: {:ok, %__MODULE__{ssrc: ssrc, blocks: blocks}}
  end

  def decode_body(_reserved, _body), do: :error

  defp decode_blocks(<<>>, blocks), do: {:ok, Enum.reverse(blocks)}

  defp decode_blocks(
         <<type, type_specific, words::16, data::binary-size(words)-unit(32), rest::binary>>,
         blocks
       ),
       do: decode_blocks(rest, [decode_block(type, type_specific, data) | blocks])

  defp decode_blocks(_rest, _blocks), do: :error

  defp decode_block(4, _reserved, <<ntp_timestamp::64>>),
    do: %ReceiverReferenceTime{ntp_timestamp: ntp_timestamp}

  defp decode_block(5, _reserved, data) when rem(byte_size(data), 12) == 0 do
    reports =
      for <<ssrc::32, last_rr::32, delay::32 <- data>>,
        do: %{ssrc: ssrc, last_rr: last_rr, delay: delay}

    %DLRR{reports: reports}
  end

  defp decode_block(type, type_specific, data),
    do: %{type: type, type_specific: type_specific, data: data}
end
