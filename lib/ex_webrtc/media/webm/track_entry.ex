defmodule ExWebRTC.Media.WebM.TrackEntry do
  @moduledoc false
  # A track as a file describes it (RFC 9559 section 5.1.4.1), and how its frames come out of blocks.

  alias ExWebRTC.Media.{AnnexB, AV1, H264, H265}
  alias ExWebRTC.Media.WebM.{EBML, Track}

  @temporal_delimiter <<0x12, 0x00>>

  # `length_size` is that of NAL units; `setup` what decoders need before a keyframe that has it not
  # itself: parameter sets or a sequence header. `frame_ms` is what a frame lasts, if the file says so.
  @type t() :: %__MODULE__{
          number: pos_integer(),
          track: Track.t(),
          frame_ms: float() | nil,
          length_size: 1..4 | nil,
          setup: binary()
        }

  @enforce_keys [:number, :track]
  defstruct @enforce_keys ++ [:frame_ms, length_size: nil, setup: ""]

  @doc "Reads an entry; `:error` for kinds, codecs and encodings of tracks that are not known."
  @spec decode(binary()) :: {:ok, t()} | :error
  def decode(data) do
    with {:ok, list} <- EBML.elements(data),
         elements = Map.new(list),
         number when is_integer(number) and number > 0 <- EBML.number(elements, 0xD7, nil),
         # Compressed or encrypted (ContentEncodings).
         false <- is_map_key(elements, 0x6D80),
         private = Map.get(elements, 0x63A2, ""),
         {:ok, mime_type, length_size, setup} <- codec(Map.get(elements, 0x86, ""), private) do
      duration = EBML.number(elements, 0x23E383, 0)

      {:ok,
       %__MODULE__{
         number: number,
         track: track(mime_type, elements, private),
         frame_ms: if(duration > 0, do: duration / 1_000_000),
         length_size: length_size,
         setup: setup
       }}
    else
      _unknown -> :error
    end
  end

  defp track("video/" <> _ = mime_type, elements, private) do
    settings = settings(elements, 0xE0)

    %Track{
      kind: :video,
      mime_type: mime_type,
      codec_id: elements[0x86],
      codec_private: private,
      width: EBML.number(settings, 0xB0, nil),
      height: EBML.number(settings, 0xBA, nil)
    }
  end

  defp track(mime_type, elements, private) do
    settings = settings(elements, 0xE1)

    %Track{
      kind: :audio,
      mime_type: mime_type,
      codec_id: elements[0x86],
      codec_private: private,
      sample_rate: sample_rate(settings),
      channels: EBML.number(settings, 0x9F, 1)
    }
  end

  defp settings(elements, id) do
    case EBML.elements(Map.get(elements, id, "")) do
      {:ok, settings} -> Map.new(settings)
      :error -> %{}
    end
  end

  defp sample_rate(%{0xB5 => <<rate::float-64>>}) when rate > 0, do: round(rate)
  defp sample_rate(%{0xB5 => <<rate::float-32>>}) when rate > 0, do: round(rate)
  # The default of RFC 9559 section 5.1.4.1.29.1.
  defp sample_rate(_settings), do: 8000

  defp codec("V_VP8", _private), do: {:ok, "video/vp8", nil, ""}
  defp codec("V_VP9", _private), do: {:ok, "video/vp9", nil, ""}
  defp codec("A_OPUS", _private), do: {:ok, "audio/opus", nil, ""}

  defp codec("V_AV1", <<_header::binary-size(4), setup::binary>>),
    do: {:ok, "video/av1", nil, setup}

  defp codec("V_AV1", _none), do: {:ok, "video/av1", nil, ""}

  # ISO/IEC 14496-15 section 5.3.3.1.
  defp codec(
         "V_MPEG4/ISO/AVC",
         <<1, _profile::24, _::6, size::2, _::3, count::5, rest::binary>>
       ) do
    with {:ok, sps, <<count, rest::binary>>} <- units(count, rest, []),
         {:ok, pps, _extensions} <- units(count, rest, []),
         do: {:ok, "video/h264", size + 1, AnnexB.join(sps ++ pps)}
  end

  # ISO/IEC 14496-15 section 8.3.3.1.
  defp codec(
         "V_MPEGH/ISO/HEVC",
         <<1, _profile::binary-size(20), _::6, size::2, arrays, rest::binary>>
       ) do
    with {:ok, units} <- arrays(arrays, rest, []),
         do: {:ok, "video/h265", size + 1, AnnexB.join(units)}
  end

  # WAVEFORMATEX.
  defp codec("A_MS/ACM", <<6::little-16, _rest::binary>>), do: {:ok, "audio/pcma", nil, ""}
  defp codec("A_MS/ACM", <<7::little-16, _rest::binary>>), do: {:ok, "audio/pcmu", nil, ""}
  defp codec("A_MS/ACM", <<0x028F::little-16, _::binary>>), do: {:ok, "audio/g722", nil, ""}
  defp codec(_id, _private), do: :error

  defp units(0, rest, units), do: {:ok, Enum.reverse(units), rest}

  defp units(count, <<size::16, unit::binary-size(size), rest::binary>>, units),
    do: units(count - 1, rest, [unit | units])

  defp units(_count, _cut_off, _units), do: :error

  defp arrays(0, _rest, units), do: {:ok, units}

  defp arrays(count, <<_type, in_array::16, rest::binary>>, all) do
    with {:ok, units, rest} <- units(in_array, rest, []),
         do: arrays(count - 1, rest, all ++ units)
  end

  defp arrays(_count, _cut_off, _units), do: :error

  @doc "A frame of the track in the form that payloaders take."
  @spec frame(t(), binary()) :: {:ok, binary()} | :error
  def frame(%__MODULE__{length_size: nil, track: %{mime_type: "video/av1"}} = entry, data) do
    case AV1.obus(data) do
      [{2, _delimiter} | _] -> {:ok, data}
      _no_delimiter -> {:ok, @temporal_delimiter <> with_sequence_header(entry, data)}
    end
  end

  def frame(%__MODULE__{length_size: nil}, data), do: {:ok, data}

  def frame(%__MODULE__{length_size: size} = entry, data) do
    with {:ok, units} <- AnnexB.from_length_prefixed(data, size) do
      frame = AnnexB.join(units)
      {:ok, if(lacks_parameters?(entry, frame), do: entry.setup <> frame, else: frame)}
    end
  end

  # A file may have the sequence header in its description of the track only: a key frame
  # (frame_type 0 in a shown frame, AV1 specification section 5.9.2) without one gets it.
  defp with_sequence_header(entry, data) do
    obus = AV1.obus(data)
    sequence? = Enum.any?(obus, fn {type, _obu} -> type == 1 end)
    if not sequence? and Enum.any?(obus, &key_frame?/1), do: entry.setup <> data, else: data
  end

  defp key_frame?({type, obu}) when type in [3, 6] do
    case AV1.payload(obu) do
      {:ok, <<0::1, 0::2, _rest::bitstring>>} -> true
      _other -> false
    end
  end

  defp key_frame?(_other), do: false

  defp lacks_parameters?(%{track: %{mime_type: "video/h264"}}, frame),
    do: H264.keyframe?(frame) and match?({[], _pps}, H264.parameter_sets(frame))

  defp lacks_parameters?(_h265, frame),
    do: H265.keyframe?(frame) and match?({_vps, [], _pps}, H265.parameter_sets(frame))
end
