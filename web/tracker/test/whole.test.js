// The tracker as the service serves it: one script tag, under a strict policy. What pages send is taken, all of it declared,
// and counted once.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { launch } from "../../tools/browser.js";
import { init } from "../../tools/quorate.js";
import { site } from "./pages.js";

let service;
let pages;
let browser;
let page;
let posted;
let complaints;

before(async () => {
  service = await init();
  const tag = `<script defer src="${service.ingest}/quorate.js" data-site="shop"></script>`;
  pages = await site({
    html: `<!doctype html><html lang="en"><title>A page</title>${tag}<h1>A page</h1><a href="http://elsewhere.example/x?secret=1">out</a></html>`,
    policy: `default-src 'none'; script-src ${service.ingest}; connect-src ${service.ingest}; base-uri 'none'; require-trusted-types-for 'script'`,
  });
  await service.command("source", "add", "shop", "--kind", "site", "--origin", pages.url);
  await service.start();
  browser = await launch();
  const context = await browser.newContext();
  page = await context.newPage();
  posted = [];
  complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("request", (request) => request.method() === "POST" && posted.push(...JSON.parse(request.postData()).events));
});
after(async () => {
  await browser?.close();
  pages?.close();
  await service?.stop();
});

test("the service serves the script that is built, small", async () => {
  const plain = await fetch(`${service.ingest}/quorate.js`, { headers: { "accept-encoding": "identity" } });
  assert.equal(plain.status, 200);
  assert.match(plain.headers.get("content-type"), /^text\/javascript/);
  assert.equal(await plain.text(), readFileSync(new URL("../dist/quorate.js", import.meta.url), "utf8"));
});

test("the service takes what pages send", async () => {
  await page.clock.install();
  await page.goto(`${pages.url}/blog/first?utm_source=news`, { referer: "http://mail.example/inbox" });
  await page.waitForFunction(() => typeof window.quorate === "function");
  await page.evaluate(() => {
    window.quorate("signup");
    addEventListener("click", (event) => event.preventDefault());
    document.querySelector("a").click();
  });
  await page.clock.fastForward(20_000);
  await page.evaluate(() => {
    history.pushState({}, "", "/b");
    window.quorate.consent({ website: false });
    history.pushState({}, "", "/c");
  });
  // A page view, an event of its own, a link, a stay; a page view; a bare one.
  const { source, kind, accepted, refused_total, undeclared } = await service.source("shop", ({ accepted }) => accepted >= 6);
  assert.deepEqual(posted.map(({ name }) => name), ["pageview", "signup", "outbound_link", "engagement", "pageview", "pageview"]);
  assert.deepEqual([posted[2].target, posted[5].url], ["http://elsewhere.example", undefined]);
  assert.deepEqual({ source, kind, accepted, refused_total, undeclared }, { source: "shop", kind: "site", accepted: 6, refused_total: 0, undeclared: 0 });
  assert.deepEqual(complaints, []);
});

test("under Sec-GPC, which the browser sends itself, an event counts and holds nothing of the visitor", async () => {
  const context = await browser.newContext({ extraHTTPHeaders: { "Sec-GPC": "1" } });
  const before = (await service.source("shop")).accepted;
  const own = await context.newPage();
  await own.addInitScript(() => Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { get: () => true }));
  const sent = own.waitForRequest((request) => request.method() === "POST");
  await own.goto(`${pages.url}/private`);
  const [event] = JSON.parse((await sent).postData()).events;
  assert.deepEqual(Object.keys(event).sort(), ["id", "name", "time"]);
  assert.equal((await service.source("shop", ({ accepted }) => accepted > before)).accepted, before + 1);
  await context.close();
});
