defmodule ExWebRTC.Runtime do
  @moduledoc false
  # Loads the native library, starts its runtime, and passes what it logs on to `Logger`.
  #
  # The shard threads outlive this process and the application: the VM keeps native libraries. A
  # restart finds them running.
  #
  # `config :ex_webrtc, shards: n` sets the number of shard threads; by default one for each core
  # that the VM may use.

  use GenServer

  require Logger

  alias ExWebRTC.Native
  alias ExWebRTC.RTCP

  # RTP packets are built as the structs of these packages where the application has them, so that
  # programs that name those structs keep working.
  @rtp_packet {ExRTP.Packet, ExWebRTC.RTP.Packet}
  @rtp_extension {ExRTP.Packet.Extension, ExWebRTC.RTP.Packet.Extension}

  @rtcp_modules %{
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
  }

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_opts), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    options = %{
      shards: shards!(Application.get_env(:ex_webrtc, :shards)),
      rtp_packet_module: loaded(@rtp_packet),
      rtp_extension_module: loaded(@rtp_extension),
      rtcp_modules: Map.new(@rtcp_modules, fn {kind, modules} -> {kind, loaded(modules)} end),
      log_to: self()
    }

    with :ok <- Native.load(), :ok <- Native.start(options) do
      {:ok, nil}
    else
      {:error, text} -> {:stop, {:native_runtime, text}}
    end
  end

  @impl true
  def handle_info({:ex_webrtc_log, level, target, text}, state) do
    Logger.log(level, "#{text} (#{target})")
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp shards!(nil), do: nil
  defp shards!(count) when is_integer(count) and count > 0, do: count

  defp shards!(other) do
    raise ArgumentError,
          "invalid value for `config :ex_webrtc, shards:`: expected a positive integer, " <>
            "got: #{inspect(other)}"
  end

  defp loaded({theirs, ours}) do
    if theirs != nil and Code.ensure_loaded?(theirs), do: theirs, else: ours
  end
end
