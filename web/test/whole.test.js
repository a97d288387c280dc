// The whole way: visitors in Chromium and devices behind a bad network post to the service; days pass; and the page shows
// the numbers that were sent, rounded as declared, and nothing of groups that are too small.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { launch } from "../tools/browser.js";
import { init } from "../tools/quorate.js";

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

/** A server that is closed when the test ends; gives its port. */
async function listen(t, handle) {
  const server = createServer(handle);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => (server.closeAllConnections(), server.close()));
  return server.address().port;
}

/** What stands between the world and the service, and tells it for whom it speaks; knows what has been posted through it. */
async function proxy(t, service) {
  const posted = [];
  const port = await listen(t, async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { host, connection, ...headers } = request.headers;
    const body = request.method === "POST" ? Buffer.concat(chunks) : undefined;
    const answer = await fetch(service.ingest + request.url, { method: request.method, headers, body });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (body) posted.push({ status: answer.status, address: headers["x-forwarded-for"] });
    response.writeHead(answer.status, Object.fromEntries([...answer.headers].filter(([name]) => !["content-encoding", "content-length"].includes(name))));
    response.end(bytes);
  });
  return { url: `http://stats.example:${port}`, posted };
}

/** A site with the one line that the tracker takes, under a policy that allows nothing else. */
async function site(t, stats) {
  const policy = `default-src 'none'; script-src ${stats}; connect-src ${stats}`;
  const text = `<!doctype html><html lang="en"><title>Shop</title><script defer src="${stats}/quorate.js" data-site="shop"></script><h1>Shop</h1>`;
  const port = await listen(t, (request, response) => {
    response.writeHead(200, { "content-type": "text/html", "content-security-policy": policy });
    response.end(text);
  });
  return `http://www.shop.example:${port}`;
}

/** Each visitor is a browser of its own, behind an address of its own. */
async function visit(browser, shop, posted) {
  const seenBy = (number) => Object.keys(PAGES).filter((page) => number >= PAGES[page][0] && number < PAGES[page][0] + PAGES[page][1]);
  let sent = 0;
  for (let number = 0; number < VISITORS; number++) {
    const context = await browser.newContext({ extraHTTPHeaders: { "x-forwarded-for": `198.51.100.${number + 1}` } });
    const page = await context.newPage();
    // Nobody stays long enough for a report of time in use, however slow this machine is.
    await page.clock.setFixedTime(Date.now());
    for (const path of seenBy(number)) {
      await page.goto(shop + path);
      sent++;
      for (let tries = 0; tries < 500 && posted.length < sent; tries++) await new Promise((done) => setTimeout(done, 20));
      assert.deepEqual(posted.slice(sent - 1), [{ status: 202, address: `198.51.100.${number + 1}` }]);
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

  const { url, posted } = await proxy(t, service);
  const shop = await site(t, url);
  await service.command("source", "add", "shop", "--kind", "site", "--origin", shop);
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
  const [views, devices] = await Promise.all([visit(browser, shop, posted), run("python3", drive, { cwd: firmware })]);
  const delivered = JSON.parse(devices.stdout);

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
