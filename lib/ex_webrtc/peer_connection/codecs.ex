defmodule ExWebRTC.PeerConnection.Codecs do
  @moduledoc false
  # What the codec names of the configuration stand for: the parameters that browsers use. The
  # payload types are distinct, so any choice of names makes a valid configuration.

  alias ExWebRTC.RTPCodecParameters

  @h264 "profile-level-id=42e01f;level-asymmetry-allowed=1"

  # {payload type, encoding name, clock rate, channels, fmtp}
  @audio [
    opus: [{111, "opus", 48_000, 2, nil}],
    # Static payload types (RFC 3551 section 6). The RTP clock of G722 runs at 8 kHz although it
    # samples at 16 kHz (section 4.5.2).
    pcmu: [{0, "PCMU", 8_000, 1, nil}],
    pcma: [{8, "PCMA", 8_000, 1, nil}],
    g722: [{9, "G722", 8_000, 1, nil}]
  ]

  @video [
    vp8: [{96, "VP8", 90_000, nil, nil}],
    vp9: [{100, "VP9", 90_000, nil, "profile-id=0"}],
    h264: [
      {98, "H264", 90_000, nil, @h264 <> ";packetization-mode=0"},
      {99, "H264", 90_000, nil, @h264 <> ";packetization-mode=1"}
    ],
    h265: [{102, "H265", 90_000, nil, "profile-id=1;tier-flag=0;level-id=93;tx-mode=SRST"}],
    av1: [{45, "AV1", 90_000, nil, "level-idx=5;profile=0;tier=0"}]
  ]

  @spec audio_names() :: [atom()]
  def audio_names, do: Keyword.keys(@audio)

  @spec video_names() :: [atom()]
  def video_names, do: Keyword.keys(@video)

  @spec audio([atom()]) :: [RTPCodecParameters.t()]
  def audio(names), do: expand(names, @audio, "audio/")

  @spec video([atom()]) :: [RTPCodecParameters.t()]
  def video(names), do: expand(names, @video, "video/")

  defp expand(names, table, kind) do
    for name <- names,
        {payload_type, encoding, clock_rate, channels, fmtp} <- Keyword.fetch!(table, name) do
      %RTPCodecParameters{
        payload_type: payload_type,
        mime_type: kind <> encoding,
        clock_rate: clock_rate,
        channels: channels,
        sdp_fmtp_line: fmtp
      }
    end
  end
end
