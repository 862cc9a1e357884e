defmodule ExWebRTC.MediaPackets do
  @moduledoc """
  The RTP packets of a media file, for tests.
  """

  alias ExWebRTC.{FFmpeg, Player.Source, RTPCodecParameters}
  alias ExWebRTC.RTP.Payloader

  @doc """
  The packets of the file as `{milliseconds, packet}`; timestamps begin at 0. Option:
  `sequence_number`, of the first packet.
  """
  @spec read(Path.t(), RTPCodecParameters.t(), keyword()) :: [{non_neg_integer(), struct()}]
  def read(path, codec, opts \\ []) do
    {:ok, source} = Source.open(path, [String.downcase(codec.mime_type)], FFmpeg.rate())
    {:ok, payloader} = Payloader.new(codec)
    packets(source, payloader, codec, Keyword.get(opts, :sequence_number, 0))
  end

  defp packets(source, payloader, codec, number) do
    case Source.next(source) do
      {:ok, {0, frame, time, _duration}, source} ->
        {packets, payloader} = Payloader.payload(payloader, frame)
        timestamp = round(time * codec.clock_rate / 1000)

        numbered =
          for {packet, n} <- Enum.with_index(packets, number) do
            {round(time),
             %{packet | sequence_number: Bitwise.band(n, 0xFFFF), timestamp: timestamp}}
          end

        numbered ++ packets(source, payloader, codec, number + length(packets))

      :eof ->
        :ok = Source.close(source)
        []
    end
  end
end
