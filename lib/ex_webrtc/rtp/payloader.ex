defmodule ExWebRTC.RTP.Payloader do
  @moduledoc """
  Splits encoded frames into RTP packets.

      iex> {:ok, payloader} =
      ...>   ExWebRTC.RTP.Payloader.new(%ExWebRTC.RTPCodecParameters{
      ...>     payload_type: 111,
      ...>     mime_type: "audio/opus",
      ...>     clock_rate: 48_000,
      ...>     channels: 2
      ...>   })
      iex> {[packet], _payloader} = ExWebRTC.RTP.Payloader.payload(payloader, "frame")
      iex> {packet.payload_type, packet.payload}
      {111, "frame"}

  The packets have their payload type, and the marker bit where the payload format asks for it.
  Sequence number, timestamp and SSRC are 0: set the first two before sending
  (`ExWebRTC.PeerConnection.send_rtp/4` sets the SSRC).
  """

  alias ExWebRTC.RTP.{AV1, H264, Packet, VP8, VP9}
  alias ExWebRTC.RTPCodecParameters

  @opaque t() :: %__MODULE__{
            module: module() | :whole_frame,
            state: term(),
            payload_type: 0..127,
            max_payload_size: pos_integer()
          }

  @enforce_keys [:module, :state, :payload_type, :max_payload_size]
  defstruct @enforce_keys

  # Leaves room for the headers of IP, UDP, TURN, SRTP and extensions within the 1,280 bytes that
  # every IPv6 path carries.
  @default_max_payload_size 1000
  # Below this, headers of the payload formats would leave no room for the frame.
  @min_max_payload_size 16

  @doc """
  Makes a payloader for a codec: VP8, VP9, H264 (Annex B in), AV1 (temporal units in the low
  overhead format in), Opus, PCMU, PCMA or G722.

  Options: `:max_payload_size`, the most bytes of payload in a packet (default 1000).
  Audio frames go into one packet each, whatever their size.
  """
  @spec new(RTPCodecParameters.t(), max_payload_size: pos_integer()) ::
          {:ok, t()} | {:error, :no_payloader_for_codec}
  def new(%RTPCodecParameters{} = codec, opts \\ []) do
    opts = Keyword.validate!(opts, max_payload_size: @default_max_payload_size)
    max_payload_size = opts[:max_payload_size]

    if not (is_integer(max_payload_size) and max_payload_size >= @min_max_payload_size) do
      raise ArgumentError,
            "expected :max_payload_size to be at least #{@min_max_payload_size}, got: " <>
              inspect(max_payload_size)
    end

    with {:ok, module} <- module(String.downcase(codec.mime_type)) do
      {:ok,
       %__MODULE__{
         module: module,
         state: if(module == :whole_frame, do: nil, else: module.init()),
         payload_type: codec.payload_type,
         max_payload_size: max_payload_size
       }}
    end
  end

  @doc """
  The packets of a frame, in the order to send them.
  """
  @spec payload(t(), binary()) :: {[Packet.t()], t()}
  def payload(%__MODULE__{module: :whole_frame} = payloader, frame) when is_binary(frame),
    do: {[Packet.new(frame, payload_type: payloader.payload_type)], payloader}

  def payload(%__MODULE__{module: module} = payloader, frame) when is_binary(frame) do
    {payloads, state} = module.payload(payloader.state, frame, payloader.max_payload_size)
    {packets(payloads, payloader.payload_type), %{payloader | state: state}}
  end

  # The marker says that a video frame is complete.
  defp packets([], _payload_type), do: []
  defp packets([last], type), do: [Packet.new(last, payload_type: type, marker: true)]

  defp packets([payload | rest], type),
    do: [Packet.new(payload, payload_type: type) | packets(rest, type)]

  defp module("video/vp8"), do: {:ok, VP8.Payloader}
  defp module("video/vp9"), do: {:ok, VP9.Payloader}
  defp module("video/h264"), do: {:ok, H264.Payloader}
  defp module("video/av1"), do: {:ok, AV1.Payloader}
  # RFC 7587 section 4.2 and RFC 3551 section 4.5: a packet is a frame.
  defp module("audio/" <> name) when name in ~w(opus pcmu pcma g722), do: {:ok, :whole_frame}
  defp module(_other), do: {:error, :no_payloader_for_codec}
end
