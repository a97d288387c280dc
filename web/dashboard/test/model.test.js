// From rows to pictures, and from addresses to views.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { createServer } from "vite";

let vite;
let model;
let route;
let time;
let words;

before(async () => {
  vite = await createServer({ root: new URL("..", import.meta.url).pathname, server: { middlewareMode: true, ws: false }, appType: "custom", logLevel: "error", optimizeDeps: { noDiscovery: true } });
  [model, route, time, words] = await Promise.all(["model", "route", "time", "words"].map((name) => vite.ssrLoadModule(`/src/${name}.ts`)));
});
after(() => vite.close());

const DAY = 86_400_000;
const visitors = { name: "visitors", title: "Visitors a day", contributors: "visitors", columns: [{ name: "visitors", measure: "contributors", field: null, unit: null, about: null }], every: "day", period_ms: DAY, measures: ["visitors"], groupings: [[], ["country"]], complete_until: "2026-11-22T00:00:00.000Z" };
const row = (day, values) => ({ period_start: `${day}T00:00:00Z`, period_end: new Date(Date.parse(day) + DAY).toISOString(), ...values });
const view = (span, more = {}) => ({ page: "overview", span, compare: true, ...more });

test("a view survives its address", () => {
  for (const hash of ["#/overview", "#/s/visitors?by=country&measure=visitors&last=90&only=DK", "#/s/usage?by=product%2Cfeature&from=2026-01-01&to=2026-02-01&compare=no", "#/live", "#/setup", "#/s/visitors?by="])
    assert.equal(route.format(route.parse(hash)), hash);
  assert.deepEqual(route.parse("#/s/x?last=-1&from=2026-02-01&to=2026-01-01").span, { last: 30 });
  assert.equal(route.parse("#nonsense?%").page, "overview");
});

test("a broken address is a view all the same", () => {
  assert.equal(route.parse("#/%").page, "overview");
  assert.equal(route.parse("#/s/%E0%A4%A").statistic, "%E0%A4%A");
  for (const [from, to] of [["2026-13-01", "2026-14-01"], ["2026-01-01", "2026-99-99"], ["2026-02-01", "2026-02-30"], ["0001-01-01", "2026-01-01"]])
    assert.deepEqual(route.parse(`#/s/visitors?from=${from}&to=${to}`).span, { last: 30 }, `${from} to ${to}`);
});

test("a span is of whole periods, and so is the one before it", () => {
  const span = model.spanOf(view({ last: 7 }), visitors);
  assert.deepEqual([span.from, span.to, span.before].map(time.iso), ["2026-11-15", "2026-11-22", "2026-11-08"]);
  const weekly = { period_ms: 7 * DAY, complete_until: "2026-11-09T00:00:00.000Z" };
  assert.deepEqual([model.spanOf(view({ last: 3 }), weekly)].map(({ from, to }) => (to - from) / DAY), [7], "one period at least");
  const dates = model.spanOf(view({ from: "2026-10-10", to: "2026-10-31" }), weekly);
  assert.deepEqual([dates.from, dates.to, dates.before].map(time.iso), ["2026-10-12", "2026-10-26", "2026-09-28"], "weeks that lie in it as a whole");
  const epochs = model.spanOf(view({ last: 30 }), { every: "epoch", period_ms: 10 * DAY, complete_until: "2026-10-26T00:00:00.000Z" });
  assert.deepEqual([epochs.from, epochs.to, epochs.before].map(time.iso), ["2026-09-26", "2026-10-26", "2026-08-27"], "an epoch is as long as the package says");
  assert.equal(model.spanOf(view({ last: 7 }), { period_ms: DAY, complete_until: null }), null);
});

test("what is not shown is a gap if it is hidden, and in no mean", () => {
  const span = model.spanOf(view({ last: 4 }), visitors);
  const rows = [row("2026-11-15", { visitors: 40 }), row("2026-11-18", { visitors: 20 }), row("2026-11-20", { visitors: 30 }), row("2026-11-21", { visitors: null })];
  const { groups, gaps, periods } = model.picture({ rows, hidden_in: ["2026-11-19T00:00:00Z", "2026-11-01T00:00:00Z"] }, [], "visitors", span);
  const [all] = groups;
  assert.equal(periods, 4);
  assert.deepEqual(all.points.map(({ value }) => value), [20, null, 30, null]);
  assert.deepEqual([all.mean, all.meanBefore, all.shown, all.shownBefore], [25, 40, 2, 1], "and how many a mean is of is known");
  assert.deepEqual(all.points.map(({ hidden }) => hidden), [false, true, false, false]);
  assert.deepEqual(gaps.map(({ start, end }) => [time.iso(start), time.iso(end)]), [["2026-11-19", "2026-11-20"]]);
  assert.equal(words.changed(all.mean, all.meanBefore), "−38%");
});

test("a mean of some periods alone says of how many", () => {
  const [visitors_] = visitors.columns;
  const said = (column, shown, count) => words.average(column, "day", "days", words.shownOf(shown, count, "days"));
  assert.equal(said(visitors_, 90, 90), "visitors a day, on average");
  assert.equal(said(visitors_, 2, 90), "visitors, mean of the 2 of 90 days that are shown");
  const median = { name: "p50_duration", measure: "quantile", field: "duration", unit: "ms", about: null };
  assert.equal(said(median, 90, 90), "median duration, mean of the days");
  assert.equal(said(median, 1, 90), "median duration, mean of the 1 of 90 days that is shown");
});

test("groups come largest first, and only those that are shown in the span", () => {
  const span = model.spanOf(view({ last: 1 }), visitors);
  const rows = [row("2026-11-20", { country: "SE", visitors: 90 }), row("2026-11-21", { country: "DK", visitors: 15 }), row("2026-11-21", { country: "DE", visitors: 60 })];
  const { groups } = model.picture({ rows, hidden_in: [] }, ["country"], "visitors", span);
  assert.deepEqual(groups.map(({ key }) => key), ["DE", "DK"]);
  assert.equal(words.group("country", "DE"), "Germany");
});

test("intervals are read where the mechanism gives them", () => {
  const span = model.spanOf(view({ last: 1 }), visitors);
  const { groups } = model.picture({ rows: [row("2026-11-21", { visitors: 50, visitors_low: 44, visitors_high: 56 })], hidden_in: [] }, [], "visitors", span);
  assert.deepEqual([groups[0].points[0].low, groups[0].points[0].high], [44, 56]);
});

test("of the periods shown those that were revised are told", () => {
  const span = { from: Date.parse("2026-11-18"), to: Date.parse("2026-11-22") };
  const starts = ["2026-11-17T00:00:00Z", "2026-11-18T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"];
  assert.equal(words.revised(starts, span, 4, "days"), "revised after a replay: 2 of 4 days");
  assert.equal(words.revised([], span, 4, "days"), null);
});

test("numbers in their units, and names as people say them", () => {
  const column = (name, measure, field = null, unit = null) => ({ name, measure, field, unit, about: null });
  const share = column("share_error_present", "share", "error", "share");
  const p95 = column("p95_duration", "quantile", "duration", "ms");
  assert.equal(words.value(share, 0.0312), "3.1%");
  assert.equal(words.value(p95, 80_100), "1 min 20 s");
  assert.equal(words.value(column("mean_scroll_depth", "mean", "scroll_depth"), 61.25), "61.3");
  // A unit is what the service says, whatever the name sounds like.
  assert.equal(words.value(column("mean_duration", "mean", "duration"), 80_100), "80,100");
  assert.equal(words.measure(p95), "Duration, 95th percentile");
  assert.equal(words.measure(column("p50_duration", "quantile", "duration", "ms")), "Median duration");
  assert.equal(words.measure(share), "Share with error");
  assert.equal(words.measure(column("share_error_absent", "share", "error", "share")), "Share with no error");
  assert.equal(words.measure(column("share_plan_free_or_trial", "share", "plan", "share")), "Share with plan free or trial");
  assert.equal(model.mainMeasure({ title: "Share of use that fails", contributors: "devices", columns: [column("devices", "contributors"), share] }), share);
  assert.equal(model.mainMeasure(visitors).name, "visitors");
  assert.deepEqual([words.rounded(0, true, 5), words.rounded(0, false, 5), words.rounded(1_230, true, 5)], ["fewer than 5", "0", "1,230"]);
  assert.match(words.protection({ mechanism: "threshold", min_contributors: 10, rounding: 5, note: "staff-only, not anonymous: x" }, "visitors"), /^staff-only, not anonymous · groups of at least 10 visitors/);
  assert.match(words.protection({ mechanism: "gaussian", rho: 0.05, note: "published" }, "visitors"), /^gaussian · rho 0.05/);
});

test("SQL asks for the same", () => {
  assert.equal(
    model.sql(model.questionOf("usage", ["product", "feature"], Date.parse("2026-11-01"), Date.parse("2026-11-02T05:00:00Z"), ["it's", "(none)"]), ["events"]),
    `select period_start, product, feature, events
from usage
where grouping = 'product, feature'
  and product = 'it''s'
  and feature is null
  and period_start >= timestamp '2026-11-01T00:00:00Z'
  and period_start < timestamp '2026-11-02T05:00:00Z'
order by period_start, product, feature`,
  );
});

test("the command of a question asks it in a shell, and does nothing else", () => {
  const question = model.questionOf("visitors", ["country"], Date.parse("2026-11-01"), Date.parse("2026-11-02"), ["DK'; echo harm; echo '$(echo harm)`echo harm`\\"]);
  for (const service of ["http://127.0.0.1:8081/v1/query", "https://stats.example.org/a'b;echo harm/v1/query"]) {
    const command = model.curl(service, question);
    const said = execFileSync("sh", ["-c", `curl() { printf '%s\\0' "$@"; }\n${command}`], { env: { ...process.env, TOKEN: "qr_test" }, encoding: "utf8" });
    const [address, , authorization, , body, ...rest] = said.split("\0");
    assert.deepEqual([address, authorization, JSON.parse(body), rest], [service, "Authorization: Bearer qr_test", question, [""]]);
  }
});
