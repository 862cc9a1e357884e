# Takes a picture out of the browser's video: a keyframe, which ffmpeg makes a JPEG of. It is saved as
# `snapshot.jpg`, or where the argument says, and shown on the page.
#
#     mix run examples/snapshot.exs
Code.require_file("web.exs", __DIR__)

defmodule Example.Snapshot do
  use Example.Web

  alias ExWebRTC.Media.{IVF, VP8}
  alias ExWebRTC.{PeerConnection, RTPCodecParameters}
  alias ExWebRTC.RTP.{Depayloader, JitterBuffer}

  @vp8 %RTPCodecParameters{payload_type: 96, mime_type: "video/VP8", clock_rate: 90_000}

  @impl true
  def init(_query, path) do
    {:ok, depayloader} = Depayloader.new(@vp8)

    state = %{
      path: path,
      jitter_buffer: JitterBuffer.new(),
      depayloader: depayloader,
      # Who asked for a picture.
      channel: nil
    }

    {:ok, state, [video_codecs: [:vp8]]}
  end

  @impl true
  def handle_message({:data, channel, "snapshot"}, {_module, pc}, state) do
    for %{kind: :video, receiver: receiver} <- PeerConnection.get_transceivers(pc),
        do: PeerConnection.send_pli(pc, receiver.track.id)

    {:ok, %{state | channel: channel}}
  end

  def handle_message({:rtp, _id, _rid, packet}, peer, state),
    do: take(JitterBuffer.insert(state.jitter_buffer, packet), peer, state)

  def handle_message(:jitter_buffer, peer, state),
    do: take(JitterBuffer.handle_timeout(state.jitter_buffer), peer, state)

  def handle_message({:picture, channel, jpeg}, {_module, pc}, state) do
    File.write!(state.path, jpeg)
    _result = PeerConnection.send_data(pc, channel, jpeg, :binary)
    {:ok, state}
  end

  def handle_message(_other, _peer, state), do: {:ok, state}

  defp take({packets, timer, jitter_buffer}, _peer, state) do
    if timer, do: Process.send_after(self(), :jitter_buffer, timer)
    {:ok, Enum.reduce(packets, %{state | jitter_buffer: jitter_buffer}, &depayload/2)}
  end

  defp depayload(packet, state) do
    {frame, depayloader} = Depayloader.depayload_frame(state.depayloader, packet)
    state = %{state | depayloader: depayloader}

    if frame && frame.keyframe? && state.channel do
      session = self()
      channel = state.channel
      # ffmpeg takes longer than a session may be silent.
      Task.start_link(fn -> send(session, {:picture, channel, jpeg(frame.data)}) end)
      %{state | channel: nil}
    else
      state
    end
  end

  defp jpeg(keyframe) do
    {:ok, %{width: width, height: height}} = VP8.parse_keyframe(keyframe)
    path = Path.join(System.tmp_dir!(), "snapshot-#{System.unique_integer([:positive])}.ivf")
    {:ok, writer} = IVF.Writer.open(path, fourcc: "VP80", width: width, height: height)
    {:ok, writer} = IVF.Writer.write_frame(writer, %IVF.Frame{timestamp: 0, data: keyframe})
    :ok = IVF.Writer.close(writer)

    {jpeg, 0} =
      System.cmd("ffmpeg", ~w(-nostdin -loglevel error -i #{path} -frames:v 1 -q:v 5 -f mjpeg -))

    File.rm!(path)
    jpeg
  end
end

path = List.first(Example.Web.arguments()) || "snapshot.jpg"

Example.Web.serve(Example.Snapshot, path, """
<title>Snapshot</title>
<h1>Snapshot</h1>
<p><button id="start">Start</button> <button id="take" disabled>Take a picture</button></p>
<video id="preview" autoplay playsinline muted></video>
<img id="picture" alt="">
<script type="module">
  import { connect, camera } from "/client.js";
  start.onclick = async () => {
    const pc = new RTCPeerConnection();
    const stream = await camera({ video: true });
    preview.srcObject = stream;
    pc.addTransceiver(stream.getVideoTracks()[0], { direction: "sendonly" });
    const channel = pc.createDataChannel("pictures");
    channel.binaryType = "blob";
    channel.onopen = () => { take.disabled = false; };
    channel.onmessage = ({ data }) => { picture.src = URL.createObjectURL(new Blob([data], { type: "image/jpeg" })); };
    take.onclick = () => channel.send("snapshot");
    await connect(pc);
  };
</script>
""")
