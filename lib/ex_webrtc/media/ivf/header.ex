defmodule ExWebRTC.Media.IVF.Header do
  @moduledoc """
  The header of an IVF file, the plain container that encoders of VP8, VP9 and AV1 write.
  """

  @typedoc """
  - `fourcc`: the codec as a little-endian number, see `fourcc/1`
  - `width`, `height`: pixels
  - `timebase_num`, `timebase_denum`: timestamps of frames count `timebase_num / timebase_denum`
    seconds
  - `num_frames`: as many as the writer knew of
  """
  @type t() :: %__MODULE__{
          signature: binary(),
          version: non_neg_integer(),
          header_size: non_neg_integer(),
          fourcc: non_neg_integer(),
          width: non_neg_integer(),
          height: non_neg_integer(),
          timebase_denum: non_neg_integer(),
          timebase_num: non_neg_integer(),
          num_frames: non_neg_integer(),
          unused: non_neg_integer()
        }

  @enforce_keys [:fourcc, :width, :height, :timebase_denum, :timebase_num, :num_frames]
  defstruct @enforce_keys ++ [signature: "DKIF", version: 0, header_size: 32, unused: 0]

  @size 32

  @doc """
  The number of a four-character code: `"VP80"`, `"VP90"` or `"AV01"`.

      iex> ExWebRTC.Media.IVF.Header.fourcc("VP80")
      808996950
  """
  @spec fourcc(<<_::32>>) :: non_neg_integer()
  def fourcc(<<code::little-32>>), do: code

  @doc false
  @spec size() :: pos_integer()
  def size, do: @size

  @doc false
  @spec encode(t()) :: binary()
  def encode(%__MODULE__{} = header) do
    <<header.signature::binary-size(4), header.version::little-16, @size::little-16,
      header.fourcc::little-32, header.width::little-16, header.height::little-16,
      header.timebase_denum::little-32, header.timebase_num::little-32,
      header.num_frames::little-32, header.unused::little-32>>
  end

  @doc false
  @spec decode(binary()) :: {:ok, t()} | :error
  def decode(
        <<"DKIF", version::little-16, header_size::little-16, fourcc::little-32, width::little-16,
          height::little-16, denum::little-32, num::little-32, num_frames::little-32,
          unused::little-32>>
      )
      when header_size >= @size and denum > 0 and num > 0 do
    {:ok,
     %__MODULE__{
       version: version,
       header_size: header_size,
       fourcc: fourcc,
       width: width,
       height: height,
       timebase_denum: denum,
       timebase_num: num,
       num_frames: num_frames,
       unused: unused
     }}
  end

  def decode(_other), do: :error
end
