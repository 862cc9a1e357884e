# Plays a file to every browser that opens the page, from its beginning, again and again. The file is
# WebM or Matroska with codecs that browsers have; ffmpeg makes one of anything:
#
#     ffmpeg -i film.mp4 -c:v libvpx -b:v 2M -g 60 -c:a libopus film.webm
#     mix run examples/play.exs film.webm
Code.require_file("web.exs", __DIR__)

defmodule Example.Play do
  use Example.Web

  alias ExWebRTC.Media.WebM
  alias ExWebRTC.{MediaStreamTrack, PeerConnection, Player}

  @names Map.new(~w(vp8 vp9 h264 h265 av1)a, &{"video/#{&1}", &1})
         |> Map.merge(Map.new(~w(opus pcmu pcma g722)a, &{"audio/#{&1}", &1}))

  @doc "The codecs of the file by kind, as names that connections know."
  def codecs!(path) do
    case WebM.Reader.open(path) do
      {:ok, tracks, reader} ->
        :ok = WebM.Reader.close(reader)
        Map.new(tracks, fn {_number, track} -> {track.kind, @names[track.mime_type]} end)

      {:error, reason} ->
        raise "#{path} cannot be played: #{reason}"
    end
  end

  # Nothing else is negotiated than what is in the file.
  @impl true
  def init(_query, {path, codecs}) do
    options = for {kind, name} <- codecs, do: {:"#{kind}_codecs", [name]}
    {:ok, %{path: path, kinds: Map.keys(codecs)}, options}
  end

  @impl true
  def handle_offer({_module, pc}, state) do
    stream = MediaStreamTrack.generate_stream_id()

    for transceiver <- PeerConnection.get_transceivers(pc), transceiver.kind in state.kinds do
      {:ok, _sender} =
        PeerConnection.add_track(pc, MediaStreamTrack.new(transceiver.kind, [stream]))
    end

    {:ok, state}
  end

  # The player is linked to the session, and ends with it.
  @impl true
  def handle_message({:connection_state_change, :connected}, {_module, pc}, state) do
    tracks =
      for %{sender: %{track: track, codec: codec}} <- PeerConnection.get_transceivers(pc),
          track != nil and codec != nil,
          do: %{codec: codec, to: {pc, track.id}}

    {:ok, _player} = Player.start_link(path: state.path, tracks: tracks, loop: true)
    {:ok, state}
  end

  def handle_message(_other, _peer, state), do: {:ok, state}
end

case Example.Web.arguments() do
  [path] ->
    Example.Web.serve(Example.Play, {path, Example.Play.codecs!(path)}, """
    <title>Play</title>
    <h1>#{Path.basename(path)}</h1>
    <p><button id="start">Start</button></p>
    <video id="film" autoplay playsinline controls></video>
    <script type="module">
      import { connect } from "/client.js";
      start.onclick = async () => {
        const pc = new RTCPeerConnection();
        for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
        pc.ontrack = ({ streams }) => { film.srcObject = streams[0]; };
        await connect(pc);
      };
    </script>
    """)

  _none ->
    raise "which file? mix run examples/play.exs film.webm"
end
