defmodule ExWebRTC.Media.Ogg.Writer do
  @moduledoc """
  Writes Opus packets to an Ogg file (RFC 7845), a page for every second of audio.

  `close/1` writes the last page; without it the file lacks up to a second.
  """

  alias ExWebRTC.Media.NewFile
  alias ExWebRTC.Media.Ogg.Page
  alias ExWebRTC.Media.Opus
  alias ExWebRTC.OptionCheck

  # RFC 7845 section 6: no more than a second a page.
  @page_samples 48_000

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            serial: non_neg_integer(),
            number: non_neg_integer(),
            granule: non_neg_integer(),
            page_granule: non_neg_integer(),
            packets: [binary()],
            segments: non_neg_integer()
          }

  @enforce_keys [:file, :serial]
  defstruct @enforce_keys ++
              [number: 0, granule: 0, page_granule: 0, packets: [], segments: 0]

  @doc """
  Creates a file. Options: `sample_rate` of the encoder's input (default 48,000; Opus is always played
  at 48 kHz), `channel_count` (default 1), `pre_skip`, the samples at the start that are not to be
  played (default 0). What is wrong raises.
  """
  @spec open(Path.t(),
          sample_rate: non_neg_integer(),
          channel_count: 1..2,
          pre_skip: non_neg_integer()
        ) :: {:ok, t()} | {:error, File.posix()}
  def open(path, opts \\ []) do
    opts =
      opts
      |> Keyword.validate!(sample_rate: 48_000, channel_count: 1, pre_skip: 0)
      |> OptionCheck.check!(sample_rate: 0..0xFFFFFFFF, channel_count: 1..2, pre_skip: 0..0xFFFF)

    serial = :rand.uniform(0xFFFFFFFF)
    head = Opus.head(opts[:channel_count], opts[:pre_skip], opts[:sample_rate])
    vendor = "ExWebRTC"
    tags = <<"OpusTags", byte_size(vendor)::little-32, vendor::binary, 0::little-32>>
    page = %Page{granule: 0, serial: serial, number: 0, packets: []}

    # Each header has pages of its own (RFC 7845 section 3).
    headers = [
      Page.encode(%{page | first?: true, packets: [head]}),
      Page.encode(%{page | number: 1, packets: [tags]})
    ]

    with {:ok, file} <- NewFile.create(path, headers),
         do: {:ok, %__MODULE__{file: file, serial: serial, number: 2}}
  end

  @doc "Writes a packet. Error: `:invalid_packet` for what is not Opus."
  @spec write_packet(t(), binary()) :: {:ok, t()} | {:error, :invalid_packet | term()}
  def write_packet(%__MODULE__{} = writer, packet) when is_binary(packet) do
    segments = Page.segments(packet)

    with {:ok, samples} <- Opus.samples(packet),
         true <- segments <= Page.max_segments(),
         {:ok, writer} <- make_room(writer, samples, segments) do
      {:ok,
       %{
         writer
         | packets: [packet | writer.packets],
           segments: writer.segments + segments,
           granule: writer.granule + samples
       }}
    else
      {:error, reason} -> {:error, reason}
      _invalid -> {:error, :invalid_packet}
    end
  end

  defp make_room(%{packets: []} = writer, _samples, _segments), do: {:ok, writer}

  defp make_room(writer, samples, segments) do
    long? = writer.granule + samples - writer.page_granule > @page_samples

    if long? or writer.segments + segments > Page.max_segments(),
      do: write_page(writer, []),
      else: {:ok, writer}
  end

  defp write_page(writer, flags) do
    page = %Page{
      granule: writer.granule,
      serial: writer.serial,
      number: writer.number,
      packets: Enum.reverse(writer.packets)
    }

    with :ok <- :file.write(writer.file, Page.encode(struct!(page, flags))) do
      {:ok,
       %{
         writer
         | number: writer.number + 1,
           packets: [],
           segments: 0,
           page_granule: writer.granule
       }}
    end
  end

  @doc "Writes what is left and closes the file, also if that fails."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{} = writer) do
    result = write_page(writer, last?: true)
    closed = :file.close(writer.file)
    with {:ok, _writer} <- result, do: closed
  end
end
