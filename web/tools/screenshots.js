// Pictures of every view, for people to look at: `node tools/screenshots.js FOLDER --url URL --token TOKEN`.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { launch } from "./browser.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: "string" }, token: { type: "string" }, only: { type: "string" }, hold: { type: "string", default: "600" } },
});
const folder = positionals[0] ?? "build/screenshots";
mkdirSync(folder, { recursive: true });

export const VIEWS = {
  overview: "#/overview",
  total: "#/s/visitors?last=30",
  country: "#/s/visitors?by=country",
  versions: "#/s/active_devices?by=product,version&last=30",
  duration: "#/s/usage?by=product&measure=p95_duration&last=30",
  alone: "#/s/visitors?by=country&only=DK",
  live: "#/live",
  protection: "#/protection",
  setup: "#/setup",
};
const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

const browser = await launch();
for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1 });
    const page = await context.newPage();
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && console.log(`${size} ${colorScheme}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`${size} ${colorScheme}: ${error}`));
    await page.goto(values.url);
    const names = Object.keys(VIEWS).filter((name) => !values.only || values.only.split(",").includes(name));
    if (!values.only) await page.screenshot({ path: join(folder, `sign-in-${size}-${colorScheme}.png`) });
    await page.fill("#token", values.token);
    await page.click("button[type=submit]");
    await page.waitForSelector("nav");
    for (const name of names) {
      await page.goto(values.url + VIEWS[name]);
      await page.waitForFunction(() => !document.querySelector("[aria-busy]"), null, { timeout: 60_000 });
      await page.waitForTimeout(Number(values.hold));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) console.log(`${name} ${size} ${colorScheme}: ${wide} px too wide`);
      await page.mouse.move(0, 0);
      await page.screenshot({ path: join(folder, `${name}-${size}-${colorScheme}.png`), fullPage: true });
    }
    await context.close();
  }
}
await browser.close();
