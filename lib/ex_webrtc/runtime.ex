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

  alias ExWebRTC.{Native, PacketStructs}

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_opts), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    %{packet: packet, extension: extension} = PacketStructs.rtp_modules()

    options = %{
      shards: shards!(Application.get_env(:ex_webrtc, :shards)),
      rtp_packet_module: packet,
      rtp_extension_module: extension,
      rtcp_modules: PacketStructs.rtcp_modules(),
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
end
