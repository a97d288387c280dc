// Names and numbers as people read them.

import type { Column, Privacy } from "./api";

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

/** A measure's name: `p95_duration` as "Duration, 95th percentile". */
export function measure({ name, measure, field }: Column): string {
  const of = (field ?? name).replaceAll("_", " ");
  if (measure === "contributors") return sentence(of);
  if (measure === "events") return "Events";
  if (measure === "unattributed_events") return "Events of nobody";
  if (measure === "sum") return `Sum of ${of}`;
  if (measure === "mean") return `Mean ${of}`;
  if (measure === "share") return `Share with ${condition(name, field ?? "")}`;
  const [, rank] = /^p(\d+)_/.exec(name) ?? [];
  return rank === "50" ? `Median ${of}` : `${sentence(of)}, ${rank}th percentile`;
}

/** What a share is of: `share_error_present` as "error", `share_plan_free_or_trial` as "plan free or trial". */
function condition(name: string, field: string): string {
  const what = name.slice(`share_${field}_`.length);
  const of = field.replaceAll("_", " ");
  if (what === "present") return of;
  return what === "absent" ? `no ${of}` : `${of} ${what.replaceAll("_or_", " or ")}`;
}

/** A number of a measure, in its unit. */
export function value({ unit }: Column, number: number): string {
  if (unit === "share") return percent.format(number);
  if (unit === "ms") return span(number);
  return Math.abs(number) < 100 ? numbers.format(number) : whole.format(number);
}

/** The same, as short as the axis of a chart needs it. */
export function tick({ unit }: Column, number: number): string {
  if (number === 0) return "0";
  if (unit === "share") return percent.format(number);
  if (unit === "ms") {
    if (number < 1_000) return `${whole.format(number)} ms`;
    if (number < 120_000) return `${numbers.format(number / 1_000)} s`;
    return number < 7_200_000 ? `${numbers.format(number / 60_000)} min` : `${numbers.format(number / 3_600_000)} h`;
  }
  return new Intl.NumberFormat("en", { notation: "compact" }).format(number);
}

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
  if (text === NONE) return name === "country" ? "unknown" : "none";
  if (name === "country" && /^[A-Z]{2}$/.test(text)) return regions.of(text) ?? text;
  if (name === "language" && /^[a-z]{2,3}(-[A-Za-z]+)?$/.test(text)) return languages.of(text) ?? text;
  return text;
}

/** "a day", "an hour". */
export function a(word: string): string {
  return `${/^(hour|[aeio])/.test(word) ? "an" : "a"} ${word}`;
}

/** Periods that a mean is of, where some are not shown: "the 2 of 90 days that are shown"; null where all are. */
export function shownOf(shown: number, all: number, periods: string): string | null {
  return shown === all ? null : `the ${shown} of ${all} ${periods} that ${shown === 1 ? "is" : "are"} shown`;
}

/** What a mean over periods is of: "visitors a day, on average", "median duration, mean of the days"; of some periods
 * alone, which it has to say: "visitors, mean of the 2 of 90 days that are shown". */
export function average(column: Column, period: string, periods: string, some: string | null): string {
  const isCount = ["contributors", "events", "unattributed_events"].includes(column.measure);
  const label = measure(column);
  const low = label.charAt(0).toLowerCase() + label.slice(1);
  if (some !== null) return `${low}, mean of ${some}`;
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

/** Which of the periods shown were computed again, or null if none was: "revised after a replay: 2 of 90 days". */
export function revised(revisedIn: string[], span: { from: number; to: number }, periods: number, all: string): string | null {
  const starts = revisedIn.map((start) => Date.parse(start));
  const count = starts.filter((start) => start >= span.from && start < span.to).length;
  return count === 0 ? null : `revised after a replay: ${count} of ${periods} ${all}`;
}

/** What keeps a group from being shown: "fewer than 10 devices". */
export function few({ min_contributors }: Privacy, who: string): string {
  return min_contributors === undefined ? `too few ${who}` : `fewer than ${min_contributors} ${who}`;
}

/** Why something is missing. */
export function missing(privacy: Privacy, who: string): string {
  return `Groups with ${few(privacy, who)} are not shown, and neither are those from which one could be worked out.`;
}

const REASONS: Record<string, string> = {
  malformed: "no JSON, or not an event",
  unknown_type: "of no declared family",
  missing_field: "a required field is missing",
  wrong_type: "a value of another type",
  out_of_range: "a number out of its range",
  too_long: "longer than declared",
  not_listed: "none of the declared values",
  wrong_form: "not of the declared form",
  refused_content: "content that is never taken",
  not_permitted: "not permitted to this sender",
  unreadable: "sealed by another build or package",
};

/** Why an event was refused. */
export function reason(name: string): string {
  return REASONS[name] ?? name.replaceAll("_", " ");
}

export const count = (number: number) => whole.format(number);

/** A count that was rounded down, of which there was one at least if `any`: "1,230", "fewer than 5", "0". */
export function rounded(number: number, any: boolean, rounding: number): string {
  return number === 0 && any ? `fewer than ${rounding}` : count(number);
}
