defmodule ExWebRTC.PeerConnection.Server do
  @moduledoc false
  # The process of a connection: owns the native handle, remembers who asked for what.
  #
  # It never waits for the native side. A request is enqueued and its caller remembered; the answer
  # comes as `{:ex_webrtc_reply, id, result}` and is passed on. Events do not come here, but go from
  # the shard straight to the controlling process, except when that is not a pid of this node: then
  # they come here and are forwarded. It is one way or the other, so order holds.
  #
  # The native side monitors this process: however it ends, the connection closes.

  use GenServer

  require Logger

  alias ExWebRTC.{Cluster, Forward, Handles, Native, UDPMux}
  alias ExWebRTC.Forward.Relay
  alias ExWebRTC.PeerConnection.{Client, Configuration, Controller, FarEnds, Requests}

  @enforce_keys [:handle, :configuration, :controller, :requests]
  defstruct @enforce_keys ++ [closed?: false, far_ends: FarEnds.new()]

  @doc "Starts the process with `GenServer.start/3` or `GenServer.start_link/3`."
  @spec start((module(), term(), keyword() -> GenServer.on_start()), Configuration.t(), keyword()) ::
          GenServer.on_start()
  def start(start, configuration, gen_server_opts) do
    with {:ok, share} <- UDPMux.join(configuration) do
      case start.(__MODULE__, {configuration, share}, gen_server_opts) do
        {:ok, pid} ->
          {:ok, pid}

        not_started ->
          UDPMux.leave(share)
          not_started
      end
    end
  end

  @impl true
  def init({%Configuration{} = configuration, share}) do
    dest = configuration.controlling_process
    destination = Controller.native_destination(dest)

    native = %{native(configuration) | udp_mux: share}

    case Native.open(native, self(), destination) do
      {:ok, handle} ->
        {:ok, _registry} = Registry.register(ExWebRTC.Registry, self(), self())
        :ok = Cluster.join()
        :ok = Handles.put(handle)

        {:ok,
         %__MODULE__{
           handle: handle,
           configuration: configuration,
           controller: Controller.new(dest),
           requests: Requests.new()
         }}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  @impl true
  def handle_call({:request, command}, from, state) do
    refresh_host_addresses(command, state)
    submit(state, {from, after_reply(command)}, &Native.request(state.handle, &1, command))
  end

  def handle_call({:controlling_process, _dest}, _from, %{closed?: true} = state),
    do: {:reply, {:error, :invalid_state}, state}

  def handle_call({:controlling_process, dest}, from, state) do
    submit(
      state,
      {from, {:controller, dest}},
      &Native.set_controller(state.handle, &1, Controller.native_destination(dest))
    )
  end

  def handle_call({:set_configuration, ice_servers, policy}, from, state) do
    configuration = %{
      state.configuration
      | ice_servers: ice_servers,
        ice_transport_policy: policy
    }

    %{ice_servers: servers} = Configuration.to_native(configuration)
    command = {:set_configuration, servers, policy}
    action = {:configured, configuration}
    submit(state, {from, action}, &Native.request(state.handle, &1, command))
  end

  def handle_call({:forward, %{sink: sink} = forward, options, sender_id}, from, state)
      when node(sink) != node() do
    name = {forward.id, Forward.label(forward)}

    submitted =
      submit(
        state,
        {from, {:forward_elsewhere, forward.id}},
        &Native.forward_elsewhere(state.handle, &1, name, options, sender_id)
      )

    with {:noreply, state} <- submitted,
         do: {:noreply, %{state | far_ends: FarEnds.open(state.far_ends, forward)}}
  end

  def handle_call({:forward, forward, options, sender_id}, from, state) do
    case Handles.fetch(forward.sink) do
      {:ok, sink} ->
        name = {forward.id, Forward.label(forward)}

        submit(
          state,
          {from, :nothing},
          &Native.forward(state.handle, &1, name, options, sink, sender_id)
        )

      :error ->
        {:reply, {:error, :closed}, state}
    end
  end

  # Who has a name on this node.
  def handle_call(:pid, _from, state), do: {:reply, self(), state}

  def handle_call(:configuration, _from, state), do: {:reply, state.configuration, state}

  def handle_call({:send_data_sync, channel, kind, data, timeout}, from, state) do
    submit(state, {from, :nothing}, fn id ->
      with :ok <- Client.submit_data_sync(state.handle, id, channel, kind, data),
           do: start_timer(id, timeout)
    end)
  end

  # From processes of other nodes; those of this node do without this process.
  def handle_call({:send_data, channel, kind, data}, _from, state),
    do: answer(state, fn -> Client.submit_data(state.handle, channel, kind, data) end)

  def handle_call({:buffered_amount, channel}, _from, state),
    do: answer(state, fn -> {:ok, Native.buffered_amount(channel)} end)

  @impl true
  def handle_cast({:add_credit, messages}, state),
    do: media(state, fn -> Native.add_credit(state.handle, messages) end)

  def handle_cast({:send_rtp, track_id, packet, rtx?}, state),
    do: media(state, fn -> Native.send_rtp(state.handle, track_id, packet, rtx?) end)

  def handle_cast({:send_rtp_batch, packets, rtx?}, state),
    do: media(state, fn -> Native.send_rtp_batch(state.handle, packets, rtx?) end)

  def handle_cast({:send_pli, track_id, rid}, state),
    do: media(state, fn -> Native.send_pli(state.handle, track_id, rid) end)

  def handle_cast({:send_rtcp, packet}, state),
    do: media(state, fn -> Native.send_rtcp(state.handle, packet) end)

  def handle_cast({:send_data, channel, kind, data}, state),
    do: media(state, fn -> Client.submit_data(state.handle, channel, kind, data) end)

  @impl true
  def handle_info({:ex_webrtc_reply, id, result}, state), do: {:noreply, reply(state, id, result)}

  def handle_info({:ex_webrtc, pc, _message} = event, state) when pc == self() do
    {:noreply, %{state | controller: Controller.forward(state.controller, event)}}
  end

  def handle_info({:request_timeout, id}, state),
    do: {:noreply, reply(state, id, {:error, :timeout})}

  def handle_info({:ex_webrtc_warning, text}, state) do
    Logger.warning("#{inspect(self())}: #{text}")
    {:noreply, state}
  end

  # Forwards between two nodes.
  def handle_info({:ex_webrtc_far, to, what, bytes}, state),
    do: far(state, &FarEnds.send_out(&1, state.handle, to, what, bytes))

  def handle_info({:ex_webrtc_far_in, %Forward{} = forward, what, bytes}, state)
      when is_binary(bytes),
      do: far(state, &FarEnds.take_in(&1, state.handle, forward, what, bytes))

  def handle_info({:ex_webrtc_relayed, source, what, sink, bytes}, state) do
    Relay.deliver(source, what, [{sink, state.handle}], bytes)
    {:noreply, state}
  end

  def handle_info({:ex_webrtc_far_refused, id, packets}, state)
      when is_integer(packets) and packets >= 0,
      do: far(state, &FarEnds.refused(&1, state.handle, id, packets))

  def handle_info({:ex_webrtc_far_lost, id}, state),
    do: far(state, &FarEnds.lost(&1, state.handle, id))

  def handle_info({:ex_webrtc_panic, text}, state), do: {:stop, {:native_panic, text}, state}

  # The native runtime has ended: nothing that this process could do works any more.
  def handle_info(:ex_webrtc_closed, state), do: {:stop, {:shutdown, :native_closed}, state}

  # Nobody could hear of this connection any more.
  def handle_info({:DOWN, monitor, :process, _object, :noconnection}, state)
      when monitor == state.controller.monitor do
    Logger.warning("#{inspect(self())}: the node of its controlling process is lost, it stops")
    {:stop, {:shutdown, {:nodedown, node(state.controller.dest)}}, state}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    case FarEnds.down(state.far_ends, state.handle, monitor) do
      {:ok, far_ends} -> {:noreply, %{state | far_ends: far_ends}}
      :error -> {:noreply, state}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state) do
    {entries, _requests} = Requests.pop_all(state.requests)
    for {from, _action} <- entries, do: GenServer.reply(from, {:error, :closed})
    :ok
  end

  # Enqueues and remembers, or answers at once with why not.
  defp submit(state, entry, enqueue) do
    {id, requests} = Requests.put(state.requests, entry)

    case enqueue.(id) do
      :ok -> {:noreply, %{state | requests: requests}}
      {:error, _reason} = error -> {:reply, error, state}
    end
  rescue
    # The caller's mistake, raised where it was made.
    ArgumentError -> {:reply, :badarg, state}
  end

  defp answer(state, fun) do
    {:reply, fun.(), state}
  rescue
    ArgumentError -> {:reply, :badarg, state}
  end

  defp far(state, change), do: {:noreply, %{state | far_ends: change.(state.far_ends)}}

  # A cast has nobody to raise in.
  defp media(state, send) do
    send.()
    {:noreply, state}
  rescue
    ArgumentError ->
      Logger.warning("#{inspect(self())}: a packet from another node is malformed, dropped")
      {:noreply, state}
  end

  defp reply(state, id, result) do
    case Requests.pop(state.requests, id) do
      {{:ok, {from, action}}, requests} ->
        GenServer.reply(from, complete(action, result, state))
        finish(action, result, %{state | requests: requests})

      {:error, _requests} ->
        state
    end
  end

  defp after_reply(:close), do: :closed
  defp after_reply(:get_stats), do: :stats
  defp after_reply(_command), do: :nothing

  # What only this process counts.
  defp complete(:stats, {:ok, stats}, state),
    do: {:ok, Controller.add_to_stats(state.controller, stats)}

  defp complete(_action, result, _state), do: result

  # Events from before the change are in this process's mailbox before the reply, so they still go
  # where they belong.
  defp finish({:controller, dest}, :ok, state) do
    configuration = %{state.configuration | controlling_process: dest}

    %{
      state
      | controller: Controller.replace(state.controller, dest),
        configuration: configuration
    }
  end

  defp finish({:configured, configuration}, :ok, state),
    do: %{state | configuration: configuration}

  defp finish({:forward_elsewhere, id}, {:error, _reason}, state),
    do: %{state | far_ends: FarEnds.forget(state.far_ends, id)}

  defp finish(:closed, :ok, state), do: %{state | closed?: true}
  defp finish(_action, _result, state), do: state

  defp start_timer(_id, :infinity), do: :ok

  defp start_timer(id, timeout) do
    Process.send_after(self(), {:request_timeout, id}, timeout)
    :ok
  end

  # Nothing is gathered before a local description is set, which says what the addresses are.
  defp native(configuration) do
    configuration
    |> Configuration.to_native()
    |> Map.put(:host_addresses, if(Configuration.chooses_addresses?(configuration), do: []))
    |> Map.put_new(:data_types, Map.get(configuration, :data_types, false))
  end

  # The user's functions run here, and see the interfaces as they are when gathering may begin.
  defp refresh_host_addresses({:set_local_description, _description}, state) do
    if Configuration.chooses_addresses?(state.configuration) do
      addresses = Native.known_host_addresses() || Native.host_addresses()
      chosen = Configuration.host_addresses(state.configuration, addresses)
      Native.request(state.handle, Requests.unanswered(), {:set_host_addresses, chosen})
    end
  end

  defp refresh_host_addresses(_command, _state), do: :ok
end
