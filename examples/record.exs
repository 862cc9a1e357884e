# Records the browser's camera and microphone to a WebM file in a directory, by default `recordings`.
#
#     mix run examples/record.exs
#     mix run examples/record.exs some/directory
Code.require_file("web.exs", __DIR__)

defmodule Example.Record do
  use Example.Web

  alias ExWebRTC.{PeerConnection, Recorder}

  # Players seek to keyframes: one every three seconds at least.
  @keyframe_interval 3_000

  @impl true
  def init(_query, directory),
    do: {:ok, %{directory: directory, recorder: nil}, [video_codecs: [:vp8, :vp9, :h264, :av1]]}

  @impl true
  def handle_answer({_module, pc}, state) do
    # Payload types mean what was negotiated.
    %{audio_codecs: audio, video_codecs: video} = PeerConnection.get_configuration(pc)

    tracks =
      for transceiver <- PeerConnection.get_transceivers(pc), do: transceiver.receiver.track

    # Linked to the session: when that ends, it closes its files.
    {:ok, recorder} =
      Recorder.start_link(
        base_dir: state.directory,
        codecs: audio ++ video,
        # After a loss.
        request_keyframe: &PeerConnection.send_pli(pc, &1, &2)
      )

    {:ok, _manifest} = Recorder.add_tracks(recorder, tracks)
    Process.send_after(self(), :keyframe, @keyframe_interval)
    {:ok, %{state | recorder: recorder}}
  end

  @impl true
  def handle_message({:rtp, id, rid, packet}, _peer, state) do
    Recorder.record(state.recorder, id, rid, packet)
    {:ok, state}
  end

  # Sender reports, which put audio and video in sync.
  def handle_message({:rtcp, packets}, _peer, state) do
    Recorder.record_rtcp(state.recorder, packets)
    {:ok, state}
  end

  def handle_message(:keyframe, {_module, pc}, state) do
    for %{kind: :video, receiver: receiver} <- PeerConnection.get_transceivers(pc),
        do: PeerConnection.send_pli(pc, receiver.track.id)

    Process.send_after(self(), :keyframe, @keyframe_interval)
    {:ok, state}
  end

  def handle_message({:ex_webrtc_recorder, _recorder, {:error, _ids, file, reason}}, _, state) do
    IO.puts("#{file} could not be written: #{inspect(reason)}")
    {:stop, state}
  end

  def handle_message(_other, _peer, state), do: {:ok, state}
end

directory = List.first(Example.Web.arguments()) || "recordings"
IO.puts("Recordings go to #{Path.expand(directory)}")

Example.Web.serve(Example.Record, directory, """
<title>Record</title>
<h1>Record</h1>
<p>
  <select id="codec"><option>VP8<option>VP9<option>H264<option>AV1</select>
  <button id="start">Record</button> <button id="finish" disabled>Stop</button>
</p>
<video id="preview" autoplay playsinline muted></video>
<script type="module">
  import { connect, camera } from "/client.js";
  start.onclick = async () => {
    const pc = new RTCPeerConnection();
    const stream = await camera();
    preview.srcObject = stream;
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    const wanted = one => one.mimeType === `video/${codec.value}` || one.mimeType === "video/rtx";
    pc.getTransceivers().find(one => one.sender.track.kind === "video").setCodecPreferences(codecs.filter(wanted));
    const session = await connect(pc);
    finish.disabled = false;
    finish.onclick = async () => { await session.stop(); finish.disabled = true; };
  };
</script>
""")
