// The whole way: visitors in Chromium and devices behind a bad network post to the service; days pass; and the page shows
// the numbers that were sent, rounded as declared, and nothing of groups that are too small.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { launch } from "../tools/browser.js";
import { init } from "../tools/quorate.js";
import { open } from "../tracker/test/pages.js";

const run = promisify(execFile);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Declared in the package. */
const ROUNDING = 5;
const FEWEST = 10;

/** The first and how many of the visitors look at each page; all look at `/`. What is too small is not hidden alone: the small
 * ones of each list have enough contributors together, so that nothing else is hidden for their sake. */
const VISITORS = 18;
const PAGES = { "/": [0, VISITORS], "/about": [3, 13], "/docs": [7, 11], "/jobs": [0, 6], "/press": [6, 5] };
const VIEWERS = Object.fromEntries(Object.entries(PAGES).map(([page, [, count]]) => [page, count]));
/** How many devices there are of each product, and how often each of them is used. */
const FLEET = { x1: 14, x2: 12, x3: 6, x4: 5 };
const DEVICES = Object.values(FLEET).reduce((sum, count) => sum + count);
const USES = 12;

const rounded = (count) => Math.round(count / ROUNDING) * ROUNDING;
/** What the page may show of groups: those of enough contributors, the largest first. */
const shown = (groups, contributors = groups) =>
  Object.keys(groups)
    .filter((name) => contributors[name] >= FEWEST)
    .map((name) => [name, rounded(groups[name]).toLocaleString("en")]);

/** Tuesday morning in the first week of the next epoch of devices: far from the end of a day, a week and an epoch. */
function tuesday() {
  const epochs = Math.floor((Math.floor(Date.now() / DAY) - 4) / 28) + 1;
  return (epochs * 28 + 4 + 1) * DAY + 10 * HOUR;
}

/** Each visitor is a browser of its own, behind an address of its own. */
async function visit(browser, place) {
  const seenBy = (number) => Object.keys(PAGES).filter((page) => number >= PAGES[page][0] && number < PAGES[page][0] + PAGES[page][1]);
  let sent = 0;
  for (let number = 0; number < VISITORS; number++) {
    const context = await browser.newContext({ extraHTTPHeaders: { "x-forwarded-for": `198.51.100.${number + 1}` } });
    const page = await context.newPage();
    // Nobody stays long enough for a report of time in use, however slow this machine is.
    await page.clock.setFixedTime(Date.now());
    for (const path of seenBy(number)) {
      await page.goto(place.shop + path);
      await place.arrived(++sent);
    }
    await context.close();
  }
  return sent;
}

/** Starts the service so that its clock shows `moment`. */
const startAt = (service, moment) => service.start("--ahead", `${Math.ceil((moment - Date.now()) / 60_000)}minutes`);

/** Waits until the period that begins at `start` is released. */
async function released(service, statistic, by, start) {
  const between = [start, start + 7 * DAY].map((moment) => new Date(moment).toISOString());
  for (let tries = 0; tries < 300; tries++) {
    const headers = { authorization: `Bearer ${service.token}` };
    const answer = await fetch(`${service.query}/v1/query`, { method: "POST", headers, body: JSON.stringify({ from: statistic, by, between }) });
    assert.equal(answer.status, 200, await answer.clone().text());
    if ((await answer.json()).rows.length > 0) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error(`${statistic} is not released after a minute`);
}

/** Signs in to the page that the service serves, on a day that is `moment`. */
async function signIn(browser, service, moment) {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.clock.install({ time: moment });
  await page.goto(service.query);
  await page.getByLabel("Read token").fill(service.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Use a day" }).waitFor();
  return page;
}

/** Groups and their numbers, as the table beside a chart has them. */
async function groups(page, service, view) {
  await page.goto(`${service.query}/#/s/${view}`);
  await page.locator("table.groups tbody tr").first().waitFor();
  return page.locator("table.groups tbody tr").evaluateAll((rows) => rows.map((row) => [row.querySelector("a").textContent, row.querySelector("td").textContent]));
}

async function figure(page, service, view) {
  await page.goto(`${service.query}/#/s/${view}`);
  return page.locator(".figure strong").first().textContent();
}

test("what visitors and devices sent is what the page shows, and small groups are missing", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  const file = join(service.store, "quorate.toml");
  const text = readFileSync(file, "utf8")
    .replace(/^trusted_proxies +=.*$/m, "trusted_proxies = 1")
    .replace(/^commit_every_s +=.*$/m, "commit_every_s = 1")
    .replace(/^maintain_every_s +=.*$/m, "maintain_every_s = 1");
  writeFileSync(file, text);

  // The proxy in front of the service: it tells whom it speaks for.
  const place = await open({
    forward: async (request, body) => {
      const { "content-type": type, origin, "user-agent": agent, "x-forwarded-for": address } = request.headers;
      const headers = { "content-type": type, origin, "user-agent": agent, "x-forwarded-for": address };
      const answer = await fetch(service.ingest + request.url, { method: "POST", headers, body });
      return { status: answer.status, body: await answer.text() };
    },
  });
  t.after(() => place.close());
  await service.command("source", "add", "shop", "--kind", "site", "--origin", place.shop);
  const moment = tuesday();
  const day = Math.floor(moment / DAY) * DAY;
  await startAt(service, moment);

  const browser = await launch();
  t.after(() => browser.close());
  const firmware = fileURLToPath(new URL("../../clients/firmware", import.meta.url));
  await run("make", ["-C", firmware, "build/device"]);
  const fleet = Object.entries(FLEET).map(([product, count]) => `${product}=${count}`);
  const port = new URL(service.ingest).port;
  const drive = ["tests/drive.py", "build/device", "--to", port, "--key", service.key, "--events", String(USES), "--fleet", ...fleet];
  const [views, devices] = await Promise.all([visit(browser, place), run("python3", drive, { cwd: firmware })]);
  const delivered = JSON.parse(devices.stdout);
  assert.ok(place.requests.every(({ headers }) => headers["x-forwarded-for"]?.startsWith("198.51.100.")));

  // The day of the visitors closes, and their rows die soon after; the week of the devices closes when late ones had time.
  await service.pause();
  await startAt(service, day + DAY + 3 * HOUR);
  await released(service, "visitors", ["page"], day);
  await released(service, "web_events", ["name"], day);
  await service.pause();
  const later = day - DAY + 14 * DAY + 3 * HOUR;
  await startAt(service, later);
  await released(service, "active_devices", ["product"], day - DAY);
  await released(service, "usage", ["product"], day);

  const page = await signIn(browser, service, later);
  assert.equal(await figure(page, service, "visitors?by=&measure=visitors"), String(rounded(VISITORS)));
  assert.deepEqual(await groups(page, service, "visitors?by=page&measure=visitors"), shown(VIEWERS));
  await page.getByText("Groups with fewer than 10 visitors are not shown").waitFor();
  assert.deepEqual(await groups(page, service, "web_events?by=name&measure=events"), [["pageview", String(rounded(views))]]);

  assert.equal(await figure(page, service, "active_devices?by=&measure=devices"), String(rounded(DEVICES)));
  assert.deepEqual(await groups(page, service, "active_devices?by=product&measure=devices"), shown(FLEET));
  await page.getByText("Groups with fewer than 10 devices are not shown").waitFor();
  assert.deepEqual(await groups(page, service, "usage?by=product&measure=events"), shown(delivered, FLEET));
});
