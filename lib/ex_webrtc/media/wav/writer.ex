defmodule ExWebRTC.Media.WAV.Writer do
  @moduledoc """
  Writes samples to a WAV file. The sizes in its header are behind by at most a second, so that a file
  that was not closed can be played as well.
  """

  alias ExWebRTC.Media.NewFile
  alias ExWebRTC.Media.WAV.Header
  alias ExWebRTC.OptionCheck

  # Bytes before the samples: RIFF, the format chunk with its extension size, the fact chunk, and the
  # head of the data chunk.
  @data_position 12 + 8 + 18 + 12 + 8
  @fact_position 12 + 8 + 18 + 8
  # Sizes have 32 bits.
  @max_data_size 0xFFFFFFFF - @data_position - 1

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            header: Header.t(),
            size: non_neg_integer(),
            stated: non_neg_integer()
          }

  @enforce_keys [:file, :header]
  defstruct @enforce_keys ++ [size: 0, stated: 0]

  @doc """
  Creates a file. Options: `format` (`:pcm`, `:pcma` or `:pcmu`; default `:pcm`), `sample_rate`
  (default 8,000), `channels` (default 1), `bits` (default 16, and 8 for G.711). What is wrong raises.
  """
  @spec open(Path.t(),
          format: :pcm | :pcma | :pcmu,
          sample_rate: pos_integer(),
          channels: pos_integer(),
          bits: 8 | 16 | 24 | 32
        ) :: {:ok, t()} | {:error, File.posix()}
  def open(path, opts \\ []) do
    opts = Keyword.validate!(opts, [:bits, format: :pcm, sample_rate: 8000, channels: 1])
    pcm? = opts[:format] == :pcm
    opts = Keyword.put(opts, :bits, opts[:bits] || if(pcm?, do: 16, else: 8))

    OptionCheck.check!(opts,
      format: [:pcm, :pcma, :pcmu],
      # Bytes of a moment are counted in 16 bits, and those of a second in 32.
      channels: 1..div(0xFFFF, 4),
      bits: if(pcm?, do: [8, 16, 24, 32], else: [8]),
      sample_rate: 1..div(0xFFFFFFFF, 4)
    )

    header = %Header{
      format: opts[:format],
      sample_rate: opts[:sample_rate],
      channels: opts[:channels],
      bits: opts[:bits]
    }

    start = [
      <<"RIFF", @data_position - 8::little-32, "WAVE", "fmt ", 18::little-32>>,
      Header.encode_format(header),
      <<0::16, "fact", 4::little-32, 0::little-32, "data", 0::little-32>>
    ]

    with {:ok, file} <- NewFile.create(path, start),
         do: {:ok, %__MODULE__{file: file, header: header}}
  end

  @doc """
  Writes samples. Errors: `:file_too_large` beyond the 4 GB that the format can hold.
  """
  @spec write(t(), iodata()) :: {:ok, t()} | {:error, :file_too_large | term()}
  def write(%__MODULE__{} = writer, samples) do
    size = writer.size + IO.iodata_length(samples)

    cond do
      size > @max_data_size ->
        {:error, :file_too_large}

      size - writer.stated >= Header.block_size(writer.header) * writer.header.sample_rate ->
        with :ok <- :file.write(writer.file, samples), do: state_size(%{writer | size: size})

      true ->
        with :ok <- :file.write(writer.file, samples), do: {:ok, %{writer | size: size}}
    end
  end

  defp state_size(%{file: file, size: size} = writer) do
    samples = div(size, Header.block_size(writer.header))

    with :ok <-
           :file.pwrite(file, [
             {4, <<@data_position - 8 + size::little-32>>},
             {@fact_position, <<samples::little-32>>},
             {@data_position - 4, <<size::little-32>>}
           ]),
         {:ok, _position} <- :file.position(file, :eof),
         do: {:ok, %{writer | stated: size}}
  end

  @doc "Writes the sizes and closes the file, also if that fails."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{} = writer) do
    result = state_size(writer)
    closed = :file.close(writer.file)
    with {:ok, _writer} <- result, do: closed
  end
end
