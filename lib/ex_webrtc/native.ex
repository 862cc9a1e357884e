defmodule ExWebRTC.Native do
  @moduledoc false
  # The functions of the native library, and nothing else. Each only decodes, enqueues and returns;
  # what comes of it arrives as messages (see `ExWebRTC.PeerConnection.Server`). A wrong argument
  # raises `ArgumentError`.
  #
  # Handles and the `ref`s of data channels are resources: references that end with their last term.

  @type handle() :: reference()
  @type outcome() :: :ok | {:error, :busy | :closed}

  @doc """
  Loads the library; nothing below works before.

  Not in `@on_load`: that would run while the project compiles, before the library is built.
  """
  @spec load() :: :ok | {:error, String.t()}
  def load do
    path = :filename.join(:code.priv_dir(:ex_webrtc), ~c"native/libex_webrtc")

    case :erlang.load_nif(path, 0) do
      :ok -> :ok
      # The application was started before in this VM.
      {:error, {:reload, _text}} -> :ok
      {:error, {_reason, text}} -> {:error, List.to_string(text)}
    end
  end

  @doc "Starts the shard threads; once they run, only takes the process that is told what they log."
  @spec start(map()) :: :ok | {:error, String.t()}
  def start(_options), do: not_loaded()

  @doc """
  Opens a UDP port (any without a number) on these addresses (those of this host without), or joins
  those who have it open. The reference goes into the configuration of one connection.
  """
  @spec share_port(:inet.port_number() | nil, [:inet.ip_address()] | nil) ::
          {:ok, reference()} | {:error, :inet.posix() | String.t()}
  def share_port(_port, _addresses), do: not_loaded()

  @doc "Gives back what `share_port/2` gave, where no connection has come of it."
  @spec unshare_port(reference()) :: :ok
  def unshare_port(_share), do: not_loaded()

  @doc "What the ports that connections share have seen."
  @spec shared_ports() :: [map()]
  def shared_ports, do: not_loaded()

  @doc "Opens a connection that lives as long as `owner`. Events go to `controller`."
  @spec open(map(), pid(), pid()) :: {:ok, handle()} | {:error, atom()}
  def open(_configuration, _owner, _controller), do: not_loaded()

  @doc "Gives a command; the owner gets `{:ex_webrtc_reply, id, result}`."
  @spec request(handle(), non_neg_integer(), term()) :: outcome()
  def request(_handle, _id, _command), do: not_loaded()

  @doc "Sends events to another process from here on; replied to like a request."
  @spec set_controller(handle(), non_neg_integer(), pid()) :: outcome()
  def set_controller(_handle, _id, _controller), do: not_loaded()

  @doc "Lets so many more messages with media or data go to the controlling process; `nil`: all."
  @spec add_credit(handle(), pos_integer() | nil) :: :ok
  def add_credit(_handle, _messages), do: not_loaded()

  @doc "Forwards a track of the first connection; its owner gets a reply like that of a request."
  @spec forward(
          handle(),
          non_neg_integer(),
          {non_neg_integer(), binary()},
          {non_neg_integer(), :auto | String.t(), boolean()},
          handle(),
          non_neg_integer()
        ) :: outcome()
  def forward(_source, _id, _name, _options, _sink, _sender_id), do: not_loaded()

  @doc """
  As `forward/6` to a connection of another node. For the other end of a forward on another node the
  owner gets `{:ex_webrtc_far, to, what, bytes}`; see `ExWebRTC.PeerConnection.FarEnds`.
  """
  @spec forward_elsewhere(
          handle(),
          non_neg_integer(),
          {non_neg_integer(), binary()},
          {non_neg_integer(), :auto | String.t(), boolean()},
          non_neg_integer()
        ) :: outcome()
  def forward_elsewhere(_source, _id, _name, _options, _sender_id), do: not_loaded()

  @doc """
  Hands such `bytes` of another node to ends here: forward, connection, and which of the packets it
  takes. Returns those that did not take it; `:busy` when its packets were dropped.
  """
  @spec forward_in(binary(), [
          {non_neg_integer(), handle(), non_neg_integer(), non_neg_integer()}
        ]) :: [{non_neg_integer(), {:error, :busy | :closed}}] | :malformed
  def forward_in(_bytes, _to), do: not_loaded()

  @doc "The other end of a forward, on another node, is gone."
  @spec forward_lost(handle(), non_neg_integer()) :: outcome()
  def forward_lost(_handle, _forward_id), do: not_loaded()

  @doc "So many packets of a forward were lost on their way to another node."
  @spec forward_refused(handle(), non_neg_integer(), non_neg_integer()) :: outcome()
  def forward_refused(_handle, _forward_id, _packets), do: not_loaded()

  @spec send_rtp(handle(), non_neg_integer(), map(), boolean()) :: outcome()
  def send_rtp(_handle, _track_id, _packet, _rtx?), do: not_loaded()

  @spec send_rtp_batch(handle(), [{non_neg_integer(), map()}], boolean()) :: outcome()
  def send_rtp_batch(_handle, _packets, _rtx?), do: not_loaded()

  @spec send_pli(handle(), non_neg_integer(), String.t() | nil) :: outcome()
  def send_pli(_handle, _track_id, _rid), do: not_loaded()

  @spec send_rtcp(handle(), binary()) :: outcome()
  def send_rtcp(_handle, _packet), do: not_loaded()

  @doc "`:closed` also where the channel is not open, or none of this connection."
  @spec send_data(handle(), reference(), :string | :binary, binary()) ::
          :ok | {:error, :buffer_full | :busy | :closed | {:message_too_large, pos_integer()}}
  def send_data(_handle, _channel, _kind, _data), do: not_loaded()

  @doc "Like `send_data/4`; the owner gets a reply when the message was taken."
  @spec send_data_sync(handle(), non_neg_integer(), reference(), :string | :binary, binary()) ::
          :ok | {:error, :buffer_full | :busy | :closed | {:message_too_large, pos_integer()}}
  def send_data_sync(_handle, _id, _channel, _kind, _data), do: not_loaded()

  @doc "As `send_data/4`, on a dirty scheduler."
  @spec send_large_data(handle(), reference(), :string | :binary, binary()) ::
          :ok | {:error, :buffer_full | :busy | :closed | {:message_too_large, pos_integer()}}
  def send_large_data(_handle, _channel, _kind, _data), do: not_loaded()

  @doc "As `send_data_sync/5`, on a dirty scheduler."
  @spec send_large_data_sync(
          handle(),
          non_neg_integer(),
          reference(),
          :string | :binary,
          binary()
        ) :: :ok | {:error, :buffer_full | :busy | :closed | {:message_too_large, pos_integer()}}
  def send_large_data_sync(_handle, _id, _channel, _kind, _data), do: not_loaded()

  @spec buffered_amount(reference()) :: non_neg_integer()
  def buffered_amount(_channel), do: not_loaded()

  @doc "The addresses that host candidates are made of. May ask the system."
  @spec host_addresses() :: [:inet.ip_address()]
  def host_addresses, do: not_loaded()

  @doc "The same where somebody has asked a moment ago: costs no change of the scheduler."
  @spec known_host_addresses() :: [:inet.ip_address()] | nil
  def known_host_addresses, do: not_loaded()

  @doc "Connections of this VM that have sockets and memory on the native side."
  @spec connections() :: non_neg_integer()
  def connections, do: not_loaded()

  @doc "At most 1,024 bytes that nobody can guess."
  @spec random_bytes(0..1024) :: binary()
  def random_bytes(_count), do: not_loaded()

  # In builds with the Cargo feature `test-commands` only.

  @spec test_rtcp_term(binary()) :: struct()
  def test_rtcp_term(_packet), do: not_loaded()

  @spec test_rtp_term(non_neg_integer() | nil, binary(), binary(), pos_integer()) ::
          {struct(), non_neg_integer()}
  def test_rtp_term(_profile, _extension, _payload, _count), do: not_loaded()

  defp not_loaded, do: :erlang.nif_error(:not_loaded)
end
