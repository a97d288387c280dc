// From rows to what is drawn: periods in order, a group each, and the same of the span before. Plain functions of values.

import type { Answer, Column, Question, Row, Statistic } from "./api";
import type { View } from "./route";
import { DAY_MS, iso } from "./time";
import { NONE } from "./words";

/** A value in a period; null where there is none to show. */
export interface Point {
  start: number;
  end: number;
  value: number | null;
  /** Whether something of the grouping is hidden in this period: then null may be too few, else nothing happened. */
  hidden: boolean;
  /** Ends of the interval, where the mechanism gives one. */
  low?: number;
  high?: number;
}

export interface Group {
  /** Its values of the dimensions, in order. */
  values: string[];
  key: string;
  points: Point[];
  /** The span before, its periods moved to those of `points`. */
  before: Point[];
  /** Mean of the shown periods; counts of contributors cannot be added up over periods. */
  mean: number | null;
  meanBefore: number | null;
  /** Periods in which it is shown: those that `mean` is of. */
  shown: number;
  shownBefore: number;
}

export interface Picture {
  from: number;
  to: number;
  /** Length of a period. */
  length: number;
  periods: number;
  /** The largest first. */
  groups: Group[];
  /** Runs of periods in which something of the grouping is hidden. */
  gaps: { start: number; end: number }[];
  /** How many periods those are. */
  hidden: number;
}

/** A span of time, whole periods, and the one before it. */
export interface Span {
  from: number;
  to: number;
  before: number;
  length: number;
}

/** The span that a view asks of a statistic, or null before its first release. */
export function spanOf(view: View, statistic: Pick<Statistic, "period_ms" | "complete_until">): Span | null {
  if (statistic.complete_until === null) return null;
  const length = statistic.period_ms;
  const until = Date.parse(statistic.complete_until);
  if ("last" in view.span) {
    const periods = Math.max(1, Math.floor((view.span.last * DAY_MS) / length));
    const from = until - periods * length;
    return { from, to: until, before: from - periods * length, length };
  }
  // Whole periods: a week that began before the first day is left out, one that ends after the last is too.
  const [first, last] = [Date.parse(view.span.from), Date.parse(view.span.to) + DAY_MS];
  const from = until - Math.floor((until - first) / length) * length;
  const to = Math.min(until, until - Math.ceil((until - last) / length) * length);
  if (to <= from) return { from, to: from + length, before: from - length, length };
  return { from, to, before: 2 * from - to, length };
}

export const keyOf = (values: string[]) => values.join(" · ");

/** Puts the rows of an answer into periods and groups. */
export function picture(answer: Answer, by: string[], measure: string, span: Span): Picture {
  const { from, to, before, length } = span;
  const periods = Math.round((to - from) / length);
  const groups = new Map<string, Group>();
  const hidden = new Set(answer.hidden_in.map((start) => Date.parse(start)));
  const empty = (origin: number) =>
    Array.from({ length: periods }, (_, index): Point => {
      const start = from + index * length;
      return { start, end: start + length, value: null, hidden: hidden.has(origin + index * length) };
    });
  for (const row of answer.rows) {
    const start = Date.parse(row.period_start);
    if (start < before || start >= to) continue;
    const values = by.map((name) => String(row[name] ?? ""));
    const key = keyOf(values);
    let group = groups.get(key);
    if (!group) {
      group = { values, key, points: empty(from), before: empty(before), mean: null, meanBefore: null, shown: 0, shownBefore: 0 };
      groups.set(key, group);
    }
    const [side, origin] = start >= from ? [group.points, from] : [group.before, before];
    const point = side[Math.round((start - origin) / length)];
    if (point) read(row, measure, point);
  }
  for (const group of groups.values()) {
    group.mean = mean(group.points);
    group.meanBefore = mean(group.before);
    [group.shown, group.shownBefore] = [group.points, group.before].map((points) => points.filter(({ value }) => value !== null).length) as [number, number];
  }
  const sorted = [...groups.values()]
    .filter(({ shown }) => shown > 0)
    .sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0) || a.key.localeCompare(b.key));
  const missing = empty(from).filter(({ hidden }) => hidden);
  return { from, to, length, periods, groups: sorted, gaps: runs(missing), hidden: missing.length };
}

function read(row: Row, measure: string, point: Point): void {
  const number = (name: string) => (typeof row[name] === "number" ? (row[name] as number) : undefined);
  point.value = number(measure) ?? null;
  const [low, high] = [number(`${measure}_low`), number(`${measure}_high`)];
  if (low !== undefined && high !== undefined) Object.assign(point, { low, high });
}

export function mean(points: Point[]): number | null {
  const values = points.flatMap(({ value }) => (value === null ? [] : [value]));
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Periods that follow each other, as one. */
export function runs(points: Point[]): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  for (const { start, end } of points) {
    const last = runs.at(-1);
    if (last && last.end === start) last.end = end;
    else runs.push({ start, end });
  }
  return runs;
}

/** The last period that has a value. */
export function latest(points: Point[]): Point | null {
  return points.findLast(({ value }) => value !== null) ?? null;
}

/** A statistic's grouping that a view asks for, or its first choice: the total, else the first. */
export function groupingOf(statistic: Statistic, wanted?: string[]): string[] {
  const same = (grouping: string[]) =>
    wanted !== undefined && grouping.length === wanted.length && grouping.every((name) => wanted.includes(name));
  const groupings = statistic.groupings;
  return groupings.find(same) ?? groupings.find((grouping) => grouping.length === 0) ?? groupings[0] ?? [];
}

/** The measure that a statistic is about: its contributors if the title speaks of them, else what is measured of them. */
export function mainMeasure({ title, columns, contributors }: Pick<Statistic, "title" | "columns" | "contributors">): Column {
  const isContributors = (column: Column) => column.measure === "contributors";
  const speaksOfThem = title.toLowerCase().includes(contributors.toLowerCase());
  return columns.find((column) => isContributors(column) === speaksOfThem) ?? columns[0]!;
}

/** What is asked for a chart; of one group alone where `only` has its values. */
export function questionOf(statistic: string, by: string[], from: number, to: number, only: string[] = []): Question {
  const question: Question = { from: statistic, by, between: [iso(from), iso(to)] };
  return only.length === 0 ? question : { ...question, where: Object.fromEntries(only.map((value, index) => [by[index]!, value])) };
}

/** One word of a shell, whatever stands in it: values of dimensions are what senders wrote. */
const word = (text: string) => (/^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The question as a command. */
export function curl(service: string, question: Question): string {
  return [`curl ${word(service)} \\`, `  -H "Authorization: Bearer $TOKEN" \\`, `  -d ${word(JSON.stringify(question))}`].join("\n");
}

/** The same question as SQL over the statistic's table, of some measures. */
export function sql({ from: statistic, by, between: [from, to], where = {} }: Question, measures: string[]): string {
  const name = (text: string) => (/^[a-z_][a-z0-9_]*$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`);
  const text = (value: string) => `'${value.replaceAll("'", "''")}'`;
  const time = (text: string) => `timestamp '${new Date(text).toISOString().replace(".000Z", "Z")}'`;
  return [
    `select ${["period_start", ...by, ...measures].map(name).join(", ")}`,
    `from ${name(statistic)}`,
    `where grouping = ${text(by.join(", "))}`,
    ...Object.entries(where).map(([dimension, value]) => `  and ${name(dimension)} ${value === NONE ? "is null" : `= ${text(value)}`}`),
    `  and period_start >= ${time(from)}`,
    `  and period_start < ${time(to)}`,
    `order by ${["period_start", ...by].map(name).join(", ")}`,
  ].join("\n");
}
