// Where one is: all of it stands in the fragment of the address, so that a link keeps the view. The fragment is
// never sent to a server.

import { DAY_MS, iso } from "./time";

export interface View {
  page: "overview" | "statistic" | "live" | "protection" | "setup";
  /** Name of the statistic. */
  statistic?: string;
  by?: string[];
  measure?: string;
  /** Days before the last released period; or dates. */
  span: { last: number } | { from: string; to: string };
  compare: boolean;
  /** The one group that is looked at. */
  only?: string | undefined;
}

export const DAYS = [7, 30, 90, 365];
const LAST = 30;
/** The longest span that a link may ask for, in days. */
const LONGEST = 3660;

/** A part of the address; as it stands where it is no encoding. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Whether it is a day of the calendar: 2026-02-30 is none. */
function isDate(text: string | null): text is string {
  const time = /^\d{4}-\d\d-\d\d$/.test(text ?? "") ? Date.parse(text!) : NaN;
  return !Number.isNaN(time) && iso(time) === text;
}

/** The span that a link asks for; the usual one where it is none. */
function spanIn(parameters: URLSearchParams): View["span"] {
  const [from, to] = [parameters.get("from"), parameters.get("to")];
  if (isDate(from) && isDate(to) && from < to && Date.parse(to) - Date.parse(from) <= LONGEST * DAY_MS) return { from, to };
  const last = Number(parameters.get("last"));
  return { last: Number.isInteger(last) && last > 0 && last <= LONGEST ? last : LAST };
}

export function parse(hash: string): View {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parameters = new URLSearchParams(query);
  const [first, second] = path.split("/").map(decode);
  const page = first === "live" || first === "protection" || first === "setup" ? first : first === "s" && second ? "statistic" : "overview";
  const view: View = { page, span: spanIn(parameters), compare: parameters.get("compare") !== "no" };
  if (page === "statistic") view.statistic = second!;
  const by = parameters.get("by");
  if (by !== null) view.by = by === "" ? [] : by.split(",");
  const measure = parameters.get("measure");
  if (measure) view.measure = measure;
  const only = parameters.get("only");
  if (only !== null) view.only = only;
  return view;
}

export function format(view: View): string {
  const parameters = new URLSearchParams();
  if (view.by) parameters.set("by", view.by.join(","));
  if (view.measure) parameters.set("measure", view.measure);
  if ("last" in view.span) {
    if (view.span.last !== LAST) parameters.set("last", String(view.span.last));
  } else {
    parameters.set("from", view.span.from);
    parameters.set("to", view.span.to);
  }
  if (!view.compare) parameters.set("compare", "no");
  if (view.only !== undefined) parameters.set("only", view.only);
  const path = view.page === "statistic" ? `s/${encodeURIComponent(view.statistic ?? "")}` : view.page;
  const query = parameters.toString();
  return `#/${path}${query && `?${query}`}`;
}
