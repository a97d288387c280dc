// A service with known answers, in the form that Quorate gives them, and the built page as it serves it. whole.test.js
// asks the service itself for the same.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";

const dist = new URL("../dist/", import.meta.url);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };
const FILES = /^\/(?:index\.html|icon\.svg|assets\/[\w-]+\.\w+)?$/;

/** The Content-Security-Policy of the page. */
export const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

const DAY = 86_400_000;
export const TOKEN = "qr_test";
const UNTIL = Date.parse("2026-11-22T00:00:00Z");
const NOTE = "staff-only, not anonymous: comparing groups can narrow down";

const column = (name, measure, field = null, unit = null, about = null) => ({ name, measure, field, unit, about });
const THRESHOLD = { mechanism: "threshold", min_contributors: 10, rounding: 5 };

export const STATISTICS = [
  {
    name: "visitors",
    title: "Visitors a day",
    family: "web",
    contributors: "visitors",
    ...THRESHOLD,
    measures: ["visitors"],
    columns: [column("visitors", "contributors")],
    groupings: [[], ["country"], ["country", "device_class"]],
    every: "day",
    period_ms: DAY,
    complete_until: "2026-11-22T00:00:00.000Z",
    closes_at: "2099-11-23T02:00:00.000Z",
  },
  {
    name: "usage",
    title: "Use a day",
    family: "device_usage",
    contributors: "devices",
    ...THRESHOLD,
    measures: ["devices", "events", "mean_duration", "p95_duration"],
    columns: [
      column("devices", "contributors"),
      column("events", "events"),
      column("mean_duration", "mean", "duration", "ms", "time from start to end"),
      column("p95_duration", "quantile", "duration", "ms", "time from start to end"),
    ],
    groupings: [[], ["product"]],
    every: "day",
    period_ms: DAY,
    complete_until: "2026-11-22T00:00:00.000Z",
    closes_at: "2099-11-29T00:00:00.000Z",
  },
  {
    name: "failures",
    title: "Share of use that fails",
    family: "device_usage",
    contributors: "devices",
    ...THRESHOLD,
    measures: ["devices", "share_error_present"],
    columns: [column("devices", "contributors"), column("share_error_present", "share", "error", "share", "error code, if it failed")],
    groupings: [["product"]],
    every: "week",
    period_ms: 7 * DAY,
    complete_until: "2026-11-16T00:00:00.000Z",
    closes_at: "2099-11-29T00:00:00.000Z",
  },
  {
    name: "published",
    title: "Devices, for publication",
    family: "device_usage",
    contributors: "devices",
    mechanism: "gaussian", min_contributors: null, rounding: null,
    measures: ["devices"],
    columns: [column("devices", "contributors")],
    groupings: [[]],
    every: "epoch",
    // As this package chose it: not every epoch is of 28 days.
    period_ms: 10 * DAY,
    complete_until: "2026-10-26T00:00:00.000Z",
    closes_at: "2099-11-29T00:00:00.000Z",
  },
];

export const POLICY = {
  controller: "Example Ltd",
  version: "2026-01-01",
  digest: "00",
  residency: "EEA",
  answer_within_days: 30,
  purposes: [
    { name: "website", basis: "legitimate interest", source: "assumed", notice: "to see which pages are used" },
    { name: "improve", basis: "consent", source: "text", notice: "to make our products better" },
  ],
  refused: ["name", "e-mail", "image"],
  signals: [
    { name: "Sec-GPC", means: "an objection: the event counts and holds nothing of the visitor" },
    { name: "DNT", means: "the same" },
  ],
  statistics: STATISTICS.map(({ name, title, every, min_contributors, rounding, mechanism }) => ({ name, title, every, min_contributors, rounding, mechanism })),
  families: [
    {
      name: "web",
      called: "visitors",
      told: "told apart by site, address and browser, without any id",
      epoch_ms: DAY,
      gone_after_ms: 3 * DAY,
      grain_ms: DAY / 24,
      late_ms: DAY / 12,
      under_signal: { means: "Of the event nothing is kept but that it happened." },
      fields: [
        { name: "url", about: "address of the page", category: "usage", source: "event", kept: null, purposes: ["website"], expires: null },
        { name: "country", about: "country the visitor is in", category: "location", source: "address", kept: "country", purposes: ["website"], expires: "2027-12-31T00:00:00Z" },
      ],
    },
  ],
  rounding: 5,
  keys: [{ use: "pseudonym", family: "web", alive: 2, destroyed: 88, oldest_alive: "2026-11-20T00:00:00.000Z", last_destroyed: "2026-11-21T18:00:00.000Z" }],
  outcomes: [{ family: "web", received: 1_000, taken: 970, refused: { too_long: 30, malformed: 0 }, notes: { signal_gpc: 10 } }],
};

const GROUPS = {
  country: ["DE", "DK", "FR", "GB", "SE", "US", "<b>X'X</b>", "(none)"],
  device_class: ["desktop", "mobile"],
  product: ["scanner", "viewer"],
};
/** Rows of a question: a wave over the days, the third group with gaps; of the total, a day in twenty is hidden. With
 * `allHidden` all of it is; `only` has the days of which there is anything. */
function rows(statistic, by, [from, to], { allHidden, only }) {
  const groups = by.reduce((all, name) => all.flatMap((group) => GROUPS[name].map((value) => ({ ...group, [name]: value }))), [{}]);
  const length = statistic.period_ms;
  const found = [];
  const hidden = new Set();
  for (let start = Date.parse(statistic.complete_until) - 40 * length; start < Date.parse(statistic.complete_until); start += length) {
    if (start < from || start >= to || (only && !only.includes(new Date(start).toISOString().slice(0, 10)))) continue;
    const step = Math.round((UNTIL - start) / DAY);
    groups.forEach((group, index) => {
      if (allHidden || (index === 2 && step % 3 === 0) || (by.length === 0 && statistic.name === "visitors" && step % 20 === 0)) return hidden.add(new Date(start).toISOString());
      const size = 100 - 10 * index + 5 * (step % 7);
      const values = { visitors: size, devices: size, events: 3 * size, mean_duration: 20_000 + 100 * size, p95_duration: 60_000 + 100 * size, share_error_present: 0.02 + index / 100 };
      const measures = Object.fromEntries(statistic.measures.map((name) => [name, values[name]]));
      const interval = statistic.name === "published" ? { devices_low: size - 9, devices_high: size + 9 } : {};
      found.push({ period_start: new Date(start).toISOString(), period_end: new Date(start + length).toISOString(), ...group, ...measures, ...interval });
    });
  }
  return { rows: found, hidden_in: [...hidden], revised_in: [] };
}

/** Starts it; what it tells can be changed while it runs. */
export async function start() {
  const state = {
    empty: false,
    revoked: false,
    broken: false,
    gone: false,
    allHidden: false,
    only: null,
    live: { since: "2026-11-22T00:00:00.000Z", last_event: null, ingest: "https://events.example.org", rounding: 5, families: [] },
    asked: [],
  };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const answer = (status, body, type = "application/json") => {
      response.writeHead(status, { "content-type": type });
      response.end(type === "application/json" ? JSON.stringify(body) : body);
    };
    if (FILES.test(request.url)) {
      const name = request.url.slice(1) || "index.html";
      response.writeHead(200, { "content-type": TYPES[extname(name)], "content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
      return response.end(await readFile(new URL(name, dist)));
    }
    if (state.gone) return request.socket.destroy();
    const refuse = (status, error, message) => answer(status, { error, message, retry: status === 503 });
    if (request.headers.authorization !== `Bearer ${TOKEN}` || state.revoked)
      return refuse(401, "unknown_token", "this read token is unknown or revoked; `quorate reader add NAME` makes a new one");
    if (request.url === "/v1/live") return answer(200, state.live);
    if (request.url === "/v1/policy") return answer(200, POLICY);
    if (request.url === "/v1/statistics")
      return answer(200, STATISTICS.map((statistic) => (state.empty ? { ...statistic, complete_until: null } : statistic)));
    const question = JSON.parse(Buffer.concat(chunks));
    state.asked.push(question);
    if (state.broken) return refuse(503, "unavailable", "the statistics cannot be read now; ask again later");
    if (request.headers.accept !== "application/json") return answer(200, `as ${request.headers.accept}`, request.headers.accept);
    const statistic = STATISTICS.find(({ name }) => name === question.from);
    const privacy =
      statistic.name === "published"
        ? { mechanism: "gaussian", rho: 0.05, hidden_groups: false, note: "differentially private" }
        : { mechanism: "threshold", min_contributors: 10, rounding: 5, hidden_groups: question.by.length > 0, note: NOTE };
    answer(200, { complete_until: statistic.complete_until, privacy, ...rows(statistic, question.by, question.between.map((time) => Date.parse(time)), state) });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    state,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
