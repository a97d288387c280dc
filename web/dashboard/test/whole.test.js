// The dashboard over the service itself: the first event shows, and the numbers on the page are those that were sent.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { serve } from "../../tools/serve.js";

const DAY = 86_400_000;

async function open(t, service) {
  const dashboard = await serve({ query: service.query, operator: service.operator, ingest: service.ingest });
  t.after(() => dashboard.close());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(90_000);
  await page.goto(dashboard.url);
  await page.getByLabel("Read token").fill(service.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  return { page, dashboard };
}

test("the first event shows as soon as it is there", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  await service.start();
  const { page } = await open(t, service);
  await page.getByRole("heading", { name: "Waiting for the first event" }).waitFor();
  // As the page says it.
  const command = await page.getByRole("region", { name: "Send", exact: true }).textContent();
  assert.ok(command.startsWith(`curl ${service.ingest}/v1/events`));
  const body = /-d '(.*)'/.exec(command)[1];
  const sent = await fetch(`${service.ingest}/v1/events`, { method: "POST", headers: { authorization: `Bearer ${service.key}` }, body });
  assert.equal(sent.status, 202);
  await page.getByRole("heading", { name: "Events arrive" }).waitFor();
  await page.getByText("1 of device_usage").waitFor();
});

test("the numbers on the page are those that were sent, and the small are missing", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  // A day whose period has closed: devices may be late for seven days.
  const day = new Date(Math.floor(Date.now() / DAY) * DAY - 12 * DAY).toISOString().slice(0, 10);
  const sent = { scanner: 40, viewer: 25, tablet: 6, watch: 7 };
  const events = Object.entries(sent).flatMap(([product, count]) =>
    Array.from({ length: count }, (_, index) => ({
      type: "device_usage",
      id: `${product}-${index}`,
      time: `${day}T10:00:00Z`,
      serial_number: `${product}-${index}`,
      product,
      version: "3.8.1",
      feature: "preview",
      duration: 12_000,
    })),
  );
  const file = join(service.store, "events.ndjson");
  writeFileSync(file, events.map((event) => JSON.stringify(event)).join("\n"));
  await service.command("import", file);
  await service.start();
  const { page, dashboard } = await open(t, service);
  await page.getByRole("link", { name: "Use a day" }).waitFor();
  await page.goto(`${dashboard.url}/#/s/usage?by=product&measure=devices`);
  await page.locator("table.groups tbody tr").first().waitFor();
  const rows = await page.locator("table.groups tbody tr").evaluateAll((rows) => rows.map((row) => [row.querySelector("a").textContent, row.querySelector("td").textContent]));
  assert.deepEqual(rows, [["scanner", "40"], ["viewer", "25"]]);
  await page.getByText("Something is missing here. Groups with fewer than 10 devices are not shown").waitFor();

  await page.goto(`${dashboard.url}/#/s/usage?by=&measure=mean_duration`);
  await page.locator(".figure strong").filter({ hasText: "12 s" }).waitFor();

  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download Parquet" }).click()]);
  const { readFileSync } = await import("node:fs");
  assert.equal(readFileSync(await download.path()).subarray(0, 4).toString(), "PAR1");

  // The question that stands there is one that the service answers.
  const shown = await page.locator(".code pre").nth(1).textContent();
  const answer = await fetch(`${service.query}/v1/sql`, { method: "POST", headers: { authorization: `Bearer ${service.token}` }, body: JSON.stringify({ sql: shown }) });
  const { rows: found } = await answer.json();
  assert.deepEqual(found.map(({ mean_duration }) => mean_duration), [12_000]);
});
