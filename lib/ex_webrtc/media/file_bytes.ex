defmodule ExWebRTC.Media.FileBytes do
  @moduledoc false
  # Bytes of a file that says how many follow.

  @doc "The next `size` bytes. Errors: `:invalid_file` where the file ends before."
  @spec take(:file.io_device(), non_neg_integer()) ::
          {:ok, binary()} | {:error, :invalid_file | File.posix()}
  # At the end of the file no bytes would be `:eof`.
  def take(_file, 0), do: {:ok, ""}

  def take(file, size) do
    case :file.read(file, size) do
      {:ok, data} when byte_size(data) == size -> {:ok, data}
      {:error, reason} -> {:error, reason}
      _cut_off -> {:error, :invalid_file}
    end
  end
end
