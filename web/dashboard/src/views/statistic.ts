// One statistic: its course, its groups, what is missing and why, and how to ask for the same elsewhere.

import type { Answer, Question, Statistic } from "../api";
import { type Child, announce, choice, copyButton, fill, h } from "../dom";
import { type Group, type Picture, type Span, epochOf, groupingOf, latest, mainMeasure, picture, spanOf, sql } from "../model";
import { format } from "../route";
import { type Place, asked, drawn, go, linkTo } from "../shell";
import * as time from "../time";
import * as words from "../words";
import { spanControls } from "./controls";

/** Lines that can be told apart. */
const LINES = 6;
/** Groups that are listed before more are asked for. */
const LISTED = 20;
const FORMATS = [
  { label: "CSV", mediaType: "text/csv", ending: "csv" },
  { label: "Parquet", mediaType: "application/vnd.apache.parquet", ending: "parquet" },
];

export function statistic(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { api, statistics, view, left } = place;
  const own = statistics.find(({ name }) => name === view.statistic);
  if (!own) {
    main.append(h("h1", {}, "No such statistic"), h("p", {}, "The policy package declares no statistic of that name. ", h("a", { href: linkTo({}) }, "All statistics")));
    return "No such statistic";
  }
  const by = groupingOf(own, view.by);
  const measure = own.measures.find((name) => name === view.measure) ?? mainMeasure(own, words.contributors(own));
  const groupings = own.groupings.map((grouping) => ({ value: grouping.join(","), label: words.grouping(grouping) }));
  const measures = own.measures.map((name) => ({ value: name, label: words.measure(name) }));
  const controls = [
    groupings.length > 1 && choice("Broken down by", groupings, by.join(","), (value) => go({ by: value ? value.split(",") : [], only: undefined })),
    measures.length > 1 && choice("Measure", measures, measure, (value) => go({ measure: value })),
    ...spanControls(view),
  ];
  const body = h("div", { class: "stack" });
  main.append(
    h("div", { class: "head" }, h("div", {}, h("p", { class: "path" }, h("a", { href: linkTo({}) }, "Statistics")), h("h1", {}, own.title), state(own))),
    h("div", { class: "controls", role: "group", "aria-label": "What is shown" }, controls),
    body,
  );
  const span = spanOf(view, own);
  if (!span) {
    body.append(h("p", { class: "empty" }, "Nothing is released yet. ", h("a", { href: linkTo({ page: "setup" }) }, "Send events"), ", and wait until the period closes."));
    return own.title;
  }
  const question: Question = { from: own.name, by, between: [time.iso(view.compare ? span.before : span.from), time.iso(span.to)] };
  asked(body, left, () => api.ask(question), (answer) => {
    const exact = spanOf(view, own, epochOf(own.every, answer.rows)) ?? span;
    return content({ place, own, by, measure, span: exact, answer, failed });
  }).catch(failed);
  return own.title;
}

function state(own: Statistic): Node {
  const until = own.complete_until;
  const closes = own.closes_at;
  return h(
    "p",
    { class: "about" },
    `One value ${words.a(own.every === "epoch" ? "key epoch" : own.every)}, UTC.`,
    until !== null && ` Complete until ${time.moment(Date.parse(until))}.`,
    closes !== undefined && [" The next ", time.periods(own.every, 1), " closes ", h("time", { datetime: closes }, time.moment(Date.parse(closes))), `, ${time.distance(Date.parse(closes), Date.now())}.`],
  );
}

interface Content {
  place: Place;
  own: Statistic;
  by: string[];
  measure: string;
  span: Span;
  answer: Answer;
  failed: (error: unknown) => void;
}

function content(all: Content): Child {
  const { place, own, by, measure, span, answer } = all;
  const { view, left } = place;
  const who = words.contributors(own);
  const found = picture(answer, by, measure, span);
  const name = (group: Group) => (by.length === 0 ? "All" : group.values.map((value, index) => words.group(by[index]!, value)).join(" · "));
  const chosen = found.groups.find(({ key }) => key === view.only);
  const shown = chosen ? [chosen] : found.groups.slice(0, LINES);
  const lines = shown.map((group, index) => ({ label: name(group), group, colour: `var(--line-${chosen ? 1 : index + 1})` }));
  const protection = h("p", { class: "badge" }, words.protection(answer.privacy, who));
  if (lines.length === 0)
    return [h("p", { class: "empty" }, `Nothing is shown of this span: it had fewer than ${answer.privacy.min_contributors} ${who}, or no events.`), protection, elsewhere(all)];

  const picked = chosen ? { ...found, groups: [chosen], gaps: gapsOf(chosen) } : found;
  const chart = h("div", { class: "chart" });
  const span_ = time.range(span.from, span.to);
  const title = `${words.measure(measure)}${by.length > 0 ? ` by ${by.map(words.dimension).join(", ")}` : ""}`;
  const summary = lines.map(({ label, group }) => `${label}: ${described(group, measure, own)}`).slice(0, 3).join("; ");
  drawn(chart, left, async (width) => {
    const { overTime } = await import("../charts");
    return overTime({
      picture: picked,
      lines,
      compare: view.compare,
      width,
      height: Math.round(Math.min(320, Math.max(200, width * 0.4))),
      summary: `${title}, ${span_}. ${summary}. The table below holds every value.`,
      tick: (number) => words.tick(measure, number),
      tip: (line, point, before) => {
        const texts = [time.period(point.start, point.end), `${by.length > 0 ? `${line.label}: ` : ""}${words.value(measure, point.value)}`];
        if (point.low !== undefined && point.high !== undefined) texts.push(`between ${words.value(measure, point.low)} and ${words.value(measure, point.high)}`);
        if (before?.value != null) texts.push(`before: ${words.value(measure, before.value)}`);
        return texts.join("\n");
      },
    });
  });
  const legend =
    lines.length > 1 || chosen
      ? h(
          "ul",
          { class: "legend" },
          lines.map(({ label, colour }) => h("li", {}, h("span", { class: "swatch", "--colour": colour, "aria-hidden": "true" }), label)),
          !chosen && found.groups.length > LINES && h("li", { class: "about" }, `the ${LINES} largest of ${found.groups.length}`),
          chosen && h("li", {}, h("a", { href: format({ ...withoutOnly(view) }) }, "Show all groups")),
        )
      : null;
  const hasBefore = found.groups.some(({ meanBefore }) => meanBefore !== null);
  const dashed = view.compare && lines.length === 1 && lines[0]!.group.meanBefore !== null;
  const heading = h("h2", { id: "course" }, title);
  return [
    h(
      "section",
      { class: "panel", "aria-labelledby": "course" },
      h("div", { class: "head" }, heading, headline(all, lines[0]!.group, lines.length === 1)),
      legend,
      chart,
      h(
        "p",
        { class: "about" },
        `${span_}. `,
        dashed && `Dotted: ${time.range(span.before, span.from)}. `,
        view.compare && !hasBefore && `Of the span before, ${time.range(span.before, span.from)}, nothing is shown. `,
        lines.length === 1 && picked.gaps.length > 0 && `Shaded: not shown, for there were fewer than ${answer.privacy.min_contributors} ${who}, or no events, or another group could be worked out. `,
        lines.length > 1 && lines.some(({ group }) => group.shown < found.periods) && `A line has gaps where a group had fewer than ${answer.privacy.min_contributors} ${who}, or would give one away. `,
      ),
      protection,
      table(all, found, lines.map(({ group }) => group), name),
    ),
    by.length > 0 && breakdown(all, found, name),
    elsewhere(all),
  ];
}

function withoutOnly(view: Place["view"]): Place["view"] {
  const { only: _, ...rest } = view;
  return rest;
}

function gapsOf(group: Group): { start: number; end: number }[] {
  return group.points.filter(({ value }) => value === null).map(({ start, end }) => ({ start, end }));
}

function headline({ place, measure, own }: Content, group: Group, isAlone: boolean): Child {
  if (!isAlone) return null;
  const change = place.view.compare ? words.changed(group.mean, group.meanBefore) : null;
  return h(
    "p",
    { class: "figure" },
    h("strong", {}, words.value(measure, group.mean)),
    h("span", { class: "about" }, ` ${words.average(measure, time.periods(own.every, 1), time.periods(own.every, 2))}`),
    change !== null && [h("span", { class: "change" }, change), h("span", { class: "about" }, ` from ${words.value(measure, group.meanBefore)}`)],
  );
}

function described(group: Group, measure: string, own: Statistic): string {
  const values = group.points.flatMap(({ value }) => (value === null ? [] : [value]));
  const last = latest(group.points);
  const text = (number: number | null) => words.value(measure, number);
  return `mean of the ${time.periods(own.every, 2)} ${text(group.mean)}, lowest ${text(Math.min(...values))}, highest ${text(Math.max(...values))}, last ${text(last?.value ?? null)}`;
}

/** Every value of the chart, for those who read rather than look. */
function table({ place, measure, own, by }: Content, found: Picture, groups: Group[], name: (group: Group) => string): Node {
  const compare = place.view.compare && groups.length === 1 && groups[0]!.meanBefore !== null;
  const details = h("details", { class: "more" }, h("summary", {}, `Table of ${found.periods} ${time.periods(own.every, found.periods)}`));
  // A table of a year of hours is long: it is made when it is asked for.
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const head = h(
      "tr",
      {},
      h("th", { scope: "col" }, time.periods(own.every, 1) === "period" ? "Period" : words.sentence(own.every)),
      groups.map((group) => h("th", { scope: "col", class: "number" }, by.length === 0 ? words.measure(measure) : name(group))),
      compare && h("th", { scope: "col", class: "number" }, "Span before"),
    );
    const rows = Array.from({ length: found.periods }, (_, back) => {
      const index = found.periods - 1 - back;
      const { start, end } = groups[0]!.points[index]!;
      const cell = (value: number | null) => h("td", { class: value === null ? "number none" : "number" }, words.value(measure, value));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, time.period(start, end)),
        groups.map((group) => cell(group.points[index]!.value)),
        compare && cell(groups[0]!.before[index]!.value),
      );
    });
    details.append(
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of values" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))),
    );
  });
  return details;
}

/** The groups, as bars that are rows of a table. */
function breakdown({ place, own, by, measure, answer }: Content, found: Picture, name: (group: Group) => string): Node {
  const { view } = place;
  const who = words.contributors(own);
  const largest = Math.max(...found.groups.map(({ mean }) => mean ?? 0)) || 1;
  const compared = view.compare && found.groups.some(({ meanBefore }) => meanBefore !== null);
  const some = found.groups.some(({ shown }) => shown < found.periods);
  const row = (group: Group) => {
    const isOnly = group.key === view.only;
    const change = view.compare ? words.changed(group.mean, group.meanBefore) : null;
    return h(
      "tr",
      { class: isOnly ? "only" : null },
      h(
        "th",
        { scope: "row" },
        h("a", { "data-keep": `group ${group.key}`, href: format(isOnly ? withoutOnly(view) : { ...view, only: group.key }), "aria-current": isOnly ? "true" : null }, name(group)),
        h("span", { class: "bar", "--part": (group.mean ?? 0) / largest, "aria-hidden": "true" }),
      ),
      h("td", { class: "number" }, words.value(measure, group.mean)),
      compared && h("td", { class: "number change" }, change ?? "–"),
      some && h("td", { class: "number about" }, `${group.shown} of ${found.periods}`),
    );
  };
  const body = h("tbody", {}, found.groups.slice(0, LISTED).map(row));
  const rest = found.groups.length - LISTED;
  const more = h("button", { type: "button", class: "quiet" }, `Show ${rest} more`);
  more.addEventListener("click", () => {
    fill(body, found.groups.map(row));
    more.remove();
    announce(`${found.groups.length} groups are listed`);
  });
  return h(
    "section",
    { class: "panel", "aria-labelledby": "groups" },
    h("h2", { id: "groups" }, words.grouping(by)),
    h(
      "table",
      { class: "groups" },
      h("caption", { class: "about" }, `Mean of the ${time.periods(own.every, 2)} in which a group is shown. Follow a group to see it alone.`),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, words.grouping(by)),
          h("th", { scope: "col", class: "number" }, words.measure(measure)),
          compared && h("th", { scope: "col", class: "number" }, "Change"),
          some && h("th", { scope: "col", class: "number" }, `${words.sentence(time.periods(own.every, 2))} shown`),
        ),
      ),
      body,
    ),
    rest > 0 && more,
    h(
      "p",
      { class: "about explain" },
      answer.privacy.hidden_groups
        ? `Something is missing here. ${words.missing(answer.privacy, who)} So groups need not add up to the total.`
        : `Nothing is missing in this span. ${words.missing(answer.privacy, who)}`,
    ),
  );
}

/** The same for other programs: files, a link, HTTP, SQL. */
function elsewhere({ place, own, by, measure, span, failed }: Content): Node {
  const { api, view } = place;
  const question: Question = { from: own.name, by, between: [time.iso(span.from), time.iso(span.to)] };
  if (view.only !== undefined && by.length === 1) question.where = { [by[0]!]: view.only };
  const trouble = h("p", { class: "trouble", role: "alert" });
  const save = async (mediaType: string, ending: string) => {
    fill(trouble);
    try {
      const address = URL.createObjectURL(await api.download(question, mediaType));
      h("a", { href: address, download: `${[own.name, ...by].join("-")}.${ending}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      fill(trouble, error instanceof Error ? error.message : "The file could not be made.");
      failed(error);
    }
  };
  const service = new URL("v1/query", location.href).href.split("#")[0]!;
  const curl = [`curl ${service} \\`, `  -H "Authorization: Bearer $TOKEN" \\`, `  -d '${JSON.stringify(question)}'`].join("\n");
  const statement = sql(own.name, by, [measure], span.from, span.to);
  const code = (label: string, text: string) =>
    h("div", { class: "code" }, h("div", { class: "head" }, h("h3", {}, label), copyButton("Copy", () => text)), h("pre", { tabindex: 0, role: "region", "aria-label": label }, h("code", {}, text)));
  return h(
    "section",
    { class: "panel", "aria-labelledby": "elsewhere" },
    h("h2", { id: "elsewhere" }, "Take it along"),
    h(
      "div",
      { class: "row" },
      FORMATS.map(({ label, mediaType, ending }) => h("button", { type: "button", click: () => void save(mediaType, ending) }, `Download ${label}`)),
      copyButton("Copy a link to this view", () => location.href),
    ),
    trouble,
    h("details", { class: "more" }, h("summary", {}, "How this was asked: HTTP and SQL"), code("As a request", curl), code("As SQL, for POST /v1/sql or quorate sql", statement)),
  );
}
