// One statistic: its course, its groups, what is missing and why, and how to ask for the same elsewhere.

import type { Answer, Column, Statistic } from "../api";
import { type Child, announce, choice, copyButton, fill, h } from "../dom";
import { type Group, type Picture, type Point, type Span, curl, groupingOf, latest, mainMeasure, picture, questionOf, runs, spanOf, sql } from "../model";
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
  const measure = own.columns.find(({ name }) => name === view.measure) ?? mainMeasure(own);
  const groupings = own.groupings.map((grouping) => ({ value: grouping.join(","), label: words.grouping(grouping) }));
  const measures = own.columns.map((column) => ({ value: column.name, label: words.measure(column) }));
  const controls = [
    groupings.length > 1 && choice("Broken down by", groupings, by.join(","), (value) => go({ by: value ? value.split(",") : [], only: undefined })),
    measures.length > 1 && choice("Measure", measures, measure.name, (value) => go({ measure: value })),
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
  const question = questionOf(own.name, by, view.compare ? span.before : span.from, span.to);
  asked(body, left, () => api.ask(question), (answer) => content({ place, own, by, measure, span, answer, failed })).catch(failed);
  return own.title;
}

function state(own: Statistic): Node {
  const until = own.complete_until;
  const closes = own.closes_at;
  return h(
    "p",
    { class: "about" },
    `One value ${words.a(own.every === "epoch" ? `key epoch of ${time.span(own.period_ms)}` : own.every)}, UTC.`,
    until !== null && ` Complete until ${time.moment(Date.parse(until))}.`,
    closes !== null && [" The next ", time.periods(own.every, 1), " closes ", h("time", { datetime: closes }, time.moment(Date.parse(closes))), `, ${time.distance(Date.parse(closes), Date.now())}.`],
  );
}

interface Content {
  place: Place;
  own: Statistic;
  by: string[];
  measure: Column;
  span: Span;
  answer: Answer;
  failed: (error: unknown) => void;
}

function content(all: Content): Child {
  const { place, own, by, measure, span, answer } = all;
  const { view, left } = place;
  const who = own.contributors;
  const found = picture(answer, by, measure.name, span);
  const name = (group: Group) => (by.length === 0 ? "All" : group.values.map((value, index) => words.group(by[index]!, value)).join(" · "));
  const chosen = found.groups.find(({ key }) => key === view.only);
  const shown = chosen ? [chosen] : found.groups.slice(0, LINES);
  const lines = shown.map((group, index) => ({ label: name(group), group, colour: `var(--line-${chosen ? 1 : index + 1})` }));
  const revised = words.revised(answer.revised_in, span, found.periods, time.periods(own.every, 2));
  const protection = h("p", { class: "badge" }, [words.protection(answer.privacy, who), revised].filter(Boolean).join(" · "));
  if (lines.length === 0)
    return [h("p", { class: "empty" }, nothing(answer, found, own)), protection, elsewhere(all, null)];

  const alone = lines.length === 1;
  const picked = alone ? { ...found, groups: shown, gaps: gapsOf(shown[0]!) } : found;
  const chart = h("div", { class: "chart" });
  const span_ = time.range(span.from, span.to);
  const title = `${words.measure(measure)}${by.length > 0 ? ` by ${by.map(words.dimension).join(", ")}` : ""}`;
  const summary = lines.map(({ label, group }) => `${label}: ${described(group, found.periods, measure, own)}`).slice(0, 3).join("; ");
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
        const texts = [time.period(point.start, point.end), `${by.length > 0 ? `${line.label}: ` : ""}${text(measure, point)}`];
        if (by.length > 0 && point.hidden) texts.push(`groups with ${words.few(answer.privacy, who)} are not shown`);
        if (point.low !== undefined && point.high !== undefined)
          texts.push(`between ${words.value(measure, point.low)} and ${words.value(measure, point.high)}`);
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
          !alone && picked.gaps.length > 0 && h("li", {}, h("span", { class: "swatch strip", "aria-hidden": "true" }), `something is not shown: ${words.few(answer.privacy, who)}`),
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
      h("div", { class: "head" }, heading, alone && headline(all, lines[0]!.group, found.periods)),
      legend,
      chart,
      h(
        "p",
        { class: "about" },
        `${span_}. `,
        dashed && `Dotted: ${time.range(span.before, span.from)}. `,
        view.compare && !hasBefore && `Of the span before, ${time.range(span.before, span.from)}, nothing is shown. `,
        alone && picked.gaps.length > 0 && `Shaded: not shown, for there were ${words.few(answer.privacy, who)}${by.length > 0 ? ", or another group could be worked out" : ""}. `,
        !alone && found.hidden > 0 && lines.some(({ group }) => group.shown < found.periods) && `A line has gaps where a group had ${words.few(answer.privacy, who)}, or would give one away. `,
        measure.about !== null && measure.field !== null && `${words.sentence(measure.field.replaceAll("_", " "))}: ${measure.about}. `,
      ),
      protection,
      table(all, found, lines.map(({ group }) => group), name),
    ),
    by.length > 0 && breakdown(all, found, name),
    elsewhere(all, chosen ?? null),
  ];
}

function withoutOnly(view: Place["view"]): Place["view"] {
  const { only: _, ...rest } = view;
  return rest;
}

const gapsOf = (group: Group) => runs(group.points.filter(({ value, hidden }) => value === null && hidden));

/** A point's value, or why there is none. */
function text(measure: Column, { value, hidden }: Pick<Point, "value" | "hidden">): string {
  if (value !== null) return words.value(measure, value);
  return hidden ? "not shown" : "none";
}

/** Why a span has no group to show. */
export function nothing({ privacy }: Answer, { hidden, periods }: Picture, { contributors, every }: Statistic): string {
  const all = time.periods(every, 2);
  if (hidden === 0) return `No events came in this span, ${periods === 1 ? "one " : `${periods} `}${time.periods(every, periods)}.`;
  return `Nothing is shown of this span: ${hidden} of ${periods} ${all} had events, but of ${words.few(privacy, contributors)}.`;
}

function headline({ place, measure, own }: Content, group: Group, periods: number): Child {
  if (group.mean === null) return null;
  const [period, all] = [time.periods(own.every, 1), time.periods(own.every, 2)];
  const change = place.view.compare ? words.changed(group.mean, group.meanBefore) : null;
  return h(
    "p",
    { class: "figure" },
    h("strong", {}, words.value(measure, group.mean)),
    h("span", { class: "about" }, ` ${words.average(measure, period, all, words.shownOf(group.shown, periods, all))}`),
    change !== null && group.meanBefore !== null && [h("span", { class: "change" }, change), h("span", { class: "about" }, ` from ${words.value(measure, group.meanBefore)} in the span before${group.shownBefore < periods ? ` (${group.shownBefore} of ${periods} ${all} shown)` : ""}`)],
  );
}

function described(group: Group, periods: number, measure: Column, own: Statistic): string {
  const values = group.points.flatMap(({ value }) => (value === null ? [] : [value]));
  if (values.length === 0) return "not shown";
  const said = (number: number) => words.value(measure, number);
  const all = time.periods(own.every, 2);
  return `mean of ${words.shownOf(group.shown, periods, all) ?? `the ${all}`} ${said(group.mean ?? 0)}, lowest ${said(Math.min(...values))}, highest ${said(Math.max(...values))}, last ${said(latest(group.points)?.value ?? 0)}`;
}

/** Every value of the chart, for those who read rather than look. */
function table({ place, measure, own, by, answer }: Content, found: Picture, groups: Group[], name: (group: Group) => string): Node {
  const compare = place.view.compare && groups.length === 1 && groups[0]!.meanBefore !== null;
  const some = by.length > 0 && found.hidden > 0;
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
      some && h("th", { scope: "col" }, words.sentence(words.few(answer.privacy, own.contributors))),
    );
    const rows = Array.from({ length: found.periods }, (_, back) => {
      const index = found.periods - 1 - back;
      const { start, end, hidden } = groups[0]!.points[index]!;
      const cell = (point: Point) => h("td", { class: point.value === null ? "number none" : "number" }, text(measure, point));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, time.period(start, end)),
        groups.map((group) => cell(group.points[index]!)),
        compare && cell(groups[0]!.before[index]!),
        some && h("td", { class: "none" }, hidden ? "some groups, not shown" : ""),
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
  const who = own.contributors;
  const largest = Math.max(...found.groups.map(({ mean }) => mean ?? 0)) || 1;
  const compared = view.compare && found.groups.some(({ meanBefore }) => meanBefore !== null);
  const isPart = (count: number) => count > 0 && count < found.periods;
  const some = found.hidden > 0 || found.groups.some(({ shown, shownBefore }) => isPart(shown) || (compared && isPart(shownBefore)));
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
      h("td", { class: "number" }, words.value(measure, group.mean ?? 0)),
      compared && h("td", { class: "number change" }, change ?? "–"),
      some && h("td", { class: "number about" }, `${group.shown} of ${found.periods}${compared && isPart(group.shownBefore) ? `, before ${group.shownBefore}` : ""}`),
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
      found.hidden > 0 &&
        h(
          "tfoot",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "row" }, `Groups with ${words.few(answer.privacy, who)}`),
            h("td", { class: "number none" }, "not shown"),
            compared && h("td", {}),
            some && h("td", { class: "number about" }, `in ${found.hidden} of ${found.periods}`),
          ),
        ),
    ),
    rest > 0 && more,
    h(
      "p",
      { class: "about explain" },
      found.hidden > 0
        ? `Something is missing in ${found.hidden} of ${found.periods} ${time.periods(own.every, 2)}. ${words.missing(answer.privacy, who)} So groups need not add up to the total.`
        : `Nothing is missing in this span. ${answer.privacy.min_contributors === undefined ? "" : words.missing(answer.privacy, who)}`,
    ),
  );
}

/** The same for other programs: files, a link, HTTP, SQL; of one group where the chart is of one. */
function elsewhere({ place, own, by, measure, span, failed }: Content, chosen: Group | null): Node {
  const { api, view } = place;
  const question = questionOf(own.name, by, view.compare ? span.before : span.from, span.to, chosen?.values);
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
    h("details", { class: "more" }, h("summary", {}, "How this was asked: HTTP and SQL"), code("As a request", curl(service, question)), code("As SQL, for POST /v1/sql or quorate sql", sql(question, [measure.name]))),
  );
}
