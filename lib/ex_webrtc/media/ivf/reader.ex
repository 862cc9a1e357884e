defmodule ExWebRTC.Media.IVF.Reader do
  @moduledoc """
  Reads an IVF file frame by frame. The file is closed when the process that opened it ends.
  """

  alias ExWebRTC.Media.FileBytes
  alias ExWebRTC.Media.IVF.{Frame, Header}

  # Far above any encoded frame: what a broken file announces shall not take the memory.
  @max_frame_size 64 * 1024 * 1024

  @opaque t() :: %__MODULE__{file: File.io_device()}

  @enforce_keys [:file]
  defstruct @enforce_keys

  @doc """
  Opens a file and reads its header.

  Errors: `:invalid_file`, and the reasons of `File.open/2`.
  """
  @spec open(Path.t()) :: {:ok, Header.t(), t()} | {:error, :invalid_file | File.posix()}
  def open(path) do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary, :read_ahead]) do
      with {:ok, data} <- :file.read(file, Header.size()),
           {:ok, header} <- Header.decode(data),
           {:ok, _position} <- :file.position(file, header.header_size) do
        {:ok, header, %__MODULE__{file: file}}
      else
        _other ->
          :file.close(file)
          {:error, :invalid_file}
      end
    end
  end

  @doc """
  The next frame. Errors: `:invalid_file` where the file is cut off within a frame.
  """
  @spec next_frame(t()) :: {:ok, Frame.t()} | :eof | {:error, :invalid_file | term()}
  def next_frame(%__MODULE__{file: file}) do
    with {:ok, <<size::little-32, timestamp::little-64>>} when size <= @max_frame_size <-
           :file.read(file, 12),
         {:ok, data} <- FileBytes.take(file, size) do
      {:ok, %Frame{timestamp: timestamp, data: data}}
    else
      :eof -> :eof
      {:error, reason} -> {:error, reason}
      _cut_off -> {:error, :invalid_file}
    end
  end

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)
end
