// The module, for pages that are bundled: the same code, started by a call instead of a tag.
import { track, type Consent, type Managers, type Quorate } from "./track";

/** Where events go, and what they need. */
export interface Options extends Managers {
  /** Public id of the site, as `quorate source add` named it. */
  site: string;
  /** Where Quorate takes events: `https://stats.example.org`. */
  server: string;
  /** Purpose that needs the visitor's consent; without it the purpose `website` stands unless objected to. */
  consent?: string;
  /** What the visitor has decided before. */
  said?: Consent;
}

let started: Quorate | undefined;

/** Starts to count this page, once: a second call gives what the first one gave. */
export function start({ site, server, consent, said = {}, ...managers }: Options): Quorate {
  return (started ??= track(new URL("/v1/events?site=" + site, server).href, consent, { ...said }, managers));
}
