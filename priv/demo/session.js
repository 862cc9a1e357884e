// A WHIP/WHEP client (RFC 9725): one peer connection and its session on the server.

export class SignalingError extends Error {
  constructor(status, text) {
    super(text || `The server answered with ${status}`);
    this.status = status;
  }
}

async function request(method, url, type, body) {
  let response;
  try {
    response = await fetch(url, { method, body, headers: type ? { "content-type": type } : {} });
  } catch {
    throw new SignalingError(0, "The server does not answer. Is it still running?");
  }
  if (!response.ok) throw new SignalingError(response.status, (await response.text()).trim());
  return response;
}

export class Session {
  #queue = [];
  #done = false;
  // While an offer is on its way the server knows nothing of its ICE session: candidates wait.
  #offering = false;
  #turn = Promise.resolve();

  constructor(endpoint) {
    this.endpoint = endpoint;
    this.location = null;
    this.pc = new RTCPeerConnection();
    this.pc.addEventListener("icecandidate", ({ candidate }) => {
      // The empty candidate ends one generation; `null` ends gathering.
      if (candidate && candidate.candidate) this.#queue.push(candidate);
      else if (!candidate) this.#done = true;
      this.#trickle();
    });
  }

  // The first exchange makes the session, later ones are re-offers.
  negotiate() {
    const step = async () => {
      this.#offering = true;
      await this.pc.setLocalDescription(await this.pc.createOffer());
      const { sdp } = this.pc.localDescription;
      const response = this.location
        ? await request("PATCH", this.location, "application/sdp", sdp)
        : await request("POST", this.endpoint, "application/sdp", sdp);
      if (!this.location) this.location = new URL(response.headers.get("location"), response.url).href;
      await this.pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
    };
    const finish = () => {
      this.#offering = false;
      this.#trickle();
    };
    this.#turn = this.#turn.catch(() => {}).then(step).finally(finish);
    return this.#turn;
  }

  restart() {
    this.pc.restartIce();
    return this.negotiate();
  }

  #trickle() {
    if (!this.location || this.#offering || this.pc.signalingState === "closed") return;
    if (this.#queue.length === 0 && !this.#done) return;
    const local = this.pc.localDescription.sdp;
    const ufrag = local.match(/^a=ice-ufrag:(\S+)/m)?.[1];
    const pwd = local.match(/^a=ice-pwd:(\S+)/m)?.[1];
    // Candidates of before a restart are of no use to anyone.
    const candidates = this.#queue.splice(0).filter(one => (one.usernameFragment ?? ufrag) === ufrag);

    const lines = [`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`];
    for (const mid of new Set(candidates.map(one => one.sdpMid))) {
      lines.push("m=audio 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${mid}`);
      for (const one of candidates) if (one.sdpMid === mid) lines.push(`a=${one.candidate}`);
    }
    if (this.#done) lines.push("a=end-of-candidates");
    this.#done = false;
    const fragment = lines.join("\r\n") + "\r\n";

    request("PATCH", this.location, "application/trickle-ice-sdpfrag", fragment)
      .catch(error => console.warn("trickle:", error.message));
  }

  async serverStats() {
    const response = await request("GET", this.location + "/stats");
    return response.json();
  }

  async close() {
    this.pc.close();
    if (!this.location) return;
    const location = this.location;
    this.location = null;
    try {
      await fetch(location, { method: "DELETE", keepalive: true });
    } catch {
      // The server sees the connection end.
    }
  }
}
