// What Chromium does in the interop tests. Each function returns what it saw.

import { readFileSync } from "node:fs";

const read = name => readFileSync(new URL(name, import.meta.url), "utf8");
const client = read("./shown.js") + read("./client.js");

// The page is of localhost, the API of 127.0.0.1: another origin, so CORS is part of every test.
async function open(page, base) {
  await page.goto(base + "/assets/logo.svg");
  await page.goto(base + "/streams");
  await page.evaluate(() => { document.body.replaceChildren(); });
  await page.evaluate(client);
  return base.replace("localhost", "127.0.0.1");
}

export async function echo({ page, base, options }) {
  const api = await open(page, base);
  return page.evaluate(async ({ api, codec }) => {
    const one = new Client(api, "/echo");
    const stream = await camera();
    for (const track of stream.getTracks()) {
      const transceiver = one.pc.addTransceiver(track, { streams: [stream] });
      if (track.kind === "video") {
        prefer(transceiver, codec);
        const parameters = transceiver.sender.getParameters();
        parameters.degradationPreference = "maintain-resolution";
        await transceiver.sender.setParameters(parameters);
      }
    }
    const state = await one.connect();
    // The bandwidth estimate starts low: from here on the picture is steady.
    const before = await one.more({ frames: 0, audioPackets: 0 }, 45, 100);
    const after = await one.more(before, 100, 250);
    const inbound = await one.inbound();
    const sent = await one.sent();
    const deleted = await one.remove();
    return { state, states: one.states, setUp: one.setUp, before, after, inbound, sent, deleted, gone: await one.gone(), trickled: one.trickled };
  }, { api, codec: options.codec });
}

export async function mdns({ page, base }) {
  const api = await open(page, base);
  return page.evaluate(async api => {
    // Without our candidates the browser cannot find the server: the server must resolve its names.
    const one = new Client(api, "/echo", { answer: sdp => sdp.replace(/^a=(candidate|end-of-candidates).*\r\n/gm, "") });
    const channel = one.pc.createDataChannel("names");
    const state = await one.connect();
    const opened = await until(() => channel.readyState === "open", 5000);
    const back = new Promise(done => { channel.onmessage = ({ data }) => done(data); });
    if (opened) channel.send("found");
    return { state, candidates: one.candidates, back: opened ? await Promise.race([back, wait(5000)]) : null };
  }, api);
}

export async function data({ page, base, options }) {
  const api = await open(page, base);
  return page.evaluate(async ({ api, negotiated, sizes, count }) => {
    const one = new Client(api, negotiated === null ? "/echo" : `/echo?negotiated=${negotiated}`);
    const channel = one.pc.createDataChannel("test", negotiated === null ? {} : { negotiated: true, id: negotiated });
    channel.binaryType = "arraybuffer";
    const arrived = [];
    channel.onmessage = ({ data }) => arrived.push(data);
    const state = await one.connect();
    const opened = await until(() => channel.readyState === "open", 5000);
    if (!opened) return { state, opened };

    const sent = [];
    for (const kind of ["text", "binary"]) for (const size of sizes) sent.push(message(sent.length, size, kind));
    sent.push("ünïcödé ✓ 日本 🎈");
    for (const one of sent) {
      await until(() => channel.bufferedAmount < 1 << 20);
      channel.send(one);
    }
    await until(() => arrived.length >= sent.length, 15000);
    const sized = arrived.length === sent.length && sent.every((one, i) => same(arrived[i], one));
    const kinds = sent.every((one, i) => typeof one === typeof arrived[i]);

    arrived.length = 0;
    const began = performance.now();
    const many = Array.from({ length: count }, (_, n) => message(n, n % 900, n % 2 ? "text" : "binary"));
    for (const one of many) channel.send(one);
    await until(() => arrived.length >= count, 20000);
    const whole = arrived.length === count && many.every((one, i) => same(arrived[i], one));
    return { state, opened, id: channel.id, sized, kinds, arrived: arrived.length, whole, took: performance.now() - began };
  }, { api, negotiated: options.negotiated ?? null, sizes: options.sizes, count: options.count });
}

export async function relay({ page, base, options }) {
  const api = await open(page, base);
  return page.evaluate(async ({ api, viewers }) => {
    const publisher = new Client(api, "/whip?stream=stage");
    const stream = await camera();
    for (const track of stream.getTracks()) publisher.pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    const state = await publisher.connect();

    const taken = new Client(api, "/whip?stream=stage");
    taken.pc.addTransceiver("audio");
    const conflict = await taken.negotiate().then(() => "accepted", error => error.message);

    // The encoder's first keyframe is long gone when they come.
    await until(async () => (await publisher.sent()).frames > 60, 10000);
    const watching = [];
    for (let i = 0; i < viewers; i++) {
      const viewer = new Client(api, "/whep?stream=stage");
      for (const kind of ["audio", "video"]) viewer.pc.addTransceiver(kind, { direction: "recvonly" });
      const began = performance.now();
      const state = await viewer.connect();
      await until(async () => (await viewer.received()).frames > 0, 8000);
      watching.push({ viewer, state, setUp: viewer.setUp, firstFrame: performance.now() - began });
      await viewer.more({ frames: 0, audioPackets: 0 }, 20, 20);
    }
    const before = await Promise.all(watching.map(one => one.viewer.received()));
    const after = await Promise.all(watching.map((one, i) => one.viewer.more(before[i], 90, 200)));
    const inbound = await publisher.inbound();
    const sent = await publisher.sent();

    // One leaves, the others go on.
    await watching[0].viewer.remove();
    const later = await Promise.all(watching.map((one, i) => (i === 0 ? null : one.viewer.more(after[i], 30, 50))));

    await publisher.remove();
    const ended = await Promise.all(watching.map(one => until(() => one.viewer.gone(), 3000)));
    return {
      state, conflict, inbound, ended, sent,
      viewers: watching.map(({ state, setUp, firstFrame }, i) => ({ state, setUp, firstFrame, before: before[i], after: after[i], later: later[i] })),
    };
  }, { api, viewers: options.viewers ?? 3 });
}

export async function simulcast({ page, base }) {
  const api = await open(page, base);
  return page.evaluate(async api => {
    const one = new Client(api, "/echo");
    const stream = await camera(1280, 720, false);
    one.pc.addTransceiver(stream.getVideoTracks()[0], {
      streams: [stream],
      sendEncodings: [
        { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150000 },
        { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500000 },
        { rid: "h", maxBitrate: 1500000 },
      ],
    });
    const state = await one.connect();
    const layers = () => one.inbound().then(list => list.filter(entry => entry.rid && entry.packets > 0).length);
    const all = await until(async () => (await layers()) === 3, 20000);
    // The echo begins with whichever layer comes first and moves to the best.
    const best = await until(async () => (await one.received()).width === 1280, 20000);
    const before = await one.more(await one.received(), 20);
    const shown = new Shown(document.querySelector("video"));
    const after = await one.more(before, 75);
    const { longest } = shown;
    return { state, all, best, sent: await one.sent(), inbound: await one.inbound(), before, after, longest };
  }, api);
}

// A simulcast publisher and its viewers, of which each notes when it shows a frame.
export async function forward({ page, base, options }) {
  const api = await open(page, base);
  return page.evaluate(async ({ api, viewers, seconds }) => {
    const publisher = new Client(api, "/whip?stream=layers");
    const stream = await camera(1280, 720, false);
    publisher.pc.addTransceiver(stream.getVideoTracks()[0], {
      direction: "sendonly",
      streams: [stream],
      sendEncodings: [
        { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150000 },
        { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500000 },
        { rid: "h", maxBitrate: 1500000 },
      ],
    });
    const state = await publisher.connect();
    const layers = () => publisher.inbound().then(list => list.filter(entry => entry.rid && entry.packets > 0).length);
    // On a busy machine the best layer comes late.
    await until(async () => (await layers()) === 3, 20000);

    const watching = [];
    for (let i = 0; i < viewers; i++) {
      const viewer = new Client(api, "/whep?stream=layers");
      viewer.pc.addTransceiver("video", { direction: "recvonly" });
      const known = document.querySelectorAll("video").length;
      await viewer.connect();
      const element = await until(() => document.querySelectorAll("video")[known]);
      const playing = await until(async () => (await viewer.received()).frames > 30, 15000);
      watching.push({ viewer, element, playing });
    }
    for (const one of watching) {
      one.before = await one.viewer.received();
      one.shown = new Shown(one.element);
    }
    document.title = "watching";
    await wait(seconds * 1000);
    const seen = [];
    for (const { viewer, playing, shown, before } of watching) {
      const { longest, widths } = shown;
      seen.push({ playing, before, longest, widths: [...widths], after: await viewer.received() });
    }
    return { state, seen, sent: await publisher.sent() };
  }, { api, viewers: options.viewers, seconds: options.seconds });
}

export async function renegotiation({ page, base }) {
  const api = await open(page, base);
  return page.evaluate(async api => {
    const one = new Client(api, "/echo");
    const stream = await camera();
    const audio = one.pc.addTransceiver(stream.getAudioTracks()[0], { streams: [stream] });
    const state = await one.connect();

    const video = one.pc.addTransceiver(stream.getVideoTracks()[0], { streams: [stream] });
    const added = await one.negotiate();
    const playing = await one.more({ frames: 0, audioPackets: 0 }, 45, 50);

    audio.direction = video.direction = "inactive";
    const held = await one.negotiate();
    const silent = await still(async () => [await one.inbound(), (await one.received()).frames]);

    audio.direction = video.direction = "sendrecv";
    const resumed = await one.negotiate();
    const atResume = await one.received();
    const again = await one.more(atResume, 45, 50);

    const credentials = sdp => sdp.match(/^a=ice-ufrag:(\S+)/m)[1];
    const old = credentials(one.answer);
    const before = await one.received();
    one.pc.restartIce();
    const restarted = await one.negotiate();
    // Media goes on before, while and after the new pair is chosen.
    const moved = await until(async () => (await one.received()).pair !== before.pair, 10000);
    const after = await one.more(await one.received(), 60, 100);
    return {
      state, statuses: [added, held, resumed, restarted], playing, silent, atResume, again, before, after, moved,
      newCredentials: credentials(one.answer) !== old, states: one.states, connection: one.pc.connectionState,
      directions: [audio.currentDirection, video.currentDirection],
    };
  }, api);
}

// One side sees another certificate announced than it meets; `setup` is the browser's DTLS role.
export async function fingerprint({ page, base, options }) {
  const api = await open(page, base);
  return page.evaluate(async ({ api, mangled, setup }) => {
    const role = sdp => sdp.replace(/^a=setup:actpass/gm, `a=setup:${setup}`);
    const wrong = sdp => sdp.replace(/^(a=fingerprint:\S+ )(..)/gm, (_all, start, byte) => start + (byte === "00" ? "01" : "00"));
    const both = { offer: sdp => wrong(role(sdp)), answer: sdp => sdp };
    const one = new Client(api, "/echo", mangled === "offer" ? both : { offer: role, answer: wrong });
    const channel = one.pc.createDataChannel("none");
    let messages = 0;
    channel.onmessage = () => messages++;
    channel.onopen = () => channel.send("nobody must read this");
    const stream = await camera();
    for (const track of stream.getTracks()) one.pc.addTransceiver(track, { streams: [stream] });
    await one.negotiate();
    const gone = await until(() => one.gone(), 20000);
    await until(() => one.states.includes("failed"), 20000);
    const received = await one.received();
    return { gone, channel: channel.readyState, messages, received, states: one.states };
  }, { api, mangled: options.mangled, setup: options.setup });
}

// The page, as a person uses it.
export async function page({ page, base, context, options }) {
  await page.goto(base);
  const echo = page.getByRole("tabpanel", { name: "Echo" });
  if (options.generated) await echo.getByLabel("Send", { exact: true }).selectOption("Generated picture and tone");
  await echo.getByLabel("Video codec").selectOption(options.codec ?? "VP8");
  await echo.getByRole("button", { name: "Start", exact: true }).click();
  const input = echo.getByRole("textbox", { name: "Message" });
  await input.and(page.locator(":enabled")).waitFor({ timeout: 15000 });
  const lines = echo.getByRole("list", { name: "Messages" }).locator("li");
  for (const [n, text] of ["Hello, Elixir!", "How long did this take?"].entries()) {
    await input.fill(text);
    await echo.locator("[data-chat]").getByRole("button", { name: "Send" }).click();
    await lines.nth(2 * n + 1).waitFor({ timeout: 5000 });
  }
  // One sample a second; the first has no rate yet.
  await page.waitForFunction(
    samples => document.querySelector("#echo canvas").dataset.samples >= samples, options.samples ?? 4, { timeout: 75000 });
  const messages = await lines.allInnerTexts();
  const charts = {};
  for (const title of ["Received", "Round trip", "Packet loss"])
    charts[title] = await echo.getByRole("region", { name: title }).getByRole("img").getAttribute("aria-label");
  const states = await echo.locator("[data-states]").innerText();
  const size = await echo.getByLabel("The echo").evaluate(video => [video.videoWidth, video.videoHeight, video.currentTime]);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  if (options.screenshot) await page.screenshot({ path: options.screenshot, fullPage: true });

  // Hold and back, an ICE restart, then stop.
  const answered = () => page.waitForResponse(response =>
    response.request().method() === "PATCH" && response.headers()["content-type"] === "application/sdp");
  const statuses = [];
  await echo.locator("summary").click();
  for (const name of ["Hold", "Resume", "Restart ICE"]) {
    const [response] = await Promise.all([answered(), echo.getByRole("button", { name }).click()]);
    statuses.push(response.status());
  }
  const resumed = await page.evaluate(() => document.querySelector("#echo [data-remote]").currentTime);
  const playing = await page.waitForFunction(
    from => document.querySelector("#echo [data-remote]").currentTime > from + 1, resumed, { timeout: 15000 }).then(() => true, () => false);
  const error = await echo.getByRole("alert").allInnerTexts();
  const facts = await echo.locator("[data-facts]").innerText();
  await echo.getByRole("button", { name: "Stop" }).click();

  // Another page publishes, this one watches.
  const other = await context.newPage();
  await other.goto(base);
  await other.getByRole("tab", { name: "Publish" }).click();
  const publish = other.getByRole("tabpanel", { name: "Publish" });
  await publish.getByLabel("Stream").fill("show");
  await publish.getByRole("button", { name: "Start publishing" }).click();
  await publish.getByText("connected").first().waitFor({ timeout: 15000 });

  await page.bringToFront();
  await page.getByRole("tab", { name: "Watch" }).click();
  const watch = page.getByRole("tabpanel", { name: "Watch" });
  await watch.getByText("Live now: show").waitFor({ timeout: 10000 });
  await watch.getByLabel("Stream", { exact: true }).fill("show");
  await watch.getByRole("button", { name: "Start watching" }).click();
  const watched = await page.waitForFunction(
    () => document.querySelector("#watch video").currentTime > 1, null, { timeout: 15000 }).then(() => true, () => false);
  if (options.screenshot) await page.screenshot({ path: options.screenshot.replace(".png", "-watch.png"), fullPage: true });
  await publish.getByRole("button", { name: "Stop publishing" }).click();
  await watch.getByText("The stream has ended").waitFor({ timeout: 10000 });

  await watch.getByRole("button", { name: "Start watching" }).click();
  const missing = await watch.getByRole("alert").innerText();
  return { messages, charts, states, size, wide, statuses, playing, error, facts, watched, missing };
}
