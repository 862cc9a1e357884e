# What the examples share: a page at http://localhost:4001, and one WHIP endpoint that it offers to.
# Options of every example: `--port N` (0 for any free one), and `--loss PERCENT` of the RTP packets,
# to see what that does.
defmodule Example.Web do
  alias ExWebRTC.Demo.HTTP
  alias ExWebRTC.{PeerConnection, WHIP}
  alias ExWebRTC.WHIP.Response

  # Callbacks of `ExWebRTC.WHIP.Handler` that most examples need nothing of.
  defmacro __using__(_opts) do
    quote do
      @behaviour ExWebRTC.WHIP.Handler

      @impl true
      def handle_start({_module, pc}, state) do
        :ok = Example.Web.lose_packets(pc)
        {:ok, state}
      end

      @impl true
      def handle_offer(_peer, state), do: {:ok, state}

      @impl true
      def handle_answer(_peer, state), do: {:ok, state}

      @impl true
      def inbound(_peer, _state), do: []

      defoverridable handle_offer: 2, handle_answer: 2
    end
  end

  @doc "The arguments that are no options."
  def arguments, do: elem(parse(), 1)

  @doc "Loses packets as `--loss` says."
  def lose_packets(pc), do: PeerConnection.set_packet_loss(pc, Keyword.get(options(), :loss, 0))

  @doc "Serves the page, and sessions of the handler, until the program is ended."
  def serve(handler, argument, page) do
    {:ok, _sessions} =
      WHIP.start_link(name: Example.WHIP, endpoints: %{"session" => {handler, argument}})

    {:ok, http} =
      HTTP.start_link(
        ip: {127, 0, 0, 1},
        port: Keyword.get(options(), :port, 4001),
        handler: &handle(&1, page)
      )

    IO.puts("Open http://localhost:#{HTTP.port(http)} (Ctrl-C twice ends it)")
    Process.sleep(:infinity)
  end

  defp options, do: elem(parse(), 0)

  defp parse,
    do: OptionParser.parse!(System.argv(), strict: [port: :integer, loss: :integer])

  defp handle(%{method: "GET", path: []}, page) do
    Response.with_body(200, "text/html; charset=utf-8", """
    <!doctype html>
    <meta charset="utf-8">
    <style>body { font: 16px system-ui; margin: 2em; max-width: 50em } video { max-width: 100% }</style>
    #{page}
    """)
  end

  defp handle(%{method: "GET", path: ["client.js"]}, _page) do
    Response.with_body(200, "text/javascript; charset=utf-8", """
    // Offers all that the connection has to the endpoint, with its candidates.
    export async function connect(pc) {
      window.pc = pc;
      await pc.setLocalDescription();
      await new Promise(done => {
        const look = () => pc.iceGatheringState === "complete" && done();
        pc.onicegatheringstatechange = look;
        look();
      });
      const body = pc.localDescription.sdp;
      const response = await fetch("/session", {
        method: "POST", headers: { "content-type": "application/sdp" }, body,
      });
      const text = await response.text();
      if (!response.ok) throw new Error(text);
      await pc.setRemoteDescription({ type: "answer", sdp: text });
      // So that the other side knows at once, and not after some silence.
      const session = response.headers.get("location");
      window.addEventListener("pagehide", () => fetch(session, { method: "DELETE", keepalive: true }));
      return { stop: () => fetch(session, { method: "DELETE" }).then(() => pc.close()) };
    }

    export const camera = constraints =>
      navigator.mediaDevices.getUserMedia(constraints ?? { audio: true, video: true });
    """)
  end

  defp handle(request, _page), do: WHIP.handle(Example.WHIP, request)
end
