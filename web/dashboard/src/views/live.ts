// What arrives now, by family and reason: events, never people.

import type { Live, LiveFamily } from "../api";
import { type Child, fill, h, wide } from "../dom";
import { type Place, linkTo } from "../shell";
import * as time from "../time";
import * as words from "../words";

const EVERY_MS = 5_000;
/** Bars of the chart: five minutes. */
const BARS = 60;

const NOTES: Record<string, string> = {
  signal_gpc: "under Sec-GPC",
  signal_dnt: "under DNT",
  without_contributor: "counted without a contributor",
  nulled: "fields emptied for want of a purpose",
  clock_unknown: "with a clock that could not be believed",
  otherwise: "values counted as “other”",
};

export function live(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { api, left } = place;
  const said = h("div", { class: "stack" });
  const chart = h("div", { class: "chart" });
  const history: { time: number; count: number }[] = [];
  let total: number | null = null;
  main.append(
    h(
      "div",
      { class: "head" },
      h("div", {}, h("h1", {}, "Live"), h("p", { class: "about" }, "Events by family, as they are taken or refused. Whose they are is not known here, and nothing of them is shown.")),
    ),
    said,
  );
  const look = async () => {
    try {
      const now = await api.live();
      if (left.aborted) return;
      if (now === null) {
        clearInterval(timer);
        fill(said, h("p", { class: "empty" }, "This service tells no live counts. ", h("code", {}, "quorate status"), " does, on its own machine."));
        return;
      }
      const accepted = sum(now.families, (family) => family.accepted);
      if (total !== null) history.push({ time: Date.now(), count: Math.max(0, accepted - total) });
      if (history.length > BARS) history.shift();
      total = accepted;
      // The tables are drawn anew, unless somebody is in them.
      if (!said.contains(document.activeElement) || said.childElementCount === 0) fill(said, drawing(now, chart));
      await draw();
    } catch (error) {
      if (!left.aborted) failed(error);
    }
  };
  const draw = async () => {
    const width = Math.floor(chart.getBoundingClientRect().width);
    if (width === 0) return;
    const { moments } = await import("../charts");
    const start = Date.now() - (BARS - history.length) * EVERY_MS - history.length * EVERY_MS;
    const padded = Array.from({ length: BARS - history.length }, (_, index) => ({ time: start + index, count: 0 }));
    const recent = history.reduce((all, { count }) => all + count, 0);
    chart.replaceChildren(moments([...padded, ...history], width, 140, `Events accepted every ${EVERY_MS / 1_000} seconds: ${recent} since this page was opened.`));
  };
  const timer = setInterval(() => void look(), EVERY_MS);
  left.addEventListener("abort", () => clearInterval(timer));
  void look();
  return "Live";
}

const sum = (families: LiveFamily[], of: (family: LiveFamily) => number) => families.reduce((all, family) => all + of(family), 0);
const total = (counts: Record<string, number>) => Object.values(counts).reduce((all, count) => all + count, 0);

function drawing(now: Live, chart: HTMLElement): Child {
  const families = [...now.families].sort((a, b) => Number(a.family === null) - Number(b.family === null) || (a.family ?? "").localeCompare(b.family ?? ""));
  const refused = families.flatMap(({ family, refused }) => Object.entries(refused).map(([reason, count]) => ({ family, reason, count })));
  refused.sort((a, b) => b.count - a.count);
  const label = (family: string | null) => family ?? "of no family";
  const notes = families.flatMap(({ family, notes }) =>
    Object.entries(notes ?? {}).flatMap(([note, count]) => (count > 0 && NOTES[note] ? [`${label(family)}: ${words.count(count)} ${NOTES[note]}`] : [])),
  );
  const since = now.since === null ? "since the service started" : `since ${time.moment(Date.parse(now.since))}`;
  return [
    h(
      "section",
      { class: "panel", "aria-labelledby": "now" },
      h("h2", { id: "now" }, "Accepted, every five seconds"),
      chart,
      h("p", { class: "about" }, now.last_event === null ? "No event has arrived yet. " : `The last event arrived ${time.distance(Date.parse(now.last_event), Date.now())}. `, now.last_event === null && h("a", { href: linkTo({ page: "setup" }) }, "Send the first")),
    ),
    h(
      "section",
      { class: "panel", "aria-labelledby": "families" },
      h("h2", { id: "families" }, "By family"),
      wide("Counts by family", h(
        "table",
        {},
        h("caption", { class: "about" }, `Counts ${since}.`),
        h("thead", {}, h("tr", {}, ["Family", "Accepted", "A minute", "Refused", "Fields nobody declared"].map((text, index) => h("th", { scope: "col", class: index ? "number" : null }, text)))),
        h(
          "tbody",
          {},
          families.map(({ family, accepted, per_minute, refused, undeclared }) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, label(family)),
              [accepted, per_minute, total(refused), undeclared].map((count) => h("td", { class: "number" }, count === undefined ? "–" : words.count(count))),
            ),
          ),
        ),
      )),
      notes.length > 0 && h("ul", { class: "plain about" }, notes.map((text) => h("li", {}, text))),
    ),
    h(
      "section",
      { class: "panel", "aria-labelledby": "refusals" },
      h("h2", { id: "refusals" }, "Refused, by reason"),
      refused.length === 0
        ? h("p", {}, "Nothing was refused.")
        : wide("Refused events", h(
            "table",
            {},
            h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Reason"), h("th", { scope: "col" }, "Family"), h("th", { scope: "col", class: "number" }, "Events"))),
            h("tbody", {}, refused.map(({ family, reason, count }) => h("tr", {}, h("th", { scope: "row" }, words.reason(reason), " ", h("code", {}, reason)), h("td", {}, label(family)), h("td", { class: "number" }, words.count(count))))),
          )),
      h("p", { class: "about" }, h("code", {}, "quorate try"), " tells what becomes of each field of an event, and why."),
    ),
  ];
}
