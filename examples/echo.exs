# Camera, microphone and messages come back.
#
#     mix run examples/echo.exs
Code.require_file("web.exs", __DIR__)

defmodule Example.Echo do
  use Example.Web

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, RTCP}

  @impl true
  def init(_query, _argument), do: {:ok, %{}, []}

  # A track to send for each that is received. The state is which goes where.
  @impl true
  def handle_offer({_module, pc}, _routes) do
    stream = MediaStreamTrack.generate_stream_id()

    routes =
      for transceiver <- PeerConnection.get_transceivers(pc), into: %{} do
        track = MediaStreamTrack.new(transceiver.kind, [stream])
        {:ok, _sender} = PeerConnection.add_track(pc, track)
        {transceiver.receiver.track.id, track.id}
      end

    {:ok, routes}
  end

  @impl true
  def handle_message({:rtp, id, _rid, packet}, {_module, pc}, routes) do
    PeerConnection.send_rtp(pc, routes[id], packet)
    {:ok, routes}
  end

  # When the browser cannot decode what came back, its encoder shall send a keyframe.
  def handle_message({:rtcp, packets}, {_module, pc}, routes) do
    for {sent, %RTCP.PLI{}} <- packets,
        {received, ^sent} <- routes,
        do: PeerConnection.send_pli(pc, received)

    {:ok, routes}
  end

  def handle_message({:data, channel, data}, {_module, pc}, routes) do
    _full_or_ok = PeerConnection.send_data(pc, channel, data)
    {:ok, routes}
  end

  def handle_message(_other, _peer, routes), do: {:ok, routes}
end

Example.Web.serve(Example.Echo, nil, """
<title>Echo</title>
<h1>Echo</h1>
<p><button id="start">Start</button></p>
<video id="back" autoplay playsinline controls></video>
<p>Message: <input id="words" disabled> <output id="answer"></output></p>
<script type="module">
  import { connect, camera } from "/client.js";
  start.onclick = async () => {
    const pc = new RTCPeerConnection();
    const stream = await camera();
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
    pc.ontrack = ({ streams }) => { back.srcObject = streams[0]; };
    const channel = pc.createDataChannel("messages");
    channel.onopen = () => { words.disabled = false; };
    channel.onmessage = ({ data }) => { answer.value = data; };
    words.onchange = () => channel.send(words.value);
    await connect(pc);
  };
</script>
""")
