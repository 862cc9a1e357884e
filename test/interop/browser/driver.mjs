// Runs scenarios in one Chromium. A line of JSON on stdin, {scenario, base, options}, is answered
// by one on stdout: {result} with what was seen, or {error}. What is expected of a result stands in
// the ExUnit test. Ends when stdin does.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import * as scenarios from "./scenarios.mjs";

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

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}
await browser.close();
