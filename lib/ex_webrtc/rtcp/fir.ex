defmodule ExWebRTC.RTCP.FIR do
  @moduledoc """
  Full intra request: senders must send a keyframe (RFC 5104 section 4.3.1).
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @typedoc "`seq_nr` goes up by one with each new request; the same number repeats a request."
  @type entry() :: %{ssrc: 0..0xFFFFFFFF, seq_nr: 0..255}

  @typedoc "`media_ssrc` is not used, and 0 (RFC 5104 section 4.3.1.2)."
  @type t() :: %__MODULE__{
          sender_ssrc: 0..0xFFFFFFFF,
          media_ssrc: 0..0xFFFFFFFF,
          entries: [entry()]
        }

  @enforce_keys [:sender_ssrc, :entries]
  defstruct @enforce_keys ++ [media_ssrc: 0]

  @impl true
  def encode_body(%__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc} = fir)
      when is_uint32(sender_ssrc) and is_uint32(media_ssrc) do
    entries = for entry <- fir.entries, into: <<>>, do: encode_entry(entry)
    {{4, 206}, <<sender_ssrc::32, media_ssrc::32, entries::binary>>}
  end

  def encode_body(%__MODULE__{} = fir),
    do: raise_wrong_field!(fir, sender_ssrc: 0..0xFFFFFFFF, media_ssrc: 0..0xFFFFFFFF)

  defp encode_entry(%{ssrc: ssrc, seq_nr: seq_nr}) when is_uint32(ssrc) and is_uint8(seq_nr),
    do: <<ssrc::32, seq_nr, 0::24>>

  defp encode_entry(other) do
    raise_wrong!(
      :entries,
      "maps with :ssrc in 0..4294967295 and :seq_nr in 0..255",
      other,
      __MODULE__
    )
  end

  @impl true
  def decode_body(_format, <<sender_ssrc::32, media_ssrc::32, entries::binary>>)
      when rem(byte_size(entries), 8) == 0 do
    entries =
      for <<ssrc::32, seq_nr, _reserved::24 <- entries>>, do: %{ssrc: ssrc, seq_nr: seq_nr}

    {:ok, %__MODULE__{sender_ssrc: sender_ssrc, media_ssrc: media_ssrc, entries: entries}}
  end

  def decode_body(_format, _body), do: :error
end
