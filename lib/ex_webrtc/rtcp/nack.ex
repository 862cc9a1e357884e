defmodule ExWebRTC.RTCP.NACK do
  @moduledoc """
  Generic NACK: RTP packets that a receiver misses (RFC 4585 section 6.2.1).

      iex> nack = ExWebRTC.RTCP.NACK.from_sequence_numbers(1, 2, [65_535, 0, 40])
      iex> ExWebRTC.RTCP.NACK.to_sequence_numbers(nack)
      [65_535, 0, 40]
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @typedoc """
  The packet `pid`, and those of the 16 that follow it whose bit is set in `blp`, the lowest bit
  first; `blp` is a binary of two bytes.
  """
  @type generic_nack() :: %{pid: 0..65_535, blp: <<_::16>>}

  @type t() :: %__MODULE__{
          sender_ssrc: 0..0xFFFFFFFF,
          media_ssrc: 0..0xFFFFFFFF,
          nacks: [generic_nack()]
        }

  @enforce_keys [:sender_ssrc, :media_ssrc, :nacks]
  defstruct @enforce_keys

  @doc """
  Makes a NACK for these sequence numbers, which must come in the order of the stream.
  """
  @spec from_sequence_numbers(0..0xFFFFFFFF, 0..0xFFFFFFFF, [0..65_535]) :: t()
  def from_sequence_numbers(sender_ssrc, media_ssrc, sequence_numbers) do
    nacks =
      sequence_numbers
      |> Enum.reduce([], &add/2)
      |> Enum.map(fn {pid, blp} -> %{pid: pid, blp: <<blp::16>>} end)
      |> Enum.reverse()

    %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc, nacks: nacks}
  end

  defp add(number, [{pid, blp} | rest] = nacks) do
    case Bitwise.band(number - pid, 0xFFFF) do
      0 ->
        nacks

      distance when distance <= 16 ->
        [{pid, Bitwise.bor(blp, Bitwise.bsl(1, distance - 1))} | rest]

      _distance ->
        [{number, 0} | nacks]
    end
  end

  defp add(number, []), do: [{number, 0}]

  @doc """
  The sequence numbers that a NACK asks for, of ours or of `ex_rtcp`.
  """
  @spec to_sequence_numbers(t() | struct()) :: [0..65_535]
  def to_sequence_numbers(%_nack{nacks: nacks}) do
    for %{pid: pid, blp: <<blp::16>>} <- nacks,
        distance <- 0..16,
        distance == 0 or Bitwise.band(Bitwise.bsr(blp, distance - 1), 1) == 1,
        do: Bitwise.band(pid + distance, 0xFFFF)
  end

  @impl true
  def encode_body(%__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc, nacks: nacks})
      when is_uint32(sender_ssrc) and is_uint32(media_ssrc) do
    nacks = for nack <- nacks, into: <<>>, do: encode_nack(nack)
    {{1, 205}, <<sender_ssrc::32, media_ssrc::32, nacks::binary>>}
  end

  def encode_body(%__MODULE__{} = nack),
    do: raise_wrong_field!(nack, sender_ssrc: 0..0xFFFFFFFF, media_ssrc: 0..0xFFFFFFFF)

  defp encode_nack(%{pid: pid, blp: <<blp::binary-size(2)>>}) when is_uint16(pid),
    do: <<pid::16, blp::binary>>

  defp encode_nack(other) do
    raise_wrong!(
      :nacks,
      "maps with :pid in 0..65535 and :blp, a binary of two bytes",
      other,
      __MODULE__
    )
  end

  @impl true
  def decode_body(_format, <<sender_ssrc::32, media_ssrc::32, nacks::binary>>)
      when rem(byte_size(nacks), 4) == 0 do
    nacks = for <<pid::16, blp::binary-size(2) <- nacks>>, do: %{pid: pid, blp: blp}
    {:ok, %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc, nacks: nacks}}
  end

  def decode_body(_format, _body), do: :error
end
