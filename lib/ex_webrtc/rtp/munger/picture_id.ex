defmodule ExWebRTC.RTP.Munger.PictureID do
  @moduledoc false
  # Picture ids and TL0PICIDX of VP8 and VP9. Both count up from any number, and a decoder takes a
  # jump for lost pictures.

  import Bitwise

  alias ExWebRTC.RTP.{VP8, VP9}

  # `last` are the highest numbers that were given out, `nil` before the first.
  @type t() :: %{
          descriptor: module(),
          id_offset: integer(),
          tl0_offset: integer(),
          last_id: integer() | nil,
          last_tl0: integer() | nil
        }

  @spec new(:vp8 | :vp9) :: t()
  def new(codec) do
    descriptor = if codec == :vp8, do: VP8.Descriptor, else: VP9.Descriptor
    %{descriptor: descriptor, id_offset: 0, tl0_offset: 0, last_id: nil, last_tl0: nil}
  end

  @doc "The packet begins another encoding: its numbers shall follow the last ones."
  @spec switch(t(), map()) :: t()
  def switch(state, packet) do
    case state.descriptor.parse(packet.payload) do
      {:ok, descriptor} ->
        %{
          state
          | id_offset: offset(state.last_id, descriptor.picture_id, state.id_offset),
            tl0_offset: offset(state.last_tl0, descriptor.tl0_picture_index, state.tl0_offset),
            # The encodings may count in different numbers of bits.
            last_id: nil,
            last_tl0: nil
        }

      :error ->
        state
    end
  end

  defp offset(last, number, _offset) when is_integer(last) and is_integer(number),
    do: last + 1 - number

  defp offset(_last, _number, offset), do: offset

  @spec rewrite(t(), packet) :: {packet, t()} when packet: map()
  def rewrite(state, packet) do
    case state.descriptor.parse(packet.payload) do
      {:ok, %{picture_id: nil, tl0_picture_index: nil}} ->
        {packet, state}

      {:ok, descriptor} ->
        id = (descriptor.picture_id || 0) + state.id_offset &&& mask(descriptor.picture_id_bits)
        tl0 = (descriptor.tl0_picture_index || 0) + state.tl0_offset &&& 0xFF

        state =
          state
          |> remember(:last_id, descriptor.picture_id && id, descriptor.picture_id_bits)
          |> remember(:last_tl0, descriptor.tl0_picture_index && tl0, 8)

        {%{packet | payload: state.descriptor.replace(packet.payload, id, tl0)}, state}

      :error ->
        {packet, state}
    end
  end

  defp mask(bits), do: (1 <<< bits) - 1

  defp remember(state, _key, nil, _bits), do: state

  # The highest, in numbers that wrap.
  defp remember(state, key, number, bits) do
    case Map.fetch!(state, key) do
      last when is_integer(last) and (number - last &&& (1 <<< bits) - 1) >= 1 <<< (bits - 1) ->
        state

      _older ->
        Map.put(state, key, number)
    end
  end
end
