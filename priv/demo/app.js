import { Session } from "./session.js";
import { openSource } from "./source.js";
import { Chart } from "./chart.js";
import { Meter } from "./meter.js";

const root = document.documentElement;
const POLL = 1000;
// How long a connection may be away before the page restarts ICE.
const AWAY = 3000;

// ---- theme and tabs

const system = matchMedia("(prefers-color-scheme: dark)");
const theme = name => {
  root.dataset.theme = name;
  for (const panel of panels) for (const chart of Object.values(panel.charts)) chart.draw();
};
const panels = [];
theme(system.matches ? "dark" : "light");
system.addEventListener("change", () => theme(system.matches ? "dark" : "light"));
document.querySelector("#theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));

const tabs = [...document.querySelectorAll("[role=tab]")];
function show(tab, focus = false) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", chosen);
    one.tabIndex = chosen ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
}
for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length], true);
  });
}

// ---- codecs

const CODECS = ["VP8", "VP9", "H264", "AV1"];
const capabilities = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
const known = name => capabilities.some(codec => codec.mimeType.toUpperCase() === `VIDEO/${name}`);

function prefer(transceiver, name) {
  const wanted = capabilities.filter(codec => codec.mimeType.toUpperCase() === `VIDEO/${name}`);
  const repair = capabilities.filter(codec => /\/rtx$/i.test(codec.mimeType));
  if (wanted.length) transceiver.setCodecPreferences?.([...wanted, ...repair]);
}

// Left alone, a browser begins with a small picture and takes half a minute to reach the camera's.
async function sharp(sender) {
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  await sender.setParameters(parameters).catch(() => {});
}

// ---- one tab: a form, a session, pictures, charts

class Panel {
  constructor(id, { endpoint, sends, receives, chat = false, sides }) {
    Object.assign(this, { endpoint, sends, receives, sides });
    this.element = document.getElementById(id);
    this.form = this.find("[data-form]");
    this.local = this.find("[data-local]");
    this.remote = this.find("[data-remote]");
    this.session = null;

    const keys = [{ name: "Browser", color: "browser" }, { name: "Elixir", color: "elixir" }];
    const parent = this.find("[data-charts]");
    this.charts = {
      bitrate: new Chart(parent, { title: sides.title, unit: "Mbit/s", keys: sides.keys, digits: 2, least: 0.1 }),
      roundTrip: new Chart(parent, { title: "Round trip", unit: "ms", keys, digits: 1, least: 1 }),
      loss: new Chart(parent, { title: "Packet loss", unit: "%", keys, digits: 1, least: 1 }),
    };

    for (const name of this.form.elements.codec ? CODECS : []) {
      const option = new Option(known(name) ? name : `${name} (not in this browser)`, name);
      option.disabled = !known(name);
      this.form.elements.codec.append(option);
    }

    this.form.addEventListener("submit", event => {
      event.preventDefault();
      this.start();
    });
    this.find("[data-stop]").addEventListener("click", () => this.stop());
    this.find("[data-sound]")?.addEventListener("click", ({ target }) => {
      this.remote.muted = !this.remote.muted;
      target.setAttribute("aria-pressed", this.remote.muted);
    });
    for (const video of [this.local, this.remote]) {
      video?.addEventListener("playing", () => video.closest(".tile").classList.add("playing"));
    }
    this.find("[data-restart]")?.addEventListener("click", () => this.attempt(() => this.session.restart()));
    this.find("[data-hold]")?.addEventListener("click", () => this.attempt(() => this.hold()));
    if (chat) this.chat = new Chat(this.find("[data-chat-log]"), this.find("[data-chat]"));
    this.states({});
  }

  find(selector) { return this.element.querySelector(selector); }

  say(text, error = false) {
    for (const [selector, mine] of [["[data-notice]", !error], ["[data-error]", error]]) {
      const line = this.find(selector);
      line.hidden = !(mine && text);
      line.textContent = mine ? text ?? "" : "";
    }
  }

  url() {
    const stream = this.form.elements.stream?.value.trim();
    return stream ? `${this.endpoint}?stream=${encodeURIComponent(stream)}` : this.endpoint;
  }

  running(yes) {
    this.find("[data-start]").hidden = yes;
    this.find("[data-stop]").hidden = !yes;
    for (const field of this.form.elements) if (field.name) field.disabled = yes;
    for (const button of this.element.querySelectorAll("[data-hold], [data-restart]")) button.disabled = !yes;
    const sound = this.find("[data-sound]");
    if (sound) sound.hidden = !yes;
  }

  // Runs something that talks to the server, and says what went wrong.
  async attempt(work) {
    try {
      await work();
    } catch (error) {
      this.say(explain(error, this), true);
      return false;
    }
    return true;
  }

  async start() {
    this.say(null);
    this.running(true);
    for (const chart of Object.values(this.charts)) chart.clear();
    const session = new Session(this.url());
    this.session = session;
    const { pc } = session;
    this.began = performance.now();
    this.setUp = null;
    pc.addEventListener("connectionstatechange", () => this.changed(session));
    pc.addEventListener("iceconnectionstatechange", () => this.changed(session));
    pc.addEventListener("track", ({ track, streams }) => this.received(track, streams));

    const ok = await this.attempt(async () => {
      if (this.sends) await this.send(session);
      else for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
      if (this.session !== session) return;
      this.chat?.open(pc);
      this.began = performance.now();
      await session.negotiate();
    });

    if (this.session !== session) return session.close();
    if (!ok) return this.stop(true);
    this.meter = new Meter();
    this.timer = setInterval(() => this.measure(session), POLL);
    this.changed(session);
  }

  async send(session) {
    const { stream, notice } = await openSource(this.form.elements.source.value);
    this.stream = stream;
    if (notice) this.say(notice);
    this.local.srcObject = stream;
    for (const track of stream.getTracks()) {
      const transceiver = session.pc.addTransceiver(track, {
        streams: [stream],
        direction: this.receives ? "sendrecv" : "sendonly",
      });
      if (track.kind === "video") {
        prefer(transceiver, this.form.elements.codec.value);
        await sharp(transceiver.sender);
      }
    }
  }

  received(track, [stream]) {
    if (!this.remote) return;
    if (!this.remote.srcObject) this.remote.srcObject = stream ?? new MediaStream();
    const shown = this.remote.srcObject;
    if (!shown.getTracks().includes(track)) shown.addTrack(track);
    this.remote.play().catch(() => {
      // Sound needs a click first; the picture does not.
      this.remote.muted = true;
      this.find("[data-sound]").setAttribute("aria-pressed", true);
      this.remote.play().catch(() => {});
    });
  }

  async hold() {
    const button = this.find("[data-hold]");
    const holding = button.getAttribute("aria-pressed") !== "true";
    for (const transceiver of this.session.pc.getTransceivers()) {
      if (transceiver.direction !== "stopped") transceiver.direction = holding ? "inactive" : "sendrecv";
    }
    await this.session.negotiate();
    button.setAttribute("aria-pressed", holding);
    button.textContent = holding ? "Resume" : "Hold";
  }

  async stop(keepMessage = false) {
    const session = this.session;
    this.session = null;
    clearInterval(this.timer);
    clearTimeout(this.away);
    this.chat?.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream?.release?.();
    this.stream = null;
    for (const video of [this.local, this.remote]) {
      if (!video) continue;
      video.srcObject = null;
      video.closest(".tile").classList.remove("playing");
    }
    for (const line of this.element.querySelectorAll("[data-local-format], [data-remote-format]")) line.textContent = "";
    const hold = this.find("[data-hold]");
    if (hold) { hold.setAttribute("aria-pressed", false); hold.textContent = "Hold"; }
    if (!keepMessage) this.say(null);
    this.running(false);
    this.states({});
    this.facts([]);
    await session?.close();
  }

  changed(session) {
    if (session !== this.session) return;
    const state = session.pc.connectionState;
    if (state === "connected" && this.setUp === null) this.setUp = performance.now() - this.began;
    clearTimeout(this.away);
    if (state === "failed") {
      this.say("The connection failed: no way was found between this browser and the server.", true);
      return this.stop(true);
    }
    if (state === "disconnected") {
      this.say("The connection is interrupted, trying again …");
      this.away = setTimeout(() => this.attempt(() => session.restart()), AWAY);
    }
    if (state === "connected" && this.find("[data-notice]").textContent.startsWith("The connection")) this.say(null);
    this.states({ pc: session.pc });
  }

  states({ pc, codec }) {
    if (codec) this.codec = codec;
    if (!pc) this.codec = null;
    const tone = state => ({ connected: "good", completed: "good", failed: "bad", disconnected: "bad" }[state]
      ?? (pc ? "busy" : ""));
    const rows = [
      ["Connection", pc?.connectionState ?? "idle", tone(pc?.connectionState)],
      ["ICE", pc?.iceConnectionState ?? "idle", tone(pc?.iceConnectionState)],
      ["Codec", this.codec ?? "–", "plain"],
    ];
    this.find("[data-states]").replaceChildren(...rows.map(([name, value, kind]) => {
      const row = document.createElement("div");
      row.className = kind;
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = name;
      dd.textContent = value;
      row.append(dt, dd);
      return row;
    }));
  }

  facts(rows) {
    this.find("[data-facts]").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = name;
      dd.textContent = value;
      return [dt, dd];
    }));
  }

  async measure(session) {
    const [report, answer] = await Promise.allSettled([session.pc.getStats(), session.serverStats()]);
    if (session !== this.session) return;
    // The server ended the session: the publisher left, or it was stopped.
    if (answer.status === "rejected" && [0, 404].includes(answer.reason.status)) {
      this.say(answer.reason.status === 0 ? answer.reason.message : this.sides.ended, true);
      return this.stop(true);
    }
    const browser = report.status === "fulfilled" ? this.meter.browser(report.value) : {};
    const server = answer.status === "fulfilled" ? this.meter.server(answer.value) : {};
    this.charts.bitrate.push(this.sides.bitrate(browser, server));
    this.charts.roundTrip.push([browser.roundTrip, server.roundTrip]);
    this.charts.loss.push([browser.loss, server.loss]);

    const format = one => (one?.frameWidth ? `${one.frameWidth}×${one.frameHeight} · ${Math.round(one.framesPerSecond ?? 0)} fps` : "");
    const put = (selector, text) => { const line = this.find(selector); if (line) line.textContent = text; };
    put("[data-local-format]", format(browser.videoOut));
    put("[data-remote-format]", format(browser.videoIn));

    const name = codec => codec?.mimeType.split("/")[1];
    this.states({ pc: session.pc, codec: [name(browser.videoCodec), name(browser.audioCodec)].filter(Boolean).join(" + ") });
    const address = one => one && `${one.address ?? "hidden"}:${one.port} (${one.candidateType}, ${one.protocol})`;
    this.facts([
      ["Session", session.location],
      ["Set-up", this.setUp && `${Math.round(this.setUp)} ms from the offer to connected`],
      ["Browser's address", address(browser.local)],
      ["Server's address", address(browser.remote)],
      ["Encryption", browser.transport && [browser.transport.dtlsCipher, browser.transport.srtpCipher].filter(Boolean).join(", ")],
      ["Video", browser.videoCodec && `${browser.videoCodec.mimeType}, payload type ${browser.videoCodec.payloadType}, ${browser.videoCodec.sdpFmtpLine ?? "no parameters"}`],
      ["Elixir says", server.state],
    ]);
  }
}

function explain(error, panel) {
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  if (error.status === 409) return `${text} already. Choose another name.`;
  if (error.status === 404 && !panel.sends) return `${text} right now. Publish it first.`;
  if (error.status) return `The server refused (${error.status}): ${error.message}.`;
  return text;
}

// ---- chat

class Chat {
  constructor(log, form) {
    this.log = log;
    this.form = form;
    this.sent = [];
    this.hint();
    form.addEventListener("submit", event => {
      event.preventDefault();
      const { text } = form.elements;
      if (!text.value || this.channel?.readyState !== "open") return;
      this.sent.push(performance.now());
      this.channel.send(text.value);
      this.add("you", text.value);
      text.value = "";
    });
  }

  hint() {
    const line = document.createElement("li");
    line.className = "hint";
    line.textContent = "What you write comes back from Elixir.";
    this.log.replaceChildren(line);
  }

  enable(yes) {
    for (const field of this.form.elements) field.disabled = !yes;
  }

  open(pc) {
    this.hint();
    this.sent = [];
    this.channel = pc.createDataChannel("chat");
    this.channel.addEventListener("open", () => this.enable(true));
    this.channel.addEventListener("close", () => this.enable(false));
    this.channel.addEventListener("message", ({ data }) => {
      const took = performance.now() - this.sent.shift();
      this.add("elixir", data, `back after ${took.toFixed(1)} ms`);
    });
  }

  close() {
    this.channel = null;
    this.enable(false);
  }

  add(who, text, note) {
    this.log.querySelector(".hint")?.remove();
    const line = document.createElement("li");
    line.className = who;
    line.append(text);
    if (note) {
      const small = document.createElement("small");
      small.textContent = note;
      line.append(small);
    }
    this.log.append(line);
    while (this.log.children.length > 200) this.log.firstChild.remove();
    this.log.scrollTop = this.log.scrollHeight;
  }
}

// ---- the three tabs

panels.push(
  new Panel("echo", {
    endpoint: "/echo", sends: true, receives: true, chat: true,
    sides: {
      title: "Received",
      keys: [{ name: "Browser", color: "browser" }, { name: "Elixir", color: "elixir" }],
      bitrate: (browser, server) => [browser.received, server.received],
      ended: "The server ended the session.",
    },
  }),
  new Panel("publish", {
    endpoint: "/whip", sends: true, receives: false,
    sides: {
      title: "Published",
      keys: [{ name: "Browser sends", color: "browser" }, { name: "Elixir receives", color: "elixir" }],
      bitrate: (browser, server) => [browser.sent, server.received],
      ended: "The server ended the session.",
    },
  }),
  new Panel("watch", {
    endpoint: "/whep", sends: false, receives: true,
    sides: {
      title: "Watched",
      keys: [{ name: "Browser receives", color: "browser" }, { name: "Elixir sends", color: "elixir" }],
      bitrate: (browser, server) => [browser.received, server.sent],
      ended: "The stream has ended.",
    },
  }),
);

// The streams there are, for the tab that watches.
async function listStreams() {
  const watch = document.getElementById("watch");
  if (!watch.hidden) {
    try {
      const { streams } = await (await fetch("/streams")).json();
      document.getElementById("streams").replaceChildren(...streams.map(name => new Option(name)));
      watch.querySelector("[data-live]").textContent = streams.length
        ? `Live now: ${streams.slice(0, 5).join(", ")}${streams.length > 5 ? " …" : ""}`
        : "Nobody publishes right now";
    } catch {
      watch.querySelector("[data-live]").textContent = "";
    }
  }
}
setInterval(listStreams, 2000);
for (const tab of tabs) tab.addEventListener("click", listStreams);

const asked = tabs.find(tab => `#${tab.getAttribute("aria-controls")}` === location.hash);
if (asked) show(asked);
listStreams();

addEventListener("pagehide", () => {
  for (const panel of panels) panel.session?.close();
});
