# Keys that are pressed on the page come as telephone events (RFC 4733), are shown, and come back as
# tones.
#
#     mix run examples/dtmf.exs
Code.require_file("web.exs", __DIR__)

defmodule Example.DTMF do
  use Example.Web

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, RTPCodecParameters}
  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.RTP.Depayloader

  # With the clock of Opus, beside which they are sent.
  @events %RTPCodecParameters{
    payload_type: 110,
    mime_type: "audio/telephone-event",
    clock_rate: 48_000
  }

  @impl true
  def init(_query, _argument) do
    {:ok, events} = Depayloader.new(@events)
    codecs = Configuration.default_audio_codecs() ++ [@events]
    {:ok, %{events: events, type: nil, sender: nil, channel: nil}, [audio_codecs: codecs]}
  end

  @impl true
  def handle_offer({_module, pc}, state) do
    {:ok, sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(:audio))
    {:ok, %{state | sender: sender.id}}
  end

  # The browser may have chosen another payload type.
  @impl true
  def handle_answer({_module, pc}, state) do
    types =
      for %{kind: :audio, codecs: codecs} <- PeerConnection.get_transceivers(pc),
          codec <- codecs,
          String.downcase(codec.mime_type) == @events.mime_type,
          do: codec.payload_type

    {:ok, %{state | type: List.first(types)}}
  end

  @impl true
  def handle_message(
        {:rtp, _id, _rid, %{payload_type: type} = packet},
        peer,
        %{type: type} = state
      ) do
    {event, events} = Depayloader.depayload(state.events, packet)
    if event, do: pressed(event.event, peer, state)
    {:ok, %{state | events: events}}
  end

  def handle_message({:data_channel, channel}, _peer, state),
    do: {:ok, %{state | channel: channel.ref}}

  def handle_message(_other, _peer, state), do: {:ok, state}

  defp pressed(key, {_module, pc}, state) do
    IO.puts("pressed: #{key}")
    _result = PeerConnection.insert_dtmf(pc, state.sender, key)
    if state.channel, do: PeerConnection.send_data(pc, state.channel, key)
  end
end

Example.Web.serve(Example.DTMF, nil, """
<title>DTMF</title>
<h1>DTMF</h1>
<p><button id="start">Call</button></p>
<p id="keys"></p>
<p>Elixir heard: <output id="heard"></output></p>
<audio id="sound" autoplay></audio>
<script type="module">
  import { connect, camera } from "/client.js";
  start.onclick = async () => {
    const pc = new RTCPeerConnection();
    const stream = await camera({ audio: true });
    const sender = pc.addTrack(stream.getAudioTracks()[0], stream);
    pc.ontrack = ({ track }) => { sound.srcObject = new MediaStream([track]); };
    const channel = pc.createDataChannel("keys");
    channel.onmessage = ({ data }) => { heard.value += data; };
    const opened = new Promise(resolve => { channel.onopen = resolve; });
    await connect(pc);
    await opened;
    for (const key of "123456789*0#") {
      const button = Object.assign(document.createElement("button"), { textContent: key });
      button.onclick = () => sender.dtmf.insertDTMF(sender.dtmf.toneBuffer + key);
      keys.append(button);
    }
  };
</script>
""")
