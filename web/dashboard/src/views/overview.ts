// Every statistic at a glance: its mean, how it changed, and its course.

import type { Answer, Privacy, Statistic } from "../api";
import { h } from "../dom";
import { groupingOf, mainMeasure, picture, questionOf, spanOf } from "../model";
import { type Place, asked, drawn, linkTo } from "../shell";
import * as time from "../time";
import * as words from "../words";
import { spanControls } from "./controls";
import { nothing } from "./statistic";

const SHOWN = 4;

export function overview(main: HTMLElement, place: Place, failed: (error: unknown) => void): string {
  const { statistics, view, left } = place;
  const families = Map.groupBy(statistics, (statistic) => words.sentence(statistic.family.replaceAll("_", " ")));
  const sections = [...families].map(([name, own]) =>
    h("section", {}, h("h2", {}, name), h("ul", { class: "cards" }, own.map((statistic) => h("li", {}, card(statistic, place, failed))))),
  );
  main.append(
    h("div", { class: "head" }, h("h1", {}, "Statistics"), h("div", { class: "controls", role: "group", "aria-label": "Span of time" }, spanControls(view))),
    ...sections,
  );
  const timer = setInterval(() => place.refresh().catch(failed), 60_000);
  left.addEventListener("abort", () => clearInterval(timer));
  return "Statistics";
}

function card(statistic: Statistic, place: Place, failed: (error: unknown) => void): HTMLElement {
  const { api, view, left } = place;
  const by = groupingOf(statistic);
  const who = statistic.contributors;
  const measure = mainMeasure(statistic);
  const [period, all] = [time.periods(statistic.every, 1), time.periods(statistic.every, 2)];
  const body = h("div", { class: "body" });
  const link = h("a", { href: linkTo({ page: "statistic", statistic: statistic.name }) }, statistic.title);
  const article = h("article", { class: "card" }, h("h3", {}, link), body);
  const span = spanOf(view, statistic);
  if (!span) {
    const closes = statistic.closes_at && Date.parse(statistic.closes_at);
    body.append(
      h("p", { class: "about" }, "Nothing is released yet.", closes ? ` The first ${statistic.every} that can be closes ${time.distance(closes, Date.now())}.` : ""),
    );
    return article;
  }
  const question = questionOf(statistic.name, by, view.compare ? span.before : span.from, span.to);
  const draw = (answer: Answer) => {
    const found = picture(answer, by, measure.name, span);
    const [first] = found.groups;
    const foot = [notes(statistic, answer.privacy, who, words.revised(answer.revised_in, span, found.periods, all))];
    if (!first) return [h("p", { class: "about" }, nothing(answer, found, statistic)), foot];
    if (by.length > 0) {
      // What has no value of any dimension says least, and is often the largest: it is on the statistic's own page.
      const named = found.groups.filter(({ values }) => values.some((value) => value !== words.NONE));
      const listed = named.length > 0 ? named : found.groups;
      const largest = listed[0]!.mean ?? 1;
      const rows = listed.slice(0, SHOWN).map((group) =>
        h(
          "li",
          {},
          h("span", { class: "name" }, group.values.map((value, index) => words.group(by[index]!, value)).join(" · ")),
          h("span", { class: "number" }, words.value(measure, group.mean ?? 0)),
          h("span", { class: "bar", "--part": (group.mean ?? 0) / largest, "aria-hidden": "true" }),
        ),
      );
      const more = found.groups.length - rows.length;
      const isWhole = listed.slice(0, SHOWN).every(({ shown }) => shown === found.periods);
      const average = words.average(measure, period, all, isWhole ? null : `the ${all} in which each is shown`);
      return [
        h("p", { class: "about" }, `${words.sentence(average)}, by ${by.map(words.dimension).join(", ")}`),
        h("ol", { class: "bars" }, rows),
        more > 0 && h("p", { class: "about" }, `and ${more} more`),
        foot,
      ];
    }
    const change = view.compare ? words.changed(first.mean, first.meanBefore) : null;
    const average = words.average(measure, period, all, words.shownOf(first.shown, found.periods, all));
    const isWholeBefore = first.shownBefore === found.periods;
    const against = ` against ${isWholeBefore ? "" : `${first.shownBefore} of ${found.periods} ${all} of `}the span before`;
    const summary = `${statistic.title}: ${words.value(measure, first.mean ?? 0)} ${average}, ${time.range(span.from, span.to)}`;
    const chart = h("div", { class: "spark" });
    drawn(chart, left, async (width) => (await import("../charts")).spark(found, first, width, 112, summary));
    return [
      h(
        "p",
        { class: "figure" },
        h("strong", {}, words.value(measure, first.mean ?? 0)),
        h("span", { class: "about" }, ` ${average}`),
        change !== null && [h("span", { class: "change" }, change), h("span", { class: isWholeBefore ? "unseen" : "about" }, against)],
      ),
      chart,
      foot,
    ];
  };
  asked(body, left, () => api.ask(question), draw).catch(failed);
  return article;
}

function notes(statistic: Statistic, privacy: Privacy, who: string, revised: string | null): Node {
  const until = statistic.complete_until && time.moment(Date.parse(statistic.complete_until));
  const closes = statistic.closes_at && `the next ${time.periods(statistic.every, 1)} closes ${time.distance(Date.parse(statistic.closes_at), Date.now())}`;
  const when = [until && `complete until ${until}`, closes].filter(Boolean).join(" · ");
  return h("div", { class: "foot" }, h("p", { class: "badge" }, [words.protection(privacy, who), revised].filter(Boolean).join(" · ")), h("p", {}, words.sentence(when)));
}
