defmodule ExWebRTC.PacketStructs do
  @moduledoc false
  # Which structs packets are built as. Where the application has the packages `ex_rtp` and
  # `ex_rtcp`, these are theirs, so that programs that name them keep working; they have the same
  # fields as ours.

  alias ExWebRTC.RTCP

  @rtp [
    packet: {ExRTP.Packet, ExWebRTC.RTP.Packet},
    extension: {ExRTP.Packet.Extension, ExWebRTC.RTP.Packet.Extension}
  ]

  @rtcp [
    sender_report: {ExRTCP.Packet.SenderReport, RTCP.SenderReport},
    receiver_report: {ExRTCP.Packet.ReceiverReport, RTCP.ReceiverReport},
    reception_report: {ExRTCP.Packet.ReceptionReport, RTCP.ReceptionReport},
    source_description: {ExRTCP.Packet.SourceDescription, RTCP.SourceDescription},
    source_description_chunk:
      {ExRTCP.Packet.SourceDescription.Chunk, RTCP.SourceDescription.Chunk},
    source_description_item:
      {ExRTCP.Packet.SourceDescription.Chunk.Item, RTCP.SourceDescription.Item},
    goodbye: {ExRTCP.Packet.Goodbye, RTCP.Goodbye},
    nack: {ExRTCP.Packet.TransportFeedback.NACK, RTCP.NACK},
    transport_cc: {ExRTCP.Packet.TransportFeedback.CC, RTCP.TransportCC},
    run_length_chunk: {ExRTCP.Packet.TransportFeedback.CC.RunLength, RTCP.TransportCC.RunLength},
    status_vector_chunk:
      {ExRTCP.Packet.TransportFeedback.CC.StatusVector, RTCP.TransportCC.StatusVector},
    pli: {ExRTCP.Packet.PayloadFeedback.PLI, RTCP.PLI},
    fir: {ExRTCP.Packet.PayloadFeedback.FIR, RTCP.FIR},
    remb: {ExRTCP.Packet.PayloadFeedback.REMB, RTCP.REMB},
    application: {nil, RTCP.APP},
    extended_report: {nil, RTCP.XR},
    receiver_reference_time: {nil, RTCP.XR.ReceiverReferenceTime},
    dlrr: {nil, RTCP.XR.DLRR},
    unknown: {nil, RTCP.Unknown}
  ]

  @ours Map.new(for {_kind, {theirs, ours}} <- @rtp ++ @rtcp, theirs != nil, do: {theirs, ours})

  @doc "The modules of received RTP packets and of their header extensions."
  @spec rtp_modules() :: %{packet: module(), extension: module()}
  def rtp_modules, do: loaded(@rtp)

  @doc "The modules of received RTCP packets and of their parts, by kind."
  @spec rtcp_modules() :: %{atom() => module()}
  def rtcp_modules, do: loaded(@rtcp)

  defp loaded(modules) do
    Map.new(modules, fn {kind, {theirs, ours}} ->
      {kind, if(theirs != nil and Code.ensure_loaded?(theirs), do: theirs, else: ours)}
    end)
  end

  @doc "The same packet as our struct, whichever it is; all else as it is."
  @spec to_ours(term()) :: term()
  def to_ours(%theirs{} = packet) when is_map_key(@ours, theirs) do
    fields = for {field, value} <- Map.from_struct(packet), do: {field, to_ours(value)}
    struct!(Map.fetch!(@ours, theirs), fields)
  end

  def to_ours(list) when is_list(list), do: Enum.map(list, &to_ours/1)
  def to_ours(other), do: other
end
