# Shows what ffmpeg sends as plain RTP to every browser that opens the page. It prints the command that
# sends a test picture; anything else that is VP8 will do as well.
#
#     mix run examples/rtp_in.exs
Code.require_file("web.exs", __DIR__)

defmodule Example.Feed do
  # Takes packets from the network and hands them to the sessions.
  use GenServer

  alias ExWebRTC.{RTPCodecParameters, UDPBridge}

  @track 1
  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}

  def start_link(registry), do: GenServer.start_link(__MODULE__, registry)
  def port(feed), do: GenServer.call(feed, :port)

  @impl true
  def init(registry) do
    {:ok, bridge} = UDPBridge.start_link(tracks: [%{id: @track, codec: @vp8}])
    {:ok, %{bridge: bridge, registry: registry}}
  end

  @impl true
  def handle_call(:port, _from, state),
    do: {:reply, UDPBridge.ports(state.bridge)[@track], state}

  @impl true
  def handle_info({:ex_webrtc_udp, _bridge, {:rtp, @track, packet}}, state) do
    Registry.dispatch(state.registry, :viewer, fn viewers ->
      for {session, _value} <- viewers, do: send(session, {:feed, packet})
    end)

    {:noreply, state}
  end

  def handle_info(_reports, state), do: {:noreply, state}
end

defmodule Example.View do
  use Example.Web

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}
  alias ExWebRTC.RTP.VP8

  @impl true
  def init(_query, registry) do
    state = %{registry: registry, track: MediaStreamTrack.new(:video), playing?: false}
    {:ok, state, [video_codecs: [:vp8]]}
  end

  @impl true
  def handle_offer({_module, pc}, state) do
    {:ok, _sender} = PeerConnection.add_track(pc, state.track)
    {:ok, state}
  end

  @impl true
  def handle_message({:connection_state_change, :connected}, _peer, state) do
    {:ok, _owner} = Registry.register(state.registry, :viewer, nil)
    {:ok, state}
  end

  # A decoder begins with a keyframe.
  def handle_message({:feed, packet}, {_module, pc}, state) do
    playing? = state.playing? or VP8.keyframe?(packet.payload)
    if playing?, do: PeerConnection.send_rtp(pc, state.track.id, packet)
    {:ok, %{state | playing?: playing?}}
  end

  def handle_message(_other, _peer, state), do: {:ok, state}
end

{:ok, _viewers} = Registry.start_link(keys: :duplicate, name: Example.Viewers)
{:ok, feed} = Example.Feed.start_link(Example.Viewers)

IO.puts(
  "Run: ffmpeg -re -f lavfi -i testsrc=size=640x360:rate=30 -pix_fmt yuv420p -c:v libvpx " <>
    "-deadline realtime -cpu-used 8 -b:v 1M -g 30 -f rtp rtp://127.0.0.1:#{Example.Feed.port(feed)}"
)

Example.Web.serve(Example.View, Example.Viewers, """
<title>RTP in</title>
<h1>RTP in</h1>
<p><button id="start">Start</button></p>
<video id="feed" autoplay playsinline controls></video>
<script type="module">
  import { connect } from "/client.js";
  start.onclick = async () => {
    const pc = new RTCPeerConnection();
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.ontrack = ({ track }) => { feed.srcObject = new MediaStream([track]); };
    await connect(pc);
  };
</script>
""")
