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

  alias ExWebRTC.Media.AnnexB
  alias ExWebRTC.PacketStructs
  alias ExWebRTC.RTP.{AV1, H264, H265, NALPackets, Packet, TelephoneEvent, VP8, VP9}
  alias ExWebRTC.RTPCodecParameters

  @opaque t() :: %__MODULE__{
            module: module() | :whole_frame,
            state: term(),
            payload_type: 0..127,
            clock_rate: pos_integer(),
            max_payload_size: pos_integer(),
            input: :frame | :annex_b | {:length_prefixed, 1..4},
            packet: struct()
          }

  @enforce_keys [:module, :state, :payload_type, :clock_rate, :max_payload_size, :input, :packet]
  defstruct @enforce_keys

  # Leaves room for the headers of IP, UDP, TURN, SRTP and extensions within the 1,280 bytes that
  # every IPv6 path carries.
  @default_max_payload_size 1000
  # What UDP carries over IPv4 (65,535 bytes, less 20 of IP and 8 of UDP), less an RTP header. Lengths
  # in aggregation packets have 16 bits.
  @max_max_payload_size 65_495
  # Below this, headers of the payload formats would leave no room for the frame.
  @min_max_payload_size 16

  @stateless [:whole_frame, TelephoneEvent.Payloader]
  @nal_unit_formats [H264.Payloader, H265.Payloader]

  @typedoc "Another name of `t:t/0`, for drop-in use."
  @type payloader() :: t()

  @typedoc """
  - `max_payload_size`: the most bytes of payload in a packet, 16 to 65,495; default 1000. Audio frames
    go into one packet each, whatever their size.
  - `nal_units`: how the NAL units in frames of H264 and H265 are told apart: `:annex_b` (default), by
    start codes, or `{:length_prefixed, bytes}`, each behind its length, as in MP4
  """
  @type options() :: [
          max_payload_size: pos_integer(),
          nal_units: :annex_b | {:length_prefixed, 1..4}
        ]

  @doc """
  Makes a payloader for a codec: VP8, VP9, H264, H265, AV1 (temporal units in the low overhead format
  in), Opus, PCMU, PCMA, G722 or telephone-event. There is none for parameters that ask for NAL units
  out of decoding order (`packetization-mode=2`, `sprop-max-don-diff` above 0).

  NAL units of H264 share a packet where the parameters have `packetization-mode=1`. Without it each
  has its own (RFC 6184 section 8.1); one that is larger than a packet goes in fragments all the same,
  as there is no other way.
  """
  @spec new(RTPCodecParameters.t(), options()) :: {:ok, t()} | {:error, :no_payloader_for_codec}
  def new(%RTPCodecParameters{} = codec, opts \\ []) do
    opts =
      Keyword.validate!(opts, max_payload_size: @default_max_payload_size, nal_units: :annex_b)

    max_payload_size = opts[:max_payload_size]

    if max_payload_size not in @min_max_payload_size..@max_max_payload_size do
      raise ArgumentError,
            "expected :max_payload_size to be in #{@min_max_payload_size}..#{@max_max_payload_size}, got: " <>
              inspect(max_payload_size)
    end

    nal_units = nal_units!(opts[:nal_units])

    with {:ok, module} <- module(String.downcase(codec.mime_type)),
         false <- NALPackets.reordered?(codec) do
      {:ok,
       %__MODULE__{
         module: module,
         state: if(module in @stateless, do: nil, else: module.init(codec)),
         payload_type: codec.payload_type,
         clock_rate: codec.clock_rate,
         max_payload_size: max_payload_size,
         input: if(module in @nal_unit_formats, do: nal_units, else: :frame),
         packet: template(codec.payload_type)
       }}
    else
      _none -> {:error, :no_payloader_for_codec}
    end
  end

  defp nal_units!(:annex_b), do: :annex_b
  defp nal_units!({:length_prefixed, size}) when size in 1..4, do: {:length_prefixed, size}

  defp nal_units!(other) do
    raise ArgumentError,
          "expected :nal_units to be :annex_b or {:length_prefixed, 1..4}, got: #{inspect(other)}"
  end

  @doc """
  The packets of a frame (`ExRTP.Packet` where the application has that package), in the order to send
  them; of telephone-event, those of an event (see
  `ExWebRTC.RTP.TelephoneEvent`).

  Length-prefixed NAL units that are cut off raise `ArgumentError`.
  """
  @spec payload(t(), binary() | TelephoneEvent.request()) ::
          {[Packet.t() | struct()], t()}
  def payload(%__MODULE__{module: :whole_frame} = payloader, frame) when is_binary(frame),
    do: {[packet(frame, payloader.packet, false)], payloader}

  def payload(%__MODULE__{module: TelephoneEvent.Payloader} = payloader, event)
      when is_map(event) do
    [first | rest] = TelephoneEvent.Payloader.payload(event, payloader.clock_rate)
    template = payloader.packet
    # The marker says that an event begins (RFC 4733 section 2.2).
    packets = [packet(first, template, true) | Enum.map(rest, &packet(&1, template, false))]
    {packets, payloader}
  end

  def payload(%__MODULE__{module: module} = payloader, frame) when is_binary(frame) do
    input = input(payloader.input, frame)
    {payloads, state} = module.payload(payloader.state, input, payloader.max_payload_size)
    {packets(payloads, payloader.packet), %{payloader | state: state}}
  end

  defp input(:frame, frame), do: frame
  defp input(:annex_b, frame), do: AnnexB.units(frame)

  defp input({:length_prefixed, size}, frame) do
    case AnnexB.from_length_prefixed(frame, size) do
      {:ok, units} -> units
      :error -> raise ArgumentError, "the frame ends within a NAL unit"
    end
  end

  # The marker says that a video frame is complete.
  defp packets([], _template), do: []
  defp packets([last], template), do: [packet(last, template, true)]

  defp packets([payload | rest], template),
    do: [packet(payload, template, false) | packets(rest, template)]

  defp packet(payload, template, marker), do: %{template | payload: payload, marker: marker}

  # What the packets of a connection are built as.
  defp template(payload_type) do
    struct!(PacketStructs.rtp_modules().packet,
      payload: "",
      payload_type: payload_type,
      sequence_number: 0,
      timestamp: 0,
      ssrc: 0
    )
  end

  defp module("video/vp8"), do: {:ok, VP8.Payloader}
  defp module("video/vp9"), do: {:ok, VP9.Payloader}
  defp module("video/h264"), do: {:ok, H264.Payloader}
  defp module("video/h265"), do: {:ok, H265.Payloader}
  defp module("video/av1"), do: {:ok, AV1.Payloader}
  # RFC 7587 section 4.2 and RFC 3551 section 4.5: a packet is a frame.
  defp module("audio/" <> name) when name in ~w(opus pcmu pcma g722), do: {:ok, :whole_frame}
  defp module("audio/telephone-event"), do: {:ok, TelephoneEvent.Payloader}
  defp module(_other), do: :error
end
