defmodule ExWebRTC.RTP.Munger do
  @moduledoc """
  Makes one stream of several: rewrites packets of different encodings of a track, of which one is
  forwarded at a time, so that the receiver sees sequence numbers, timestamps and picture ids go on.

      iex> alias ExWebRTC.RTP.{Munger, Packet}
      iex> munger = Munger.new(:h264, 90_000)
      iex> {packet, munger} = Munger.munge(munger, Packet.new("a", sequence_number: 7, timestamp: 90), 0)
      iex> {packet.sequence_number, packet.timestamp}
      {7, 90}
      iex> munger = Munger.update(munger)
      iex> {packet, _munger} = Munger.munge(munger, Packet.new("b", sequence_number: 500, timestamp: 0), 20)
      iex> {packet.sequence_number, packet.timestamp}
      {8, 1890}

  Call `update/1` when the next packet is of another encoding, which must begin with a keyframe. A gap
  in the numbers of an encoding stays a gap: it is a loss, and the receiver may ask for it. Do not pass
  packets that come late from an encoding that was left.

  Rewritten are, besides sequence number and timestamp, the picture id and TL0PICIDX of VP8 (RFC 7741)
  and VP9 (RFC 9628), and for AV1, with the option `:dependency_descriptor_id`, the frame number in
  that header extension (AOM RTP 1.0, appendix A). The other codecs have nothing of the kind.
  """

  import Bitwise

  alias ExWebRTC.RTP.Munger.{FrameNumber, PictureID}
  alias ExWebRTC.RTPCodecParameters

  @opaque t() :: %__MODULE__{
            clock_rate: pos_integer(),
            rewriter: {module(), term()} | nil,
            sequence_offset: integer(),
            timestamp_offset: integer(),
            last: %{sequence: integer(), timestamp: integer(), at: integer()} | nil,
            updated: boolean()
          }

  @enforce_keys [:clock_rate, :rewriter]
  defstruct @enforce_keys ++
              [sequence_offset: 0, timestamp_offset: 0, last: nil, updated: false]

  @codecs [:vp8, :vp9, :h264, :h265, :av1, :opus, :pcmu, :pcma, :g722]

  @type codec() :: :vp8 | :vp9 | :h264 | :h265 | :av1 | :opus | :pcmu | :pcma | :g722

  @typedoc "`dependency_descriptor_id`: the id of that header extension, for AV1; default none."
  @type options() :: [dependency_descriptor_id: 1..255 | nil]

  @doc """
  Makes a munger for a codec with this clock rate.
  """
  @spec new(codec(), pos_integer()) :: t()
  def new(codec, clock_rate) when is_atom(codec) and is_integer(clock_rate),
    do: new(codec, clock_rate, [])

  @doc """
  Makes a munger for a codec, with options. An unknown codec raises.
  """
  @spec new(codec(), pos_integer(), options()) :: t()
  def new(codec, clock_rate, opts) when codec in @codecs and clock_rate > 0 do
    opts = Keyword.validate!(opts, dependency_descriptor_id: nil)
    %__MODULE__{clock_rate: clock_rate, rewriter: rewriter(codec, opts)}
  end

  def new(codec, clock_rate, _opts) do
    raise ArgumentError,
          "expected one of #{inspect(@codecs)} and a clock rate, got: " <>
            "#{inspect(codec)} and #{inspect(clock_rate)}"
  end

  @doc """
  Makes a munger for the codec of a sender or receiver. A codec of which nothing is known raises.
  """
  @spec new(RTPCodecParameters.t()) :: t()
  def new(%RTPCodecParameters{mime_type: mime_type, clock_rate: clock_rate}) do
    name = mime_type |> String.downcase() |> String.split("/") |> List.last()

    case Enum.find(@codecs, &(Atom.to_string(&1) == name)) do
      nil -> raise ArgumentError, "there is no munger for #{mime_type}"
      codec -> new(codec, clock_rate)
    end
  end

  defp rewriter(codec, _opts) when codec in [:vp8, :vp9], do: {PictureID, PictureID.new(codec)}

  defp rewriter(:av1, dependency_descriptor_id: id) when id != nil,
    do: {FrameNumber, FrameNumber.new(id)}

  defp rewriter(_codec, _opts), do: nil

  @doc "The next packet is of another encoding."
  @spec update(t()) :: t()
  def update(%__MODULE__{} = munger), do: %{munger | updated: munger.last != nil}

  @doc """
  Rewrites a packet. `now` is the time in milliseconds of a clock that never goes back; timestamps of
  the new encoding go on from the old one's by the time that has passed.
  """
  @spec munge(t(), packet, integer()) :: {packet, t()} when packet: map()
  def munge(munger, packet, now \\ System.monotonic_time(:millisecond))

  def munge(%__MODULE__{updated: true, last: last} = munger, packet, now) do
    # At least a tick: two frames of one time would be taken for one frame.
    elapsed = max(1, div((now - last.at) * munger.clock_rate, 1000))

    munge(
      %{
        munger
        | updated: false,
          sequence_offset: last.sequence + 1 - packet.sequence_number,
          timestamp_offset: last.timestamp + elapsed - packet.timestamp,
          rewriter: switch(munger.rewriter, packet)
      },
      packet,
      now
    )
  end

  def munge(%__MODULE__{} = munger, packet, now) do
    sequence = packet.sequence_number + munger.sequence_offset &&& 0xFFFF
    timestamp = packet.timestamp + munger.timestamp_offset &&& 0xFFFFFFFF
    packet = %{packet | sequence_number: sequence, timestamp: timestamp}
    {packet, rewriter} = rewrite(munger.rewriter, packet)
    {packet, %{munger | last: newest(munger.last, sequence, timestamp, now), rewriter: rewriter}}
  end

  defp switch(nil, _packet), do: nil
  defp switch({module, state}, packet), do: {module, module.switch(state, packet)}

  defp rewrite(nil, packet), do: {packet, nil}

  defp rewrite({module, state}, packet) do
    {packet, state} = module.rewrite(state, packet)
    {packet, {module, state}}
  end

  # Packets may be out of order; the new encoding goes on from the highest number (RFC 1982).
  defp newest(%{sequence: last} = newest, sequence, _timestamp, _now)
       when (sequence - last &&& 0xFFFF) >= 0x8000,
       do: newest

  defp newest(_last, sequence, timestamp, now),
    do: %{sequence: sequence, timestamp: timestamp, at: now}
end
