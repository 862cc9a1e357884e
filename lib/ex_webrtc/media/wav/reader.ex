defmodule ExWebRTC.Media.WAV.Reader do
  @moduledoc """
  Reads the samples of a WAV file. The file is closed when the process that opened it ends.
  """

  alias ExWebRTC.Media.FileBytes
  alias ExWebRTC.Media.WAV.Header

  # Chunks before the data, such as the format and lists of texts.
  @max_chunks 100
  @max_format_size 1024

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            block: pos_integer(),
            left: non_neg_integer()
          }

  @enforce_keys [:file, :block, :left]
  defstruct @enforce_keys

  @doc """
  Opens a file and reads its format.

  Errors: `:invalid_file`, also for formats other than PCM and G.711, and the reasons of `File.open/2`.
  """
  @spec open(Path.t()) :: {:ok, Header.t(), t()} | {:error, :invalid_file | File.posix()}
  def open(path) do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary, :read_ahead]) do
      with {:ok, <<"RIFF", _size::32, "WAVE">>} <- :file.read(file, 12),
           {:ok, header, left} <- chunks(file, nil, @max_chunks) do
        {:ok, header, %__MODULE__{file: file, block: Header.block_size(header), left: left}}
      else
        _invalid ->
          :file.close(file)
          {:error, :invalid_file}
      end
    end
  end

  defp chunks(_file, _header, 0), do: :error

  defp chunks(file, header, left) do
    case :file.read(file, 8) do
      {:ok, <<"fmt ", size::little-32>>} when size <= @max_format_size ->
        with {:ok, data} <- FileBytes.take(file, size),
             {:ok, header} <- Header.decode_format(data),
             do: chunks(file, header, left - 1)

      {:ok, <<"data", size::little-32>>} when header != nil ->
        {:ok, header, size}

      {:ok, <<_name::binary-size(4), size::little-32>>} ->
        # Chunks begin at even positions.
        with {:ok, _position} <- :file.position(file, {:cur, size + rem(size, 2)}),
             do: chunks(file, header, left - 1)

      _other ->
        :error
    end
  end

  @doc """
  The next `count` samples of all channels, fewer at the end of the file.
  """
  @spec read(t(), pos_integer()) :: {:ok, binary(), t()} | :eof | {:error, term()}
  def read(%__MODULE__{left: 0}, _count), do: :eof

  def read(%__MODULE__{} = reader, count) when count > 0 do
    with {:ok, data} <- :file.read(reader.file, min(count * reader.block, reader.left)) do
      whole = byte_size(data) - rem(byte_size(data), reader.block)

      if whole == 0,
        do: :eof,
        else: {:ok, binary_part(data, 0, whole), %{reader | left: reader.left - byte_size(data)}}
    end
  end

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)
end
