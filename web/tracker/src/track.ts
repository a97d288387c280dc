// Counts the use of one page. Everything it knows is in these variables and gone with the page: there is no cookie,
// no storage, no identifier, and no request but the one that carries the events.

/** What a visitor said about purposes of the policy package, by name. */
export type Consent = Record<string, boolean | { granted: boolean; version?: string } | undefined>;

/** Fields of an event, as its family declares them. */
export type Fields = Record<string, unknown>;

/** Sends an event of one's own; `consent` tells what the visitor decided, as often as it changes. */
export interface Quorate {
  (name: string, fields?: Fields): void;
  consent(said: Consent): void;
}

/** Longest time that one sign of life stands for: who reads moves or scrolls now and then. */
const IDLE_MS = 30_000;
/** Shorter stays are not reported. */
const STAY_MS = 1_000;
/** Upper end of what the family `web` takes. */
const STAY_MS_MAX = 3_600_000;
/** Events that wait while the browser is offline or the visitor has not decided; the oldest go first. */
const WAITING_MAX = 99;

/**
 * Starts to count.
 *
 * @param to Where events are posted, with the site: `https://stats.example.org/v1/events?site=www.example.org`.
 * @param purpose The purpose that the events serve.
 * @param asks Whether that purpose needs the visitor's consent: then events wait for the decision, and of a visitor who
 *   leaves without one only the bare event is sent.
 * @param given What the visitor has said before.
 */
export function track(to: string, purpose: string, asks: boolean, given: Consent): Quorate {
  const now = Date.now;
  const page = document;
  const at = location;
  let waiting: Fields[] = [];
  let url: string;
  let path: string;
  // Of the page before only its site, and only if it was another one.
  let from = page.referrer.match(/^https?:..[^/]+/)?.[0];
  let engaged = 0;
  let seen = 0;
  let last = 0;
  let shown: boolean | undefined;

  const flush = (leaving?: boolean) => {
    const browser = navigator as Navigator & { globalPrivacyControl?: boolean; doNotTrack?: string | null };
    const signals = { gpc: !!browser.globalPrivacyControl, dnt: browser.doNotTrack == "1" };
    const objects = signals.gpc || signals.dnt;
    const said = given[purpose] as (boolean & { granted?: boolean }) | undefined;
    const events = waiting;
    if (!browser.onLine || (asks && said == null && !objects && !leaving)) return;
    waiting = [];
    // Without a standing purpose the event counts, and says nothing else; nothing is measured of the visit.
    const granted = !objects && (said == null ? !asks : said.granted ?? said);
    const sent = granted
      ? events
      : events.filter((event) => event.name != "engagement").map(({ id, time, type, name }) => ({ id, time, type, name }));
    // A text needs no preflight, from either.
    const body = JSON.stringify({ type: "web", sent: now(), consent: given, signals, events: sent });
    if (sent[0] && !(browser.sendBeacon && browser.sendBeacon(to, body)))
      fetch(to, { method: "POST", body, keepalive: true }).catch(() => (waiting = events.concat(waiting)));
  };

  const quorate = (name: string, fields?: Fields) => {
    // The id makes a second copy recognisable, and is another one for each event.
    waiting = [...waiting.slice(-WAITING_MAX), { id: Math.random().toString(36), time: now(), name, url, ...fields }];
    flush();
  };

  const alive = () => {
    if (shown) engaged += Math.min(now() - last, IDLE_MS);
    last = now();
    shown = !page.hidden;
    seen = Math.max(seen, scrollY + innerHeight);
  };

  const report = () => {
    alive();
    if (engaged >= STAY_MS)
      quorate("engagement", {
        engaged: Math.min(engaged, STAY_MS_MAX),
        scroll_depth: Math.min(100, Math.round((100 * seen) / page.documentElement.scrollHeight)),
      });
    engaged = 0;
  };

  const view = () => {
    path = at.pathname;
    // Neither fragment nor query, but for the campaign: what is not kept need not leave the browser.
    url = at.origin + path + "?" + (at.search.match(/utm_\w+=[^&]*/g) || []).join("&");
    quorate("pageview", { referrer: from == at.origin ? null : from });
    from = undefined;
    engaged = seen = 0;
    alive();
  };

  const moved = () => {
    if (path != at.pathname) {
      report();
      view();
    }
  };

  const on = (types: string, listener: (event: any) => void) =>
    types.split(" ").map((type) => addEventListener(type, listener, true));

  on("scroll keydown pointerdown pointermove", alive);
  on("visibilitychange", () => (page.hidden ? (report(), flush(true)) : alive()));
  on("online", () => flush());
  on("popstate", moved);
  on("pageshow", (event: PageTransitionEvent) => event.persisted && view());
  on("click auxclick", (event: MouseEvent) => {
    const link = (event.target as Element).closest?.("a");
    if (link && event.button < 2 && /^http/.test(link.protocol) && link.host != at.host)
      // Only whither, not to which page.
      quorate("outbound_link", { target: link.origin });
  });
  (["pushState", "replaceState"] as const).map((name) => {
    const own = history[name];
    history[name] = (...change) => {
      own.apply(history, change);
      moved();
    };
  });

  quorate.consent = (said: Consent) => {
    Object.assign(given, said);
    flush();
  };

  (page as Document & { prerendering?: boolean }).prerendering ? on("prerenderingchange", view) : view();
  return quorate;
}
