// Counts the use of one page. Everything it knows is in these variables and gone with the page: there is no cookie,
// no storage, no identifier, and no request but the one that carries the events.

/** What a visitor said about purposes of the policy package, by name: to which version of the text, and when. */
export type Consent = Record<string, boolean | { granted: boolean; version?: string; at?: string | number } | undefined>;

/** Consent managers that speak for the purpose too; what they hold is read in the browser and does not leave it. */
export interface Managers {
  /** Type of Google's consent mode: `analytics_storage`. */
  google?: string;
  /** Purposes of the TCF that must all be consented to: `1,8,9`. */
  tcf?: string;
}

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
/** Longest text of which the bytes are certainly fewer than the 64 KiB that may outlive a page: three for each unit. */
const LASTING_MAX = 20_000;

/**
 * Starts to count.
 *
 * @param to Where events are posted, with the site: `https://stats.example.org/v1/events?site=www.example.org`.
 * @param asks The purpose that the events serve, if it needs the visitor's consent: then events wait for the decision, and of
 *   a visitor who leaves without one only bare events are sent. Without it the purpose `website` stands unless objected to.
 * @param given What the visitor has said before.
 * @param managers Who else knows what the visitor has decided.
 */
export function track(to: string, asks: string | undefined, given: Consent, { google, tcf }: Managers): Quorate {
  const purpose = asks || "website";
  const page = document;
  const at = location;
  let engaged = 0;
  let seen = 0;
  let last = 0;
  let waiting: Fields[] = [];
  let url: string;
  let path: string;
  // Of the page before only its site, and only if it was another one.
  let from = page.referrer.match(/^https?:..[^/]+/)?.[0];
  let shown: boolean | undefined;
  let framework: boolean | undefined;

  const on = (types: string, listener: (event: any) => void) =>
    types.split(" ").map((type) => addEventListener(type, listener, true));

  // A page that is made in advance may never be shown: nothing happens on it until it is.
  const whenShown = (act: () => void) =>
    (page as Document & { prerendering?: boolean }).prerendering ? on("prerenderingchange", act) : act();

  // What Google's consent mode says. A denial by default is no decision: who asks waits for one. Defaults of regions may
  // take and not give, since nobody here knows the region.
  const mode = () => {
    let granted: boolean | undefined;
    let denied: unknown;
    let decided: boolean | undefined;
    for (const call of (window as { dataLayer?: any[] }).dataLayer || []) {
      const said = google && call?.[0] == "consent" && call[2]?.[google];
      if (!said) continue;
      const is = said == "granted";
      if (call[1] == "update") decided = is;
      else if (!is) denied = 1;
      else if (!call[2].region) granted = is;
    }
    return decided ?? (denied ? (asks == null ? false : undefined) : granted);
  };

  // Sends what waits; `undecided` is what stands for the decision of a visitor who has made none: without it, events wait.
  const flush = (undecided?: false) => {
    const browser = navigator as Omit<Navigator, "doNotTrack"> & { globalPrivacyControl?: boolean; doNotTrack: unknown };
    const gpc = !!browser.globalPrivacyControl;
    const dnt = browser.doNotTrack == 1;
    const said = given[purpose] as (boolean & { granted?: boolean }) | undefined;
    // The strictest wins, as at the door.
    const all = [said?.granted ?? said, mode(), framework];
    const refused = all.some((one) => one == false);
    const agreed = all.some((one) => one);
    const granted = !gpc && !dnt && !refused && (agreed || asks == null || undecided);
    if (granted == null) return;
    if (!granted) {
      // Without a standing purpose the event counts, and says nothing else; nothing is measured of the visit. What
      // happened meanwhile stays bare, even if it is sent after a later grant.
      waiting = waiting.filter((event) => event.name != "engagement").map((event) => ({ name: event.name, id: event.id, time: event.time }));
      engaged = seen = 0;
    }
    const events = waiting;
    if (!events[0] || !browser.onLine) return;
    waiting = [];
    // A text needs no preflight, from either.
    const consent = { ...given, [purpose]: refused ? !refused : said ?? (agreed || undefined) };
    const body = JSON.stringify({ type: "web", sent: Date.now(), consent, signals: { gpc, dnt }, events });
    if (!(browser.sendBeacon?.(to, body)))
      // What outlives its page may have 64 KiB, which a beacon has too; what is larger goes without that.
      fetch(to, { method: "POST", body, keepalive: body.length < LASTING_MAX }).catch(() => (waiting = [...events, ...waiting]));
  };

  const quorate = (name: string, fields?: Fields) =>
    whenShown(() => {
      // The id makes a second copy recognisable, and is another one for each event.
      waiting = [...waiting.slice(-WAITING_MAX), { name, id: "" + Math.random(), time: Date.now(), url, ...fields }];
      flush();
    });

  const alive = () => {
    if (shown) engaged += Math.min(Date.now() - last, IDLE_MS);
    last = Date.now();
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
    from = at.origin;
    seen = 0;
    alive();
  };

  const moved = () => {
    if (path != at.pathname) {
      report();
      whenShown(view);
    }
  };

  on("scroll keydown pointerdown pointermove", alive);
  on("visibilitychange", () => {
    // Of a page that comes to the front there is nothing to report.
    report();
    if (page.hidden) flush(false);
  });
  on("pagehide", () => {
    report();
    flush(false);
    // Until the page comes back, the visitor may decide otherwise on another one.
    if (asks != null) {
      delete given[purpose];
      framework = google = undefined;
    }
  });
  on("popstate", moved);
  // What the site tells on this occasion comes first, in whichever order both listen.
  on("pageshow", (event: PageTransitionEvent) => event.persisted && setTimeout(view));
  on("online", () => flush());
  on("click auxclick", (event: MouseEvent) => {
    const link = (event.target as Element).closest?.("a") as HTMLAnchorElement;
    if (event.button < 2 && /^http/.test(link?.protocol) && link.host != at.host)
      // Only whither, not to which page.
      quorate("outbound_link", { target: link.origin });
  });
  (["pushState", "replaceState"] as const).map((name) => {
    const own = history[name];
    history[name] = (...change) => {
      own.call(history, ...change);
      moved();
    };
  });

  quorate.consent = (said: Consent) => {
    // Until now the old decision held.
    alive();
    flush();
    Object.assign(given, said);
    // No grant reaches back: what waited for it happened, as far as anybody is told, when it was given.
    const time = Date.now();
    waiting = waiting.map((event) => ({ ...event, time }));
    flush();
  };

  if (tcf)
    (window as { __tcfapi?: Function }).__tcfapi?.("addEventListener", 2, (data: any, works: boolean) => {
      // Not while the visitor is being asked.
      if (works && data.eventStatus != "cmpuishown") {
        framework = tcf.split(",").every((purpose) => data.purpose?.consents[+purpose]);
        flush();
      }
    });

  whenShown(view);
  return quorate;
}
