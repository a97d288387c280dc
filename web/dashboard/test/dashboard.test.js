// The dashboard in Chromium, under the policy that the service sets.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { goTo, launch } from "../../tools/browser.js";
import { STATISTICS, TOKEN, start } from "./service.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser;
let service;
let context;
let page;
let complaints;
let requested;

before(async () => (browser = await launch()));
after(() => browser.close());
beforeEach(async () => {
  service = await start();
  await open();
});
afterEach(async () => {
  await context.close();
  service.close();
  assert.deepEqual(complaints, [], "nothing thrown, nothing against the policy");
  const strangers = requested.filter((url) => !url.startsWith(service.url) && !url.startsWith("blob:"));
  assert.deepEqual(strangers, [], "nobody else is asked");
});

async function open(options = {}) {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  page = await context.newPage();
  // Machines that do other things beside are slow.
  page.setDefaultTimeout(30_000);
  complaints = [];
  requested = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && !/status of (401|404|503)|ERR_EMPTY_RESPONSE/.test(message.text()) && complaints.push(message.text()));
  page.on("request", (request) => requested.push(request.url()));
}

async function signIn(hash = "") {
  await page.goto(`${service.url}/${hash}`);
  await page.getByLabel("Read token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation").waitFor();
  await quiet();
}

const quiet = () => page.waitForFunction(() => !document.querySelector("[aria-busy]"), null, { polling: 100 });
const visit = async (hash) => {
  await goTo(page, hash);
  await quiet();
};
const heading = (level = 1) => page.getByRole("heading", { level }).first().textContent();

test("a token opens the page, and signing out closes it", async () => {
  await page.goto(service.url);
  await page.getByLabel("Read token").fill("qr_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "unknown or revoked" }).waitFor();
  await page.getByLabel("Read token").fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Statistics", level: 1 }).waitFor();
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ""]);
  await page.reload();
  await page.getByRole("heading", { name: "Statistics", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Read token").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("quorate.token")), null);
  assert.ok(requested.every((url) => !url.includes(TOKEN)), "the token is in no address");
});

test("a revoked token ends the session where it is noticed", async () => {
  await signIn();
  service.state.revoked = true;
  await visit("#/s/visitors?by=country");
  await page.getByRole("alert").filter({ hasText: "unknown or revoked" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("quorate.token")), null);
  await page.evaluate(() => (location.hash = "#/live"));
  await page.getByRole("alert").filter({ hasText: "unknown or revoked" }).waitFor();
});

test("every statistic is there, with its protection beside the number", async () => {
  await signIn();
  for (const { title } of STATISTICS) await page.getByRole("link", { name: title }).waitFor();
  const cards = page.locator(".card");
  assert.equal(await cards.count(), STATISTICS.length);
  const texts = await cards.allTextContents();
  assert.equal(texts.filter((text) => text.includes("staff-only, not anonymous")).length, 3);
  assert.equal(texts.filter((text) => text.includes("gaussian · rho 0.05")).length, 1);
});

test("every statistic, grouping and measure has a chart, a table and its question", async () => {
  await signIn();
  for (const { name, groupings, measures } of STATISTICS)
    for (const by of groupings)
      for (const measure of measures) {
        await visit(`#/s/${name}?by=${by.join(",")}&measure=${measure}&last=30`);
        const chart = page.locator(".chart svg[role=img]");
        await chart.waitFor();
        assert.match(await chart.getAttribute("aria-label"), /The table below holds every value/);
        assert.ok((await page.locator(".chart path").count()) > 0);
        if (by.length > 0) assert.ok((await page.locator("table.groups tbody tr").count()) > 1);
        const [sql, curl] = [await page.locator(".code pre").nth(1).textContent(), await page.locator(".code pre").nth(0).textContent()];
        assert.match(sql, new RegExp(`from ${name}\nwhere grouping = '${by.join(", ")}'`));
        assert.ok(curl.includes(`"from":"${name}","by":${JSON.stringify(by)}`));
      }
});

test("the table holds the numbers of the answer, and says what is not shown", async () => {
  await signIn("#/s/visitors?by=country&last=7");
  await page.getByText("Table of 7 days").click();
  await page.locator(".scroll tbody tr").first().waitFor();
  const cells = await page.locator(".scroll tbody tr").first().locator("th, td").allTextContents();
  // The day before the end is the first step of the wave: 100 + 5 for the largest, ten less for each that follows.
  assert.deepEqual(cells.slice(0, 3), ["21 Nov 2026", "105", "95"]);
  const france = await page.locator(".scroll thead th").allTextContents().then((heads) => heads.indexOf("France"));
  const column = await page.locator(".scroll tbody tr").evaluateAll((rows, index) => rows.map((row) => row.children[index].textContent), france);
  assert.equal(column.filter((text) => text === "not shown").length, 2);
  await page.getByText("Groups with fewer than 10 visitors are not shown").waitFor();
  await page.getByText("A line has gaps where a group had fewer than 10 visitors, or would give one away.").waitFor();
  await page.getByRole("row", { name: "Groups with fewer than 10 visitors not shown in 2 of 7", exact: true }).waitFor();
  const last = await page.locator(".scroll tbody tr td:last-child").allTextContents();
  assert.equal(last.filter((text) => text === "some groups, not shown").length, 2);
  assert.equal(await page.locator('.chart [data-mark="rect"] rect').count(), 2, "and the chart marks them");
});

test("what a group is called is text", async () => {
  await signIn("#/s/visitors?by=country");
  await page.getByRole("link", { name: "<b>X'X</b>" }).click();
  await quiet();
  assert.ok((await page.locator(".legend").textContent()).includes("<b>X'X</b>"));
  // In what is shown to be copied too: as a word of a shell, and as a text of SQL.
  const [curl, sql] = await page.locator(".code pre").allTextContents();
  const said = execFileSync("sh", ["-c", `curl() { printf '%s\\0' "$@"; }\n${curl}`], { encoding: "utf8" });
  assert.deepEqual(JSON.parse(said.split("\0")[4]).where, { country: "<b>X'X</b>" });
  assert.ok(sql.includes("and country = '<b>X''X</b>'"), sql);
});

test("a group that a link makes up is none: it is in no command, and nothing is filtered by it", async () => {
  await signIn(`#/s/visitors?by=country&only=${encodeURIComponent("DK'; echo harm; echo '")}`);
  assert.ok((await page.locator(".legend li").count()) > 2, "all groups are shown");
  for (const text of await page.locator(".code pre").allTextContents()) assert.ok(!/harm|where"|and country/.test(text), text);
  await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download CSV" }).click()]);
  assert.equal(service.state.asked.at(-1).where, undefined);
});

test("what is shown as HTTP and SQL is what the chart shows: the group, and the span before", async () => {
  await signIn(`#/s/visitors?by=country,device_class&only=${encodeURIComponent("DK · desktop")}&last=7`);
  await page.getByRole("link", { name: "Show all groups" }).waitFor();
  const shown = async () => {
    const [curl, sql] = await page.locator(".code pre").allTextContents();
    return { question: JSON.parse(curl.match(/-d '(.*)'$/)[1]), sql };
  };
  const { question, sql } = await shown();
  assert.deepEqual(question, { from: "visitors", by: ["country", "device_class"], between: ["2026-11-08", "2026-11-22"], where: { country: "DK", device_class: "desktop" } });
  for (const part of ["and country = 'DK'", "and device_class = 'desktop'", ">= timestamp '2026-11-08T00:00:00Z'", "< timestamp '2026-11-22T00:00:00Z'"]) assert.ok(sql.includes(part), sql);
  await page.getByLabel("Compare with the span before").uncheck();
  await page.waitForFunction(() => location.hash.includes("compare=no"));
  await quiet();
  assert.deepEqual((await shown()).question.between, ["2026-11-15", "2026-11-22"]);
  await visit("#/s/visitors?by=country&only=(none)");
  assert.ok((await shown()).sql.includes("and country is null"));
});

test("a mean of some days says of how many, and so does what it is compared with", async () => {
  service.state.only = ["2026-11-20", "2026-11-19", "2026-10-20"];
  await signIn();
  const card = page.locator(".card").filter({ hasText: "Visitors a day" });
  await card.getByText("visitors, mean of the 2 of 30 days that are shown").waitFor();
  await card.locator(".figure .about").filter({ hasText: "against 1 of 30 days of the span before" }).waitFor();
  await visit("#/s/visitors");
  await page.getByText("visitors, mean of the 2 of 30 days that are shown").waitFor();
  await page.getByText("in the span before (1 of 30 days shown)").waitFor();
  assert.match(await page.locator(".chart svg[role=img]").getAttribute("aria-label"), /mean of the 2 of 30 days that are shown/);
  assert.equal(await page.getByText("on average").count(), 0);
  await visit("#/s/visitors?by=country");
  await page.getByRole("row", { name: /^Germany .* 2 of 30, before 1$/ }).waitFor();
});

test("epochs are as long as the package says, also where all of them are hidden", async () => {
  service.state.allHidden = true;
  await signIn("#/s/published?last=90");
  await page.getByText("One value a key epoch of 10 days, UTC.").waitFor();
  await page.getByText("Nothing is shown of this span: 9 of 9 periods had events, but of too few devices.").waitFor();
  await visit("#/overview?last=90");
  await page.locator(".card").filter({ hasText: "Devices, for publication" }).getByText("9 of 9 periods had events").waitFor();
});

test("a broken link opens a page all the same", async () => {
  await page.goto(`${service.url}/#/%`);
  await page.getByLabel("Read token").waitFor();
  await signIn("#/s/visitors?from=2026-13-01&to=2026-14-01");
  await page.locator(".chart svg").waitFor();
  assert.equal(await page.getByLabel("Time").inputValue(), "30");
});

test("a service that is away for a while costs nobody the token", async () => {
  await signIn("#/s/visitors");
  service.state.gone = true;
  await page.reload();
  await page.getByRole("alert").filter({ hasText: "The service cannot be reached." }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("quorate.token")), TOKEN);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("alert").filter({ hasText: "The service cannot be reached." }).waitFor();
  service.state.gone = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("heading", { name: "Visitors a day", level: 1 }).waitFor();
});

for (const [hash, content] of [["#/live", "Now"], ["#/setup", "No event since the service started, 22 Nov 2026"]])
  test(`${hash}: a service that is gone does not look alive`, async () => {
    await signIn(hash);
    await page.getByRole("heading", { name: content }).waitFor();
    const alert = page.getByRole("alert").filter({ hasText: /The service cannot be reached; what is shown here is of \d+ \w+, \d\d:\d\d UTC\./ });
    assert.equal(await alert.count(), 0);
    service.state.gone = true;
    await alert.waitFor();
    service.state.gone = false;
    await alert.waitFor({ state: "detached" });
  });

test("a group can be seen alone, against the span before", async () => {
  await signIn("#/s/visitors?by=country&last=14");
  await page.getByRole("link", { name: "Denmark" }).click();
  await page.getByRole("link", { name: "Show all groups" }).waitFor();
  await page.getByText("Dotted: 25 Oct to 7 Nov 2026").waitFor();
  assert.ok(page.url().includes("only=DK"));
  await page.getByLabel("Compare with the span before").uncheck();
  await quiet();
  assert.equal(await page.getByText("Dotted:").count(), 0);
});

test("a link keeps the view", async () => {
  await signIn();
  await page.getByRole("link", { name: "Use a day" }).click();
  await quiet();
  await page.getByLabel("Broken down by").selectOption("product");
  await quiet();
  await page.getByLabel("Measure").selectOption("p95_duration");
  await quiet();
  await page.getByLabel("Time").selectOption("90");
  await quiet();
  const address = page.url();
  await open();
  await signIn(address.slice(address.indexOf("#")));
  assert.equal(await heading(), "Use a day");
  assert.equal(await page.getByLabel("Broken down by").inputValue(), "product");
  assert.equal(await page.getByLabel("Measure").inputValue(), "p95_duration");
  assert.equal(await page.getByLabel("Time").inputValue(), "90");
});

test("dates of one's own", async () => {
  await signIn("#/s/visitors?from=2026-11-01&to=2026-11-10");
  await page.getByText("1 Nov to 10 Nov 2026.").waitFor();
  await page.getByLabel("To", { exact: true }).fill("2026-11-12");
  await page.getByText("1 Nov to 12 Nov 2026.").waitFor();
  assert.ok(page.url().includes("to=2026-11-12"));
});

test("downloads, in both formats, of what is seen", async () => {
  await signIn("#/s/visitors?by=country&only=DK&last=30");
  for (const [label, name, content] of [
    ["Download CSV", "visitors-country.csv", "as text/csv"],
    ["Download Parquet", "visitors-country.parquet", "as application/vnd.apache.parquet"],
  ]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: label }).click()]);
    assert.equal(download.suggestedFilename(), name);
    assert.equal(readFileSync(await download.path(), "utf8"), content);
  }
  assert.deepEqual(service.state.asked.at(-1), { from: "visitors", by: ["country"], between: ["2026-09-23", "2026-11-22"], where: { country: "DK" } });
});

test("an interval is drawn where there is one", async () => {
  await signIn("#/s/published?last=365");
  await page.getByRole("heading", { name: "Devices, for publication" }).waitFor();
  await page.locator(".chart svg").waitFor();
  assert.equal(await page.locator('.chart [data-mark="area"] path').count(), 1);
  await visit("#/s/visitors");
  await page.getByRole("heading", { name: "Visitors a day" }).waitFor();
  await page.locator(".chart svg").waitFor();
  assert.equal(await page.locator('.chart [data-mark="area"] path').count(), 0);
});

test("an empty store says how to begin, and changes by itself", async () => {
  service.state.empty = true;
  await signIn();
  assert.equal(await heading(), "Send the first event");
  await page.getByRole("heading", { name: "Waiting for the first event" }).waitFor();
  await page.getByText('<script defer src="https://events.example.org/quorate.js"').waitFor();
  service.state.live.families = [
    { family: "web", any: true, accepted: 0, recent: 0, refused: { wrong_type: 0 }, undeclared: 0 },
    { family: "device_usage", any: false, accepted: 0, recent: 0, refused: {}, undeclared: 0 },
  ];
  service.state.live.last_event = new Date().toISOString();
  await page.getByRole("heading", { name: "Events arrive" }).waitFor();
  await page.getByText("fewer than 5 of web. ").waitFor();
  await page.getByText("Refused: fewer than 5 (a value of another type)").waitFor();
  assert.equal(await page.getByRole("status").textContent(), "The first event has arrived.");
  service.state.empty = false;
  await page.getByRole("heading", { name: "Statistics", level: 1 }).waitFor({ timeout: 25_000 });
});

test("live counts, by family and reason, rounded", async () => {
  service.state.live.families = [
    { family: "web", any: true, accepted: 1_230, recent: 70, refused: { too_long: 0 }, undeclared: 5 },
    { family: "device_usage", any: true, accepted: 0, recent: 0, refused: {}, undeclared: 0 },
    { family: "door", any: false, accepted: 0, recent: 0, refused: {}, undeclared: 0 },
    { family: null, any: true, accepted: 0, recent: 0, refused: { malformed: 20 }, undeclared: 0 },
  ];
  service.state.live.last_event = "2026-11-22T04:00:00.000Z";
  await signIn("#/live");
  await page.getByRole("row", { name: "web 1,230 70 fewer than 5 5", exact: true }).waitFor();
  await page.getByRole("row", { name: "device_usage fewer than 5 fewer than 5 0 fewer than 5", exact: true }).waitFor();
  await page.getByRole("row", { name: "door 0 0 0 0", exact: true }).waitFor();
  await page.getByRole("row", { name: "no JSON, or not an event malformed of no family 20", exact: true }).waitFor();
  await page.getByRole("row", { name: "longer than declared too_long web fewer than 5", exact: true }).waitFor();
  await page.getByText("Counts are rounded down to a multiple of 5.").waitFor();
  await page.getByText("The last event came after 22 Nov, 04:00 UTC.").waitFor();
  service.state.live.families[0].accepted = 1_300;
  await page.getByRole("row", { name: /web 1,300/ }).waitFor();
  await page.locator('.chart svg[aria-label*="70 since"]').waitFor();
});

test("data protection: what is collected, why, how long, and what became of it", async () => {
  await signIn("#/protection");
  await page.getByText("Example Ltd, under the policy of 2026-01-01. Data stays in EEA. Requests are answered within 30 days.").waitFor();
  await page.getByText("Never taken, and dropped where it is sent: name, e-mail, image.").waitFor();
  await page.getByRole("row", { name: "improve To make our products better consent", exact: true }).waitFor();
  await page.getByText("Sec-GPC: an objection").waitFor();
  await page.getByRole("row", { name: "Visitors a day visitors day threshold: groups of at least 10, counts rounded to 5", exact: true }).waitFor();
  assert.equal(await page.getByRole("link", { name: "The page for visitors" }).getAttribute("href"), "./privacy");
  await page.getByRole("row", { name: /Country the visitor is in country address country location website until 31 Dec 2027/ }).waitFor();
  await page.getByText("A pseudonym means nothing beyond 1 day; a row is gone 3 days after it came").waitFor();
  await page.getByRole("row", { name: "web 1,000 970 30", exact: true }).waitFor();
  await page.getByRole("row", { name: "No JSON, or not an event fewer than 5" }).waitFor();
  await page.getByText("Counts are rounded down to a multiple of 5.").waitFor();
  await page.getByRole("row", { name: "pseudonym, web 2 88 20 Nov 2026 21 Nov, 18:00 UTC" }).waitFor();
});

test("what fails says so, and can be tried again", async () => {
  await signIn();
  service.state.broken = true;
  await visit("#/s/visitors?by=country,device_class");
  await page.getByRole("alert").filter({ hasText: "cannot be read now" }).waitFor();
  service.state.broken = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".chart svg").waitFor();
});

test("by keyboard alone", async () => {
  await page.goto(service.url);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() || document.activeElement?.tagName);
  const tabTo = async (text) => {
    for (let count = 0; count < 40; count++) {
      await press("Tab");
      if ((await focused()).startsWith(text)) return;
    }
    assert.fail(`${text} is not reached`);
  };
  await page.waitForFunction(() => document.activeElement?.id === "token");
  await page.keyboard.type(TOKEN);
  await press("Enter");
  await page.getByRole("navigation").waitFor();
  await quiet();
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await tabTo("Use a day");
  await press("Enter");
  await page.getByRole("heading", { name: "Use a day", level: 1 }).waitFor();
  await quiet();
  assert.equal(await page.evaluate(() => document.activeElement.id), "main", "where one is, is where one reads on");
  await tabTo("Total");
  await press("p");
  await page.waitForFunction(() => location.hash.includes("by=product"));
  await quiet();
  await page.waitForFunction(() => document.activeElement?.tagName === "SELECT", null, { polling: 100 });
  await tabTo("viewer");
  await press("Enter");
  await page.waitForFunction(() => location.hash.includes("only=viewer"));
  await quiet();
  await tabTo("Table of 30 days");
  await press("Enter");
  await page.getByRole("region", { name: "Table of values" }).waitFor();
  await page.reload();
  await page.getByRole("navigation").waitFor();
  await press("Tab");
  assert.equal(await focused(), "Skip to the content");
});

const AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

for (const colorScheme of ["light", "dark"])
  for (const [size, viewport] of [
    ["desktop", { width: 1200, height: 900 }],
    ["phone", { width: 390, height: 844 }],
  ])
    test(`axe finds nothing: ${size}, ${colorScheme}`, async () => {
      await open({ colorScheme, viewport });
      service.state.live.families = [{ family: "web", any: true, accepted: 5, recent: 0, refused: { too_long: 0 }, undeclared: 5 }];
      const check = async (where) => {
        // The rules are run beside the page: its policy lets no other script in.
        await page.evaluate(axe);
        const { violations } = await page.evaluate((tags) => axe.run(document, { runOnly: tags }), AXE_TAGS);
        const found = violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
        assert.deepEqual(found, []);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${where} is ${wide} px too wide`);
      };
      await page.goto(service.url);
      await page.getByLabel("Read token").waitFor();
      await check("sign in");
      await signIn();
      await check("overview");
      for (const hash of ["#/s/visitors", "#/s/visitors?by=country", "#/s/usage?by=product&measure=p95_duration", "#/s/visitors?by=country&only=FR", "#/live", "#/protection", "#/setup", "#/s/nothing"]) {
        await visit(hash);
        await page.waitForTimeout(200);
        for (const summary of await page.locator("summary").all()) await summary.click();
        // What shows where a pointer is, is looked at too.
        const chart = page.locator(".chart svg[role=img]");
        if (await chart.count()) await chart.first().hover();
        await check(hash);
      }
    });
