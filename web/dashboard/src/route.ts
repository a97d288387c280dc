// Where one is: all of it stands in the fragment of the address, so that a link keeps the view. The fragment is
// never sent to a server.

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

export function parse(hash: string): View {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parameters = new URLSearchParams(query);
  const [first, second] = path.split("/").map(decodeURIComponent);
  const page = first === "live" || first === "protection" || first === "setup" ? first : first === "s" && second ? "statistic" : "overview";
  const dates = [parameters.get("from"), parameters.get("to")].map((date) => /^\d{4}-\d\d-\d\d$/.exec(date ?? "")?.[0]);
  const last = Number(parameters.get("last"));
  const view: View = {
    page,
    span:
      dates[0] && dates[1] && dates[0] < dates[1]
        ? { from: dates[0], to: dates[1] }
        : { last: Number.isInteger(last) && last > 0 && last <= 3660 ? last : LAST },
    compare: parameters.get("compare") !== "no",
  };
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
