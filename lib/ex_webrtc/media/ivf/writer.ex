defmodule ExWebRTC.Media.IVF.Writer do
  @moduledoc """
  Writes frames to an IVF file. Each frame is in the file when `write_frame/2` returns; only the
  number of frames in the header is behind, and readers do not need it.
  """

  alias ExWebRTC.Media.IVF.{Frame, Header}
  alias ExWebRTC.Media.NewFile
  alias ExWebRTC.OptionCheck

  # Where the number of frames is in the header.
  @count_position 24

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            written: non_neg_integer(),
            step: pos_integer()
          }

  @enforce_keys [:file, :step]
  defstruct @enforce_keys ++ [written: 0]

  @typedoc """
  - `fourcc`: a number, or `"VP80"`, `"VP90"`, `"AV01"`
  - `width`, `height`: pixels
  - `timebase_num`, `timebase_denum`: the unit of timestamps in seconds; default 1 / 90,000
  - `num_frames`: the number of frames in the header at first. It is raised by as many whenever it is
    reached; `close/1` makes it exact. Default 300.
  """
  @type options() :: [
          fourcc: non_neg_integer() | String.t(),
          width: non_neg_integer(),
          height: non_neg_integer(),
          timebase_num: pos_integer(),
          timebase_denum: pos_integer(),
          num_frames: pos_integer()
        ]

  @doc "Creates a file. `fourcc`, `width` and `height` must be given; what is wrong raises."
  @spec open(Path.t(), options()) :: {:ok, t()} | {:error, File.posix()}
  def open(path, opts) do
    opts =
      Keyword.validate!(opts, [
        :fourcc,
        :width,
        :height,
        timebase_num: 1,
        timebase_denum: 90_000,
        num_frames: 300
      ])

    OptionCheck.check!(opts,
      fourcc: {&fourcc?/1, "a number of 32 bits or four characters"},
      width: 0..0xFFFF,
      height: 0..0xFFFF,
      timebase_num: 1..0xFFFFFFFF,
      timebase_denum: 1..0xFFFFFFFF,
      num_frames: 1..0xFFFFFFFF
    )

    header = %Header{
      fourcc: fourcc(opts[:fourcc]),
      width: opts[:width],
      height: opts[:height],
      timebase_num: opts[:timebase_num],
      timebase_denum: opts[:timebase_denum],
      num_frames: opts[:num_frames]
    }

    with {:ok, file} <- NewFile.create(path, Header.encode(header)),
         do: {:ok, %__MODULE__{file: file, step: opts[:num_frames]}}
  end

  defp fourcc?(code), do: match?(<<_::32>>, code) or (is_integer(code) and code in 0..0xFFFFFFFF)

  defp fourcc(code) when is_integer(code), do: code
  defp fourcc(<<_::32>> = code), do: Header.fourcc(code)

  @doc "Writes a frame."
  @spec write_frame(t(), Frame.t()) :: {:ok, t()} | {:error, term()}
  def write_frame(%__MODULE__{file: file} = writer, %Frame{} = frame) do
    with :ok <- raise_count(writer),
         :ok <-
           :file.write(file, [
             <<byte_size(frame.data)::little-32, frame.timestamp::little-64>>,
             frame.data
           ]),
         do: {:ok, %{writer | written: writer.written + 1}}
  end

  defp raise_count(%{written: written, step: step} = writer)
       when written > 0 and rem(written, step) == 0,
       do: write_count(writer, written + step)

  defp raise_count(_writer), do: :ok

  defp write_count(%{file: file}, count) do
    with :ok <- :file.pwrite(file, @count_position, <<count::little-32>>),
         {:ok, _position} <- :file.position(file, :eof),
         do: :ok
  end

  @doc "Writes the number of frames to the header and closes the file, also if that fails."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{} = writer) do
    result = write_count(writer, writer.written)
    closed = :file.close(writer.file)
    if result == :ok, do: closed, else: result
  end
end
