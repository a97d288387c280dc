// The script of a page: <script defer src="https://stats.example.org/quorate.js" data-site="www.example.org"></script>
import { track, type Consent, type Quorate } from "./track";

declare global {
  interface Window {
    /** Before the script has run: calls that wait for it, and what the visitor has said. */
    quorate?: Quorate & { q?: Parameters<Quorate>[]; said?: Consent };
  }
}

const script = document.currentScript as HTMLScriptElement;
const { site, to, consent, ...managers } = script.dataset;
const early: Partial<NonNullable<typeof window.quorate>> = window.quorate || {};
// A page that has the tag twice is counted once: what is there already, and is no stand-in, is the tracker.
if (!early.consent || early.q) {
  window.quorate = track(to || new URL("/v1/events?site=" + site, script.src).href, consent, early.said || {}, managers);
  early.q?.map((call) => window.quorate!(...call));
}
