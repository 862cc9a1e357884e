defmodule ExWebRTC.Media.NewFile do
  @moduledoc false
  # A file that is begun with what its format puts first.

  @doc "Creates the file, or empties it. No file is left open after an error."
  @spec create(Path.t(), iodata()) :: {:ok, :file.fd()} | {:error, File.posix()}
  def create(path, start) do
    with {:ok, file} <- :file.open(path, [:write, :raw, :binary]) do
      case :file.write(file, start) do
        :ok ->
          {:ok, file}

        {:error, reason} ->
          :file.close(file)
          {:error, reason}
      end
    end
  end
end
