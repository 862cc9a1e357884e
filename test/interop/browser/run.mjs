// node run.mjs SCENARIO BASE_URL [JSON]: runs a scenario in Chromium, prints its result as one
// line of JSON. What is expected of the result stands in the ExUnit test.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import * as scenarios from "./scenarios.mjs";

const [name, base, json = "{}"] = process.argv.slice(2);
const options = JSON.parse(json);
const profile = mkdtempSync(join(tmpdir(), "interop-"));

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--no-first-run",
  "--autoplay-policy=no-user-gesture-required",
  "--use-fake-device-for-media-stream",
];
// This one also shows real addresses in candidates.
if (!options.mdns) args.push("--use-fake-ui-for-media-stream");

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: options.viewport ?? { width: 1280, height: 1160 },
  colorScheme: options.colorScheme ?? "light",
  args,
});

// Nobody waits longer for it.
setTimeout(() => {
  console.error(`${name} took too long`);
  process.exit(1);
}, 110_000).unref();

const problems = [];
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("pageerror", error => problems.push(error.message));
  const result = await scenarios[name]({ page, context, base, options });
  console.log(JSON.stringify({ ...result, problems }));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
