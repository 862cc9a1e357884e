// Put into the page: a WHIP client written apart from the demo's own, and what tests measure.

window.wait = ms => new Promise(done => setTimeout(done, ms));

// The first value of the condition that is one, or null when time is up.
window.until = async (condition, ms = 10000) => {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) return null;
    await wait(20);
  }
};

// Whether what `sample` says stays the same for a while; it may take until `ms` to come to rest.
window.still = async (sample, span = 1000, ms = 5000) => {
  const end = performance.now() + ms;
  let [last, since] = [JSON.stringify(await sample()), performance.now()];
  while (performance.now() < end) {
    await wait(50);
    const next = JSON.stringify(await sample());
    if (next !== last) [last, since] = [next, performance.now()];
    else if (performance.now() - since >= span) return true;
  }
  return false;
};

window.Client = class {
  constructor(api, path, { answer = sdp => sdp, offer = sdp => sdp } = {}) {
    Object.assign(this, { api, path, mangle: { answer, offer }, candidates: [], pending: [], states: [] });
    this.pc = new RTCPeerConnection();
    this.pc.onconnectionstatechange = () => this.states.push(this.pc.connectionState);
    this.pc.onicecandidate = ({ candidate }) => {
      if (!candidate || !candidate.candidate) return;
      this.candidates.push(candidate.candidate);
      this.pending.push(candidate);
      this.trickle();
    };
    this.pc.ontrack = ({ track }) => {
      const element = document.createElement(track.kind);
      element.srcObject = new MediaStream([track]);
      element.autoplay = true;
      document.body.append(element);
      element.play().catch(() => {});
    };
  }

  async negotiate() {
    this.offering = true;
    await this.pc.setLocalDescription();
    const body = this.mangle.offer(this.pc.localDescription.sdp);
    const response = await fetch(this.location ?? this.api + this.path, {
      method: this.location ? "PATCH" : "POST",
      headers: { "content-type": "application/sdp" },
      body,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status} ${text}`);
    this.status = response.status;
    if (!this.location) this.location = this.api + response.headers.get("location");
    this.answer = text;
    await this.pc.setRemoteDescription({ type: "answer", sdp: this.mangle.answer(text) });
    this.offering = false;
    await this.trickle();
    return response.status;
  }

  async trickle() {
    if (!this.location || this.offering || this.pending.length === 0) return;
    const list = this.pending.splice(0);
    const lines = [`a=ice-ufrag:${list[0].usernameFragment}`];
    for (const one of list) lines.push("m=audio 9 X 0", `a=mid:${one.sdpMid}`, `a=${one.candidate}`);
    const response = await fetch(this.location, {
      method: "PATCH",
      headers: { "content-type": "application/trickle-ice-sdpfrag" },
      body: lines.join("\r\n") + "\r\n",
    });
    this.trickled = (this.trickled ?? []).concat(response.status);
  }

  async connect(ms = 10000) {
    const began = performance.now();
    await this.negotiate();
    await until(() => ["connected", "failed"].includes(this.pc.connectionState), ms);
    this.setUp = performance.now() - began;
    return this.pc.connectionState;
  }

  async inbound() { return (await (await fetch(this.location)).json()).inbound; }
  async gone() { return (await fetch(this.location)).status === 404; }
  async remove() { return (await fetch(this.location, { method: "DELETE" })).status; }

  // The browser's view of what it receives.
  async received() {
    const report = [...(await this.pc.getStats()).values()];
    const of = kind => report.find(one => one.type === "inbound-rtp" && one.kind === kind) ?? {};
    const video = of("video");
    const audio = of("audio");
    const transport = report.find(one => one.type === "transport");
    const codec = id => report.find(one => one.id === id)?.mimeType;
    return {
      at: performance.now(),
      pair: transport?.selectedCandidatePairId ?? null,
      frames: video.framesDecoded ?? 0,
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      keyframes: video.keyFramesDecoded ?? 0,
      freezes: video.freezeCount ?? 0,
      frozen: video.totalFreezesDuration ?? 0,
      videoCodec: codec(video.codecId) ?? null,
      audioCodec: codec(audio.codecId) ?? null,
      audioPackets: audio.packetsReceived ?? 0,
      energy: audio.totalAudioEnergy ?? 0,
    };
  }

  // More than in an earlier report, of each kind there is.
  async more(earlier, frames, audioPackets = 0, ms = 12000) {
    let now;
    await until(async () => {
      now = await this.received();
      return now.frames >= earlier.frames + frames && now.audioPackets >= earlier.audioPackets + audioPackets;
    }, ms);
    return now;
  }

  // What the browser sends.
  async sent() {
    const report = [...(await this.pc.getStats()).values()];
    const video = report.filter(one => one.type === "outbound-rtp" && one.kind === "video");
    const sum = field => video.reduce((total, one) => total + (one[field] ?? 0), 0);
    return {
      frames: sum("framesSent"), keyframes: sum("keyFramesEncoded"), asked: sum("pliCount"),
      limits: video.map(one => one.qualityLimitationReason),
      available: report.find(one => one.type === "candidate-pair" && one.nominated)?.availableOutgoingBitrate ?? null,
    };
  }
};

window.camera = (width = 640, height = 480, audio = true) =>
  navigator.mediaDevices.getUserMedia({ video: { width: { exact: width }, height: { exact: height } }, audio });

window.prefer = (transceiver, name) => {
  const all = RTCRtpSender.getCapabilities("video").codecs;
  const wanted = all.filter(one => one.mimeType.toUpperCase() === `VIDEO/${name}`);
  if (wanted.length === 0) throw new Error(`no ${name} in this browser`);
  transceiver.setCodecPreferences([...wanted, ...all.filter(one => /rtx/i.test(one.mimeType))]);
};

// A message one can tell from every other.
window.message = (n, size, kind) => {
  const bytes = new Uint8Array(size);
  let state = (n * 2654435761 + size) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = kind === "text" ? 32 + (state >>> 24) % 95 : state >>> 24;
  }
  return kind === "text" ? new TextDecoder().decode(bytes) : bytes;
};

window.same = (a, b) => {
  if (typeof a === "string" || typeof b === "string") return a === b;
  const [x, y] = [new Uint8Array(a), new Uint8Array(b.buffer ?? b)];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
};
