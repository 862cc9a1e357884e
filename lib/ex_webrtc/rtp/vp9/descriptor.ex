defmodule ExWebRTC.RTP.VP9.Descriptor do
  @moduledoc """
  The payload descriptor of VP9 (RFC 9628 section 4.2): what is before the data in each packet.

      iex> {:ok, descriptor} = ExWebRTC.RTP.VP9.Descriptor.parse(<<0x88, 0x05, "data">>)
      iex> {descriptor.start, descriptor.picture_id, descriptor.data}
      {true, 5, "data"}
  """

  @typedoc """
  - `predicted`: P, the picture refers to others
  - `flexible`: F, each picture names the ones it refers to
  - `start`, `end`: B and E, begins or ends the frame of a spatial layer
  - `picture_id`, `picture_id_bits`: 7 or 15 bits
  - `spatial_id`, `temporal_id`, `switching_point`, `inter_layer_dependency`: `nil` without layer
    indices
  - `tl0_picture_index`: TL0PICIDX, not in flexible mode
  - `data`: the bytes behind the descriptor
  """
  @type t() :: %__MODULE__{
          predicted: boolean(),
          flexible: boolean(),
          start: boolean(),
          end: boolean(),
          picture_id: 0..0x7FFF | nil,
          picture_id_bits: 0 | 7 | 15,
          spatial_id: 0..7 | nil,
          temporal_id: 0..7 | nil,
          switching_point: boolean() | nil,
          inter_layer_dependency: boolean() | nil,
          tl0_picture_index: 0..255 | nil,
          data: binary()
        }

  @enforce_keys [:predicted, :flexible, :start, :end, :data]
  defstruct @enforce_keys ++
              [
                :picture_id,
                :spatial_id,
                :temporal_id,
                :switching_point,
                :inter_layer_dependency,
                :tl0_picture_index,
                picture_id_bits: 0
              ]

  @doc "Reads the descriptor of a payload. `:error` if it is cut off, or no data follows."
  @spec parse(binary()) :: {:ok, t()} | :error
  def parse(<<i::1, p::1, l::1, f::1, b::1, e::1, v::1, _z::1, rest::binary>>) do
    with {:ok, bits, picture_id, rest} <- picture_id(i, rest),
         {:ok, layer, tl0_picture_index, rest} <- layer(l, f, rest),
         {:ok, rest} <- skip_references(Bitwise.band(f, p), rest, 3),
         {:ok, data} when data != "" <- skip_structure(v, rest) do
      descriptor = %__MODULE__{
        predicted: p == 1,
        flexible: f == 1,
        start: b == 1,
        end: e == 1,
        picture_id: picture_id,
        picture_id_bits: bits,
        tl0_picture_index: tl0_picture_index,
        data: data
      }

      {:ok, put_layer(descriptor, layer)}
    else
      _cut_off -> :error
    end
  end

  def parse(payload) when is_binary(payload), do: :error

  defp put_layer(descriptor, nil), do: descriptor

  defp put_layer(descriptor, <<tid::3, u::1, sid::3, d::1>>) do
    %{
      descriptor
      | temporal_id: tid,
        spatial_id: sid,
        switching_point: u == 1,
        inter_layer_dependency: d == 1
    }
  end

  defp picture_id(0, rest), do: {:ok, 0, nil, rest}
  defp picture_id(1, <<1::1, id::15, rest::binary>>), do: {:ok, 15, id, rest}
  defp picture_id(1, <<0::1, id::7, rest::binary>>), do: {:ok, 7, id, rest}
  defp picture_id(1, _rest), do: :error

  defp layer(0, _flexible, rest), do: {:ok, nil, nil, rest}
  defp layer(1, 1, <<layer::binary-size(1), rest::binary>>), do: {:ok, layer, nil, rest}
  # Outside of flexible mode TL0PICIDX follows.
  defp layer(1, 0, <<layer::binary-size(1), tl0, rest::binary>>), do: {:ok, layer, tl0, rest}
  defp layer(1, _flexible, _rest), do: :error

  # Up to three references; the last bit of each says whether another follows.
  defp skip_references(0, rest, _left), do: {:ok, rest}

  defp skip_references(1, <<_diff::7, more::1, rest::binary>>, left) when left > 0,
    do: skip_references(more, rest, left - 1)

  defp skip_references(1, _rest, _left), do: :error

  defp skip_structure(0, rest), do: {:ok, rest}

  defp skip_structure(1, <<layers::3, y::1, g::1, _reserved::3, rest::binary>>) do
    with {:ok, rest} <- skip_bytes(y * 4 * (layers + 1), rest), do: skip_pictures(g, rest)
  end

  defp skip_structure(1, _rest), do: :error

  defp skip_pictures(0, rest), do: {:ok, rest}
  defp skip_pictures(1, <<count, rest::binary>>), do: skip_picture(count, rest)
  defp skip_pictures(1, _rest), do: :error

  defp skip_picture(0, rest), do: {:ok, rest}

  defp skip_picture(count, <<_tid::3, _u::1, references::2, _reserved::2, rest::binary>>) do
    with {:ok, rest} <- skip_bytes(references, rest), do: skip_picture(count - 1, rest)
  end

  defp skip_picture(_count, _rest), do: :error

  defp skip_bytes(count, rest) do
    case rest do
      <<_skipped::binary-size(count), rest::binary>> -> {:ok, rest}
      _too_short -> :error
    end
  end

  @doc """
  The payload with another picture id and TL0PICIDX in place of those that it has; what it does not
  have is not added. Numbers are cut to the bits that they have.
  """
  @spec replace(binary(), integer(), integer()) :: binary()
  # One clause for each form, as each then is one copy: I, L without F, then M.
  def replace(<<1::1, p::1, 2::2, b::4, 1::1, _::15, layer, _, rest::binary>>, id, tl0),
    do: <<1::1, p::1, 2::2, b::4, 1::1, id::15, layer, tl0, rest::binary>>

  def replace(<<1::1, p::1, 2::2, b::4, 0::1, _::7, layer, _, rest::binary>>, id, tl0),
    do: <<1::1, p::1, 2::2, b::4, 0::1, id::7, layer, tl0, rest::binary>>

  def replace(<<1::1, a::7, 1::1, _::15, rest::binary>>, id, _tl0),
    do: <<1::1, a::7, 1::1, id::15, rest::binary>>

  def replace(<<1::1, a::7, 0::1, _::7, rest::binary>>, id, _tl0),
    do: <<1::1, a::7, 0::1, id::7, rest::binary>>

  def replace(<<0::1, p::1, 2::2, b::4, layer, _, rest::binary>>, _id, tl0),
    do: <<0::1, p::1, 2::2, b::4, layer, tl0, rest::binary>>

  def replace(payload, _id, _tl0), do: payload
end
