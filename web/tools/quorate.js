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

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
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
    /** Waits until the service has looked at its registry again, which it does every second. */
    reloaded: () => new Promise((done) => setTimeout(done, 1_500)),
    /** `words` follow `quorate run`. */
    async start(...words) {
      child = spawn(binary, ["--config", file, "run", ...words], { stdio: "ignore" });
      for (let tries = 0; tries < 200; tries++) {
        const ready = await fetch(`${this.operator}/readyz`).catch(() => undefined);
        if (ready?.ok) return;
        await new Promise((done) => setTimeout(done, 100));
      }
      throw new Error("the service is not ready after 20 seconds");
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
