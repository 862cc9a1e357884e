defmodule ExWebRTC.Media.Ogg.Reader do
  @moduledoc """
  Reads the Opus packets of an Ogg file (RFC 7845). The file is closed when the process that opened it
  ends. Pages of other streams are passed over.
  """

  alias ExWebRTC.Media.Ogg.Page
  alias ExWebRTC.Media.Opus

  # RFC 7845 section 6 limits packets to 61,440 bytes a stream and duration; headers may be larger.
  @max_packet_size 1024 * 1024

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            serial: non_neg_integer(),
            packets: [binary()],
            rest: binary(),
            channels: pos_integer(),
            pre_skip: non_neg_integer()
          }

  @enforce_keys [:file, :serial]
  defstruct @enforce_keys ++ [packets: [], rest: "", channels: 1, pre_skip: 0]

  @doc """
  Opens a file and reads the two headers of its Opus stream.

  Errors: `:invalid_file`, and the reasons of `File.open/2`.
  """
  @spec open(Path.t()) :: {:ok, t()} | {:error, :invalid_file | File.posix()}
  def open(path) do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary, :read_ahead]) do
      with {:ok, reader} <- find_opus(file),
           {:ok, "OpusTags" <> _comments, reader} <- next(reader) do
        {:ok, reader}
      else
        _other ->
          :file.close(file)
          {:error, :invalid_file}
      end
    end
  end

  # The first pages of all streams come first (RFC 3533 section 4).
  defp find_opus(file) do
    case Page.read(file) do
      {:ok, %Page{first?: true, serial: serial, packets: [head | _]}} ->
        case head do
          <<"OpusHead", _version, channels, pre_skip::little-16, _rest::binary>> ->
            {:ok, %__MODULE__{file: file, serial: serial, channels: channels, pre_skip: pre_skip}}

          _other_codec ->
            find_opus(file)
        end

      _no_first_page ->
        {:error, :invalid_file}
    end
  end

  @doc "The number of channels that the header names."
  @spec channels(t()) :: pos_integer()
  def channels(%__MODULE__{channels: channels}), do: channels

  @doc """
  The next packet and its duration in milliseconds, rounded down.

  Errors: `:invalid_file` where the file is broken or cut off, or a packet is not Opus.
  """
  @spec next_packet(t()) ::
          {:ok, {binary(), non_neg_integer()}, t()} | :eof | {:error, :invalid_file | term()}
  def next_packet(%__MODULE__{} = reader) do
    with {:ok, packet, reader} <- next(reader) do
      case Opus.samples(packet) do
        {:ok, samples} -> {:ok, {packet, div(samples, 48)}, reader}
        :error -> {:error, :invalid_file}
      end
    end
  end

  defp next(%{packets: [packet | packets]} = reader),
    do: {:ok, packet, %{reader | packets: packets}}

  defp next(%{packets: []} = reader) do
    with {:ok, page} <- Page.read(reader.file),
         {:ok, reader} <- take(reader, page),
         do: next(reader)
  end

  defp take(%{serial: serial} = reader, %{serial: other}) when serial != other, do: {:ok, reader}

  defp take(reader, page) do
    case {page.continued?, page.packets} do
      {true, [first | packets]} ->
        {:ok, %{reader | packets: [reader.rest <> first | packets], rest: page.rest}}

      {true, []} when byte_size(reader.rest) + byte_size(page.rest) <= @max_packet_size ->
        {:ok, %{reader | rest: reader.rest <> page.rest}}

      {true, []} ->
        {:error, :invalid_file}

      {false, packets} ->
        {:ok, %{reader | packets: packets, rest: page.rest}}
    end
  end

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)
end
