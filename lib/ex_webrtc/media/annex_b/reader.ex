defmodule ExWebRTC.Media.AnnexB.Reader do
  @moduledoc """
  Reads a byte stream of H264 or H265 (a `.h264` or `.h265` file) picture by picture. The file is
  closed when the process that opened it ends.
  """

  alias ExWebRTC.Media.AnnexB

  @read_size 65_536
  # Far above any picture: a file without start codes shall not take the memory.
  @max_picture_size 64 * 1024 * 1024

  @opaque t() :: %__MODULE__{
            file: File.io_device(),
            codec: :h264 | :h265,
            pending: binary(),
            units: [binary()],
            eof?: boolean()
          }

  @enforce_keys [:file, :codec]
  defstruct @enforce_keys ++ [pending: "", units: [], eof?: false]

  @doc "Opens a file. Errors: the reasons of `File.open/2`."
  @spec open(Path.t(), :h264 | :h265) :: {:ok, t()} | {:error, File.posix()}
  def open(path, codec) when codec in [:h264, :h265] do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary]),
         do: {:ok, %__MODULE__{file: file, codec: codec}}
  end

  @doc """
  The next access unit: the NAL units of a picture, with start codes.

  Errors: `:invalid_file` for what is not a byte stream.
  """
  @spec next_frame(t()) :: {:ok, binary(), t()} | :eof | {:error, :invalid_file | term()}
  def next_frame(%__MODULE__{} = reader) do
    case split(reader.units, reader.codec, [], false) do
      {picture, rest} when rest != [] ->
        {:ok, AnnexB.join(picture), %{reader | units: rest}}

      {picture, []} when reader.eof? ->
        if picture == [], do: :eof, else: {:ok, AnnexB.join(picture), %{reader | units: []}}

      _incomplete ->
        with {:ok, reader} <- fill(reader), do: next_frame(reader)
    end
  end

  defp fill(%{pending: pending}) when byte_size(pending) > @max_picture_size,
    do: {:error, :invalid_file}

  defp fill(reader) do
    case :file.read(reader.file, @read_size) do
      {:ok, data} -> {:ok, take_units(reader, reader.pending <> data)}
      :eof -> at_end(reader)
      {:error, reason} -> {:error, reason}
    end
  end

  # A unit ends where the next one begins, so that the last one waits.
  defp take_units(reader, data) do
    case AnnexB.start_codes(data) do
      [_, _ | _] = codes ->
        last = List.last(codes)
        <<complete::binary-size(last), pending::binary>> = data
        %{reader | units: reader.units ++ AnnexB.units(complete), pending: pending}

      _one_or_none ->
        %{reader | pending: data}
    end
  end

  defp at_end(reader) do
    case AnnexB.units(reader.pending) do
      [] when reader.pending != "" -> {:error, :invalid_file}
      units -> {:ok, %{reader | units: reader.units ++ units, pending: "", eof?: true}}
    end
  end

  # The units of the first picture, and those behind it; `picture?` once it has a slice.
  defp split([], _codec, picture, _picture?), do: {Enum.reverse(picture), []}

  defp split([unit | rest] = units, codec, picture, picture?) do
    case kind(codec, unit) do
      kind when picture? and kind in [:first_slice, :before_picture] ->
        {Enum.reverse(picture), units}

      kind ->
        split(rest, codec, [unit | picture], picture? or kind in [:first_slice, :slice])
    end
  end

  # ITU-T H.264 section 7.4.1.2.3: SEI, parameter sets, the delimiter and some others begin an access
  # unit, and so does a slice whose first macroblock is 0, coded as a single 1 bit.
  defp kind(:h264, <<_f::1, _nri::2, type::5, first::1, _rest::bitstring>>) when type in 1..5,
    do: if(first == 1 or type in 3..4, do: h264_first(type, first), else: :slice)

  defp kind(:h264, <<_f::1, _nri::2, type::5, _rest::bitstring>>)
       when type in 6..9 or type in 14..18,
       do: :before_picture

  # ITU-T H.265 section 7.4.2.4.4; the first bit of a slice says whether it is the first.
  defp kind(:h265, <<_f::1, type::6, _layer::6, _tid::3, first::1, _rest::bitstring>>)
       when type in 0..31,
       do: if(first == 1, do: :first_slice, else: :slice)

  defp kind(:h265, <<_f::1, type::6, _rest::bitstring>>)
       when type in 32..35 or type == 39 or type in 41..44 or type in 48..55,
       do: :before_picture

  defp kind(_codec, _unit), do: :other

  # Partitions B and C (types 3 and 4) begin with a slice id, and never a picture.
  defp h264_first(type, _first) when type in 3..4, do: :slice
  defp h264_first(_type, 1), do: :first_slice

  @doc "Closes the file."
  @spec close(t()) :: :ok | {:error, term()}
  def close(%__MODULE__{file: file}), do: :file.close(file)
end
