// A service of one's own for a test: the binary that QUORATE names, else the one that `cargo build` makes, in a folder
// of its own, on free ports.
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const binary = process.env.QUORATE ?? fileURLToPath(new URL("../../target/debug/quorate", import.meta.url));

const run = promisify(execFile);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A port that nobody listens on, below those that systems give to connections, so that none takes it before it is used. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const free = await new Promise((done) => server.once("error", () => done(false)).listen(port, "127.0.0.1", () => done(true)));
    if (!free) continue;
    await new Promise((done) => server.close(done));
    return port;
  }
}

/** A store made by `quorate init`, not running yet. */
export async function init() {
  if (!existsSync(binary)) throw new Error(`there is no ${binary}: run \`cargo build\`, or say with QUORATE where the binary is`);
  const folder = mkdtempSync(join(tmpdir(), "quorate-web-"));
  const { stdout } = await run(binary, ["init", "store"], { cwd: folder });
  const store = join(folder, "store");
  const file = join(store, "quorate.toml");
  const ports = { ingest: await freePort(), query: await freePort(), operator: await freePort() };
  const { ingest, query, operator } = ports;
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace(":8080", `:${ingest}`).replace(":8081", `:${query}`).replace(":9090", `:${operator}`));
  let child;
  let probes = 0;
  /** Waits until `isSo`, which may fail meanwhile. */
  const until = async (what, isSo) => {
    for (let tries = 0; tries < 200; tries++) {
      if (await isSo().catch(() => false)) return;
      await pause(50);
    }
    throw new Error(`${what} after ten seconds`);
  };
  return {
    store,
    key: stdout.match(/qd_\w+/)[0],
    token: stdout.match(/qr_\w+/)[0],
    ingest: `http://127.0.0.1:${ingest}`,
    query: `http://127.0.0.1:${query}`,
    operator: `http://127.0.0.1:${operator}`,
    command: async (...words) => (await run(binary, ["--config", file, ...words], { maxBuffer: 1 << 28 })).stdout,
    async status() {
      return (await fetch(`${this.operator}/status`)).json();
    },
    async live() {
      return (await fetch(`${this.query}/v1/live`, { headers: { authorization: `Bearer ${this.token}` } })).json();
    },
    /** Counts of one source, as soon as `isThere` says so of them, at the latest after ten seconds. */
    async source(name, isThere = () => true) {
      for (let tries = 0; ; tries++) {
        const found = (await this.status()).sources.find(({ source }) => source === name);
        if ((found && isThere(found)) || tries === 100) return found;
        await new Promise((done) => setTimeout(done, 100));
      }
    },
    /** Waits until the service knows each source and reader that was added or revoked before: one more of each is known. */
    async reloaded() {
      const probe = `probe-${++probes}`;
      const origin = `http://${probe}.example`;
      await this.command("source", "add", probe, "--kind", "site", "--origin", origin);
      const token = (await this.command("reader", "add", probe)).match(/qr_\w+/)[0];
      const headers = { origin, "access-control-request-method": "POST" };
      await until("a new source is not known", async () => {
        const answer = await fetch(`${this.ingest}/v1/events?site=${probe}`, { method: "OPTIONS", headers });
        return answer.headers.get("access-control-allow-origin") === origin;
      });
      await until("a new reader is not known", async () => {
        return (await fetch(`${this.query}/v1/statistics`, { headers: { authorization: `Bearer ${token}` } })).ok;
      });
    },
    /** `words` follow `quorate run`. A port that somebody took meanwhile may be free again in a moment. */
    async start(...words) {
      for (let starts = 1; ; starts++) {
        const told = await this.run(words);
        if (told === undefined) return;
        if (starts === 5 || !/in use/i.test(told)) throw new Error(`the service is not ready; it says:\n${told}`);
        await pause(1_000);
      }
    },
    /** Runs the service until it is ready; if it does not get there, what it said. */
    async run(words) {
      const own = spawn(binary, ["--config", file, "run", ...words], { stdio: ["ignore", "pipe", "pipe"] });
      child = own;
      let told = "";
      for (const stream of [own.stdout, own.stderr]) stream.setEncoding("utf8").on("data", (text) => (told = (told + text).slice(-10_000)));
      for (let tries = 0; tries < 200; tries++) {
        await pause(100);
        if (own.exitCode !== null || own.signalCode !== null) return told;
        const ready = await fetch(`${this.operator}/readyz`).catch(() => undefined);
        if (ready?.ok && own.exitCode === null) return undefined;
      }
      return `nothing that helps for 20 seconds, and before:\n${told}`;
    },
    /** Ends the service, which commits what it has taken; its store stays, and can be started again. */
    async pause() {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGINT");
      await ended;
    },
    async stop() {
      await this.pause();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
