defmodule ExWebRTC.Media.AnnexB.Writer do
  @moduledoc """
  Writes frames of H264 or H265, as `ExWebRTC.RTP.Depayloader` gives them, to a byte stream file. Each
  frame is in the file when `write_frame/2` returns.
  """

  @opaque t() :: %__MODULE__{file: File.io_device()}

  @enforce_keys [:file]
  defstruct @enforce_keys

  @doc "Creates a file."
  @spec open(Path.t()) :: {:ok, t()} | {:error, File.posix()}
  def open(path) do
    with {:ok, file} <- :file.open(path, [:write, :raw, :binary]),
         do: {:ok, %__MODULE__{file: file}}
  end

  @doc "Writes a frame with its start codes."
  @spec write_frame(t(), binary()) :: {:ok, t()} | {:error, term()}
  def write_frame(%__MODULE__{file: file} = writer, frame) when is_binary(frame) do
    with :ok <- :file.write(file, frame), do: {:ok, writer}
  end

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)
end
