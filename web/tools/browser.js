// Chromium for the tests: Debian's, or the one that CHROMIUM names.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** A browser to which every name ending in `.example` is this machine. */
export async function launch(options = {}) {
  const executablePath = process.env.CHROMIUM ?? PLACES.find(existsSync);
  if (!executablePath) throw new Error("no Chromium; install one, or say where it is with CHROMIUM");
  const args = ["--host-resolver-rules=MAP *.example 127.0.0.1", "--no-sandbox", "--disable-gpu", "--disable-extensions", ...(options.args ?? [])];
  return chromium.launch({ executablePath, headless: true, ...options, args });
}

/** Goes to another view of a page that keeps it in the fragment, and waits until the page has heard of it. */
export async function goTo(page, hash) {
  await page.evaluate(
    (hash) =>
      new Promise((done) => {
        if (location.hash === hash) return done();
        // The page's own listener was there before.
        addEventListener("hashchange", () => done(), { once: true });
        location.hash = hash;
      }),
    hash,
  );
}
