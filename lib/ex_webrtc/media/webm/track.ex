defmodule ExWebRTC.Media.WebM.Track do
  @moduledoc """
  A track of a WebM or Matroska file.

      iex> alias ExWebRTC.Media.WebM.Track
      iex> {:ok, track} = Track.audio("audio/opus", channels: 2)
      iex> {track.kind, track.codec_id}
      {:audio, "A_OPUS"}
  """

  alias ExWebRTC.Media.{AnnexB, AV1, H264, H265, LEB128, Opus, Video}
  alias ExWebRTC.Media.WebM.EBML

  @typedoc """
  - `codec_id`, `codec_private`: as the Matroska codec registry (RFC 9559) has them
  - `mime_type`: of RTP, in lower case
  """
  @type t() :: %__MODULE__{
          kind: :audio | :video,
          mime_type: String.t(),
          codec_id: String.t(),
          codec_private: binary() | nil,
          width: pos_integer() | nil,
          height: pos_integer() | nil,
          sample_rate: pos_integer() | nil,
          channels: pos_integer() | nil
        }

  @enforce_keys [:kind, :mime_type, :codec_id]
  defstruct @enforce_keys ++ [:codec_private, :width, :height, :sample_rate, :channels]

  # Those that WebM has; the others make a Matroska file.
  @webm ~w(video/vp8 video/vp9 video/av1 audio/opus)

  # RFC 7845 section 4.6: 80 ms until a decoder that begins anywhere is right.
  @opus_pre_roll 80_000_000

  @doc """
  A video track, from the codec and a keyframe, which tells the size and, where the codec has them,
  the parameter sets. `:error` for other codecs and frames.
  """
  @spec video(String.t(), binary()) :: {:ok, t()} | :error
  def video(mime_type, keyframe) do
    mime_type = String.downcase(mime_type)

    with {:ok, info} <- Video.parse_keyframe(mime_type, keyframe),
         {:ok, codec_id, private} <- codec(mime_type, keyframe, info) do
      {:ok,
       %__MODULE__{
         kind: :video,
         mime_type: mime_type,
         codec_id: codec_id,
         codec_private: private,
         width: info.width,
         height: info.height
       }}
    end
  end

  defp codec("video/vp8", _frame, _info), do: {:ok, "V_VP8", nil}
  defp codec("video/vp9", _frame, _info), do: {:ok, "V_VP9", nil}
  # AV1 codec ISO media file format binding, section 2.3.
  defp codec("video/av1", frame, info) do
    header =
      <<1::1, 1::7, info.profile::3, info.level::5, info.tier::1, info.high_bit_depth::1,
        info.twelve_bit::1, info.monochrome::1, info.subsampling_x::1, info.subsampling_y::1,
        info.chroma_sample_position::2, 0>>

    {:ok, "V_AV1", header <> sized_obu(AV1.sequence_header(frame))}
  end

  # ISO/IEC 14496-15 section 5.3.3.1.
  defp codec("video/h264", frame, info) do
    case H264.parameter_sets(frame) do
      {[<<_header, profile, constraints, level, _::binary>> | _] = sps, [_ | _] = pps} ->
        {:ok, "V_MPEG4/ISO/AVC",
         IO.iodata_to_binary([
           <<1, profile, constraints, level, 0xFF, 7::3, length(sps)::5>>,
           AnnexB.length_prefixed(sps, 2),
           length(pps),
           AnnexB.length_prefixed(pps, 2),
           high_profile(profile, info)
         ])}

      _incomplete ->
        :error
    end
  end

  # ISO/IEC 14496-15 section 8.3.3.1; lengths of four bytes.
  defp codec("video/h265", frame, info) do
    {vps, sps, pps} = H265.parameter_sets(frame)

    if [] in [vps, sps, pps] do
      :error
    else
      arrays =
        for {type, units} <- [{32, vps}, {33, sps}, {34, pps}],
            do: [<<1::1, 0::1, type::6, length(units)::16>>, AnnexB.length_prefixed(units, 2)]

      {:ok, "V_MPEGH/ISO/HEVC",
       IO.iodata_to_binary([
         <<1, info.profile_space::2, info.tier::1, info.profile::5, info.compatibility::32,
           info.constraints::48, info.level, 0xF::4, 0::12, 0x3F::6, 0::2, 0x3F::6,
           info.chroma_format::2, 0x1F::5, info.bit_depth - 8::3, 0x1F::5,
           info.chroma_bit_depth - 8::3, 0::16, 0::2, 1::3, 0::1, 3::2, 3>>
         | arrays
       ])}
    end
  end

  # The high profiles also tell the chroma format and bit depths.
  defp high_profile(profile, info) when profile in [100, 110, 122, 144] do
    <<0x3F::6, info.chroma_format::2, 0x1F::5, info.bit_depth - 8::3, 0x1F::5,
      info.chroma_bit_depth - 8::3, 0>>
  end

  defp high_profile(_profile, _info), do: ""

  @doc """
  An audio track of Opus, PCMU, PCMA or G722; `:error` for other codecs. Option: `channels`, default
  1; the sample rate follows from the codec.
  """
  @spec audio(String.t(), channels: pos_integer()) :: {:ok, t()} | :error
  def audio(mime_type, opts \\ []) do
    channels = opts |> Keyword.validate!(channels: 1) |> Keyword.fetch!(:channels)
    mime_type = String.downcase(mime_type)

    case mime_type do
      "audio/opus" ->
        audio(mime_type, "A_OPUS", Opus.head(channels), 48_000, channels)

      "audio/pcma" ->
        audio(mime_type, "A_MS/ACM", wave(6, 8000, channels), 8000, channels)

      "audio/pcmu" ->
        audio(mime_type, "A_MS/ACM", wave(7, 8000, channels), 8000, channels)

      # Sampled at 16 kHz, although RTP counts 8 kHz (RFC 3551 section 4.5.2); 4 bits a sample.
      "audio/g722" ->
        audio(mime_type, "A_MS/ACM", wave(0x028F, 16_000, channels), 16_000, channels)

      _other ->
        :error
    end
  end

  defp audio(mime_type, codec_id, private, sample_rate, channels) do
    {:ok,
     %__MODULE__{
       kind: :audio,
       mime_type: mime_type,
       codec_id: codec_id,
       codec_private: private,
       sample_rate: sample_rate,
       channels: channels
     }}
  end

  # WAVEFORMATEX. All of these have 64 kbit/s a channel.
  defp wave(tag, sample_rate, channels) do
    bits = div(64_000, sample_rate)

    <<tag::little-16, channels::little-16, sample_rate::little-32, 8000 * channels::little-32,
      channels::little-16, bits::little-16, 0::16>>
  end

  @doc false
  @spec webm?(t()) :: boolean()
  def webm?(%__MODULE__{mime_type: mime_type}), do: mime_type in @webm

  @doc false
  # A frame in the form that the container has it.
  @spec frame(t(), binary()) :: binary()
  def frame(%__MODULE__{mime_type: mime_type}, frame)
      when mime_type in ["video/h264", "video/h265"],
      do: frame |> AnnexB.units() |> AnnexB.length_prefixed(4)

  # Without temporal delimiters, and every OBU with its size.
  def frame(%__MODULE__{mime_type: "video/av1"}, frame) do
    for {type, obu} <- AV1.obus(frame), type != 2, into: <<>>, do: sized_obu(obu)
  end

  def frame(_track, frame), do: frame

  defp sized_obu(<<_f::1, _type::4, _x::1, 1::1, _r::1, _rest::binary>> = obu), do: obu

  defp sized_obu(<<f::1, type::4, extension::1, 0::1, r::1, rest::binary>>) do
    <<header::binary-size(extension), data::binary>> = rest
    size = LEB128.encode(byte_size(data))
    <<f::1, type::4, extension::1, 1::1, r::1, header::binary, size::binary, data::binary>>
  end

  @doc false
  # The TrackEntry (RFC 9559 section 5.1.4.1).
  @spec entry(t(), pos_integer()) :: iodata()
  def entry(%__MODULE__{} = track, number) do
    EBML.element(0xAE, [
      EBML.uint(0xD7, number),
      EBML.uint(0x73C5, number),
      EBML.uint(0x9C, 0),
      EBML.element(0x22B59C, "und"),
      EBML.uint(0x83, if(track.kind == :video, do: 1, else: 2)),
      EBML.element(0x86, track.codec_id),
      if(track.codec_private, do: EBML.element(0x63A2, track.codec_private), else: []),
      if(track.codec_id == "A_OPUS", do: EBML.uint(0x56BB, @opus_pre_roll), else: []),
      settings(track)
    ])
  end

  defp settings(%{kind: :video} = track),
    do: EBML.element(0xE0, [EBML.uint(0xB0, track.width), EBML.uint(0xBA, track.height)])

  defp settings(%{kind: :audio} = track),
    do: EBML.element(0xE1, [EBML.float(0xB5, track.sample_rate), EBML.uint(0x9F, track.channels)])
end
