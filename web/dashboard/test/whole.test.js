// The dashboard as the service serves it: the first event shows, every statistic of the default package has its charts,
// and the numbers on the page, in its files and in the answers to what it shows are those that were sent.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { decompress } from "fzstd";
import { parquetReadObjects } from "hyparquet";

import { goTo, launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { daysAgo, devices, lines, visits } from "./history.js";
import { CSP } from "./service.js";

const run = promisify(execFile);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** The page of a service, signed in; it must end without a complaint, and without a request to anybody else. */
async function open(t, service, token = service.token) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && !/status of 401/.test(message.text()) && complaints.push(message.text()));
  page.on("request", (request) => !request.url().startsWith(service.query) && !request.url().startsWith("blob:") && complaints.push(`asked ${request.url()}`));
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  await page.goto(service.query);
  await page.getByLabel("Read token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation").waitFor();
  const visit = async (hash) => {
    await goTo(page, hash);
    await page.waitForFunction(() => !document.querySelector("[aria-busy]"), null, { polling: 20 });
  };
  return { page, visit };
}

test("the page comes under its policy, small, and is kept only as long as it is the same", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  await service.start();
  const answer = await fetch(service.query);
  assert.equal(answer.headers.get("content-security-policy"), CSP);
  const { etag } = Object.fromEntries(answer.headers);
  assert.equal((await fetch(service.query, { headers: { "if-none-match": etag } })).status, 304);

  await t.test("the first event shows as soon as it is there", async (t) => {
    const { page } = await open(t, service);
    await page.getByRole("heading", { name: "Waiting for the first event" }).waitFor();
    assert.ok((await page.getByRole("region", { name: "In each page" }).textContent()).includes(`src="${service.ingest}/quorate.js"`));
    // As the page says it, in a shell.
    const command = await page.getByRole("region", { name: "Send", exact: true }).textContent();
    const { stdout } = await run("sh", ["-c", command], { env: { ...process.env, KEY: service.key } });
    assert.equal(JSON.parse(stdout).accepted, 1);
    await page.getByRole("heading", { name: "Events arrive" }).waitFor();
    await page.getByText("fewer than 5 of device_usage").waitFor();
    await page.getByRole("link", { name: "Watch them" }).click();
    await page.getByRole("row", { name: "device_usage fewer than 5 fewer than 5 0 fewer than 5", exact: true }).waitFor();
  });
});

test("what was sent is what is seen", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  // Long enough ago that an epoch of four weeks has closed, and recent enough to be within the last 90 days.
  const days = [daysAgo(62), daysAgo(61)];
  const file = join(service.store, "events.ndjson");
  writeFileSync(file, lines(days.flatMap((day) => [...devices(day), ...visits(day)])));
  await service.command("import", file);
  await service.start();
  const { page, visit } = await open(t, service);
  const ask = async (path, body, accept = "application/json") => {
    const headers = { authorization: `Bearer ${service.token}`, accept };
    return fetch(`${service.query}/v1/${path}`, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  };
  const statistics = await (await ask("statistics")).json();
  const groups = () => page.locator("table.groups tbody tr").evaluateAll((rows) => rows.map((row) => [row.querySelector("a").textContent, row.querySelector("td").textContent]));

  await t.test("groups and totals are those that were sent, and small groups are told to be missing", async () => {
    await visit("#/s/usage?by=product&measure=devices&last=90");
    assert.deepEqual(await groups(), [["scanner", "40"], ["viewer", "25"]]);
    await page.getByText("Something is missing in 2 of 90 days. Groups with fewer than 10 devices are not shown").waitFor();
    await page.getByRole("row", { name: /^Groups with fewer than 10 devices not shown in 2 of 90$/ }).waitFor();
    const figure = async (hash) => {
      await visit(hash);
      return page.locator(".figure strong").textContent();
    };
    assert.equal(await figure("#/s/usage?by=&measure=mean_duration&last=90"), "12 s");
    assert.equal(await figure("#/s/usage?by=&measure=events&last=90"), "80");
    assert.equal(await figure("#/s/visitors?by=&last=90"), "50", "48, rounded to a multiple of 5");
    assert.equal(await figure("#/s/engagement?by=&measure=mean_engaged&last=90"), "41 s");
    assert.equal(await figure("#/s/failures?by=&measure=share_error_present&last=90"), "13%");
    await visit("#/s/visitors?by=device_class&last=90");
    assert.deepEqual(await groups(), [["desktop", "25"], ["mobile", "25"]]);
  });

  await t.test("every statistic of the default package has a chart of each grouping and measure", async () => {
    assert.ok(statistics.length >= 10);
    for (const { name, groupings, columns } of statistics)
      for (const by of groupings)
        // Each measure of the first grouping, and the first measure of each other.
        for (const { name: measure } of by === groupings[0] ? columns : columns.slice(0, 1)) {
          const hash = `#/s/${name}?by=${by.join(",")}&measure=${measure}&last=90`;
          await visit(hash);
          const chart = page.locator(".chart svg[role=img]");
          await chart.waitFor({ timeout: 10_000 }).catch(() => assert.fail(`no chart at ${hash}: ${page.url()}`));
          assert.ok((await page.locator(".chart path, .chart circle").count()) > 0, hash);
        }
  });

  await t.test("each file holds the rows of the answer", async () => {
    await visit("#/s/usage?by=product&measure=devices&last=90");
    const save = async (label) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: label }).click()]);
      return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
    };
    const curl = await page.locator(".code pre").nth(0).textContent();
    assert.ok(curl.startsWith(`curl ${service.query}/v1/query`));
    const { stdout } = await run("sh", ["-c", `curl() { command curl --silent "$@"; }\n${curl}`], { env: { ...process.env, TOKEN: service.token } });
    const { rows } = JSON.parse(stdout);
    assert.deepEqual(rows.map(({ product, devices }) => [product, devices]), days.flatMap(() => [["scanner", 40], ["viewer", 25]]));

    const csv = await save("Download CSV");
    assert.equal(csv.name, "usage-product.csv");
    const [head, ...body] = csv.bytes.toString().trim().split("\n").map((line) => line.split(","));
    const at = (row, name) => row[head.indexOf(name)];
    assert.deepEqual(body.map((row) => [at(row, "product"), Number(at(row, "devices"))]), rows.map(({ product, devices }) => [product, devices]));

    const parquet = await save("Download Parquet");
    assert.equal(parquet.name, "usage-product.parquet");
    const { buffer, byteOffset, length } = parquet.bytes;
    const read = await parquetReadObjects({ file: buffer.slice(byteOffset, byteOffset + length), compressors: { ZSTD: (bytes, size) => decompress(bytes, new Uint8Array(size)) } });
    assert.deepEqual(read.map(({ product, devices }) => [product, Number(devices)]), rows.map(({ product, devices }) => [product, devices]));
  });

  await t.test("the SQL that is shown is answered, and is the same", async () => {
    await visit("#/s/usage?by=&measure=mean_duration&last=90");
    const sql = await page.locator(".code pre").nth(1).textContent();
    const { rows } = await (await ask("sql", { sql })).json();
    assert.deepEqual(rows.map(({ mean_duration }) => mean_duration), [12_000, 12_000]);
  });

  await t.test("data protection: from the package and the ledgers", async () => {
    await visit("#/protection");
    await page.getByRole("heading", { name: "Collected: device_usage" }).waitFor();
    await page.getByText("Sec-GPC", { exact: true }).waitFor();
    for (const { title } of statistics) await page.getByRole("rowheader", { name: title }).first().waitFor();
    assert.doesNotMatch(await page.locator("main").textContent(), /NaN|undefined|Invalid/, "the page reads what the service says");
  });

  await t.test("the page for visitors: without a token, a script or a hindrance, from both ports", async (t) => {
    await page.getByRole("link", { name: "The page for visitors" }).click();
    await page.waitForURL(`${service.query}/privacy`);
    const [told, door] = await Promise.all([service.query, service.ingest].map(async (port) => (await fetch(`${port}/privacy`)).text()));
    assert.equal(told, door);
    assert.ok(!/<script|<link|<img/i.test(told));
    for (const [colorScheme, width] of [["light", 1200], ["dark", 390]]) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
      t.after(() => context.close());
      const own = await context.newPage();
      const requested = [];
      own.on("request", (request) => requested.push(request.url()));
      await own.goto(`${service.ingest}/privacy`);
      await own.getByRole("heading", { level: 1 }).waitFor();
      await own.evaluate(axe);
      const { violations } = await own.evaluate(() => axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`), []);
      assert.ok((await own.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${width} px are enough`);
      assert.deepEqual(requested.filter((url) => !/favicon/.test(url)), [`${service.ingest}/privacy`]);
    }
    await page.goBack();
    await page.getByRole("navigation").waitFor();
  });

  await t.test("a reader who is revoked is signed out at the next question", async (t) => {
    const token = (await service.command("reader", "add", "guest")).match(/qr_\w+/)[0];
    await service.reloaded();
    const guest = await open(t, service, token);
    await guest.visit("#/overview?last=30");
    await service.command("reader", "revoke", "guest");
    await service.reloaded();
    await guest.page.evaluate(() => (location.hash = "#/s/usage?by=feature&last=90"));
    await guest.page.getByRole("alert").filter({ hasText: "unknown or revoked" }).waitFor();
    assert.equal(await guest.page.evaluate(() => sessionStorage.getItem("quorate.token")), null);
    assert.equal((await ask("statistics")).status, 200, "and nobody else is");
  });
});
