# A chat room over data channels, for any number of browsers.
#
#     mix run examples/chat.exs
Code.require_file("web.exs", __DIR__)

defmodule Example.Chat do
  use Example.Web

  alias ExWebRTC.PeerConnection

  @impl true
  def init(_query, room), do: {:ok, %{room: room, channel: nil}, []}

  # The session is in the room as long as its process lives.
  @impl true
  def handle_message({:data_channel, channel}, _peer, state) do
    {:ok, _owner} = Registry.register(state.room, :member, nil)
    {:ok, %{state | channel: channel.ref}}
  end

  def handle_message({:data, _channel, text}, _peer, state) do
    Registry.dispatch(state.room, :member, fn members ->
      for {session, _value} <- members, do: send(session, {:said, text})
    end)

    {:ok, state}
  end

  # Who does not read any more leaves: {:error, :buffer_full}.
  def handle_message({:said, text}, {_module, pc}, state) do
    case PeerConnection.send_data(pc, state.channel, text) do
      :ok -> {:ok, state}
      {:error, _reason} -> {:stop, state}
    end
  end

  def handle_message(_other, _peer, state), do: {:ok, state}
end

{:ok, _room} = Registry.start_link(keys: :duplicate, name: Example.Room)

Example.Web.serve(Example.Chat, Example.Room, """
<title>Chat</title>
<h1>Chat</h1>
<p>Name: <input id="name" value="Somebody"> Message: <input id="words" disabled></p>
<ul id="said"></ul>
<script type="module">
  import { connect } from "/client.js";
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("chat");
  channel.onopen = () => { words.disabled = false; };
  channel.onmessage = ({ data }) => {
    said.append(Object.assign(document.createElement("li"), { textContent: data }));
  };
  words.onchange = () => { channel.send(`${name.value}: ${words.value}`); words.value = ""; };
  const name = document.getElementById("name");
  await connect(pc);
</script>
""")
