// How soon a phone shows something, over statistics of a year: a real service, and a processor four times slower.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { daysAgo, lines, visits } from "./history.js";

/** From the beginning of the navigation, in milliseconds; the best of some attempts, since other work may be going on. */
const FIRST_PAINT_MS_MAX = 1_500;
const FIRST_CHART_MS_MAX = 5_000;
const ATTEMPTS = 3;
const SLOWER = 4;
const DAYS = 365;
const VISITORS = 10;

const STATISTICS = `
[defaults]
mechanism = "threshold"
min_contributors = 10
rounding = 5

[statistics.visitors]
title = "Visitors a day"
from = "web"
measures = ["visitors"]
every = "day"
by = [[], ["country"]]

[statistics.visitors_by_hour]
title = "Visitors an hour"
from = "web"
measures = ["visitors"]
every = "hour"
by = [[]]

[statistics.views]
title = "Page views a day"
from = "web"
measures = ["events"]
every = "day"
by = [[]]
clamp = { events = 200 }
`;

let service;
let browser;
before(async () => {
  service = await init();
  // Few statistics, so that a year of them is released in seconds; one of them has 8,760 periods.
  writeFileSync(join(service.store, "policy/statistics.toml"), STATISTICS);
  const file = join(service.store, "events.ndjson");
  writeFileSync(file, Array.from({ length: DAYS }, (_, day) => lines(visits(daysAgo(DAYS + 2 - day), VISITORS).filter(({ name }) => name === "pageview"))).join("\n"));
  await service.command("import", file);
  await service.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

async function load(hash) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  const page = await context.newPage();
  await page.addInitScript((token) => {
    sessionStorage.setItem("quorate.token", token);
    const observer = new MutationObserver(() => {
      if (!document.querySelector(".spark path, .chart path")) return;
      observer.disconnect();
      requestAnimationFrame(() => (window.charted = performance.now()));
    });
    observer.observe(document, { childList: true, subtree: true });
  }, service.token);
  const session = await context.newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
  await page.goto(`${service.query}/${hash}`);
  await page.waitForFunction(() => window.charted, null, { timeout: 30_000 });
  const found = await page.evaluate(() => ({ paint: performance.getEntriesByName("first-contentful-paint")[0].startTime, chart: window.charted }));
  await context.close();
  return found;
}

for (const [what, hash] of [
  ["all statistics", "#/overview?last=365"],
  ["one of them, of every day of the year", "#/s/visitors?last=365&by="],
])
  test(`first paint: ${what}`, async (t) => {
    const found = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) found.push(await load(hash));
    const [paint, chart] = ["paint", "chart"].map((name) => Math.round(Math.min(...found.map((one) => one[name]))));
    t.diagnostic(`${what}: first paint after ${paint} ms, first chart after ${chart} ms`);
    assert.ok(paint <= FIRST_PAINT_MS_MAX, `first paint after ${paint} ms, at most ${FIRST_PAINT_MS_MAX}`);
    assert.ok(chart <= FIRST_CHART_MS_MAX, `first chart after ${chart} ms, at most ${FIRST_CHART_MS_MAX}`);
  });
