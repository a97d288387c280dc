// Charts by Observable Plot. It writes a style element into each chart, which a strict policy forbids; it is taken out
// before the chart enters the page, and style.css says the same.

import * as Plot from "@observablehq/plot";

import type { Group, Picture, Point } from "./model";

export interface Line {
  label: string;
  group: Group;
  colour: string;
}

export interface Drawing {
  picture: Picture;
  lines: Line[];
  compare: boolean;
  width: number;
  height: number;
  /** What a screen reader says instead. */
  summary: string;
  tick(number: number): string;
  tip(line: Line, point: Point, before: Point | undefined): string;
}

const TOP = 12;
const BOTTOM = 28;

type Gap = Picture["gaps"][number];
type Dated = Point & { line: Line; previous: Point | undefined };

function cleaned(chart: Element, summary: string): Element {
  chart.querySelectorAll("style").forEach((style) => style.remove());
  // Plot names each mark for assistive technology, and does so again where a pointer moves; within an image nothing has a name.
  const unname = () => {
    for (const mark of chart.querySelectorAll<SVGElement>("[aria-label]")) {
      mark.dataset.mark = mark.getAttribute("aria-label") ?? "";
      mark.removeAttribute("aria-label");
    }
  };
  unname();
  new MutationObserver(unname).observe(chart, { childList: true, subtree: true });
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", summary);
  return chart;
}

/** Lines over time, with a gap where nothing is shown. */
export function overTime({ picture, lines, compare, width, height, summary, tick, tip }: Drawing): Element {
  const points: Dated[] = lines.flatMap((line) =>
    line.group.points.map((point, index) => ({ ...point, line, previous: compare ? line.group.before[index] : undefined })),
  );
  // A value stands at the beginning of its period, so what is missing is shaded around that.
  const domain = domainOf(picture);
  const middle = (time: number) => Math.min(Math.max(time - picture.length / 2, domain[0]), domain[1]);
  const one = lines.length === 1 ? lines[0]! : undefined;
  const before = compare && one ? one.group.before : [];
  const uncertain = points.filter(({ low, high }) => low !== undefined && high !== undefined);
  // A lone value between two gaps would be a line without length.
  const dotted = picture.periods <= 45 ? points : points.filter((_, index) => isLone(points, index));
  const colour = (point: Dated) => point.line.colour;
  const marks: Plot.Markish[] = [
    // Behind one line its whole gaps; under several a strip, since each has gaps of its own.
    Plot.rectX(picture.gaps, { x1: ({ start }: Gap) => middle(start), x2: ({ end }: Gap) => middle(end), fill: one ? "var(--gap)" : "var(--missing)", insetTop: one ? 0 : height - TOP - BOTTOM - 5 }),
    Plot.ruleY([0], { stroke: "var(--axis)" }),
    Plot.areaY(uncertain, { x: "start", y1: "low", y2: "high", z: (point: Dated) => point.line.label, fill: colour, fillOpacity: 0.18 }),
    Plot.lineY(before, { x: "start", y: "value", stroke: "var(--before)", strokeWidth: 1.5, strokeDasharray: "2 4" }),
    Plot.lineY(points, { x: "start", y: "value", z: (point: Dated) => point.line.label, stroke: colour, strokeWidth: 2 }),
    Plot.dot(dotted, { x: "start", y: "value", r: 2.5, fill: colour }),
    Plot.ruleX(points, Plot.pointerX({ x: "start", py: "value", stroke: "var(--axis)" })),
    Plot.dot(points, Plot.pointerX({ x: "start", y: "value", r: 4, fill: colour, stroke: "var(--surface)" })),
    Plot.tip(
      points,
      Plot.pointerX({
        x: "start",
        y: "value",
        title: (point: Dated) => tip(point.line, point, point.previous),
        fill: "var(--surface)",
        stroke: "var(--axis)",
        fontSize: 13,
        // On a phone it has half of the width at most.
        lineWidth: width < 500 ? 9 : 20,
      }),
    ),
  ];
  const values = [...points, ...before].flatMap(({ value, high }) => [value ?? 0, high ?? 0]);
  const chart = Plot.plot({
    className: "plot",
    width,
    height,
    marginLeft: 46,
    marginRight: 12,
    marginTop: TOP,
    marginBottom: BOTTOM,
    x: { type: "utc", domain, label: null, ticks: width / 90 },
    y: { grid: true, zero: true, domain: [0, Math.max(...values) || 1], nice: true, label: null, ticks: 4, tickFormat: tick },
    color: { type: "identity" },
    marks,
  });
  return cleaned(chart, summary);
}

function isLone(points: Dated[], index: number): boolean {
  const is = (point: Dated | undefined) => point !== undefined && point.line === points[index]!.line && point.value !== null;
  return is(points[index]) && !is(points[index - 1]) && !is(points[index + 1]);
}

/** From the beginning of the first period to that of the last. */
function domainOf({ from, to, length, periods }: Picture): [number, number] {
  return [from, to - (periods > 1 ? length : 0)];
}

/** A line without axes, for a first look. */
export function spark(picture: Picture, group: Group, width: number, height: number, summary: string): Element {
  const fits = { x: "start", y: "value" } as const;
  const alone = group.points.filter(
    ({ value }, index, all) => value !== null && (all[index - 1]?.value ?? null) === null && (all[index + 1]?.value ?? null) === null,
  );
  const chart = Plot.plot({
    className: "plot",
    width,
    height,
    margin: 3,
    axis: null,
    x: { type: "utc", domain: domainOf(picture) },
    y: { zero: true },
    marks: [
      Plot.areaY(group.points, { x: "start", y1: 0, y2: "value", fill: "var(--accent)", fillOpacity: 0.1 }),
      Plot.lineY(group.points, { ...fits, stroke: "var(--accent)", strokeWidth: picture.periods > 200 ? 1 : 2 }),
      Plot.dot(alone, { ...fits, fill: "var(--accent)", r: picture.periods > 45 ? 1.5 : 3 }),
    ],
  });
  return cleaned(chart, summary);
}

/** Counts of moments just passed, as bars. */
export function moments(values: { time: number; count: number }[], step: number, width: number, height: number, summary: string): Element {
  const chart = Plot.plot({
    className: "plot",
    width,
    height,
    marginLeft: 36,
    marginRight: 4,
    marginTop: 8,
    marginBottom: 8,
    x: { axis: null, type: "band", padding: 0.25, domain: values.map(({ time }) => time) },
    y: { grid: true, label: null, ticks: 3, domain: [0, Math.max(2 * step, ...values.map(({ count }) => count))], nice: true },
    marks: [Plot.ruleY([0], { stroke: "var(--axis)" }), Plot.barY(values, { x: "time", y: "count", fill: "var(--accent)" })],
  });
  return cleaned(chart, summary);
}
