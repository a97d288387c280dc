// Who may read, and which page is shown.

import { Api, Refused, type Statistic, endsSession } from "./api";
import { fill, h } from "./dom";
import { format, parse } from "./route";
import { applyTheme, forget, frame, remember, restore, session } from "./shell";
import { live } from "./views/live";
import { overview } from "./views/overview";
import { protection } from "./views/protection";
import { setup } from "./views/setup";
import { signIn } from "./views/sign-in";
import { statistic } from "./views/statistic";

const root = document.querySelector("#app")!;
let api: Api | null = null;
let statistics: Statistic[] = [];
let leaving = new AbortController();
/** Where the page last was: the same page with another view keeps the focus where it is. */
let shown = "";

applyTheme();

function signOut(why?: string): void {
  session.token = null;
  api = null;
  statistics = [];
  shown = "";
  show(why);
}

async function enter(token: string, byHand = true): Promise<void> {
  const candidate = new Api(token);
  // Needed by every page that follows: fetched while the first answers are awaited.
  void import("./charts");
  statistics = await candidate.statistics();
  api = candidate;
  session.token = token;
  show();
  if (byHand) document.querySelector<HTMLElement>("#main")?.focus();
}

/** Comes back with the token of the tab. It is kept when the service is away for a while. */
async function comeBack(token: string): Promise<void> {
  try {
    await enter(token, false);
  } catch (error) {
    if (endsSession(error)) return signOut(error.message);
    if (!(error instanceof Refused)) console.error(error);
    const why = error instanceof Refused ? error.message : "Something went wrong.";
    const again = h("button", { type: "button", click: () => void comeBack(token) }, "Try again");
    const out = h("button", { type: "button", class: "quiet", click: () => signOut() }, "Sign out");
    document.title = "Quorate";
    fill(
      frame(root, null, () => {}),
      h("section", { class: "alone" }, h("h1", {}, "The statistics cannot be read now"), h("p", { class: "trouble", role: "alert" }, why), h("div", { class: "row" }, again, out)),
    );
    again.focus();
  }
}

/** Forgets the token when the service does not take it any more. */
function failed(error: unknown): void {
  if (endsSession(error)) signOut(error.message);
  else console.error(error);
}

function show(why?: string): void {
  leaving.abort();
  leaving = new AbortController();
  const left = leaving.signal;
  if (!api) {
    fill(frame(root, null, () => {}), signIn(enter, why));
    document.title = "Sign in · Quorate";
    return;
  }
  const reader = api;
  const view = parse(location.hash);
  const empty = statistics.every(({ complete_until }) => complete_until === null);
  // Before anything is released there is nothing to see but how to begin.
  if (empty && view.page === "overview") view.page = "setup";
  const refresh = async () => {
    const before = JSON.stringify(statistics);
    const now = await reader.statistics();
    if (left.aborted) return now;
    statistics = now;
    const begins = empty && now.some(({ complete_until }) => complete_until !== null);
    if (begins) {
      history.replaceState(null, "", format({ ...view, page: "overview" }));
      show();
    } else if (view.page === "overview" && JSON.stringify(now) !== before) show();
    return now;
  };
  const place = { api: reader, statistics, view, left, refresh };
  const here = `${view.page}/${view.statistic ?? ""}`;
  if (here === shown) remember();
  else forget();
  const main = frame(root, view.page, () => signOut());
  const pages = { overview, statistic, live, protection, setup };
  const title = pages[view.page](main, place, failed);
  document.title = `${title} · Quorate`;
  if (here === shown) restore(main);
  else if (shown !== "") {
    scrollTo(0, 0);
    main.focus();
  }
  shown = here;
}

// Who is signed out keeps the form, what stands in it, and why; the address is looked at when somebody signs in.
addEventListener("hashchange", () => api && show());

const known = session.token;
if (known === null) show();
else void comeBack(known);
