// How the first event is sent, and that it arrived.

import type { Live, Statistic } from "../api";
import { type Child, announce, copyButton, fill, h } from "../dom";
import { type Place, linkTo, lookout } from "../shell";
import * as time from "../time";
import * as words from "../words";

const EVERY_MS = 3_000;
/** Asks for the list of statistics every so many rounds: periods close once an hour at most. */
const ROUNDS = 5;
/** Reasons of refusals that are named; the page of live counts has all. */
const REASONS = 3;

export function setup(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { api, statistics, left } = place;
  const empty = statistics.every(({ complete_until }) => complete_until === null);
  const out = lookout(failed);
  const waiting = h("section", { class: "panel", "aria-labelledby": "arrived" });
  const snippets = h("div", { class: "stack" });
  const title = empty ? "Send the first event" : "Send events";
  main.append(
    h(
      "div",
      { class: "head" },
      h(
        "div",
        {},
        h("h1", {}, title),
        h("p", { class: "about" }, empty ? "There is nothing to see yet. This page changes by itself when an event arrives." : "From a page, a program, or a shell."),
      ),
    ),
    out.place,
    waiting,
    snippets,
  );
  let arrived: boolean | null = null;
  let door = "";
  let rounds = 0;
  const look = async () => {
    try {
      const now = await api.live();
      if (left.aborted) return;
      const has = now.last_event !== null;
      if (has !== arrived || (has && !waiting.contains(document.activeElement))) fill(waiting, arrival(now, has, statistics));
      if (has && arrived === false) announce("The first event has arrived.");
      if (now.ingest !== door) fill(snippets, ways(now.ingest, new Set(statistics.map(({ family }) => family))));
      door = now.ingest;
      arrived = has;
      if (rounds++ % ROUNDS === ROUNDS - 1) await place.refresh();
      out.saw();
    } catch (error) {
      if (!left.aborted) out.missed(error);
    }
  };
  const timer = setInterval(() => void look(), EVERY_MS);
  left.addEventListener("abort", () => clearInterval(timer));
  void look();
  return title;
}

function arrival(now: Live, has: boolean, statistics: Statistic[]): Child {
  const heading = (text: string) => h("h2", { id: "arrived" }, text);
  const reasons = [...new Set(now.families.flatMap(({ refused }) => Object.keys(refused)))].map((reason) => {
    const count = now.families.reduce((sum, { refused }) => sum + (refused[reason] ?? 0), 0);
    return { count, text: `${words.rounded(count, true, now.rounding)} (${words.reason(reason)})` };
  });
  const refused = reasons.sort((a, b) => b.count - a.count).map(({ text }) => text);
  const refusals =
    refused.length > 0 &&
    h("p", { class: "trouble" }, `Refused: ${refused.slice(0, REASONS).join(", ")}${refused.length > REASONS ? ", and others" : ""}. `, h("code", {}, "quorate try"), " tells what is wrong with an event.");
  if (!has) {
    const begun = statistics.some(({ complete_until }) => complete_until !== null);
    const title = begun ? `No event since the service started, ${time.moment(Date.parse(now.since))}` : "Waiting for the first event";
    return [heading(title), h("p", { class: "wait" }, "It shows here within seconds of its arrival."), refusals];
  }
  const families = now.families.filter(({ family, any }) => any && family !== null);
  const next = statistics
    .filter(({ closes_at }) => closes_at !== null)
    .sort((a, b) => Date.parse(a.closes_at!) - Date.parse(b.closes_at!))
    .slice(0, 5);
  return [
    heading("Events arrive"),
    h(
      "p",
      {},
      `Since the service started: ${families.map(({ family, accepted }) => `${words.rounded(accepted, true, now.rounding)} of ${family}`).join(", ")}. `,
      h("a", { href: linkTo({ page: "live" }) }, "Watch them"),
    ),
    refusals,
    h("p", {}, "A statistic shows when its period has closed, and only groups with enough contributors:"),
    h(
      "ul",
      { class: "plain" },
      next.map(({ title, every, closes_at }) =>
        h("li", {}, h("strong", {}, title), `: the next ${time.periods(every, 1)} closes `, h("time", { datetime: closes_at }, time.moment(Date.parse(closes_at!))), `, ${time.distance(Date.parse(closes_at!), Date.now())}`),
      ),
    ),
  ];
}

/** Ways to send what families of the package are made of. */
function ways(door: string, families: Set<string>): Child {
  const way = (id: string, title: string, about: Child, steps: [string, string][]) =>
    h(
      "section",
      { class: "panel", "aria-labelledby": id },
      h("h2", { id }, title),
      h("p", { class: "about" }, about),
      steps.map(([label, text]) =>
        h("div", { class: "code" }, h("div", { class: "head" }, h("h3", {}, label), copyButton("Copy", () => text)), h("pre", { tabindex: 0, role: "region", "aria-label": label }, h("code", {}, text))),
      ),
    );
  const others = [...families].filter((family) => family !== "web");
  const example = others.includes("device_usage")
    ? `{"type":"device_usage","id":"1","serial_number":"S-000417","product":"scanner","version":"3.8.1"}`
    : `{"type":"${others[0]}","id":"1"}`;
  return [
    families.has("web") &&
      way("site", "A web site", "Less than 1,000 bytes: page views, links that lead away, time in use. No cookie, and no identifier in the browser.", [
        ["Allow the site, once", "quorate source add www.example.org --kind site --origin https://www.example.org"],
        ["In each page", `<script defer src="${door}/quorate.js" data-site="www.example.org"></script>`],
      ]),
    others.length > 0 &&
      way("device", "A device or a program", ["The key is shown once, by ", h("code", {}, "quorate init"), " or ", h("code", {}, "quorate source add"), ". Fields are those that the policy declares: ", h("a", { href: linkTo({ page: "protection" }) }, "Data protection"), " lists them."], [
        ["Make a key", "quorate source add my-product --kind device"],
        ["Send", [`curl ${door}/v1/events \\`, `  -H "Authorization: Bearer $KEY" \\`, `  -d '${example}'`].join("\n")],
      ]),
    others.includes("device_usage") &&
      way("firmware", "Firmware", ["C99, one header and one source, no heap; what it recorded survives a power loss. It posts to ", h("code", {}, `${door}/v1/events`), " under a key like the one above, over a transport of yours: ", h("code", {}, "clients/firmware"), "."], [
        ["Types of your events, from the policy", "quorate policy export c-header > device_usage.h"],
        ["Record and send", [`device_usage_record(&client, &(struct device_usage){.product = "scanner", .version = "3.8.1"}, tick_ms());`, "uint32_t sleep_ms = quorate_step(&client, tick_ms());"].join("\n")],
      ]),
    way("history", "What happened before", "Events of the past, from a file with a time in each line.", [["Import", "quorate import events.ndjson"]]),
    way("pretend", "Only a look", "A store with made-up events, on this machine.", [["Try", "quorate demo"]]),
  ];
}
