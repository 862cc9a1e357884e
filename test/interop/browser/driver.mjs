// Runs scenarios in one Chromium. A line of JSON on stdin, {scenario, base, options}, is answered
// by one on stdout: {result} with what was seen, or {error}. What is expected of a result stands in
// the ExUnit test. Ends when stdin does.
//
// A test may also drive a connection step by step (peer.js): {open: true} gives the number of a new
// page; {page, step, options} runs one step there; {close} closes the page.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import * as examples from "./examples.mjs";
import * as calls from "./scenarios.mjs";

const scenarios = { ...calls, ...examples };

// No test waits longer for its scenario.
const DEADLINE = 80_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
  ],
});

// Every scenario has a context of its own: permissions, storage and connections end with it.
async function run({ scenario, base, options }) {
  const context = await browser.newContext({
    viewport: options.viewport ?? { width: 1280, height: 960 },
    colorScheme: options.colorScheme ?? "light",
    // A page that may use the camera also tells its real addresses in candidates.
    permissions: options.mdns ? [] : ["camera", "microphone"],
  });
  const problems = [];
  try {
    const page = await context.newPage();
    page.on("pageerror", error => problems.push(error.message));
    const late = new Promise((_done, fail) => {
      setTimeout(() => fail(new Error(`${scenario} took longer than ${DEADLINE} ms`)), DEADLINE).unref();
    });
    const result = await Promise.race([scenarios[scenario]({ page, context, base, options }), late]);
    return { result: { ...result, problems } };
  } catch (error) {
    return { error: [error.stack, ...problems].join("\n") };
  } finally {
    await context.close();
  }
}

const read = name => readFileSync(new URL(name, import.meta.url), "utf8");
const peer = read("./shown.js") + read("./peer.js");
const pages = new Map();
let opened = 0;

// A page that may use the camera, of an origin that no network is needed for.
async function open() {
  const context = await browser.newContext({ permissions: ["camera", "microphone"] });
  await context.route("https://peer.example/", route =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><title>peer</title>" }));
  const page = await context.newPage();
  await page.goto("https://peer.example/");
  await page.evaluate(peer);
  pages.set(++opened, page);
  return { result: opened };
}

async function step({ page, step, options }) {
  const late = new Promise((_done, fail) => {
    setTimeout(() => fail(new Error(`${step} took longer than ${DEADLINE} ms`)), DEADLINE).unref();
  });
  const taken = pages.get(page).evaluate(([step, options]) => window.peer[step](options), [step, options]);
  return { result: await Promise.race([taken, late]) };
}

async function answer(request) {
  try {
    if (request.open) return await open();
    if (request.step) return await step(request);
    if (request.close) {
      await pages.get(request.close)?.context().close();
      return { result: pages.delete(request.close) };
    }
  } catch (error) {
    return { error: error.stack };
  }
  return run(request);
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
await browser.close();
