import type { Families, Purpose } from "./events";

export type { Families, Purpose } from "./events";

/** What a visitor decided about one purpose, under which version of the text, and when (RFC 3339, or milliseconds since 1970). */
export type Decision = boolean | { granted: boolean; version?: string; at?: string | number };

/** Decisions by purpose. */
export type Consent = { [purpose in Purpose]?: Decision };

/** Sends an event of one's own; the page it happened on is added. */
export interface Quorate {
  (name: Families["web"]["name"], fields?: Omit<Families["web"], "name">): void;
  /** Tells what the visitor decided, as often as it changes. Nothing of it is stored: say it on each page. */
  consent(said: Consent): void;
}

export interface Options {
  /** Public id of the site, as `quorate source add` named it. */
  site: string;
  /** Where Quorate takes events: `https://stats.example.org`. */
  server: string;
  /** Purpose that needs the visitor's consent; without it the purpose `website` stands unless objected to. */
  consent?: Purpose;
  /** What the visitor has decided before. */
  said?: Consent;
  /** Type of Google's consent mode that speaks for the purpose: `analytics_storage`. It is read from `dataLayer`. */
  google?: string;
  /** Purposes of the TCF that must all be consented to: `1,8,9`. They are asked of `__tcfapi`. */
  tcf?: string;
}

/** Starts to count this page, once: a second call gives what the first one gave. */
export function start(options: Options): Quorate;

declare global {
  interface Window {
    /** There once the script has run, where a page includes it as a tag. */
    quorate?: Quorate;
  }
}
