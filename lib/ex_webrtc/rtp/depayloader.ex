defmodule ExWebRTC.RTP.Depayloader do
  @moduledoc """
  Puts encoded frames together from RTP packets.

  Packets must come in the order of their sequence numbers, as from a jitter buffer. A frame of which
  a packet is missing is dropped; the next one is not affected.
  """

  alias ExWebRTC.RTP.{AV1, Frame, FrameAssembler, H264, H265, NALPackets, Packet}
  alias ExWebRTC.RTP.{TelephoneEvent, VP8, VP9}
  alias ExWebRTC.RTPCodecParameters

  @opaque t() :: %__MODULE__{
            module: module() | :whole_frame,
            assembler: FrameAssembler.t() | TelephoneEvent.Depayloader.t()
          }

  @enforce_keys [:module, :assembler]
  defstruct @enforce_keys

  @doc """
  Makes a depayloader for a codec: those of `ExWebRTC.RTP.Payloader.new/2`.

  There is none for streams whose NAL units are not in decoding order: `packetization-mode=2` of H264,
  `sprop-max-don-diff` above 0 of H265. Packets that only those have make the frame that they are in a
  lost one.
  """
  @spec new(RTPCodecParameters.t()) :: {:ok, t()} | {:error, :no_depayloader_for_codec}
  def new(%RTPCodecParameters{} = codec) do
    with {:ok, module} <- module(String.downcase(codec.mime_type)),
         false <- NALPackets.reordered?(codec) do
      {:ok, %__MODULE__{module: module, assembler: assembler(module)}}
    else
      _none -> {:error, :no_depayloader_for_codec}
    end
  end

  defp assembler(TelephoneEvent.Depayloader), do: nil
  defp assembler(_module), do: FrameAssembler.new()

  @typedoc "Another name of `t:t/0`, for drop-in use."
  @type depayloader() :: t()

  @typedoc "An event of telephone-event, such as `%{code: 10, event: \"*\"}`."
  @type event() :: %{code: 0..255, event: String.t()}

  @doc """
  Takes a packet, and returns the frame that is complete with it, or `nil`.

  H264 and H265 frames come in Annex B format, AV1 frames as temporal units in the low overhead
  format. Of telephone-event each event comes once, when its first packet is there.
  """
  @spec depayload(t(), Packet.t()) :: {binary() | event() | nil, t()}
  def depayload(%__MODULE__{} = depayloader, packet) do
    {result, depayloader} = take(depayloader, packet)

    case result do
      {frame, _first_payload} -> {frame, depayloader}
      event_or_nil -> {event_or_nil, depayloader}
    end
  end

  @doc """
  As `depayload/2`, but frames come with their timestamp, whether they are keyframes, and their layer.
  """
  @spec depayload_frame(t(), Packet.t()) :: {Frame.t() | event() | nil, t()}
  def depayload_frame(%__MODULE__{module: module} = depayloader, packet) do
    {result, depayloader} = take(depayloader, packet)

    case result do
      {frame, payload} ->
        described = if module == :whole_frame, do: [], else: module.describe(payload, frame)
        frame = %Frame{data: frame, timestamp: packet.timestamp, keyframe?: true}
        {struct!(frame, described), depayloader}

      event_or_nil ->
        {event_or_nil, depayloader}
    end
  end

  # `{frame, payload of its first packet}`, an event, or `nil`.
  defp take(%{module: TelephoneEvent.Depayloader} = depayloader, packet) do
    {event, state} = TelephoneEvent.Depayloader.depayload(depayloader.assembler, packet)
    {event, %{depayloader | assembler: state}}
  end

  defp take(%{module: :whole_frame} = depayloader, packet),
    do: {if(packet.payload != "", do: {packet.payload, packet.payload}), depayloader}

  # Padding-only packets probe for bandwidth; they take a sequence number and belong to no frame.
  defp take(depayloader, %{payload: ""} = packet) do
    assembler = FrameAssembler.skip(depayloader.assembler, packet)
    {nil, %{depayloader | assembler: assembler}}
  end

  defp take(%{module: module} = depayloader, packet) do
    {complete, assembler} =
      FrameAssembler.add(depayloader.assembler, packet, module.parse(packet.payload))

    {complete && join(module, complete), %{depayloader | assembler: assembler}}
  end

  defp join(module, {parts, first_payload}) do
    case module.join(parts) do
      nil -> nil
      frame -> {frame, first_payload}
    end
  end

  defp module("video/vp8"), do: {:ok, VP8.Depayloader}
  defp module("video/vp9"), do: {:ok, VP9.Depayloader}
  defp module("video/h264"), do: {:ok, H264.Depayloader}
  defp module("video/h265"), do: {:ok, H265.Depayloader}
  defp module("video/av1"), do: {:ok, AV1.Depayloader}
  defp module("audio/" <> name) when name in ~w(opus pcmu pcma g722), do: {:ok, :whole_frame}
  defp module("audio/telephone-event"), do: {:ok, TelephoneEvent.Depayloader}
  defp module(_other), do: :error
end
