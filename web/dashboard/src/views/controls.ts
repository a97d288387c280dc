// The span of time and the comparison: the same on every page of statistics.

import { choice, h } from "../dom";
import { DAYS, type View } from "../route";
import { go } from "../shell";
import { DAY_MS, iso } from "../time";

export function spanControls(view: View): HTMLElement[] {
  const last = "last" in view.span ? view.span.last : null;
  const days = last === null || DAYS.includes(last) ? DAYS : [...DAYS, last].sort((a, b) => a - b);
  const options = days.map((count) => ({ value: String(count), label: count === 365 ? "Last year" : `Last ${count} days` }));
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const choose = (value: string) =>
    go({ span: value === "dates" ? { from: iso(today - 29 * DAY_MS), to: iso(today) } : { last: Number(value) } });
  const controls = [choice("Time", [...options, { value: "dates", label: "From … to …" }], last === null ? "dates" : String(last), choose)];
  if (!("last" in view.span)) {
    const { from, to } = view.span;
    const date = (label: string, value: string, change: (value: string) => { from: string; to: string }) => {
      const listen = (event: Event) => {
        const chosen = (event.target as HTMLInputElement).value;
        const span = change(chosen);
        if (chosen && span.from < span.to) go({ span });
      };
      return h("label", { class: "field" }, h("span", {}, label), h("input", { type: "date", "data-keep": label, value, change: listen }));
    };
    controls.push(
      date("From", from, (value) => ({ from: value, to })),
      date("To", to, (value) => ({ from, to: value })),
    );
  }
  const compare = h("input", { type: "checkbox", "data-keep": "compare", checked: view.compare, change: () => go({ compare: !view.compare }) });
  controls.push(h("label", { class: "check" }, compare, "Compare with the span before"));
  return controls;
}
