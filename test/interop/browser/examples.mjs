// The examples' pages as a person uses them. Each function returns what it saw.

import { readFileSync } from "node:fs";

const client = readFileSync(new URL("./client.js", import.meta.url), "utf8");

async function open(page, base) {
  await page.goto(base);
  // `until` and its like.
  await page.evaluate(client);
}

// Waits until the page is connected so far that this can be used, and says how far it came if not.
async function ready(page, selector) {
  await page.locator(selector).waitFor({ timeout: 30000 }).catch(async error => {
    const state = await page.evaluate(() => {
      const { pc } = window;
      return pc ? [pc.signalingState, pc.iceGatheringState, pc.iceConnectionState, pc.connectionState] : "not begun";
    });
    throw new Error(`${error.message}\nthe connection: ${state}`);
  });
}

export async function exampleEcho({ page, base }) {
  await open(page, base);
  await page.click("#start");
  await ready(page, "#words:enabled");
  await page.fill("#words", "Hello, Elixir!");
  await page.press("#words", "Enter");
  return page.evaluate(async () => {
    await until(() => back.currentTime > 2 && back.videoWidth > 0 && answer.value);
    return { width: back.videoWidth, time: back.currentTime, answer: answer.value };
  });
}

export async function exampleChat({ page, context, base }) {
  const pages = [page, await context.newPage(), await context.newPage()];
  for (const [n, one] of pages.entries()) {
    await one.goto(base);
    await ready(one, "#words:enabled");
    await one.fill("#name", `Browser ${n}`);
  }
  for (const one of pages) {
    await one.fill("#words", "hello");
    await one.press("#words", "Enter");
    await one.locator("#said li").nth(pages.indexOf(one)).waitFor({ timeout: 5000 });
  }
  for (const one of pages) await one.locator("#said li").nth(2).waitFor({ timeout: 5000 });
  return { said: await Promise.all(pages.map(one => one.locator("#said li").allInnerTexts())) };
}

// What the browser decodes, of as many frames and packets as asked for.
async function watch(page, { frames, audioPackets }) {
  return page.evaluate(async ({ frames, audioPackets }) => {
    const look = async () => {
      const report = [...(await pc.getStats()).values()];
      const of = kind => report.find(one => one.type === "inbound-rtp" && one.kind === kind) ?? {};
      const [audio, video] = [of("audio"), of("video")];
      const codec = one => report.find(other => other.id === one.codecId)?.mimeType ?? null;
      return {
        videoCodec: codec(video), audioCodec: codec(audio),
        frames: video.framesDecoded ?? 0, dropped: video.framesDropped ?? 0,
        keyframes: video.keyFramesDecoded ?? 0, width: video.frameWidth ?? 0, height: video.frameHeight ?? 0,
        lost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0), asked: video.pliCount ?? 0,
        audioPackets: audio.packetsReceived ?? 0, energy: audio.totalAudioEnergy ?? 0,
        samples: audio.totalSamplesReceived ?? 0, concealed: audio.concealedSamples ?? 0,
        silent: audio.silentConcealedSamples ?? 0,
      };
    };
    // What is heard counts from when playing has begun: a browser makes up sound until it has enough.
    let start;
    await until(async () => (start = await look()).audioPackets >= Math.min(audioPackets, 20), 30000);
    let seen;
    await until(async () => {
      seen = await look();
      return seen.frames >= frames && seen.audioPackets >= audioPackets;
    }, 30000);
    for (const count of ["samples", "concealed", "silent"]) seen[count] -= start[count];
    return seen;
  }, { frames, audioPackets });
}

export async function examplePlay({ page, base, options }) {
  await open(page, base);
  await page.click("#start");
  return watch(page, options);
}

// In place of a camera: a tone each second, and pictures that say when they were drawn, both by the
// clock of the sound. A busy machine captures pictures late and leaves some out, so what is in the
// tracks is noted too, in ms of the page's clock: when each picture was captured, with what it says,
// and when each tone begins.
const timed = () => {
  const BITS = 16;
  window.captured = { pictures: [], tones: [] };

  // Reads frames of a track as the peer connection gets them.
  const read = async (track, each) => {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) return;
      await each(frame);
      frame.close();
    }
  };
  const look = async track => {
    // Pictures count from the first one, which is captured no later than any of them is here.
    let beginning = Infinity;
    captured.finish = () => ({
      tones: captured.tones,
      pictures: captured.pictures.map(([time, says]) => [time + beginning, says]),
    });
    await read(track, async frame => {
      const time = frame.timestamp / 1000;
      beginning = Math.min(beginning, performance.now() - time);
      const pixels = new Uint8Array(frame.allocationSize());
      const [{ offset, stride }] = await frame.copyTo(pixels);
      const [width, height] = [frame.codedWidth, frame.codedHeight];
      // The first plane is brightness alone, or all colours of a pixel.
      const bytes = stride >= width * 4 ? 4 : 1;
      let says = 0;
      for (let bit = 0; bit < BITS; bit++) {
        const at = Math.floor((bit + 0.5) * width / BITS) * bytes;
        says = says * 2 + (pixels[offset + (height >> 1) * stride + at] > 128 ? 1 : 0);
      }
      captured.pictures.push([time, says]);
    });
  };
  const listen = track => {
    let last;
    return read(track, frame => {
      const as = { planeIndex: 0, format: "f32-planar" };
      const samples = new Float32Array(frame.allocationSize(as) / 4);
      frame.copyTo(samples, as);
      const first = samples.findIndex(sample => Math.abs(sample) > 0.1);
      if (first < 0) return;
      const time = frame.timestamp / 1000 + first * 1000 / frame.sampleRate;
      if (last !== undefined && time - last > 400) captured.tones.push(time);
      last = time;
    });
  };

  navigator.mediaDevices.getUserMedia = async () => {
    const audio = new AudioContext({ sampleRate: 48000 });
    const [tone, gate, out] = [audio.createOscillator(), audio.createGain(), audio.createMediaStreamDestination()];
    gate.gain.value = 0;
    tone.frequency.value = 1000;
    tone.connect(gate).connect(out);
    tone.start();
    for (let second = 1; second < 60; second++) {
      gate.gain.setValueAtTime(0.8, second);
      gate.gain.setValueAtTime(0, second + 0.2);
    }
    const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    // In ms, a column for each bit.
    const draw = () => {
      const now = Math.round(audio.currentTime * 1000);
      for (let bit = 0; bit < BITS; bit++) {
        context.fillStyle = now >> (BITS - 1 - bit) & 1 ? "white" : "black";
        context.fillRect(bit * 320 / BITS, 0, 320 / BITS, 240);
      }
      requestAnimationFrame(draw);
    };
    draw();
    const stream = new MediaStream([...out.stream.getTracks(), ...canvas.captureStream(20).getTracks()]);
    look(stream.getVideoTracks()[0]);
    listen(stream.getAudioTracks()[0]);
    return stream;
  };
};

export async function exampleRecord({ page, base, options }) {
  await open(page, base);
  if (options.timed) await page.evaluate(timed);
  await page.selectOption("#codec", options.codec);
  await page.click("#start");
  await ready(page, "#finish:enabled");
  const sent = await page.evaluate(async seconds => {
    await until(() => pc.connectionState === "connected");
    await wait(seconds * 1000);
    const report = [...(await pc.getStats()).values()];
    return report.filter(one => one.type === "outbound-rtp").map(one => ({
      kind: one.kind, packets: one.packetsSent, frames: one.framesSent ?? null,
      codec: report.find(other => other.id === one.codecId)?.mimeType,
    }));
  }, options.seconds);
  await page.click("#finish");
  await page.locator("#finish:disabled").waitFor({ timeout: 5000 });
  return { sent, captured: options.timed ? await page.evaluate(() => captured.finish()) : null };
}

export async function exampleDTMF({ page, base, options }) {
  await open(page, base);
  await page.click("#start");
  await page.evaluate(() => until(() => window.pc?.connectionState === "connected"));
  for (const key of options.keys) await page.getByRole("button", { name: key, exact: true }).click();
  return page.evaluate(async keys => {
    await until(() => heard.value.length >= keys.length, 15000);
    return { heard: heard.value };
  }, options.keys);
}

export async function exampleFeed({ page, base, options }) {
  await open(page, base);
  await page.click("#start");
  return watch(page, options);
}

export async function exampleSnapshot({ page, base }) {
  await open(page, base);
  await page.click("#start");
  await ready(page, "#take:enabled");
  // The picture is of the encoder's full size only after its first seconds.
  return page.evaluate(async () => {
    await until(async () => [...(await pc.getStats()).values()].some(one => one.type === "outbound-rtp" && one.framesSent > 15));
    take.click();
    await until(() => picture.naturalWidth > 0, 15000);
    return { width: picture.naturalWidth, height: picture.naturalHeight };
  });
}

// A file as a player of the browser has it: how long, how large, and where seeking goes.
export async function videoFile({ page, base, options }) {
  await page.goto(base + "/client.js");
  await page.setContent('<input type="file" id="file"><video id="video" muted></video>');
  await page.setInputFiles("#file", options.path);
  await page.evaluate(client);
  return page.evaluate(async ({ seeks }) => {
    const done = (name, ms = 10000) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true });
      video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
      setTimeout(() => reject(new Error(`no ${name}`)), ms);
    });
    const ready = done("canplay");
    video.src = URL.createObjectURL(file.files[0]);
    await ready;
    const picture = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(video, 0, 0, 320, 180);
      return context.getImageData(0, 0, 320, 180).data.join();
    };
    // "seeked" may come before the picture is there to be drawn.
    const pictureAt = (time) => new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(`no picture at ${time} s`)), 10000);
      const shown = (_now, { mediaTime }) => {
        if (Math.abs(mediaTime - time) < 0.5) resolve(picture());
        else video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
    });
    const pictures = [];
    const times = [];
    for (const at of seeks) {
      const seeked = done("seeked");
      const drawn = pictureAt(at * video.duration);
      video.currentTime = at * video.duration;
      await seeked;
      times.push(video.currentTime);
      pictures.push(await drawn);
    }
    const ended = done("ended", 30000);
    video.currentTime = 0;
    video.playbackRate = 4;
    await video.play();
    await ended;
    const quality = video.getVideoPlaybackQuality();
    return {
      duration: video.duration, width: video.videoWidth, height: video.videoHeight, times,
      different: new Set(pictures).size, frames: quality.totalVideoFrames, corrupted: quality.corruptedVideoFrames ?? 0,
    };
  }, { seeks: options.seeks });
}
