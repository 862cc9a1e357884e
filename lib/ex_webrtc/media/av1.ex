defmodule ExWebRTC.Media.AV1 do
  @moduledoc """
  What the open bitstream units (OBUs) of an AV1 temporal unit tell, in the low overhead format (AV1
  specification section 5).

      iex> ExWebRTC.Media.AV1.obus(<<0x12, 0, 0x32, 1, 7>>)
      [{2, <<0x12, 0>>}, {6, <<0x32, 1, 7>>}]
  """

  alias ExWebRTC.Media.{Bits, LEB128}

  @sequence_header 1
  @frame_types [3, 6]

  @doc """
  The OBUs of a temporal unit as their type and all of their bytes. What follows one that is cut off
  cannot be found.
  """
  @spec obus(binary()) :: [{0..15, binary()}]
  def obus(<<_f::1, type::4, extension::1, has_size::1, _r::1, _::binary>> = unit) do
    header_size = 1 + extension

    with <<_header::binary-size(header_size), rest::binary>> <- unit,
         {:ok, _data, rest} <- data(has_size, rest) do
      size = byte_size(unit) - byte_size(rest)
      [{type, binary_part(unit, 0, size)} | obus(rest)]
    else
      _cut_off -> []
    end
  end

  def obus(_rest), do: []

  defp data(1, rest), do: LEB128.take_sized(rest)
  # Only the last OBU can be without a size.
  defp data(0, rest), do: {:ok, rest, ""}

  @doc """
  Whether the temporal unit begins a coded video sequence: it has a sequence header, which WebRTC's
  encoders put before each keyframe.
  """
  @spec keyframe?(binary()) :: boolean()
  def keyframe?(unit), do: sequence_header(unit) != nil

  @doc "The sequence header OBU of a temporal unit, or `nil`."
  @spec sequence_header(binary()) :: binary() | nil
  def sequence_header(unit) do
    Enum.find_value(obus(unit), fn {type, obu} -> if type == @sequence_header, do: obu end)
  end

  @doc """
  The temporal and spatial id of the first frame of a temporal unit; `nil` where the OBU names none.
  """
  @spec layer(binary()) :: {0..7 | nil, 0..3 | nil}
  def layer(unit) do
    Enum.find_value(obus(unit), {nil, nil}, fn
      {type, <<_f::1, _type::4, 1::1, _::2, temporal::3, spatial::2, _::3, _rest::binary>>}
      when type in @frame_types ->
        {temporal, spatial}

      _other ->
        nil
    end)
  end

  @doc """
  Width, height (pixels, the largest of the sequence), profile, level index, tier, bit depth and
  chroma format of a temporal unit with a sequence header; `:error` without.
  """
  @spec parse_keyframe(binary()) :: {:ok, map()} | :error
  def parse_keyframe(unit) when is_binary(unit) do
    with <<_::binary>> = header <- sequence_header(unit), {:ok, data} <- payload(header) do
      Bits.parse(fn -> sequence(data) end)
    else
      _none -> :error
    end
  end

  @doc "The data of an OBU, behind its headers."
  @spec payload(binary()) :: {:ok, binary()} | :error
  def payload(<<_f::1, _type::4, extension::1, has_size::1, _r::1, rest::binary>>) do
    with <<_extension::binary-size(extension), rest::binary>> <- rest,
         {:ok, data, _rest} <- data(has_size, rest) do
      {:ok, data}
    else
      _cut_off -> :error
    end
  end

  def payload(_obu), do: :error

  # Section 5.5.1.
  defp sequence(bits) do
    {header, bits} = Bits.fields(bits, profile: 3, still: 1, reduced: 1)
    {point, bits} = operating_points(bits, header.reduced)
    {size, bits} = Bits.fields(bits, width_bits: 4, height_bits: 4)
    {width, bits} = Bits.read(bits, size.width_bits + 1)
    {height, bits} = Bits.read(bits, size.height_bits + 1)
    bits = skip_tools(bits, header.reduced)

    Map.merge(color(bits, header.profile), %{
      width: width + 1,
      height: height + 1,
      profile: header.profile,
      level: point.level,
      tier: point.tier
    })
  end

  defp operating_points(bits, 1) do
    {level, bits} = Bits.read(bits, 5)
    {%{level: level, tier: 0}, bits}
  end

  defp operating_points(bits, 0) do
    {model, bits} = timing(bits)
    {counts, bits} = Bits.fields(bits, delay_present: 1, points: 5)

    {points, bits} =
      Enum.map_reduce(0..counts.points, bits, fn _index, bits ->
        operating_point(bits, model, counts.delay_present)
      end)

    {hd(points), bits}
  end

  defp operating_point(bits, model, delay_present) do
    {point, bits} = Bits.fields(bits, idc: 12, level: 5)
    {point, bits} = Bits.fields_if(bits, point.level > 7, [tier: 1], Map.put(point, :tier, 0))

    {point, bits} = Bits.fields_if(bits, model != nil, [model: 1], Map.put(point, :model, 0))

    {_delays, bits} = Bits.read(bits, point.model * (2 * (model || 0) + 1))
    {delay, bits} = Bits.fields_if(bits, delay_present, [delay: 1], %{delay: 0})
    {_delay, bits} = Bits.read(bits, 4 * delay.delay)
    {point, bits}
  end

  # The number of bits of buffer delays where there is a decoder model, otherwise `nil`.
  defp timing(bits) do
    case Bits.read(bits, 1) do
      {0, bits} ->
        {nil, bits}

      {1, bits} ->
        {timing, bits} = Bits.fields(bits, tick: 32, scale: 32, equal: 1)
        # uvlc() codes as unsigned Exp-Golomb does.
        {_timing, bits} = Bits.fields_if(bits, timing.equal, [ticks: :ue], timing)
        {present, bits} = Bits.read(bits, 1)

        {model, bits} =
          Bits.fields_if(bits, present, [delay: 5, tick: 32, removal: 5, time: 5], %{})

        {if(present == 1, do: model.delay + 1), bits}
    end
  end

  # From the frame ids to the restoration flags.
  defp skip_tools(bits, 1), do: bits |> Bits.read(3 + 3) |> elem(1)

  defp skip_tools(bits, 0) do
    {ids, bits} = Bits.read(bits, 1)
    {_ids, bits} = Bits.read(bits, 7 * ids)
    {tools, bits} = Bits.fields(bits, first: 3, inter: 4, order_hint: 1)
    {_order, bits} = Bits.read(bits, 2 * tools.order_hint)
    {content_chosen, bits} = Bits.read(bits, 1)
    {content, bits} = if content_chosen == 1, do: {2, bits}, else: Bits.read(bits, 1)
    {mv_chosen, bits} = if content > 0, do: Bits.read(bits, 1), else: {1, bits}
    {_mv, bits} = Bits.read(bits, 1 - mv_chosen)
    {_order_bits, bits} = Bits.read(bits, 3 * tools.order_hint)
    {_last, bits} = Bits.read(bits, 3)
    bits
  end

  # Section 5.5.2.
  defp color(bits, profile) do
    {high, bits} = Bits.read(bits, 1)
    {twelve, bits} = if profile == 2 and high == 1, do: Bits.read(bits, 1), else: {0, bits}
    {mono, bits} = if profile == 1, do: {0, bits}, else: Bits.read(bits, 1)
    {described, bits} = Bits.read(bits, 1)

    {description, bits} =
      Bits.fields_if(bits, described, [primaries: 8, transfer: 8, matrix: 8], %{})

    {x, y, position} = subsampling(bits, profile, mono, twelve, description)

    %{
      high_bit_depth: high,
      twelve_bit: twelve,
      bit_depth: 8 + 2 * high + 2 * twelve,
      monochrome: mono,
      subsampling_x: x,
      subsampling_y: y,
      chroma_sample_position: position
    }
  end

  defp subsampling(_bits, _profile, 1, _twelve, _description), do: {1, 1, 0}

  # sRGB, which is never subsampled.
  defp subsampling(_bits, _profile, 0, _twelve, %{primaries: 1, transfer: 13, matrix: 0}),
    do: {0, 0, 0}

  defp subsampling(bits, profile, 0, twelve, _description) do
    {_range, bits} = Bits.read(bits, 1)

    {x, y, bits} =
      case {profile, twelve} do
        {0, _depth} ->
          {1, 1, bits}

        {1, _depth} ->
          {0, 0, bits}

        {_two, 0} ->
          {1, 0, bits}

        {_two, 1} ->
          {x, bits} = Bits.read(bits, 1)
          {y, bits} = Bits.read(bits, x)
          {x, y, bits}
      end

    {position, _bits} = Bits.read(bits, 2 * x * y)
    {x, y, position}
  end
end
