defmodule ExWebRTC.RTCP.XR do
  @moduledoc """
  Extended reports (RFC 3611). The two blocks by which who only receives learns its round trip time
  are structs, others are kept as they are.
  """

  @behaviour ExWebRTC.RTCP.Body

  alias ExWebRTC.RTCP.XR.{DLRR, ReceiverReferenceTime}

  @typedoc "A block of another type: what its header says, and whole words of contents."
  @type unknown_block() :: %{type: 0..255, type_specific: 0..255, data: binary()}

  @type block() :: ReceiverReferenceTime.t() | DLRR.t() | unknown_block()

  @type t() :: %__MODULE__{ssrc: 0..0xFFFFFFFF, blocks: [block()]}

  @enforce_keys [:ssrc, :blocks]
  defstruct @enforce_keys

  @impl true
  def encode_body(%__MODULE__{ssrc: ssrc, blocks: blocks}) do
    blocks = for block <- blocks, into: <<>>, do: encode_block(block)
    {{0, 207}, <<ssrc::32, blocks::binary>>}
  end

  defp encode_block(%ReceiverReferenceTime{ntp_timestamp: ntp_timestamp}),
    do: <<4, 0, 2::16, ntp_timestamp::64>>

  defp encode_block(%DLRR{reports: reports}) do
    data =
      for report <- reports,
          into: <<>>,
          do: <<report.ssrc::32, report.last_rr::32, report.delay::32>>

    <<5, 0, div(byte_size(data), 4)::16, data::binary>>
  end

  defp encode_block(%{type: type, type_specific: type_specific, data: data})
       when rem(byte_size(data), 4) == 0,
       do: <<type, type_specific, div(byte_size(data), 4)::16, data::binary>>

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
