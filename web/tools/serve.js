// Serves the built dashboard for development: `node tools/serve.js --query http://127.0.0.1:8081 --operator http://127.0.0.1:9090`.
// Same policy as the service sets, /v1 handed on; /v1/live is made of the operator's metrics where the service has none.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dashboard/dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

/** Live counts, as the service will tell them, out of what it tells its operator. */
export async function liveOf(operator, ingest) {
  const [status, metrics] = await Promise.all([
    fetch(`${operator}/status`).then((answer) => answer.json()),
    fetch(`${operator}/metrics`).then((answer) => answer.text()),
  ]);
  const families = new Map();
  const of = (name) => {
    const key = name || null;
    if (!families.has(key)) families.set(key, { family: key, any: false, accepted: 0, recent: 0, refused: {}, undeclared: 0 });
    return families.get(key);
  };
  for (const [, name, labels, value] of metrics.matchAll(/^(quorate_(?:events|undeclared)_total)\{(.*)\} (\d+)$/gm)) {
    const { family = "", outcome, reason } = Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]));
    const counts = of(family);
    if (value !== "0") counts.any = true;
    if (name === "quorate_undeclared_total") counts.undeclared += Number(value);
    else if (outcome === "accepted") counts.accepted += Number(value);
    else counts.refused[reason] = (counts.refused[reason] ?? 0) + Number(value);
  }
  const last = status.sources.map(({ last_event }) => last_event).filter(Boolean).sort();
  return { since: new Date().toISOString(), rounding: 1, last_event: last.at(-1) ?? null, ingest, families: [...families.values()] };
}

export function serve({ query, operator, ingest = null, port = 0 }) {
  const server = createServer(async (request, response) => {
    const headers = { "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };
    try {
      const { pathname } = new URL(request.url, "http://dashboard");
      if (pathname === "/v1/live" && operator) {
        const allowed = await fetch(`${query}/v1/statistics`, { headers: { authorization: request.headers.authorization ?? "" } });
        const body = allowed.ok ? await liveOf(operator, ingest) : await allowed.json();
        response.writeHead(allowed.status, { ...headers, "content-type": "application/json" });
        return response.end(JSON.stringify(body));
      }
      if (pathname.startsWith("/v1/")) {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        const passed = Object.fromEntries(["authorization", "accept", "content-type"].flatMap((name) => (request.headers[name] ? [[name, request.headers[name]]] : [])));
        const answer = await fetch(query + request.url, { method: request.method, headers: passed, ...(chunks.length > 0 && { body: Buffer.concat(chunks) }) });
        const kept = Object.fromEntries(["content-type", "quorate-privacy", "quorate-complete-until"].flatMap((name) => (answer.headers.has(name) ? [[name, answer.headers.get(name)]] : [])));
        response.writeHead(answer.status, { ...headers, ...kept, "cache-control": "no-store" });
        return response.end(Buffer.from(await answer.arrayBuffer()));
      }
      const path = normalize(pathname === "/" ? "/index.html" : pathname);
      const file = brotliCompressSync(await readFile(join(dist, path)));
      response.writeHead(200, { ...headers, "content-type": TYPES[extname(path)] ?? "application/octet-stream", "content-encoding": "br" });
      response.end(file);
    } catch (error) {
      response.writeHead(error.code === "ENOENT" ? 404 : 502, headers);
      response.end();
    }
  });
  return new Promise((done) =>
    server.listen(port, "127.0.0.1", () =>
      done({
        url: `http://127.0.0.1:${server.address().port}`,
        close: () => {
          server.closeAllConnections();
          server.close();
        },
      }),
    ),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      query: { type: "string", default: "http://127.0.0.1:8081" },
      operator: { type: "string", default: "http://127.0.0.1:9090" },
      ingest: { type: "string", default: "http://127.0.0.1:8080" },
      port: { type: "string", default: "8082" },
    },
  });
  const { url } = await serve({ ...values, port: Number(values.port) });
  console.log(`the dashboard is at ${url}`);
}
