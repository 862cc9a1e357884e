defmodule ExWebRTC.RTP.FrameAssembler do
  @moduledoc false
  # Collects the parts of a video frame: from a packet that begins one to the packet with the
  # marker, without a gap in the sequence numbers and with one timestamp.

  # A frame of more packets than this is dropped: 8,192 packets of 1,200 bytes are 9.8 MB, beyond
  # any keyframe, and a peer that never sets the marker must not fill the memory.
  @max_parts 8192

  # `last` is what the last packet was. `open` is the frame that the next one continues, parts in
  # reverse; `:between` frames, so that any part may begin one; or `:lost`, where only a part that
  # says so begins a frame, or any part that follows another marker.
  @type t() :: %{
          last: %{number: 0..65_535, timestamp: integer(), marker: boolean()} | nil,
          open:
            :between
            | :lost
            | %{timestamp: integer(), parts: [term()], count: pos_integer(), payload: binary()}
        }

  @spec new() :: t()
  def new, do: %{last: nil, open: :between}

  @doc "Adds a part. A complete frame is its parts and the payload of its first packet."
  @spec add(t(), map(), ExWebRTC.RTP.Depayloader.Codec.part()) ::
          {{[term(), ...], binary()} | nil, t()}
  def add(state, packet, part) do
    state
    |> gap(packet)
    |> place(packet, part)
    |> finish(packet)
  end

  # A packet without payload only takes its sequence number.
  @spec skip(t(), map()) :: t()
  def skip(%{last: nil} = state, _packet), do: state

  def skip(state, packet) do
    state = gap(state, packet)
    %{state | last: %{state.last | number: packet.sequence_number}}
  end

  defp gap(%{last: nil} = state, _packet), do: state

  defp gap(%{last: last} = state, packet) do
    case Bitwise.band(packet.sequence_number - last.number, 0xFFFF) do
      1 -> state
      # The one that is missing had the marker, if the frame before this packet had none yet.
      2 when not last.marker and last.timestamp != packet.timestamp -> %{state | open: :between}
      _lost_or_out_of_order -> %{state | open: :lost}
    end
  end

  # A new timestamp without a marker before it: some senders leave the marker out.
  defp place(%{open: %{timestamp: timestamp}} = state, %{timestamp: other} = packet, part)
       when timestamp != other,
       do: place(%{state | open: :between}, packet, part)

  defp place(state, packet, {:first, part}), do: begin(state, packet, part)

  defp place(%{open: %{count: count} = open} = state, _packet, {kind, part})
       when kind in [:next, :any] and count < @max_parts,
       do: %{state | open: %{open | parts: [part | open.parts], count: count + 1}}

  defp place(%{open: :between} = state, packet, {:any, part}), do: begin(state, packet, part)
  defp place(state, _packet, _lost_or_invalid), do: %{state | open: :lost}

  defp begin(state, packet, part),
    do: %{
      state
      | open: %{timestamp: packet.timestamp, parts: [part], count: 1, payload: packet.payload}
    }

  defp finish(%{open: open} = state, %{marker: true} = packet) do
    complete =
      case open do
        %{parts: parts, payload: payload} -> {Enum.reverse(parts), payload}
        _no_frame -> nil
      end

    {complete, %{remember(state, packet) | open: :between}}
  end

  defp finish(state, packet), do: {nil, remember(state, packet)}

  defp remember(state, packet) do
    last = %{
      number: packet.sequence_number,
      timestamp: packet.timestamp,
      marker: packet.marker
    }

    %{state | last: last}
  end
end
