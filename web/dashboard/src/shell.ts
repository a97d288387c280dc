// What every page has around it, and what pages share.

import { type Api, Refused, type Statistic, endsSession } from "./api";
import { type Child, announce, fill, h } from "./dom";
import { type View, format, parse } from "./route";
import { moment } from "./time";

/** What a page gets. */
export interface Place {
  api: Api;
  statistics: Statistic[];
  view: View;
  /** Ends when another page is shown. */
  left: AbortSignal;
  /** Asks for the list of statistics again; shows another page if that changes what there is to see. */
  refresh(): Promise<Statistic[]>;
}

const TOKEN = "quorate.token";
const THEME = "quorate.theme";

/** The token lives as long as the tab, and nowhere else. */
export const session = {
  get token(): string | null {
    return sessionStorage.getItem(TOKEN);
  },
  set token(token: string | null) {
    if (token === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  },
};

const THEMES = ["auto", "light", "dark"] as const;

export function applyTheme(): void {
  document.documentElement.dataset.theme = sessionStorage.getItem(THEME) ?? "auto";
}

function themeButton(): HTMLElement {
  const now = () => document.documentElement.dataset.theme ?? "auto";
  const button = h("button", { type: "button", class: "quiet" });
  const label = () => {
    button.textContent = { auto: "Colours: auto", light: "Colours: light", dark: "Colours: dark" }[now()] ?? "";
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(now() as (typeof THEMES)[number]) + 1) % THEMES.length]!;
    sessionStorage.setItem(THEME, next);
    applyTheme();
    label();
  });
  label();
  return button;
}

/** Goes to another view; `replace` where going back should not lead here. */
export function go(change: Partial<View>, replace = false): void {
  const view = { ...parse(location.hash), ...change };
  for (const [name, value] of Object.entries(change)) if (value === undefined) delete view[name as keyof View];
  const hash = format(view);
  if (replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = hash;
}

/** A link to a view that keeps the span and the comparison of the present one. */
export function linkTo(change: Partial<View>): string {
  const { span, compare } = parse(location.hash);
  return format({ page: "overview", span, compare, ...change });
}

const mark = () => {
  const image = h("img", { src: "./icon.svg", alt: "", width: 24, height: 24 });
  return h("a", { class: "brand", href: linkTo({}) }, image, "Quorate");
};

/** Draws the frame around a page, and gives the place for its content. */
export function frame(root: Element, page: View["page"] | null, signOut: () => void): HTMLElement {
  const main = h("main", { id: "main", tabindex: -1 });
  const item = (to: View["page"], label: string) =>
    h("a", { href: linkTo({ page: to }), "aria-current": to === page ? "page" : null }, label);
  const nav =
    page === null
      ? []
      : [
          h("nav", { "aria-label": "Pages" }, item("overview", "Statistics"), item("live", "Live"), item("protection", "Data protection"), item("setup", "Send events")),
        ];
  fill(
    root,
    h(
      "header",
      { class: "top" },
      mark(),
      nav,
      h("div", { class: "end" }, themeButton(), page !== null && h("button", { type: "button", class: "quiet", click: signOut }, "Sign out")),
    ),
    main,
    h("div", { id: "announce", class: "unseen", role: "status", "aria-live": "polite" }),
  );
  return main;
}

let kept: { key: string | null; top: number } | null = null;

/** Remembers which control is in use and how far one has read, before the same page is drawn anew. */
export function remember(): void {
  kept = { key: document.activeElement?.getAttribute("data-keep") ?? null, top: scrollY };
}

/** Goes back to it, where it is there again. */
export function restore(within: ParentNode): void {
  if (kept?.key == null) return;
  const control = within.querySelector<HTMLElement>(`[data-keep="${CSS.escape(kept.key)}"]`);
  control?.focus({ preventScroll: true });
  if (control) kept.key = null;
}

/** Another page begins at its beginning. */
export function forget(): void {
  kept = null;
}

/** What is shown while something is asked for, and in its place when it fails. */
export async function asked<T>(place: Element, left: AbortSignal, question: () => Promise<T>, draw: (answer: T) => Child): Promise<void> {
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await question();
    if (left.aborted) return;
    fill(place, draw(answer));
    restore(place);
    // While the answer was awaited the page was short.
    if (kept) scrollTo(0, kept.top);
    kept = null;
  } catch (error) {
    if (left.aborted) return;
    if (endsSession(error)) throw error;
    const text = error instanceof Refused ? error.message : "Something went wrong while drawing this.";
    if (!(error instanceof Refused)) console.error(error);
    const again = h("button", { type: "button", class: "quiet", click: () => void asked(place, left, question, draw) }, "Try again");
    fill(place, h("p", { class: "trouble", role: "alert" }, text, " ", again));
    announce(text);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Where a page that looks again and again says that it sees nothing new. */
export function lookout(failed: (error: unknown) => void): { place: HTMLElement; saw(): void; missed(error: unknown): void } {
  const place = h("p", { class: "trouble", role: "alert" });
  let last: number | null = null;
  const say = (text: string) => {
    // Said once, not at every look.
    if (place.textContent !== text) place.textContent = text;
  };
  return {
    place,
    saw() {
      last = Date.now();
      say("");
    },
    missed(error) {
      if (endsSession(error)) return failed(error);
      if (!(error instanceof Refused)) console.error(error);
      const why = error instanceof Refused ? error.message : "Something went wrong while drawing this.";
      say(last === null ? why : `${why.replace(/\.$/, "")}; what is shown here is of ${moment(last)}.`);
    },
  };
}

/** Draws a chart as wide as its place, and again when that changes. */
export function drawn(place: HTMLElement, left: AbortSignal, draw: (width: number) => Element | Promise<Element>): void {
  let width = 0;
  place.setAttribute("aria-busy", "true");
  const observer = new ResizeObserver(async ([entry]) => {
    const now = Math.floor(entry?.contentRect.width ?? 0);
    if (now === width || now === 0) return;
    width = now;
    try {
      const chart = await draw(now);
      if (now === width) place.replaceChildren(chart);
    } finally {
      place.removeAttribute("aria-busy");
    }
  });
  observer.observe(place);
  left.addEventListener("abort", () => observer.disconnect());
}
