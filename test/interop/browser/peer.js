// Put into a page: a connection that a test drives step by step. Every method is one step; what it
// returns goes to the test. Descriptions are given whole, with their candidates.

// Entries of a report as a test reads them.
const plain = report => [...report.values()].map(entry => ({ ...entry }));

// Of the noise: the part of the picture that is made of it, pixels of one colour each way, frames a
// second. At 1280 by 720 each layer then takes what it may, and leaves no frame out.
const SHARE = 1 / 16;
const GRAIN = 8;
const FRAMES = 30;

window.peer = {
  async open({ configuration = {} } = {}) {
    Object.assign(this, { states: [], channels: [], heard: [] });
    this.pc = new RTCPeerConnection(configuration);
    this.pc.onconnectionstatechange = () => this.states.push(this.pc.connectionState);
    this.pc.ondatachannel = ({ channel }) => this.listen(channel);
    this.pc.ontrack = ({ track }) => this.show(track);
    return true;
  },

  // Played, so that it is decoded.
  show(track) {
    const element = document.createElement(track.kind);
    element.srcObject = new MediaStream([track]);
    element.autoplay = true;
    document.body.append(element);
    element.play().catch(() => {});
  },

  listen(channel) {
    channel.binaryType = "arraybuffer";
    this.channels.push(channel);
    channel.onmessage = ({ data }) => this.heard.push(typeof data === "string" ? data : `${data.byteLength} bytes`);
    return channel.label;
  },

  channel({ label }) { return this.listen(this.pc.createDataChannel(label)); },

  async say({ text, count = 1 }) {
    for (let n = 0; n < count; n++) this.channels[0].send(text);
    return count;
  },

  // Sends the fake camera or microphone; `encodings` are those of simulcast.
  // `noise` is sent in the place of the fake camera's picture, which may need fewer bits than it has.
  async add({ kind, codec, encodings, noise = false, width = 640, height = 480, direction = "sendrecv" }) {
    const constraints = kind === "audio" ? { audio: true } : { video: { width: { exact: width }, height: { exact: height } } };
    const stream = noise ? this.noise({ width, height }) : await navigator.mediaDevices.getUserMedia(constraints);
    const [track] = stream.getTracks();
    const free = this.pc.getTransceivers().find(one => one.receiver.track.kind === kind && !one.sender.track && one.mid && !one.stopped);
    let transceiver = free;
    if (free && !encodings) {
      await free.sender.replaceTrack(track);
      free.direction = direction;
    } else {
      transceiver = this.pc.addTransceiver(track, { streams: [stream], direction, ...(encodings ? { sendEncodings: encodings } : {}) });
    }
    if (kind === "video") track.contentHint = "motion";
    if (codec) this.prefer(transceiver, kind, codec);
    return true;
  },

  noise({ width, height }) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, width, height);
    const grains = new ImageData(width / GRAIN, Math.ceil(height * SHARE / GRAIN));
    const grain = Object.assign(document.createElement("canvas"), { width: grains.width, height: grains.height });
    const colours = new Uint32Array(grains.data.buffer);
    const draw = () => {
      for (let at = 0; at < colours.length; at++) colours[at] = 0xff000000 | Math.random() * 0x1000000;
      grain.getContext("2d").putImageData(grains, 0, 0);
      context.drawImage(grain, 0, 0, width, grain.height * GRAIN);
    };
    setInterval(draw, 1000 / FRAMES);
    return canvas.captureStream(FRAMES);
  },

  receive({ kind, codec }) {
    const transceiver = this.pc.addTransceiver(kind, { direction: "recvonly" });
    if (codec) this.prefer(transceiver, kind, codec);
    return true;
  },

  prefer(transceiver, kind, name) {
    const all = RTCRtpReceiver.getCapabilities(kind).codecs;
    const wanted = all.filter(one => one.mimeType.toUpperCase() === `${kind}/${name}`.toUpperCase());
    if (wanted.length === 0) throw new Error(`no ${name} in this browser`);
    transceiver.setCodecPreferences([...wanted, ...all.filter(one => /\/(rtx|telephone-event)$/i.test(one.mimeType))]);
  },

  async gathered() {
    while (this.pc.iceGatheringState !== "complete") await new Promise(done => setTimeout(done, 10));
    return this.pc.localDescription.sdp;
  },

  async offer({ restart = false } = {}) {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: restart }));
    return this.gathered();
  },

  async take({ sdp }) {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    return true;
  },

  async answer() {
    await this.pc.setLocalDescription(await this.pc.createAnswer());
    return this.gathered();
  },

  async accept({ sdp }) {
    await this.pc.setRemoteDescription({ type: "answer", sdp });
    return true;
  },

  // The W3C's perfect negotiation. What is for the other side waits in the outbox for `signal`.
  perfect({ polite }) {
    Object.assign(this, { polite, outbox: [], makingOffer: false, ignoreOffer: false, collisions: 0 });
    this.pc.onnegotiationneeded = async () => {
      try {
        this.makingOffer = true;
        await this.pc.setLocalDescription();
        this.outbox.push({ description: this.pc.localDescription.toJSON() });
      } finally {
        this.makingOffer = false;
      }
    };
    this.pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.outbox.push({ candidate: candidate.toJSON() });
    };
    return true;
  },

  async signal({ messages }) {
    for (const { description, candidate } of messages) {
      if (description) {
        const collision = description.type === "offer" && (this.makingOffer || this.pc.signalingState !== "stable");
        this.collisions += collision;
        this.ignoreOffer = !this.polite && collision;
        if (this.ignoreOffer) continue;
        await this.pc.setRemoteDescription(description);
        if (description.type === "offer") {
          await this.pc.setLocalDescription();
          this.outbox.push({ description: this.pc.localDescription.toJSON() });
        }
      } else {
        await this.pc.addIceCandidate(candidate).catch(error => { if (!this.ignoreOffer) throw error; });
      }
    }
    return this.outbox.splice(0);
  },

  transceivers() {
    const live = this.pc.getTransceivers().filter(one => one.currentDirection !== "stopped");
    const described = live.map(one => ({ mid: one.mid, kind: one.receiver.track.kind, direction: one.direction, current: one.currentDirection }));
    return { transceivers: described, signaling: this.pc.signalingState, collisions: this.collisions };
  },

  wish({ kind, direction, stop }) {
    const live = this.pc.getTransceivers().filter(one => !one.stopped && one.currentDirection !== "stopped");
    if (stop) live.at(-1)?.stop();
    else if (kind) this.pc.addTransceiver(kind, { direction });
    else for (const one of live.slice(1)) one.direction = direction;
    return true;
  },

  // What it sends ends, what is underway arrives.
  async quiet() {
    for (const sender of this.pc.getSenders()) await sender.replaceTrack(null);
    return true;
  },

  dtmf({ tones }) {
    const sender = this.pc.getSenders().find(one => one.track?.kind === "audio");
    sender.dtmf.insertDTMF(tones, 100, 70);
    return sender.dtmf.canInsertDTMF;
  },

  state() {
    const { connectionState, iceConnectionState, signalingState } = this.pc;
    const channels = this.channels.map(one => one.readyState);
    return { connection: connectionState, ice: iceConnectionState, signaling: signalingState, states: this.states, channels, heard: this.heard };
  },

  // What is seen of the first video from here on, or has been seen.
  watch() {
    this.shown = new Shown(document.querySelector("video"));
    return true;
  },

  seen() {
    const { longest, width, widths } = this.shown;
    return { longest, width, widths: [...widths] };
  },

  async stats() { return plain(await this.pc.getStats()); },

  async close() { this.pc.close(); return true; },
};
