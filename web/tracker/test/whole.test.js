// The tracker against the service itself: what pages send is taken, all of it declared, and counted once.
import assert from "node:assert/strict";
import { test } from "node:test";

import { launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { open } from "./pages.js";

test("the service takes what pages send", async (t) => {
  const service = await init();
  t.after(() => service.stop());
  const place = await open({
    forward: async (request, body) => {
      const { "content-type": type, origin, "user-agent": agent } = request.headers;
      const headers = { "content-type": type, origin, "user-agent": agent };
      const answer = await fetch(service.ingest + request.url, { method: request.method, headers, body });
      return { status: answer.status, body: await answer.text() };
    },
  });
  t.after(() => place.close());
  await service.command("source", "add", "shop", "--kind", "site", "--origin", place.shop);
  await service.start();
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();

  await page.clock.install();
  await page.goto(`${place.shop}/blog/first?utm_source=news`, { referer: "http://mail.example/inbox" });
  await page.evaluate(() => window.quorate("signup"));
  await page.clock.fastForward(20_000);
  await page.click("#in");
  await page.evaluate(() => window.quorate.consent({ website: false }));
  await page.evaluate(() => history.pushState({}, "", "/c"));
  // A page view, an event of its own, a stay; a page view; a bare one.
  assert.equal((await place.arrived(5)).length, 5);
  const sources = async () => (await service.status()).sources;
  let shop;
  for (let tries = 0; tries < 50 && !(shop?.accepted >= 5); tries++) [shop] = await sources();
  const { source, kind, accepted, refused_total, undeclared } = shop;
  assert.deepEqual({ source, kind, accepted, refused_total, undeclared }, {
    source: "shop",
    kind: "site",
    accepted: 5,
    refused_total: 0,
    undeclared: 0,
  });
});
