defmodule ExWebRTC.PeerConnection.Arguments do
  @moduledoc false
  # What `ExWebRTC.PeerConnection` is called with, as the native side reads it. What may come from a
  # peer, by way of signaling, gives an error; what only a program can get wrong raises.

  alias ExWebRTC.PeerConnection.SendEncodings
  alias ExWebRTC.RTP.Packet

  alias ExWebRTC.{
    ICECandidate,
    MediaStreamTrack,
    RTPCodecParameters,
    RTPReceiver,
    RTPSender,
    SessionDescription
  }

  @directions [:sendrecv, :sendonly, :recvonly, :inactive]
  @kinds [:audio, :video]
  # `max_packet_life_time`, `max_retransmits` and stream ids are 16-bit numbers in DCEP and SCTP.
  @max_uint16 65_535
  @max_id 0xFFFFFFFFFFFFFFFF
  # What the engine reads of a description and of a candidate; more is refused before it is copied.
  @max_sdp_bytes 1_048_576
  @max_candidate_bytes 1_024

  @doc "A description, for `set_local_description/2` and `set_remote_description/2`."
  @spec description(SessionDescription.t()) ::
          {:ok, {atom(), String.t()}} | {:error, :invalid_sdp_syntax}
  def description(%SessionDescription{type: type, sdp: sdp})
      when type in [:offer, :answer, :pranswer, :rollback] do
    cond do
      type == :rollback -> {:ok, {:rollback, ""}}
      text?(sdp, @max_sdp_bytes) -> {:ok, {type, sdp}}
      true -> {:error, :invalid_sdp_syntax}
    end
  end

  @doc "A candidate; `nil` for the end of candidates."
  @spec candidate(ICECandidate.t() | nil) ::
          {:ok,
           {String.t(), String.t() | nil, 0..65_535 | nil, String.t() | nil}
           | nil}
          | {:error, :invalid_candidate}
  def candidate(nil), do: {:ok, nil}
  def candidate(%ICECandidate{candidate: none}) when none in [nil, ""], do: {:ok, nil}

  def candidate(%ICECandidate{} = candidate) do
    index = candidate.sdp_m_line_index

    if text?(candidate.candidate, @max_candidate_bytes) and optional_text?(candidate.sdp_mid) and
         optional_text?(candidate.username_fragment) and (index == nil or index in 0..@max_uint16) do
      {:ok, {candidate.candidate, candidate.sdp_mid, index, candidate.username_fragment}}
    else
      {:error, :invalid_candidate}
    end
  end

  @doc "A kind or track and the options of `add_transceiver/3`."
  @spec transceiver(atom() | MediaStreamTrack.t(), keyword()) ::
          {:add_transceiver, atom(), MediaStreamTrack.t() | nil, atom(), [map()]}
  def transceiver(kind_or_track, opts) do
    opts = Keyword.validate!(opts, direction: :sendrecv, send_encodings: [])
    {kind, track} = kind_and_track(kind_or_track)
    encodings = SendEncodings.parse!(opts[:send_encodings], kind)
    {:add_transceiver, kind, track, direction!(opts[:direction]), encodings}
  end

  defp kind_and_track(kind) when kind in @kinds, do: {kind, nil}

  defp kind_and_track(%MediaStreamTrack{kind: kind} = track) when kind in @kinds,
    do: {kind, track}

  @doc "Tones and options of `insert_dtmf/4`, as W3C webrtc-pc section 7.2 normalizes them."
  @spec dtmf(String.t(), keyword()) ::
          {:ok, {String.t(), 40..6_000, 30..6_000}} | {:error, :invalid_option}
  def dtmf(tones, opts) when is_binary(tones) do
    opts = Keyword.validate!(opts, duration: 100, inter_tone_gap: 70)
    tones = String.upcase(tones, :ascii)

    if tones =~ ~r/\A[0-9A-D#*,]*\z/ do
      {:ok, {tones, within(opts[:duration], 40..6_000), within(opts[:inter_tone_gap], 30..6_000)}}
    else
      {:error, :invalid_option}
    end
  end

  defp within(milliseconds, first..last) when is_integer(milliseconds),
    do: milliseconds |> max(first) |> min(last)

  @doc "The id of a track, sender or whatever `name` says."
  @spec id!(non_neg_integer(), atom()) :: non_neg_integer()
  def id!(id, _name) when id in 0..@max_id, do: id

  def id!(other, name) do
    raise ArgumentError, "expected #{inspect(name)} to be an id, got: #{inspect(other)}"
  end

  @doc "Says what was wrong with packets that the native side has refused."
  @spec raise_wrong_rtp!([{integer(), struct()}], boolean()) :: no_return()
  def raise_wrong_rtp!(_packets, rtx?) when not is_boolean(rtx?) do
    raise ArgumentError, "expected :rtx? to be a boolean, got: #{inspect(rtx?)}"
  end

  def raise_wrong_rtp!(packets, _rtx?) do
    for packet <- packets do
      case packet do
        {track_id, packet} -> {id!(track_id, :track_id), Packet.encode(packet)}
        other -> raise ArgumentError, "expected {track_id, packet}, got: #{inspect(other)}"
      end
    end

    raise ArgumentError, "no RTP packet can carry one of these: #{inspect(packets)}"
  end

  @doc "The options of `forward/5`: the layer, and whether the track is tapped."
  @spec forward(keyword()) :: {:auto | String.t(), boolean()}
  def forward(opts) do
    opts = Keyword.validate!(opts, layer: :auto, tap: false)

    if not is_boolean(opts[:tap]) do
      raise ArgumentError, "expected :tap to be a boolean, got: #{inspect(opts[:tap])}"
    end

    {layer!(opts[:layer]), opts[:tap]}
  end

  @doc "A layer of a simulcast track, or `:auto`."
  @spec layer!(:auto | String.t()) :: :auto | String.t()
  def layer!(layer) when layer == :auto or is_binary(layer), do: layer

  def layer!(other) do
    raise ArgumentError, "expected :layer to be a rid or :auto, got: #{inspect(other)}"
  end

  @doc "Whom `get_stats/2` asks about."
  @spec stats_selector(MediaStreamTrack.t() | RTPSender.t() | RTPReceiver.t()) ::
          {:get_stats, :track | :sender | :receiver, non_neg_integer()}
  def stats_selector(%MediaStreamTrack{id: id}), do: {:get_stats, :track, id}
  def stats_selector(%RTPSender{id: id}), do: {:get_stats, :sender, id}
  def stats_selector(%RTPReceiver{id: id}), do: {:get_stats, :receiver, id}

  @doc "A direction."
  @spec direction!(atom()) :: atom()
  def direction!(direction) when direction in @directions, do: direction

  def direction!(other) do
    raise ArgumentError,
          "expected a direction, one of #{inspect(@directions)}, got: #{inspect(other)}"
  end

  @doc "A codec with plain strings."
  @spec codec!(RTPCodecParameters.t()) :: RTPCodecParameters.t()
  def codec!(codec) do
    case RTPCodecParameters.problem(codec) do
      nil -> RTPCodecParameters.normalize(codec)
      problem -> raise ArgumentError, "invalid codec #{inspect(codec)}: #{problem}"
    end
  end

  @doc "The label and options of `create_data_channel/3`."
  @spec channel(String.t(), keyword()) :: {:ok, map()} | {:error, :invalid_option}
  def channel(label, opts) do
    options = %{
      label: label,
      ordered: true,
      max_packet_life_time: nil,
      max_retransmits: nil,
      protocol: "",
      negotiated: false,
      id: nil
    }

    if text?(label), do: channel_options(opts, options), else: {:error, :invalid_option}
  end

  defp channel_options([], options), do: {:ok, options}

  defp channel_options([{name, value} | opts], options) do
    case channel_option(name, value) do
      {:ok, value} -> channel_options(opts, Map.put(options, name, value))
      :error -> {:error, :invalid_option}
    end
  end

  # The W3C has a boolean; the names are those of the package `ex_webrtc`.
  defp channel_option(:ordered, value) when is_boolean(value), do: {:ok, value}
  defp channel_option(:ordered, :ordered), do: {:ok, true}
  defp channel_option(:ordered, :unordered), do: {:ok, false}

  defp channel_option(name, value)
       when name in [:max_packet_life_time, :max_retransmits, :id] and
              (value == nil or value in 0..@max_uint16),
       do: {:ok, value}

  defp channel_option(:protocol, value), do: if(text?(value), do: {:ok, value}, else: :error)
  defp channel_option(:negotiated, value) when is_boolean(value), do: {:ok, value}
  defp channel_option(_name, _value), do: :error

  defp text?(text), do: is_binary(text) and utf8?(text)
  defp text?(text, max), do: is_binary(text) and byte_size(text) <= max and utf8?(text)

  # `String.valid?/1` of Elixir 1.14 takes a description character by character, in Elixir.
  defp utf8?(text), do: is_binary(:unicode.characters_to_binary(text))
  defp optional_text?(text), do: text == nil or text?(text, @max_candidate_bytes)
end
