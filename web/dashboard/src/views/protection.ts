// For who has to answer for it: what is collected, why, for how long, and what became of it. From the package and the
// ledger alone; it prints as a document.

import type { Keys, Policy, PolicyFamily } from "../api";
import { type Child, h, wide } from "../dom";
import { type Place, asked } from "../shell";
import * as time from "../time";
import * as words from "../words";

const NOTES: Record<string, string> = {
  nulled: "fields emptied because no purpose stood",
  without_contributor: "events counted without a contributor",
  signal_gpc: "events under Sec-GPC",
  signal_dnt: "events under DNT",
  ignored_gpc: "events under Sec-GPC, which the package ignores",
  ignored_dnt: "events under DNT, which the package ignores",
  signal_tcf: "events with a TC string",
  signal_google: "events under Google's consent mode",
  stated_consent: "events that say what was consented to",
  tcf_unreadable: "events with a TC string that cannot be read, taken for a refusal",
  grant_other_version: "grants that do not count, of another version of the text",
  grant_out_of_time: "grants that do not count, of a time that does not",
  refused_name: "fields dropped because their name says that they hold what is refused",
  location_off: "fields emptied because location was off",
  undeclared: "fields dropped because nobody declared them",
  clock_unknown: "events with a clock that could not be believed",
  otherwise: "values counted as “other”",
  erased: "rows removed because somebody was erased",
  lost_frames: "sealed files that could not be read",
};

export function protection(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { api, left } = place;
  const body = h("div", { class: "stack" });
  const print = h("button", { type: "button", class: "quiet", click: () => window.print() }, "Print");
  main.append(
    h(
      "div",
      { class: "head" },
      h("div", {}, h("h1", {}, "Data protection"), h("p", { class: "about" }, "As the policy package declares it and the ledgers record it.")),
      h("div", { class: "row" }, h("a", { class: "button quiet", href: "./privacy" }, "The page for visitors"), print),
    ),
    body,
  );
  asked(body, left, () => api.policy(), (policy) => [
    controller(policy),
    purposes(policy),
    signals(policy),
    policy.families.map((family) => collected(family)),
    leaves(policy),
    outcomes(policy),
    keys(policy.keys),
  ]).catch(failed);
  return "Data protection";
}

function section(id: string, title: string, ...content: Child[]): HTMLElement {
  return h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), content);
}

function table(label: string, heads: string[], rows: Child[][], numbers = heads.length): HTMLElement {
  const cell = (content: Child, index: number) =>
    index === 0 ? h("th", { scope: "row" }, content) : h("td", { class: index >= numbers ? "number" : null }, content);
  return wide(
    label,
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, heads.map((head, index) => h("th", { scope: "col", class: index >= numbers ? "number" : null }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}

function controller({ controller, version, residency, answer_within_days, refused }: Policy): Node {
  return section(
    "who",
    "Who collects",
    h("p", {}, h("strong", {}, controller), `, under the policy of ${version}.`, residency !== null && ` Data stays in ${residency}.`, ` Requests are answered within ${answer_within_days} days.`),
    refused.length > 0 && h("p", {}, `Never taken, and dropped where it is sent: ${refused.join(", ")}.`),
    h("p", {}, "Network addresses are looked up in memory for the country and go no further: not to any disk, sealed or not."),
  );
}

function purposes({ purposes }: Policy): Node {
  const rows = purposes.map(({ name, basis, source, notice }): Child[] => [
    name,
    words.sentence(notice),
    `${basis}${source === "text" ? "" : " (assumed: the published text names none)"}`,
  ]);
  return section("purposes", "Why, and on what basis", table("Purposes", ["Purpose", "What people are told", "Basis"], rows));
}

function collected(family: PolicyFamily): Node {
  const { name, about, called, told, under_signal, epoch_ms, gone_after_ms, grain_ms, late_ms, fields } = family;
  const rows = fields.map((field): Child[] => [
    [words.sentence(field.about), " ", h("code", {}, field.name)],
    field.source,
    field.kept ?? h("span", { class: "about" }, "nothing"),
    field.category,
    field.purposes.join(", "),
    field.expires === null ? "" : `until ${time.day(Date.parse(field.expires))}`,
  ]);
  const expires = fields.some(({ expires }) => expires !== null);
  const heads = ["What", "From", "Kept", "Kind", "For", ...(expires ? ["Ends"] : [])];
  return section(
    `family-${name}`,
    `Collected: ${name}`,
    about != null && h("p", { class: "about" }, `${words.sentence(about)}.`),
    h(
      "ul",
      { class: "plain" },
      h("li", {}, `${words.sentence(called)} are ${told}.`),
      h("li", {}, `A pseudonym means nothing beyond ${time.span(epoch_ms)}; a row is gone ${time.span(gone_after_ms)} after it came, at the latest, and with it every key that could tell whose it was.`),
      h("li", {}, `Under Sec-GPC or DNT: ${under_signal.means}`),
      h("li", {}, `Times are kept to ${time.span(grain_ms)}. Events count up to ${time.span(late_ms)} late.`),
    ),
    table(`Fields of ${name}`, heads, rows.map((row) => (expires ? row : row.slice(0, -1)))),
  );
}

function signals({ signals }: Policy): Node {
  const list = signals.map(({ name, means }) => h("li", {}, h("code", {}, name), ": ", means));
  return section("signals", "Signals that are honoured", h("ul", { class: "plain" }, list));
}

function leaves({ statistics }: Policy): Node {
  const rows = statistics.map(({ title, name, every, mechanism, min_contributors, rounding }): Child[] => [
    [title, " ", h("code", {}, name)],
    every === "epoch" ? "key epoch" : every,
    [mechanism, min_contributors !== null && `: groups of at least ${min_contributors}`, rounding !== null && `, counts rounded to ${rounding}`],
  ]);
  return section("leaves", "What may leave: all that a reader can see", table("Statistics", ["Statistic", "Every", "Protected by"], rows));
}

function outcomes({ outcomes: all, rounding }: Policy): Node {
  const rows = all.map(({ family, received, taken, refused }): Child[] => {
    const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
    return [family ?? "of no family", words.rounded(received, true, rounding), ...[taken, refusals].map(words.count)];
  });
  const reasons = new Map<string, number>();
  for (const [reason, count] of all.flatMap(({ refused }) => Object.entries(refused))) reasons.set(reason, (reasons.get(reason) ?? 0) + count);
  const notes = all.flatMap(({ family, notes, named }) =>
    Object.entries(notes).flatMap(([note, count]) => {
      const parts = Object.entries(named?.[note] ?? {}).map(([word, part]) => `${word} ${words.rounded(part, true, rounding)}`);
      const of = parts.length > 0 ? ` (${parts.join(", ")})` : "";
      return NOTES[note] ? [`${family ?? "of no family"}: ${words.rounded(count, true, rounding)} ${NOTES[note]}${of}`] : [];
    }),
  );
  return section(
    "outcomes",
    "What became of every event",
    h("p", { class: "about" }, `Of everything that was ever received, from the ledger. Counts are rounded down to a multiple of ${rounding}. Taken are those that were not refused: stored, second copies, expired, and suppressed after an objection.`),
    table("Outcomes", ["Family", "Received", "Taken", "Refused"], rows, 1),
    reasons.size > 0 && table("Refused, by reason", ["Refused, by reason", "Events"], [...reasons].sort((a, b) => b[1] - a[1]).map(([reason, count]) => [words.sentence(words.reason(reason)), words.rounded(count, true, rounding)]), 1),
    notes.length > 0 && h("ul", { class: "plain about" }, notes.map((text) => h("li", {}, text))),
  );
}

function keys(all: Keys[]): Node {
  const moment = (text: string | null) => (text === null ? "–" : time.moment(Date.parse(text)));
  const rows = all.map(({ use, family, alive, destroyed, oldest_alive, last_destroyed }): Child[] => [
    family === null ? use : `${use}, ${family}`,
    words.count(alive),
    words.count(destroyed),
    moment(oldest_alive),
    moment(last_destroyed),
  ]);
  return section(
    "keys",
    "Keys, alive and destroyed",
    h("p", { class: "about" }, "As they were when the day began. Each was recorded by a commitment when it was made, and again when it was destroyed: ", h("code", {}, "quorate keyring list"), ". Counted at the beginning of the day, UTC: a key more tells when the first event of an hour came."),
    table("Keys", ["Keys", "Alive", "Destroyed", "Oldest alive", "Last destroyed"], rows, 1),
  );
}
