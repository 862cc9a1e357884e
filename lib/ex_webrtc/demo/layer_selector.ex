defmodule ExWebRTC.Demo.LayerSelector do
  @moduledoc false
  # Makes one stream of the layers of a simulcast track. Pure: it is told the time.
  #
  # It follows the layer that carries the most, moves only at a keyframe of the new layer, and has
  # `ExWebRTC.RTP.Munger` number the packets so that the receiver sees one stream: no gap in
  # sequence numbers that is not a loss, and timestamps and picture ids that go on.

  alias ExWebRTC.RTP.Munger

  # A layer that was silent this long is not there; encoders pause layers for lack of bandwidth.
  @evaluation_interval 1_000
  # A layer must carry this much more than the current one to be worth a keyframe.
  @worth_switching 1.3
  # Video clock (RFC 7741 and the others).
  @clock_rate 90_000
  # Codecs that number their pictures.
  @numbering %{"video/vp8" => :vp8, "video/vp9" => :vp9}

  @max_layers 8

  defstruct current: nil,
            wanted: nil,
            bytes: %{},
            munger: nil,
            # The first packet of the current layer since the switch; older ones came late.
            first_sequence: 0

  @type t :: %__MODULE__{}
  @type rid :: String.t()

  @doc "How often `evaluate/1` wants to be called, in milliseconds."
  def evaluation_interval, do: @evaluation_interval

  @doc false
  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "The layer whose packets go out; keyframe requests are for it, or the one to come."
  @spec target(t()) :: rid() | nil
  def target(%{wanted: nil, current: current}), do: current
  def target(%{wanted: wanted}), do: wanted

  @doc """
  Takes a packet of a layer, in a codec: `{:send, packet, selector}` or `{:drop, selector}`.
  """
  @spec push(t(), rid(), map(), boolean(), integer(), map() | nil) ::
          {:send, map(), t()} | {:drop, t()}
  def push(selector, rid, packet, keyframe?, now, codec \\ nil) do
    selector = count(selector, rid, byte_size(packet.payload))

    cond do
      rid == selector.current ->
        continue(selector, packet, now)

      keyframe? and switch_to?(selector, rid) ->
        selector |> switch(rid, packet, codec) |> continue(packet, now)

      true ->
        {:drop, selector}
    end
  end

  @doc """
  Decides which layer to follow from what came since the last call. Returns the layer to ask a
  keyframe of, if one is wanted and not here yet.
  """
  @spec evaluate(t()) :: {rid() | nil, t()}
  def evaluate(%{bytes: bytes, current: current} = selector) do
    selector = %{selector | bytes: %{}}

    case Enum.max_by(bytes, fn {_rid, count} -> count end, fn -> nil end) do
      nil ->
        {nil, selector}

      {^current, _count} ->
        {nil, %{selector | wanted: nil}}

      {rid, count} ->
        if count > @worth_switching * Map.get(bytes, current, 0) do
          {rid, %{selector | wanted: rid}}
        else
          {nil, %{selector | wanted: nil}}
        end
    end
  end

  defp switch_to?(%{current: nil}, _rid), do: true
  defp switch_to?(%{wanted: wanted}, rid), do: wanted == rid

  defp switch(selector, rid, packet, codec) do
    munger = if selector.munger, do: Munger.update(selector.munger), else: munger(codec)

    %{
      selector
      | current: rid,
        wanted: nil,
        first_sequence: packet.sequence_number,
        munger: munger
    }
  end

  defp munger(%{mime_type: mime_type}),
    do: Munger.new(Map.get(@numbering, String.downcase(mime_type), :h264), @clock_rate)

  defp munger(nil), do: Munger.new(:h264, @clock_rate)

  defp continue(selector, packet, now) do
    if before?(packet.sequence_number, selector.first_sequence) do
      {:drop, selector}
    else
      selector = forget_start(selector, packet.sequence_number)
      {packet, munger} = Munger.munge(selector.munger, packet, now)
      {:send, packet, %{selector | munger: munger}}
    end
  end

  # `first_sequence` means something only until the numbers have moved on by a quarter of their
  # space; after that a wrapped number would look old.
  defp forget_start(%{first_sequence: nil} = selector, _sequence), do: selector

  defp forget_start(selector, sequence) do
    sent = wrap16(sequence - selector.first_sequence)
    if sent > 0x4000 and sent < 0x8000, do: %{selector | first_sequence: nil}, else: selector
  end

  defp count(%{bytes: bytes} = selector, rid, size)
       when is_map_key(bytes, rid) or map_size(bytes) < @max_layers,
       do: %{selector | bytes: Map.update(bytes, rid, size, &(&1 + size))}

  defp count(selector, _rid, _size), do: selector

  # RFC 1982 arithmetic on 16 bits. `nil` is "no start to compare with".
  defp before?(_sequence, nil), do: false
  defp before?(sequence, other), do: wrap16(sequence - other) >= 0x8000

  defp wrap16(number), do: Bitwise.band(number, 0xFFFF)
end
