// Sites that count with Plausible's published packages change one address: the packages as npm has them, in Chromium,
// against the service itself. What they send is counted, each event once.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { site } from "./pages.js";

let service;
let browser;

before(async () => {
  service = await init();
  await service.start();
  // Both packages count nothing in a browser that says a program drives it.
  browser = await launch({ args: ["--disable-blink-features=AutomationControlled"] });
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

const LINKS = `<a id="out" href="http://elsewhere.example/x?secret=1">out</a>`;

const NOW = (api) => `import { init, track } from "/modules/@plausible-analytics/tracker/plausible.js";
  init({ domain: "shop", endpoint: "${api}/api/event", outboundLinks: true });
  window.track = (name, props, callback) => track(name, { props, callback: ({ status }) => callback(status) });`;

const LEGACY = (api) => `import Plausible from "/modules/plausible-tracker/build/module/index.js";
  const { enableAutoPageviews, enableAutoOutboundTracking, trackEvent } = Plausible({ domain: "old-shop", apiHost: "${api}" });
  enableAutoPageviews();
  enableAutoOutboundTracking();
  window.track = (name, props, callback) => trackEvent(name, { props, callback: () => callback(202) });`;

for (const [version, name, start] of [
  ["@plausible-analytics/tracker 0.4.6", "shop", NOW],
  ["plausible-tracker 0.3.9", "old-shop", LEGACY],
])
  test(`${version}: page views, events of its own with properties, links that lead away`, async (t) => {
    const pages = await site({
      html: `<!doctype html><html lang="en"><title>A page</title><h1>A page</h1>${LINKS}<script type="module" src="/start.js"></script></html>`,
      script: start(service.ingest),
      policy: `default-src 'none'; script-src 'self'; connect-src ${service.ingest}`,
    });
    t.after(() => pages.close());
    await service.command("source", "add", name, "--kind", "site", "--origin", pages.url);
    await service.reloaded();
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const sent = [];
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && !/favicon|404/.test(message.text()) && complaints.push(message.text()));
    page.on("response", (response) => {
      const request = response.request();
      if (!request.url().startsWith(service.ingest) || request.method() !== "POST") return;
      const { n, u, p } = JSON.parse(request.postData());
      sent.push({ status: response.status(), name: n, path: new URL(u).pathname, props: typeof p === "string" ? JSON.parse(p) : p });
    });
    // Reports of the stay come when they come.
    const named = () => sent.filter(({ name }) => name !== "engagement");
    const until = async (count) => {
      for (let tries = 0; tries < 200 && named().length < count; tries++) await new Promise((done) => setTimeout(done, 50));
    };

    await page.goto(`${pages.url}/first?email=ada@example.org#x`);
    await until(1);
    await page.evaluate(() => history.pushState({}, "", "/second"));
    await until(2);
    // The answer is one that the package can read: its callback hears of it.
    assert.equal(await page.evaluate(() => new Promise((done) => window.track("Signup", { country: "nowhere", page: "/forged", scroll_depth: "9" }, done))), 202);
    await until(3);
    await page.evaluate(() => document.addEventListener("click", (event) => event.preventDefault()));
    await page.route("http://elsewhere.example/**", (route) => route.fulfill({ body: "elsewhere" }));
    await page.click("#out");
    await until(4);

    assert.deepEqual(
      named().map(({ status, name, path }) => [status, name, path]),
      [
        [202, "pageview", "/first"],
        [202, "pageview", "/second"],
        [202, "Signup", "/second"],
        [202, "Outbound Link: Click", "/second"],
      ],
    );
    assert.deepEqual(named()[3].props, { url: "http://elsewhere.example/x?secret=1" });
    assert.deepEqual(complaints, []);
    const source = await service.source(name, ({ accepted }) => accepted >= sent.length);
    assert.deepEqual([source.accepted, source.refused_total], [sent.length, 0], "as many as were sent, and none refused");
    const { rounding, families } = await service.live();
    const web = families.find(({ family }) => family === "web");
    const all = (await service.status()).sources.reduce((sum, { accepted }) => sum + accepted, 0);
    assert.equal(web.accepted, Math.floor(all / rounding) * rounding);
  });
