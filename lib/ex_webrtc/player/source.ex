defmodule ExWebRTC.Player.Source do
  @moduledoc false
  # Frames of a file with their times, whatever the format.

  alias ExWebRTC.Media.{AnnexB, IVF, Ogg, Opus, WAV}

  # A packet of G.711 (RFC 3551 section 4.2).
  @packet_ms 20

  # `unit` is milliseconds of a tick of IVF or a picture of Annex B. `position` counts pictures of
  # Annex B, otherwise milliseconds; `first` is the timestamp that an IVF file begins with.
  @type t() :: %{
          format: :ivf | :ogg | :annex_b | :wav,
          reader: term(),
          unit: float(),
          position: number(),
          first: non_neg_integer() | nil
        }

  @spec open(Path.t(), pos_integer()) :: {:ok, t()} | {:error, term()}
  def open(path, frame_rate) do
    case path |> Path.extname() |> String.downcase() do
      ".ivf" ->
        with {:ok, header, reader} <- IVF.Reader.open(path),
             do: source(:ivf, reader, 1000 * header.timebase_num / header.timebase_denum)

      extension when extension in [".ogg", ".opus"] ->
        with {:ok, reader} <- Ogg.Reader.open(path), do: source(:ogg, reader, 1.0)

      extension when extension in [".h264", ".264"] ->
        with {:ok, reader} <- AnnexB.Reader.open(path, :h264),
             do: source(:annex_b, reader, 1000 / frame_rate)

      extension when extension in [".h265", ".265", ".hevc"] ->
        with {:ok, reader} <- AnnexB.Reader.open(path, :h265),
             do: source(:annex_b, reader, 1000 / frame_rate)

      ".wav" ->
        open_wav(path)

      _other ->
        {:error, :unknown_format}
    end
  end

  # Packets have the samples as they are: only G.711.
  defp open_wav(path) do
    with {:ok, header, reader} <- WAV.Reader.open(path) do
      if header.format in [:pcma, :pcmu] do
        source(:wav, {reader, div(header.sample_rate * @packet_ms, 1000)}, 1.0)
      else
        WAV.Reader.close(reader)
        {:error, :unknown_format}
      end
    end
  end

  defp source(format, reader, unit),
    do: {:ok, %{format: format, reader: reader, unit: unit, position: 0, first: nil}}

  @doc "The next frame, its time and its duration, in milliseconds."
  @spec next(t()) :: {:ok, binary(), float(), float(), t()} | :eof | {:error, term()}
  def next(%{format: :ivf} = source) do
    with {:ok, frame} <- IVF.Reader.next_frame(source.reader) do
      first = source.first || frame.timestamp
      time = (frame.timestamp - first) * source.unit
      # Times of frames are all that IVF has: a frame lasts as long as the one before it.
      duration = if time > source.position, do: time - source.position, else: source.unit
      {:ok, frame.data, time, duration, %{source | first: first, position: time}}
    end
  end

  def next(%{format: :annex_b} = source) do
    with {:ok, frame, reader} <- AnnexB.Reader.next_frame(source.reader) do
      time = source.position * source.unit
      source = %{source | reader: reader, position: source.position + 1}
      {:ok, frame, time, source.unit, source}
    end
  end

  def next(%{format: :ogg} = source) do
    with {:ok, {packet, _rounded}, reader} <- Ogg.Reader.next_packet(source.reader) do
      {:ok, samples} = Opus.samples(packet)
      advance(%{source | reader: reader}, packet, samples / 48)
    end
  end

  def next(%{format: :wav, reader: {reader, samples}} = source) do
    with {:ok, data, reader} <- WAV.Reader.read(reader, samples),
         do: advance(%{source | reader: {reader, samples}}, data, @packet_ms * 1.0)
  end

  defp advance(source, frame, duration) do
    {:ok, frame, source.position * 1.0, duration,
     %{source | position: source.position + duration}}
  end

  @spec close(t()) :: :ok | {:error, term()}
  def close(%{format: :ivf, reader: reader}), do: IVF.Reader.close(reader)
  def close(%{format: :annex_b, reader: reader}), do: AnnexB.Reader.close(reader)
  def close(%{format: :ogg, reader: reader}), do: Ogg.Reader.close(reader)
  def close(%{format: :wav, reader: {reader, _samples}}), do: WAV.Reader.close(reader)
end
