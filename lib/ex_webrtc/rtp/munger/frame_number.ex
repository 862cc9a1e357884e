defmodule ExWebRTC.RTP.Munger.FrameNumber do
  @moduledoc false
  # The frame number in the dependency descriptor, a header extension (AOM RTP 1.0, appendix A.8.1):
  # start_of_frame, end_of_frame, template id, then 16 bits of frame number. Frames refer to others by
  # differences, so that nothing else has to change.

  import Bitwise

  @type t() :: %{id: 1..255, offset: integer(), last: integer() | nil}

  @spec new(1..255) :: t()
  def new(id), do: %{id: id, offset: 0, last: nil}

  @spec switch(t(), map()) :: t()
  def switch(state, packet) do
    case frame_number(state, packet) do
      number when is_integer(number) and is_integer(state.last) ->
        %{state | offset: state.last + 1 - number, last: nil}

      _none ->
        state
    end
  end

  @spec rewrite(t(), packet) :: {packet, t()} when packet: map()
  def rewrite(state, packet) do
    case frame_number(state, packet) do
      nil ->
        {packet, state}

      number ->
        number = number + state.offset &&& 0xFFFF
        extensions = Enum.map(packet.extensions, &replace(&1, state.id, number))
        {%{packet | extensions: extensions}, %{state | last: newest(state.last, number)}}
    end
  end

  defp frame_number(%{id: id}, %{extensions: extensions}) when is_list(extensions) do
    Enum.find_value(extensions, fn
      %{id: ^id, data: <<_flags, number::16, _rest::binary>>} -> number
      _other -> nil
    end)
  end

  defp frame_number(_state, _packet), do: nil

  defp replace(%{id: id, data: <<flags, _old::16, rest::binary>>} = extension, id, number),
    do: %{extension | data: <<flags, number::16, rest::binary>>}

  defp replace(extension, _id, _number), do: extension

  defp newest(last, number) when is_integer(last) and (number - last &&& 0xFFFF) >= 0x8000,
    do: last

  defp newest(_last, number), do: number
end
