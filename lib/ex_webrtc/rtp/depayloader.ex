defmodule ExWebRTC.RTP.Depayloader do
  @moduledoc """
  Puts encoded frames together from RTP packets.

  Packets must come in the order of their sequence numbers, as from a jitter buffer. A frame of which
  a packet is missing is dropped; the next one is not affected.
  """

  alias ExWebRTC.RTP.{AV1, FrameAssembler, H264, Packet, VP8, VP9}
  alias ExWebRTC.RTPCodecParameters

  @opaque t() :: %__MODULE__{
            module: module() | :whole_frame,
            assembler: FrameAssembler.t()
          }

  @enforce_keys [:module, :assembler]
  defstruct @enforce_keys

  @doc """
  Makes a depayloader for a codec: those of `ExWebRTC.RTP.Payloader.new/2`.
  """
  @spec new(RTPCodecParameters.t()) :: {:ok, t()} | {:error, :no_depayloader_for_codec}
  def new(%RTPCodecParameters{} = codec) do
    with {:ok, module} <- module(String.downcase(codec.mime_type)),
         do: {:ok, %__MODULE__{module: module, assembler: FrameAssembler.new()}}
  end

  @doc """
  Takes a packet, and returns the frame that is complete with it, or `nil`.

  H264 frames come in Annex B format, AV1 frames as temporal units in the low overhead format.
  """
  @spec depayload(t(), Packet.t()) :: {binary() | nil, t()}
  def depayload(%__MODULE__{module: :whole_frame} = depayloader, packet),
    do: {if(packet.payload != "", do: packet.payload), depayloader}

  # Padding-only packets probe for bandwidth; they take a sequence number and belong to no frame.
  def depayload(%__MODULE__{} = depayloader, %{payload: ""} = packet) do
    assembler = FrameAssembler.skip(depayloader.assembler, packet)
    {nil, %{depayloader | assembler: assembler}}
  end

  def depayload(%__MODULE__{module: module} = depayloader, packet) do
    {parts, assembler} =
      FrameAssembler.add(depayloader.assembler, packet, module.parse(packet.payload))

    {parts && module.join(parts), %{depayloader | assembler: assembler}}
  end

  defp module("video/vp8"), do: {:ok, VP8.Depayloader}
  defp module("video/vp9"), do: {:ok, VP9.Depayloader}
  defp module("video/h264"), do: {:ok, H264.Depayloader}
  defp module("video/av1"), do: {:ok, AV1.Depayloader}
  defp module("audio/" <> name) when name in ~w(opus pcmu pcma g722), do: {:ok, :whole_frame}
  defp module(_other), do: {:error, :no_depayloader_for_codec}
end
