// Names and numbers as people read them. Units and kinds are read off the names that the package's measures give
// their columns.

import type { Privacy, Statistic } from "./api";

const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const change = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero" });
const regions = new Intl.DisplayNames("en", { type: "region", fallback: "code" });
const languages = new Intl.DisplayNames("en", { type: "language", fallback: "code" });

/** How a dimension without a value is written. */
export const NONE = "(none)";

const NAMES: Record<string, string> = {
  os: "operating system",
  device_class: "class of device",
  hostname: "site",
  utm_source: "campaign source",
  utm_medium: "campaign medium",
  utm_campaign: "campaign",
  name: "event",
};

export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A dimension's name: `device_class` as "class of device". */
export function dimension(name: string): string {
  return NAMES[name] ?? name.replaceAll("_", " ");
}

export function grouping(by: string[]): string {
  return by.length === 0 ? "Total" : sentence(by.map(dimension).join(", "));
}

/** What contributors of a statistic are called: "visitors". */
export function contributors(statistic: Statistic): string {
  const plain = (name: string) => !/^(events|unattributed_events)$|^(sum|mean|share|p\d+)_/.test(name);
  return statistic.contributors ?? statistic.measures.find(plain) ?? "contributors";
}

/** A measure's name: `p95_duration` as "95 % are below (duration)". */
export function measure(name: string): string {
  if (name === "unattributed_events") return "Events of nobody";
  const [, kind, of] = /^(sum|mean|share|p\d+)_(.+)$/.exec(name) ?? [];
  const field = (of ?? name).replaceAll("_", " ");
  if (kind === undefined) return sentence(field);
  if (kind === "sum") return `Sum of ${field}`;
  if (kind === "mean") return `Mean ${field}`;
  if (kind === "share") return `Share with ${field.replace(/ present$/, "").replace(/^(.*) absent$/, "no $1")}`;
  return kind === "p50" ? `Median ${field}` : `${sentence(field)}, ${Number(kind.slice(1))}th percentile`;
}

/** A number of a measure, in its unit. */
export function value(name: string, number: number | null): string {
  if (number === null) return "not shown";
  if (name.startsWith("share_")) return percent.format(number);
  if (isTime(name)) return span(number);
  return Math.abs(number) < 100 ? numbers.format(number) : whole.format(number);
}

/** The same, as short as the axis of a chart needs it. */
export function tick(name: string, number: number): string {
  if (name.startsWith("share_")) return percent.format(number);
  if (isTime(name)) {
    if (number < 1_000) return `${whole.format(number)} ms`;
    if (number < 120_000) return `${numbers.format(number / 1_000)} s`;
    return number < 7_200_000 ? `${numbers.format(number / 60_000)} min` : `${numbers.format(number / 3_600_000)} h`;
  }
  return new Intl.NumberFormat("en", { notation: "compact" }).format(number);
}

/** Whether a measure is of milliseconds. */
const isTime = (name: string) => /^(sum|mean|p\d+)_.*(duration|engaged|time|elapsed)/.test(name);

function span(ms: number): string {
  if (ms === 0) return "0 s";
  if (ms < 1_000) return `${whole.format(ms)} ms`;
  if (ms < 60_000) return `${numbers.format(ms / 1_000)} s`;
  if (ms < 3_600_000) {
    const seconds = Math.round(ms / 1_000);
    return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  }
  return `${numbers.format(ms / 3_600_000)} h`;
}

/** A change against what was before: "+12%". */
export function changed(now: number | null, before: number | null): string | null {
  if (now === null || before === null || before === 0) return null;
  return change.format(now / before - 1).replace("-", "−");
}

/** A value of a dimension: a country by its name. */
export function group(name: string, text: string): string {
  if (text === NONE) return "none";
  if (name === "country" && /^[A-Z]{2}$/.test(text)) return regions.of(text) ?? text;
  if (name === "language" && /^[a-z]{2,3}(-[A-Za-z]+)?$/.test(text)) return languages.of(text) ?? text;
  return text;
}

/** "a day", "an hour". */
export function a(word: string): string {
  return `${/^(hour|[aeio])/.test(word) ? "an" : "a"} ${word}`;
}

/** What a mean over periods is of: "visitors a day, on average", "median duration, mean of the days". */
export function average(name: string, period: string, periods: string): string {
  const isCount = !/^(sum|mean|share|p\d+)_/.test(name);
  const label = measure(name);
  const low = label.charAt(0).toLowerCase() + label.slice(1);
  return isCount ? `${low} ${a(period)}, on average` : `${low}, mean of the ${periods}`;
}

/** What protects numbers, in one line. */
export function protection(privacy: Privacy, who: string): string {
  if (privacy.mechanism === "threshold")
    return `${privacy.note.split(":")[0]} · groups of at least ${privacy.min_contributors} ${who} · counts rounded to ${privacy.rounding}`;
  const parameters = (["rho", "epsilon", "delta"] as const).flatMap((name) =>
    privacy[name] === undefined ? [] : [`${name} ${privacy[name]}`],
  );
  return [privacy.mechanism, ...parameters, privacy.note].join(" · ");
}

/** Why something is missing. */
export function missing(privacy: Privacy, who: string): string {
  const few = privacy.min_contributors === undefined ? `too few ${who}` : `fewer than ${privacy.min_contributors} ${who}`;
  return `Groups with ${few} are not shown, and neither are those from which one could be worked out.`;
}

const REASONS: Record<string, string> = {
  malformed: "no JSON, or not an event",
  unknown_type: "of no declared family",
  missing_field: "a required field is missing",
  wrong_type: "a value of another type",
  out_of_range: "a number out of its range",
  too_long: "longer than declared",
  wrong_form: "not of the declared form",
  refused_content: "content that is never taken",
  not_permitted: "not permitted to this sender",
};

/** Why an event was refused. */
export function reason(name: string): string {
  return REASONS[name] ?? name.replaceAll("_", " ");
}

export const count = (number: number) => whole.format(number);
