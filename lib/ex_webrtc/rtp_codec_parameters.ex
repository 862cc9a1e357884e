defmodule ExWebRTC.RTPCodecParameters do
  @moduledoc """
  A codec as SDP describes it: its RTP payload type, name, clock and format.

  W3C: [RTCRtpCodecParameters](https://www.w3.org/TR/webrtc/#rtcrtpcodecparameters).
  """

  @typedoc """
  - `payload_type`: the RTP payload type
  - `mime_type`: kind and name, such as `"video/VP8"`; compared without case
  - `clock_rate`: ticks of RTP timestamps per second
  - `channels`: audio channels; `nil` for video, and for audio where SDP leaves it out
  - `sdp_fmtp_line`: what `a=fmtp` says after the payload type, such as
    `"minptime=10;useinbandfec=1"`
  - `rtcp_fbs`: what each `a=rtcp-fb` says after the payload type, such as `"nack pli"`

  Where a codec is an argument, any struct that implements `String.Chars` may stand in for the
  strings of the last two, also with a leading `fmtp:96 ` or `rtcp-fb:96 `, which is dropped.
  """
  @type t() :: %__MODULE__{
          payload_type: 0..127,
          mime_type: String.t(),
          clock_rate: pos_integer(),
          channels: pos_integer() | nil,
          sdp_fmtp_line: String.t() | String.Chars.t() | nil,
          rtcp_fbs: [String.t() | String.Chars.t()]
        }

  @typedoc """
  What `a=rtpmap` says; `params` is the number of audio channels. `ExSDP.Attribute.RTPMapping`
  has these fields.
  """
  @type rtp_mapping() :: %{
          :payload_type => 0..127,
          :encoding => String.t(),
          :clock_rate => pos_integer(),
          :params => pos_integer() | nil,
          optional(atom()) => term()
        }

  @enforce_keys [:payload_type, :mime_type, :clock_rate]
  defstruct @enforce_keys ++ [:channels, :sdp_fmtp_line, rtcp_fbs: []]

  @doc """
  Makes a codec from the SDP attributes that describe it.

      iex> mapping = %{payload_type: 111, encoding: "opus", clock_rate: 48_000, params: 2}
      iex> ExWebRTC.RTPCodecParameters.new(:audio, mapping, "fmtp:111 useinbandfec=1", [])
      %ExWebRTC.RTPCodecParameters{
        payload_type: 111,
        mime_type: "audio/opus",
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "useinbandfec=1",
        rtcp_fbs: []
      }
  """
  @spec new(:audio | :video, rtp_mapping(), String.Chars.t() | nil, [String.Chars.t()]) :: t()
  def new(kind, %{payload_type: _, encoding: _, clock_rate: _} = mapping, fmtp, rtcp_fbs)
      when kind in [:audio, :video] and is_list(rtcp_fbs) do
    normalize(%__MODULE__{
      payload_type: mapping.payload_type,
      mime_type: "#{kind}/#{mapping.encoding}",
      clock_rate: mapping.clock_rate,
      channels: Map.get(mapping, :params),
      sdp_fmtp_line: fmtp,
      rtcp_fbs: rtcp_fbs
    })
  end

  @doc false
  # The codec with plain strings, the only form that the native side reads.
  @spec normalize(t()) :: t()
  def normalize(%__MODULE__{} = codec) do
    %{
      codec
      | sdp_fmtp_line: codec.sdp_fmtp_line && attribute_value(codec.sdp_fmtp_line, "fmtp:"),
        rtcp_fbs: Enum.map(codec.rtcp_fbs, &attribute_value(&1, "rtcp-fb:"))
    }
  end

  @doc false
  # Why this cannot be a codec, in words for an exception; `nil` if it can.
  @spec problem(term()) :: String.t() | nil
  def problem(%__MODULE__{} = codec) do
    cond do
      codec.payload_type not in 0..127 ->
        "payload_type must be an integer in 0..127"

      not mime_type?(codec.mime_type) ->
        ~s(mime_type must be "audio/..." or "video/...")

      not pos_integer?(codec.clock_rate) ->
        "clock_rate must be a positive integer"

      not (codec.channels == nil or pos_integer?(codec.channels)) ->
        "channels must be a positive integer or nil"

      not is_list(codec.rtcp_fbs) ->
        "rtcp_fbs must be a list"

      not Enum.all?([codec.sdp_fmtp_line | codec.rtcp_fbs], &text?/1) ->
        "sdp_fmtp_line and rtcp_fbs must be strings"

      true ->
        nil
    end
  end

  def problem(_other), do: "a codec is a %ExWebRTC.RTPCodecParameters{}"

  defp mime_type?("audio/" <> name), do: name != ""
  defp mime_type?("video/" <> name), do: name != ""
  defp mime_type?(_other), do: false

  defp pos_integer?(value), do: is_integer(value) and value > 0
  defp text?(value), do: String.Chars.impl_for(value) != nil

  defp attribute_value(attribute, name) do
    text = attribute |> to_string() |> String.trim() |> String.replace_prefix("a=", "")

    if String.starts_with?(text, name) do
      case String.split(text, " ", parts: 2) do
        [_payload_type, value] -> String.trim(value)
        [_payload_type] -> ""
      end
    else
      text
    end
  end
end
