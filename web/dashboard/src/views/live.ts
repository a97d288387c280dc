// What arrives now, by family and reason: events, never people. Counts come rounded down, so that none tells of one device.

import type { Live } from "../api";
import { type Child, fill, h, wide } from "../dom";
import { type Place, linkTo, lookout } from "../shell";
import * as time from "../time";
import * as words from "../words";

const EVERY_MS = 5_000;
/** Bars of the chart: five minutes. */
const BARS = 60;

export function live(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { api, left } = place;
  const out = lookout(failed);
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
    out.place,
    said,
  );
  const look = async () => {
    try {
      const now = await api.live();
      if (left.aborted) return;
      const accepted = now.families.reduce((sum, family) => sum + family.accepted, 0);
      if (total !== null) history.push({ time: Date.now(), count: Math.max(0, accepted - total) });
      if (history.length > BARS) history.shift();
      total = accepted;
      // The tables are drawn anew, unless somebody is in them.
      if (!said.contains(document.activeElement) || said.childElementCount === 0) fill(said, drawing(now, chart));
      await draw(now.rounding);
      out.saw();
    } catch (error) {
      if (!left.aborted) out.missed(error);
    }
  };
  const draw = async (rounding: number) => {
    const width = Math.floor(chart.getBoundingClientRect().width);
    if (width === 0) return;
    const { moments } = await import("../charts");
    const start = Date.now() - (BARS - history.length) * EVERY_MS - history.length * EVERY_MS;
    const padded = Array.from({ length: BARS - history.length }, (_, index) => ({ time: start + index, count: 0 }));
    const recent = history.reduce((all, { count }) => all + count, 0);
    chart.replaceChildren(moments([...padded, ...history], rounding, width, 140, `Events accepted every ${EVERY_MS / 1_000} seconds: ${recent} since this page was opened.`));
  };
  const timer = setInterval(() => void look(), EVERY_MS);
  left.addEventListener("abort", () => clearInterval(timer));
  void look();
  return "Live";
}

function drawing(now: Live, chart: HTMLElement): Child {
  const { rounding } = now;
  const families = now.families.filter(({ family, any }) => any || family !== null);
  families.sort((a, b) => Number(a.family === null) - Number(b.family === null) || (a.family ?? "").localeCompare(b.family ?? ""));
  const refused = families.flatMap(({ family, refused }) => Object.entries(refused).map(([reason, count]) => ({ family, reason, count })));
  refused.sort((a, b) => b.count - a.count);
  const label = (family: string | null) => family ?? "of no family";
  const number = (count: number, any: boolean) => h("td", { class: "number" }, words.rounded(count, any, rounding));
  const none = () => h("td", { class: "number none" }, "–");
  const recent = families.reduce((sum, { recent }) => sum + recent, 0);
  const last =
    now.last_event === null
      ? ["No event has arrived since the service started. ", h("a", { href: linkTo({ page: "setup" }) }, "Send one")]
      : `The last event came after ${time.moment(Date.parse(now.last_event))}.`;
  return [
    h(
      "section",
      { class: "panel", "aria-labelledby": "now" },
      h("h2", { id: "now" }, "Now"),
      h("p", { class: "figure" }, h("strong", {}, words.rounded(recent, families.some(({ any }) => any), rounding)), h("span", { class: "about" }, " events accepted in the last 15 minutes")),
      chart,
      h("p", { class: "about" }, "A bar every five seconds since this page was opened. ", last),
    ),
    h(
      "section",
      { class: "panel", "aria-labelledby": "families" },
      h("h2", { id: "families" }, "By family"),
      h("p", { class: "about" }, `Since ${time.moment(Date.parse(now.since))}, when the service started. Counts are rounded down to a multiple of ${rounding}.`),
      wide("Counts by family", h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Family", "Accepted", "In the last 15 minutes", "Refused", "Fields nobody declared"].map((text, index) => h("th", { scope: "col", class: index ? "number" : null }, text)))),
        h(
          "tbody",
          {},
          families.map(({ family, any, accepted, recent, refused, undeclared }) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, label(family)),
              family === null ? [none(), none()] : [number(accepted, any), number(recent, any)],
              number(Object.values(refused).reduce((sum, count) => sum + count, 0), Object.keys(refused).length > 0),
              family === null ? none() : number(undeclared, any),
            ),
          ),
        ),
      )),
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
            h("tbody", {}, refused.map(({ family, reason, count }) => h("tr", {}, h("th", { scope: "row" }, words.reason(reason), " ", h("code", {}, reason)), h("td", {}, label(family)), number(count, true)))),
          )),
      h("p", { class: "about" }, h("code", {}, "quorate try"), " tells what becomes of each field of an event, and why."),
    ),
  ];
}
