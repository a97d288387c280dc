// The tracker on real pages, in Chromium, under a strict Content-Security-Policy.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { launch } from "../../tools/browser.js";
import { open } from "./pages.js";

let browser;
let place;
let context;
let page;
let complaints;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  place = await open();
  context = await browser.newContext();
  page = await context.newPage();
  complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
});
afterEach(async () => {
  await context.close();
  place.close();
  // Nothing thrown, and nothing against the policy of the page; it has no icon, and elsewhere there is nothing.
  assert.deepEqual(complaints.filter((text) => !/favicon|ERR_INTERNET_DISCONNECTED/.test(text)), []);
});

const names = (events) => events.map(({ name }) => name);
const signal = (name, value) =>
  page.addInitScript(([name, value]) => Object.defineProperty(Navigator.prototype, name, { get: () => value }), [name, value]);
/** Leaves the page, so that it is hidden and reports. */
const leave = () => page.goto("about:blank");

test("a page view says where, and whence, and no more", async () => {
  await page.goto(`${place.shop}/blog/first?email=ada@example.org&utm_source=news&utm_campaign=spring#token=1`, {
    referer: "http://mail.example/inbox?to=ada@example.org",
  });
  const [view, ...more] = await place.arrived(1);
  assert.deepEqual(more, []);
  const { id, time, sent, ...rest } = view;
  assert.deepEqual(rest, {
    type: "web",
    name: "pageview",
    url: `${place.shop}/blog/first?utm_source=news&utm_campaign=spring`,
    referrer: "http://mail.example",
    consent: {},
    signals: { gpc: false, dnt: false },
  });
  assert.match(id, /^0\.[a-z0-9]+$/);
  assert.ok(time <= sent && sent <= Date.now());
  const [request, ...others] = place.requests;
  assert.deepEqual(others, [], "no preflight");
  assert.equal(request.url, "/v1/events?site=shop");
  assert.match(request.headers["content-type"], /^text\/plain/);
  assert.equal(request.headers.origin, place.shop);
  assert.equal(request.headers.cookie, undefined);
});

test("nothing is stored in the browser", async () => {
  await page.goto(`${place.shop}/?asks`);
  await page.evaluate(() => window.quorate.consent({ website: true }));
  await place.arrived(1);
  const stored = await page.evaluate(async () => ({
    cookie: document.cookie,
    local: localStorage.length,
    session: sessionStorage.length,
    databases: (await indexedDB.databases()).length,
  }));
  assert.deepEqual(stored, { cookie: "", local: 0, session: 0, databases: 0 });
  assert.deepEqual(await context.cookies(), []);
});

test("pages of one document are views of their own", async () => {
  await page.goto(`${place.shop}/a`, { referer: "http://mail.example/" });
  await page.evaluate(() => {
    history.pushState({}, "", "/b");
    history.pushState({}, "", "/b?page=2#end");
    history.replaceState({}, "", "/c");
    history.replaceState({ scroll: 10 }, "");
  });
  await place.views(3);
  await page.goBack();
  const events = await place.views(4);
  // Two went back: `/c` took the place of the second `/b`.
  assert.deepEqual(events.map(({ url }) => new URL(url).pathname), ["/a", "/b", "/c", "/b"]);
  assert.deepEqual(names(events), Array(4).fill("pageview"));
  assert.deepEqual(events.map(({ referrer }) => referrer), ["http://mail.example", null, null, null]);
  assert.equal(new Set(events.map(({ id }) => id)).size, 4);
});

test("a page that comes back from the cache is another view", async () => {
  await page.goto(`${place.shop}/a`);
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: false }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  assert.deepEqual(names(await place.arrived(2)), ["pageview", "pageview"]);
});

test("a page that comes back waits for what the visitor has decided meanwhile", async () => {
  const back = () => {
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  };
  await page.goto(`${place.shop}/a?asks`);
  await page.evaluate(() => window.quorate.consent({ website: true }));
  await place.views(1);
  await page.evaluate(back);
  assert.equal((await place.views(1)).length, 1, "the old grant is none");
  await page.evaluate(() => window.quorate.consent({ website: false }));
  const [, refused] = await place.views(2);
  assert.deepEqual([refused.name, refused.consent, refused.url], ["pageview", { website: false }, undefined]);
});

for (const asks of ["", "?asks"])
  test(`what the site tells of a page that comes back comes first, from before the tracker or after it ${asks}`, async () => {
    const listen = (objects) => addEventListener("pageshow", () => window.objects === objects && window.quorate.consent({ website: !objects }));
    const back = (objects) => {
      window.objects = objects;
      dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    };
    await page.addInitScript(listen, true);
    await page.goto(`${place.shop}/a${asks}`);
    await page.evaluate(() => window.quorate.consent({ website: true }));
    await place.views(1);
    await page.evaluate(back, true);
    await place.views(2);
    await page.evaluate(listen, false);
    await page.evaluate(back, false);
    const events = await place.views(3);
    assert.deepEqual(
      events.map(({ name, consent, url }) => [name, consent.website ?? true, url !== undefined]),
      [["pageview", true, true], ["pageview", false, false], ["pageview", true, true]],
    );
  });

test("a page that the browser itself brings back from its cache waits likewise", async () => {
  // Playwright turns that cache off.
  const caching = await launch({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  try {
    const page = await caching.newPage();
    await page.goto(`${place.shop}/a?asks`);
    await page.evaluate(() => {
      window.quorate.consent({ website: true });
      addEventListener("pageshow", ({ persisted }) => (window.back = persisted));
    });
    await place.views(1);
    await page.goto(`${place.stats}/nothing`);
    await page.evaluate(() => void setTimeout(() => history.back(), 10));
    await page.waitForURL(`${place.shop}/a?asks`, { waitUntil: "commit" });
    await page.waitForFunction(() => window.back);
    assert.equal((await place.views(1)).length, 1);
    await page.evaluate(() => window.quorate.consent({ website: false }));
    const [, refused] = await place.views(2);
    assert.deepEqual([refused.name, refused.url], ["pageview", undefined]);
  } finally {
    await caching.close();
  }
});

test("a page that is made in advance counts once, when it is shown", async () => {
  await page.addInitScript(() => {
    window.ahead = true;
    Object.defineProperty(Document.prototype, "prerendering", { get: () => window.ahead });
    Object.defineProperty(Document.prototype, "hidden", { get: () => window.ahead });
  });
  await page.goto(`${place.shop}/a`, { referer: "http://mail.example/" });
  await page.evaluate(() => {
    history.replaceState({}, "", "/b");
    window.quorate("signup");
    window.quorate.consent({ website: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  assert.deepEqual(await place.arrived(0), []);
  await page.evaluate(() => {
    window.ahead = false;
    document.dispatchEvent(new Event("prerenderingchange"));
    document.dispatchEvent(new Event("visibilitychange"));
  });
  const events = await place.arrived(2);
  assert.deepEqual(events.map(({ name, url }) => [name, url]), [["pageview", `${place.shop}/b?`], ["signup", `${place.shop}/b?`]]);
  assert.equal(events[0].referrer, "http://mail.example");
});

test("a page that has the tag twice counts once", async () => {
  await page.goto(`${place.shop}/a`);
  await page.evaluate(
    () =>
      new Promise((done) => {
        const again = document.createElement("script");
        const { src, dataset } = document.querySelector("script");
        Object.assign(again, { src, onload: done });
        Object.assign(again.dataset, dataset);
        window.first = window.quorate;
        document.head.append(again);
      }),
  );
  await page.evaluate(() => history.pushState({}, "", "/b"));
  assert.deepEqual((await place.views(2)).map(({ url }) => new URL(url).pathname), ["/a", "/b"]);
  assert.ok(await page.evaluate(() => window.first === window.quorate));
});

test("a site of one's own is no referrer", async () => {
  await page.goto(`${place.shop}/a`);
  await page.click("#in");
  const events = await place.views(2);
  assert.deepEqual(events.map(({ referrer }) => referrer ?? null), [null, null]);
});

test("links that lead away are counted, and to which site, but not to which page", async () => {
  await page.goto(`${place.shop}/short`);
  await page.evaluate(() => addEventListener("click", (event) => event.preventDefault()));
  for (const selector of ["#in", "h1", "#out b"]) await page.click(selector);
  await page.click("#out", { button: "middle" });
  await page.click("#out", { button: "right" });
  const events = await place.views(3);
  assert.deepEqual(names(events), ["pageview", "outbound_link", "outbound_link"]);
  const elsewhere = new URL(place.stats);
  elsewhere.hostname = "elsewhere.example";
  assert.deepEqual(events.map(({ target }) => target), [undefined, elsewhere.origin, elsewhere.origin]);
  assert.ok(!JSON.stringify(place.requests.map(({ body }) => body)).includes("secret"));
});

test("time in use and depth of reading", async () => {
  await page.clock.install();
  await page.goto(`${place.shop}/long`);
  await page.clock.fastForward(10_000);
  await page.mouse.move(10, 10);
  const half = () => scrollTo(0, document.documentElement.scrollHeight / 2 - innerHeight);
  await page.evaluate(half);
  await page.clock.fastForward(5_000);
  await page.mouse.move(20, 20);
  // Away from the keyboard for an hour: of it half a minute may have been reading.
  await page.clock.fastForward(3_600_000);
  await leave();
  const [, stay, ...more] = await place.arrived(2);
  assert.deepEqual(more, []);
  assert.equal(stay.name, "engagement");
  assert.ok(Math.abs(stay.engaged - 45_000) < 2_000, String(stay.engaged));
  assert.ok(Math.abs(stay.scroll_depth - 50) <= 2, String(stay.scroll_depth));
  assert.equal(new URL(stay.url).pathname, "/long");
});

test("the stay on a page of one document belongs to that page", async () => {
  await page.clock.install();
  await page.goto(`${place.shop}/a`);
  await page.clock.fastForward(4_000);
  await page.evaluate(() => history.pushState({}, "", "/b"));
  await page.clock.fastForward(2_000);
  await leave();
  const events = await place.arrived(4);
  assert.deepEqual(
    events.map(({ name, url }) => `${name} ${new URL(url).pathname}`),
    ["pageview /a", "engagement /a", "pageview /b", "engagement /b"],
  );
  assert.ok(Math.abs(events[1].engaged - 4_000) < 1_000 && Math.abs(events[3].engaged - 2_000) < 1_000);
});

test("a page that was hardly seen reports no stay", async () => {
  await page.clock.setFixedTime(new Date());
  await page.goto(`${place.shop}/a`);
  await leave();
  assert.deepEqual(names(await place.arrived(1)), ["pageview"]);
});

test("events of the site's own", async () => {
  await page.addInitScript(() => (window.quorate = { q: [["login"]] }));
  await page.goto(`${place.shop}/a`);
  await page.waitForFunction(() => typeof window.quorate === "function");
  await page.evaluate(() => window.quorate("signup", { plan: "pro" }));
  const events = await place.arrived(3);
  assert.deepEqual(names(events), ["pageview", "login", "signup"]);
  assert.equal(events[2].plan, "pro");
  assert.equal(events[2].url, `${place.shop}/a?`);
});

for (const [name, value, said] of [
  ["globalPrivacyControl", true, { gpc: true, dnt: false }],
  ["doNotTrack", "1", { gpc: false, dnt: true }],
]) {
  test(`${name}: the event counts and says nothing else`, async () => {
    await signal(name, value);
    await page.clock.install();
    await page.goto(`${place.shop}/private?utm_source=news`, { referer: "http://mail.example/" });
    await page.evaluate(() => {
      // A grant does not outweigh the signal.
      window.quorate.consent({ website: true });
      window.quorate("signup", { plan: "pro" });
      addEventListener("click", (event) => event.preventDefault());
      document.querySelector("#out").click();
    });
    await page.clock.fastForward(20_000);
    await leave();
    const events = await place.arrived(3);
    assert.deepEqual(names(events), ["pageview", "signup", "outbound_link"], "nothing is measured of the stay");
    for (const event of events) {
      assert.deepEqual(event.signals, said);
      assert.deepEqual(Object.keys(event).sort(), ["consent", "id", "name", "sent", "signals", "time", "type"]);
    }
  });
}

test("where consent is needed, events wait for it", async () => {
  await page.goto(`${place.shop}/a?asks`);
  await page.evaluate(() => window.quorate("signup"));
  assert.deepEqual(await place.arrived(0), []);
  await page.evaluate(() => window.quorate.consent({ website: { granted: true, version: "2026-01-01" } }));
  const events = await place.arrived(2);
  assert.deepEqual(names(events), ["pageview", "signup"]);
  for (const { consent, url } of events) {
    assert.deepEqual(consent, { website: { granted: true, version: "2026-01-01" } });
    assert.ok(url);
  }
});

test("a grant says to which text and when, and nothing that waited for it happened before", async () => {
  await page.clock.install();
  await page.goto(`${place.shop}/a?asks`);
  await page.clock.fastForward(60_000);
  const at = await page.evaluate(() => {
    const at = Date.now();
    window.quorate.consent({ website: { granted: true, version: "2026-01-01", at } });
    return at;
  });
  const [{ consent, time }] = await place.arrived(1);
  assert.deepEqual(consent, { website: { granted: true, version: "2026-01-01", at } });
  assert.ok(time >= at, `${time} is before ${at}`);
});

// What a site's consent manager has pushed before the tracker runs, and whether the first view waits, is whole or bare.
for (const [what, asks, calls, expected] of [
  ["nothing", true, [], undefined],
  ["a default that denies, where the tracker asks", true, [["default", { analytics_storage: "denied" }]], undefined],
  ["a default that denies, where it does not", false, [["default", { analytics_storage: "denied" }]], false],
  ["a default that grants", true, [["default", { analytics_storage: "granted", ad_storage: "denied" }]], true],
  ["an update that grants", true, [["default", { analytics_storage: "denied" }], ["update", { analytics_storage: "granted" }]], true],
  ["an update that denies", true, [["default", { analytics_storage: "granted" }], ["update", { analytics_storage: "denied" }]], false],
  ["a default of some region that grants", true, [["default", { analytics_storage: "granted", region: ["US"] }]], undefined],
  ["another type", true, [["update", { ad_storage: "granted" }]], undefined],
  [
    "a default of some region that denies",
    true,
    [["default", { analytics_storage: "denied", region: ["DK"] }], ["default", { analytics_storage: "granted" }]],
    undefined,
  ],
])
  test(`Google's consent mode says ${what}`, async () => {
    await page.addInitScript((calls) => {
      window.dataLayer = [{ event: "gtm.js" }, null, ["js", new Date()], ...calls.map((call) => ["consent", ...call])];
    }, calls);
    await page.goto(`${place.shop}/a?google=analytics_storage${asks ? "&asks" : ""}`);
    if (expected === undefined) assert.deepEqual(await place.arrived(0), []);
    await leave();
    const [view] = await place.views(1);
    assert.deepEqual([view.consent.website, view.url !== undefined], [expected, expected === true]);
    assert.ok(!JSON.stringify(view).includes("storage"), "what it holds does not leave the browser");
  });

/** A consent manager of the framework, which tells its listeners what `window.tell` is called with. */
const manager = () =>
  page.addInitScript(() => {
    window.__tcfapi = (command, version, listener) => {
      if (command === "addEventListener" && version === 2)
        window.tell = (eventStatus, consents, works = true) => listener({ eventStatus, tcString: "CPcanary", purpose: { consents } }, works);
    };
  });

test("what the framework's manager holds decides once the visitor has, and does not leave the browser", async () => {
  await manager();
  await page.goto(`${place.shop}/a?asks&tcf=1,8`);
  await page.evaluate(() => window.tell("cmpuishown", { 1: true, 8: true }));
  await page.evaluate(() => window.tell("tcloaded", { 1: true, 8: true }, false));
  assert.deepEqual(await place.arrived(0), []);
  await page.evaluate(() => window.tell("useractioncomplete", { 1: true, 8: true, 9: false }));
  const [view] = await place.views(1);
  assert.deepEqual([view.consent, view.url !== undefined], [{ website: true }, true]);
  await page.evaluate(() => {
    window.tell("useractioncomplete", { 1: true });
    window.quorate("signup");
  });
  const [, bare] = await place.arrived(2);
  assert.deepEqual([bare.name, bare.consent, bare.url], ["signup", { website: false }, undefined]);
  assert.ok(!JSON.stringify(place.requests ?? [view, bare]).includes("canary"));
});

test("of several who speak for the visitor the strictest wins", async () => {
  await manager();
  await page.addInitScript(() => (window.dataLayer = [["consent", "update", { analytics_storage: "granted" }]]));
  await page.goto(`${place.shop}/a?asks&google=analytics_storage&tcf=1`);
  const [granted] = await place.views(1);
  assert.deepEqual(granted.consent, { website: true });
  await page.evaluate(() => {
    window.quorate.consent({ website: { granted: true, version: "1" } });
    window.quorate("signup");
    window.tell("tcloaded", { 1: false });
    window.quorate("signup");
    window.tell("tcloaded", { 1: true });
    window.quorate.consent({ website: false });
    window.quorate("signup");
  });
  const events = (await place.arrived(4)).slice(1);
  assert.deepEqual(
    events.map(({ consent, url }) => [consent.website, url !== undefined]),
    [
      [{ granted: true, version: "1" }, true],
      [false, false],
      [false, false],
    ],
  );
});

test("a page that comes back does not trust what managers said before it went", async () => {
  await manager();
  await page.addInitScript(() => (window.dataLayer = [["consent", "update", { analytics_storage: "granted" }]]));
  await page.goto(`${place.shop}/a?asks&google=analytics_storage&tcf=1`);
  await page.evaluate(() => window.tell("tcloaded", { 1: true }));
  await place.views(1);
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  assert.equal((await place.views(1)).length, 1);
  await page.evaluate(() => window.tell("tcloaded", { 1: true }));
  assert.equal((await place.views(2)).length, 2);
});

test("consent that is withdrawn ends it", async () => {
  await page.clock.install();
  await page.goto(`${place.shop}/a?asks`);
  await page.evaluate(() => window.quorate.consent({ website: true }));
  await place.arrived(1);
  await page.clock.fastForward(9_000);
  await page.evaluate(() => {
    window.quorate.consent({ website: false });
    history.pushState({}, "", "/b");
  });
  const events = await place.arrived(2);
  await leave();
  assert.deepEqual(names(await place.arrived(2)), ["pageview", "pageview"]);
  assert.ok(events[0].url);
  assert.deepEqual(events[1].consent, { website: false });
  assert.equal(events[1].url, undefined);
});

test("what happened under a refusal stays bare after a grant, and its stay is nobody's", async () => {
  await page.clock.install();
  await page.goto(`${place.shop}/a`);
  await place.arrived(1);
  await page.evaluate(() => window.quorate.consent({ website: false }));
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.clock.fastForward(9_000);
  await page.evaluate(() => window.quorate.consent({ website: true }));
  await page.evaluate(() => scrollTo(0, 0));
  await page.clock.fastForward(3_000);
  await page.evaluate(() => history.pushState({}, "", "/b"));
  const [, stay] = await place.arrived(3);
  assert.equal(stay.name, "engagement");
  assert.ok(stay.engaged >= 3_000 && stay.engaged < 6_000, String(stay.engaged));
});

test("what happened under a refusal while offline is sent bare", async () => {
  await page.goto(`${place.shop}/a`);
  await place.arrived(1);
  await context.setOffline(true);
  await page.evaluate(() => {
    window.quorate.consent({ website: false });
    history.pushState({}, "", "/secret");
    window.quorate("signup", { plan: "pro" });
    window.quorate.consent({ website: true });
    history.pushState({}, "", "/open");
  });
  await context.setOffline(false);
  const events = (await place.views(4)).slice(1);
  assert.deepEqual(
    events.map(({ name, url, plan }) => [name, url, plan]),
    [["pageview", undefined, undefined], ["signup", undefined, undefined], ["pageview", `${place.shop}/open?`, undefined]],
  );
});

test("a decision of an earlier page holds from the first event on", async () => {
  await page.addInitScript(() => (window.quorate = { said: { website: false } }));
  await page.goto(`${place.shop}/a`);
  const [view] = await place.arrived(1);
  assert.deepEqual([view.name, view.consent, view.url], ["pageview", { website: false }, undefined]);
});

test("who refuses, or leaves without a decision, is counted and nothing else", async () => {
  await page.goto(`${place.shop}/a?asks`);
  await leave();
  await page.goto(`${place.shop}/a?asks`);
  await page.evaluate(() => window.quorate.consent({ website: { granted: false } }));
  const events = await place.arrived(2);
  assert.deepEqual(names(events), ["pageview", "pageview"]);
  for (const { url, referrer } of events) assert.deepEqual([url, referrer], [undefined, undefined]);
});

test("offline, events wait in memory, and go when the network is back", async () => {
  await page.goto(`${place.shop}/a`);
  await place.arrived(1);
  await context.setOffline(true);
  await page.evaluate(() => {
    history.pushState({}, "", "/b");
    for (let count = 0; count < 200; count++) window.quorate("search");
  });
  assert.equal((await place.arrived(0)).length, 1);
  await page.waitForTimeout(300);
  await context.setOffline(false);
  const events = (await place.arrived(101)).slice(1);
  assert.equal(events.length, 100, "the oldest went first");
  assert.equal(place.requests.length, 2, "in one request");
  assert.ok(events.every(({ time, sent }) => sent - time >= 200), "by one clock, so that the server can tell when");
});

test("where a beacon is refused, fetch sends it, and keeps what failed", async () => {
  await page.addInitScript(() => {
    Navigator.prototype.sendBeacon = () => false;
    const own = fetch;
    let calls = 0;
    window.fetch = (...call) => (calls++ ? own(...call) : Promise.reject(new TypeError("no network")));
  });
  await page.goto(`${place.shop}/a`);
  assert.deepEqual(await place.arrived(0), []);
  await page.evaluate(() => window.quorate("signup"));
  assert.deepEqual(names(await place.arrived(2)), ["pageview", "signup"]);
  assert.deepEqual(place.requests.map(({ method }) => method), ["POST"], "no preflight");
  assert.match(place.requests[0].headers["content-type"], /^text\/plain/);
});

test("events that are more than a page may leave behind are sent all the same, and stop nothing", async () => {
  await page.goto(`${place.shop}/a`);
  await page.evaluate(() => {
    // 75,000 bytes, in a third of the units.
    window.quorate("search", { words: "€".repeat(25_000) });
    window.quorate("signup");
  });
  assert.deepEqual(names(await place.arrived(3)).sort(), ["pageview", "search", "signup"]);
  await context.setOffline(true);
  await page.evaluate(() => {
    for (let count = 0; count < 100; count++) window.quorate("search", { words: "w".repeat(700) });
  });
  await context.setOffline(false);
  assert.equal((await place.arrived(103)).length, 103);
});

test("the module does the same, started by a call", async () => {
  await page.goto(`${place.stats}/nothing`);
  await page.evaluate(async (stats) => {
    const { start } = await import(`${stats}/index.js`);
    start({ site: "shop", server: stats })("signup");
    start({ site: "shop", server: stats })("login");
  }, place.stats);
  assert.deepEqual(names(await place.arrived(3)), ["pageview", "signup", "login"], "and once");
});
