defmodule ExWebRTC.PeerConnection.Client do
  @moduledoc false
  # How a caller reaches a connection. Requests go through its process. Packets and messages go
  # from the caller straight into the native queue of a connection of this node.

  require Logger

  alias ExWebRTC.{Forward, Handles, Native}
  alias ExWebRTC.PeerConnection.{Arguments, Configuration, Controller}

  # The native side answers within milliseconds. This is only how long a caller waits for a machine
  # that is overloaded before it takes the connection for stuck.
  @timeout 30_000

  @doc "Gives a command: `:ok`, `{:ok, value}` or `{:error, reason}`."
  @spec request(GenServer.server(), term()) :: :ok | {:ok, term()} | {:error, atom()}
  def request(pc, command), do: call(pc, {:request, command}, command)

  @doc """
  Gives a command whose value is returned as it is: a getter. Exits as every call to a process that
  is ending does.
  """
  @spec get(GenServer.server(), term()) :: term()
  def get(pc, command) do
    case request(pc, command) do
      {:ok, value} -> value
      {:error, :closed} -> exit({:noproc, {GenServer, :call, [pc, command]}})
      other -> other
    end
  end

  @doc "Asks whether a connection is closed, without waiting: `said_closed/2` knows the answer."
  @spec ask_closed(pid() | {atom(), node()}) :: :gen_server.request_id()
  def ask_closed(pc), do: :gen_server.send_request(pc, {:request, {:get, :signaling_state}})

  @doc "Whether a message is the answer to `ask_closed/1`, and what it says."
  @spec said_closed(term(), :gen_server.request_id()) :: {:ok, boolean()} | :no_reply
  def said_closed(message, request) do
    case :gen_server.check_response(message, request) do
      {:reply, {:ok, state}} -> {:ok, state == :closed}
      :no_reply -> :no_reply
      _gone -> {:ok, true}
    end
  end

  @doc "The configuration with what was negotiated filled in."
  @spec configuration(GenServer.server()) :: Configuration.t()
  def configuration(pc) do
    configuration = GenServer.call(pc, :configuration, @timeout)

    case request(pc, {:get, :negotiated_configuration}) do
      {:ok, %{audio_codecs: audio, video_codecs: video, header_extensions: extensions}} ->
        Configuration.negotiated(configuration, audio, video, extensions)

      {:error, _reason} ->
        configuration
    end
  end

  @doc "Changes what can be changed of the configuration."
  @spec set_configuration(GenServer.server(), keyword() | Configuration.t()) ::
          :ok | {:error, atom()}
  def set_configuration(pc, wanted) do
    with {:ok, changed} <- Configuration.change(configuration(pc), wanted) do
      message = {:set_configuration, changed.ice_servers, changed.ice_transport_policy}
      call(pc, message, wanted)
    end
  end

  @doc "Closes, so that the sockets are free when it returns, and stops the process."
  @spec stop(GenServer.server()) :: :ok
  def stop(pc) do
    request(pc, :close)
    GenServer.stop(pc)
  end

  @spec controlling_process(GenServer.server(), Controller.dest()) :: :ok | {:error, atom()}
  def controlling_process(pc, dest), do: call(pc, {:controlling_process, dest}, dest)

  @doc "Lets so many more messages with media or data go to the controlling process; `nil`: all."
  @spec add_credit(GenServer.server(), pos_integer() | nil) :: :ok
  def add_credit(pc, messages) do
    case Handles.fetch(pc) do
      {:ok, handle} -> Native.add_credit(handle, messages)
      :error -> GenServer.cast(pc, {:add_credit, messages})
    end
  end

  @doc "Forwards a track; `options` are its id, the layer, and whether it is tapped."
  @spec forward(
          GenServer.server(),
          {non_neg_integer(), :auto | String.t(), boolean()},
          GenServer.server(),
          non_neg_integer()
        ) :: {:ok, Forward.t()} | {:error, atom()}
  def forward(source, options, sink, sender_id) do
    forward = Forward.new(pid(source), pid(sink))
    message = {:forward, forward, options, sender_id}
    with :ok <- call(forward.source, message, {options, sender_id}), do: {:ok, forward}
  end

  @doc "Gives a command about a forward to its source."
  @spec forward_request(Forward.t(), tuple()) :: :ok | {:error, atom()}
  def forward_request(%Forward{source: source}, command) do
    request(source, command)
  catch
    # It ended with its source.
    :exit, {reason, _call} when reason in [:noproc, :normal] -> {:error, :invalid_forward}
    :exit, {{:nodedown, _node}, _call} -> {:error, :invalid_forward}
  end

  defp pid(pid) when is_pid(pid), do: pid

  defp pid(server) do
    case GenServer.whereis(server) do
      pid when is_pid(pid) -> pid
      _elsewhere -> GenServer.call(server, :pid, @timeout)
    end
  end

  @spec send_rtp(GenServer.server(), integer(), map(), boolean()) :: :ok
  def send_rtp(pc, track_id, packet, rtx?) do
    case Handles.fetch(pc) do
      # Overflow policy "NIF → shard: media": a packet that has no room is dropped and counted.
      {:ok, handle} -> Native.send_rtp(handle, track_id, packet, rtx?)
      :error -> cast_media(pc, {:send_rtp, track_id, packet, rtx?})
    end

    :ok
  rescue
    ArgumentError -> Arguments.raise_wrong_rtp!([{track_id, packet}], rtx?)
  end

  @spec send_rtp_batch(GenServer.server(), [{integer(), map()}], boolean()) :: :ok
  def send_rtp_batch(pc, packets, rtx?) do
    case Handles.fetch(pc) do
      # Overflow policy "NIF → shard: media", as above.
      {:ok, handle} -> Native.send_rtp_batch(handle, packets, rtx?)
      :error -> cast_media(pc, {:send_rtp_batch, packets, rtx?})
    end

    :ok
  rescue
    ArgumentError -> Arguments.raise_wrong_rtp!(packets, rtx?)
  end

  @spec send_pli(GenServer.server(), integer(), String.t() | nil) :: :ok
  def send_pli(pc, track_id, rid) do
    case Handles.fetch(pc) do
      {:ok, handle} -> Native.send_pli(handle, track_id, rid)
      :error -> cast_media(pc, {:send_pli, track_id, rid})
    end

    :ok
  end

  @spec send_rtcp(GenServer.server(), binary()) :: :ok
  def send_rtcp(pc, packet) do
    case Handles.fetch(pc) do
      {:ok, handle} -> Native.send_rtcp(handle, packet)
      :error -> cast_media(pc, {:send_rtcp, packet})
    end

    :ok
  end

  @spec send_data(GenServer.server(), reference(), :string | :binary, binary()) ::
          :ok | {:error, :buffer_full}
  def send_data(pc, channel, kind, data) do
    case enqueue_data(pc, channel, kind, data) do
      :ok -> :ok
      # Too many messages wait, whatever their size.
      {:error, full} when full in [:buffer_full, :busy] -> {:error, :buffer_full}
      {:error, :closed} -> warn_not_open(channel)
      {:error, {:message_too_large, largest}} -> raise_too_large(data, largest)
    end
  end

  defp enqueue_data(pc, channel, kind, data) do
    case Handles.fetch(pc) do
      {:ok, handle} -> submit_data(handle, channel, kind, data)
      :error -> enqueue_data_elsewhere(pc, GenServer.whereis(pc), channel, kind, data)
    end
  end

  # The native side copies the message. A scheduler should not be held for more than a millisecond,
  # in which some megabytes are copied; a larger message takes a dirty one.
  @large_message 1_048_576

  @doc "Gives a message to the native side of a connection of this node."
  @spec submit_data(Native.handle(), reference(), :string | :binary, binary()) ::
          :ok | {:error, atom() | {:message_too_large, pos_integer()}}
  def submit_data(handle, channel, kind, data) when byte_size(data) > @large_message,
    do: Native.send_large_data(handle, channel, kind, data)

  def submit_data(handle, channel, kind, data),
    do: Native.send_data(handle, channel, kind, data)

  @doc "The same; the process of the connection gets a reply when the message was taken."
  @spec submit_data_sync(
          Native.handle(),
          non_neg_integer(),
          reference(),
          :string | :binary,
          binary()
        ) :: :ok | {:error, atom() | {:message_too_large, pos_integer()}}
  def submit_data_sync(handle, id, channel, kind, data) when byte_size(data) > @large_message,
    do: Native.send_large_data_sync(handle, id, channel, kind, data)

  def submit_data_sync(handle, id, channel, kind, data),
    do: Native.send_data_sync(handle, id, channel, kind, data)

  # Like all that sends, this takes no notice of a connection that is not there (any more).
  defp enqueue_data_elsewhere(_pc, nil, _channel, _kind, _data), do: :ok

  # A process of this node that has no handle is gone, or about to be.
  defp enqueue_data_elsewhere(_pc, pid, channel, kind, data)
       when is_pid(pid) and node(pid) == node(),
       do: GenServer.cast(pid, {:send_data, channel, kind, data})

  defp enqueue_data_elsewhere(pc, _remote, channel, kind, data) do
    call(pc, {:send_data, channel, kind, data}, channel)
  catch
    :exit, {reason, _call} when reason in [:noproc, :normal, :shutdown] -> :ok
    :exit, {{reason, _node}, _call} when reason in [:nodedown, :shutdown] -> :ok
  end

  defp warn_not_open(channel) do
    Logger.warning("send_data: the channel #{inspect(channel)} is not open, its data is dropped")
    :ok
  end

  @spec send_data_sync(GenServer.server(), reference(), :string | :binary, binary(), timeout()) ::
          :ok | {:error, :buffer_full | :closed | :timeout}
  def send_data_sync(pc, channel, kind, data, timeout) do
    message = {:send_data_sync, channel, kind, data, timeout}

    # The process answers in time, so the call itself needs no limit.
    case GenServer.call(pc, message, :infinity) do
      :badarg -> raise_badarg(channel)
      {:error, :busy} -> {:error, :buffer_full}
      {:error, {:message_too_large, largest}} -> raise_too_large(data, largest)
      result -> result
    end
  end

  @spec buffered_amount(GenServer.server(), reference()) :: non_neg_integer()
  def buffered_amount(pc, channel) do
    case Handles.fetch(pc) do
      {:ok, _handle} -> Native.buffered_amount(channel)
      :error -> with {:ok, bytes} <- call(pc, {:buffered_amount, channel}, channel), do: bytes
    end
  end

  # As `GenServer.cast/2`, but a busy connection between the nodes drops the packet (overflow policy
  # "caller → connection of another node") instead of holding the caller.
  defp cast_media(pc, message) do
    case GenServer.whereis(pc) do
      nil -> :ok
      dest -> Process.send(dest, {:"$gen_cast", message}, [:nosuspend])
    end
  rescue
    # The name was given back in between.
    ArgumentError -> :ok
  end

  defp call(pc, message, argument) do
    case GenServer.call(pc, message, @timeout) do
      :badarg -> raise_badarg(argument)
      result -> result
    end
  end

  # W3C: `send()` throws a TypeError.
  @spec raise_too_large(binary(), pos_integer()) :: no_return()
  defp raise_too_large(data, largest) do
    raise ArgumentError,
          "the message has #{byte_size(data)} bytes, the peer takes at most #{largest} " <>
            "(max-message-size of its SDP)"
  end

  @spec raise_badarg(term()) :: no_return()
  defp raise_badarg(argument) do
    raise ArgumentError, "an argument has the wrong type or is out of range: #{inspect(argument)}"
  end
end
