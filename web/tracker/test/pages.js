// Sites to try trackers on. `open` gives one with a collector that answers as the door of Quorate does, and keeps what it
// got; `site` gives one alone, for a service.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const script = readFileSync(new URL("../dist/quorate.js", import.meta.url));
const module = readFileSync(new URL("../dist/index.js", import.meta.url));

const listen = (server) =>
  new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

/** A page under a policy that allows one script and one connection: those of the collector. */
const page = (collector, attributes, content) => `<!doctype html><html lang="en"><title>A page</title>
<script defer src="${collector}/quorate.js" data-site="shop" ${attributes}></script>
<body><h1>A page</h1>${content}</body></html>`;

/** A site that answers every path with one page, `/start.js` with a script, and `/modules/` with packages as npm has them. */
export async function site({ html, script, policy }) {
  const modules = new URL("../../node_modules/", import.meta.url);
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    const send = (type, body) => {
      response.writeHead(200, { "content-type": type, "content-security-policy": policy });
      response.end(body);
    };
    if (pathname === "/favicon.ico") return response.writeHead(204).end();
    if (pathname === "/start.js") return send("text/javascript", script);
    if (!pathname.startsWith("/modules/")) return send("text/html", html);
    // Bundlers find what is imported without its ending.
    const name = pathname.slice("/modules/".length).replace(/(\.js)?$/, ".js");
    send("text/javascript", await readFile(new URL(name, modules)));
  });
  const url = `http://www.shop.example:${await listen(server)}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url, close };
}

export async function open() {
  const requests = [];
  const collector = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const { pathname } = new URL(request.url, "http://collector");
    if (pathname === "/quorate.js" || pathname === "/index.js") {
      response.writeHead(200, { "content-type": "text/javascript", "access-control-allow-origin": "*" });
      return response.end(pathname === "/index.js" ? module : script);
    }
    requests.push({ method: request.method, url: request.url, headers: request.headers, body: body && JSON.parse(body) });
    response.writeHead(202, {
      "content-type": "application/json",
      "access-control-allow-origin": request.headers.origin ?? "",
      "access-control-allow-credentials": "true",
    });
    response.end("{}");
  });
  const collectorPort = await listen(collector);
  const stats = `http://stats.example:${collectorPort}`;

  const site = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://site");
    const managers = ["google", "tcf"].filter((name) => searchParams.has(name)).map((name) => ` data-${name}="${searchParams.get(name)}"`);
    const attributes = (searchParams.has("asks") ? 'data-consent="website"' : "") + managers.join("");
    const long = '<p class="long">' + "line<br>".repeat(400) + "</p>";
    const links = `<a id="in" href="/other">in</a> <a id="out" href="http://elsewhere.example:${collectorPort}/x?secret=1">out <b>there</b></a>`;
    const policy = `default-src 'none'; script-src ${stats}; connect-src ${stats}; base-uri 'none'`;
    response.writeHead(200, { "content-type": "text/html", "content-security-policy": policy });
    response.end(page(stats, attributes, pathname === "/short" ? links : links + long));
  });
  const shop = `http://www.shop.example:${await listen(site)}`;
  const close = () => {
    for (const server of [collector, site]) {
      server.closeAllConnections();
      server.close();
    }
  };

  /** All events so far, each with what its request says for all of them. */
  const events = () =>
    requests.filter(({ method }) => method === "POST").flatMap(({ body: { events, ...shared } }) => events.map((event) => ({ ...shared, ...event })));
  /** Waits until `count` events have arrived, and a little longer for one too many. */
  const arrived = async (count, are = () => true) => {
    const until = Date.now() + 10_000;
    while (events().filter(are).length < count && Date.now() < until) await new Promise((done) => setTimeout(done, 20));
    await new Promise((done) => setTimeout(done, 150));
    return events().filter(are);
  };
  /** The same of all but stays: on a slow machine a page may be seen long enough for a report of one. */
  const views = (count) => arrived(count, ({ name }) => name !== "engagement");
  return { stats, shop, requests, arrived, views, close };
}
