// What a page may write, and what its compiler refuses: checked by `npm run check`, shipped to nobody.
import { start } from "./index";

const quorate = start({ site: "www.example.org", server: "https://stats.example.org", consent: "website" });
quorate("signup");
quorate("an event of one's own");
quorate("engagement", { engaged: 41_250, scroll_depth: 80 });
quorate.consent({ website: { granted: true, version: "2026-01-01", at: Date.now() } });
quorate.consent({ website: true, improve: { granted: false, version: "2026-01-01" } });

// @ts-expect-error nobody declared it, so it would be dropped
quorate("signup", { operator: "Ada" });
// @ts-expect-error a number of milliseconds
quorate("engagement", { engaged: "41 s" });
// @ts-expect-error no such purpose
quorate.consent({ advertising: true });
