// Every example, run as its reader would, against the service itself.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { launch } from "../tools/browser.js";
import { init } from "../tools/quorate.js";

const examples = new URL("../../examples/", import.meta.url);
let service;

before(async () => {
  service = await init();
  await service.start();
});
after(() => service?.stop());

const of = async (name) => (await service.status()).sources.find(({ source }) => source === name);

test("python: what is right is taken, what is wrong is told, and a second run counts nothing twice", async () => {
  const lines = Array.from({ length: 250 }, (_, index) => ({ type: "device_usage", id: `p-${index}`, serial_number: `S-${index % 20}`, product: "scanner", version: "3.8.1" }));
  lines.push({ type: "device_usage", id: "wrong", serial_number: "S-1", duration: "long" });
  const input = lines.map((line) => JSON.stringify(line)).join("\n");
  const run = () =>
    new Promise((done) => {
      const child = spawn("python3", [new URL("python/send.py", examples).pathname, service.ingest], { env: { ...process.env, QUORATE_KEY: service.key } });
      let told = "";
      child.stderr.on("data", (data) => (told += data));
      child.on("exit", (code) => done({ code, told }));
      child.stdin.end(input);
    });
  const { code, told } = await run();
  assert.equal(code, 0, told);
  assert.match(told, /event 50 of a batch: wrong_type \(duration\)/);
  assert.equal((await of("first-device")).accepted, 250);
  assert.equal((await run()).code, 0);
});

test("shell: a command runs as before, and is counted", async () => {
  const before = (await of("first-device"))?.accepted ?? 0;
  const env = { ...process.env, QUORATE_URL: service.ingest, QUORATE_KEY: service.key, XDG_STATE_HOME: mkdtempSync(join(tmpdir(), "quorate-shell-")) };
  const run = (...words) => new Promise((done) => execFile(new URL("shell/counted.sh", examples).pathname, words, { env }, (error, stdout, stderr) => done({ code: error?.code ?? 0, stdout, stderr })));
  assert.deepEqual(await run("backup", "echo", "done"), { code: 0, stdout: "done\n", stderr: "" });
  assert.deepEqual(await run("backup", "sh", "-c", "exit 7"), { code: 7, stdout: "", stderr: "" });
  assert.equal((await of("first-device")).accepted, before + 2);
  env.QUORATE_KEY = "qd_wrong";
  const { code, stderr } = await run("backup", "true");
  assert.equal(code, 0);
  assert.match(stderr, /this run was not counted/);
});

test("site: pages, an order, an objection", async (t) => {
  // The site as it is, with the service's address in place of the one that stands in it.
  const site = createServer((request, response) => {
    const name = request.url === "/" ? "index.html" : request.url.slice(1);
    if (!["index.html", "about.html", "site.js"].includes(name)) return response.writeHead(404).end();
    const text = readFileSync(new URL(`site/${name}`, examples), "utf8").replaceAll("http://127.0.0.1:8080", service.ingest);
    response.writeHead(200, { "content-type": name.endsWith(".js") ? "text/javascript" : "text/html" });
    response.end(text);
  });
  await new Promise((done) => site.listen(0, "127.0.0.1", done));
  const origin = `http://www.example.org:${site.address().port}`;
  await service.command("source", "add", "www.example.org", "--kind", "site", "--origin", origin);
  await service.reloaded();

  const browser = await launch({ args: ["--host-resolver-rules=MAP *.example.org 127.0.0.1"] });
  t.after(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
  const page = await browser.newPage();
  const bodies = [];
  const violations = [];
  page.on("request", (request) => request.method() === "POST" && bodies.push(JSON.parse(request.postData())));
  page.on("console", (message) => message.type() === "error" && !/404/.test(message.text()) && violations.push(message.text()));
  await page.goto(`${origin}/`);
  await page.waitForFunction(() => !window.quorate.q);
  await page.click("#order");
  await page.check("#objection");
  await page.click("text=About us");
  for (let tries = 0; tries < 200 && bodies.length < 3; tries++) await new Promise((done) => setTimeout(done, 50));
  const events = bodies.flatMap(({ events, consent }) => events.map(({ name, url }) => [name, consent.website, url !== undefined]));
  assert.deepEqual(events, [
    ["pageview", undefined, true],
    ["purchase", undefined, true],
    ["pageview", false, false],
  ]);
  // The page that comes back from the browser's cache asks again what the visitor has decided on another one.
  for (const objects of [false, true]) {
    const count = bodies.length;
    await page.evaluate((objects) => {
      if (objects) localStorage.setItem("objects", "yes");
      else localStorage.removeItem("objects");
      dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    }, objects);
    for (let tries = 0; tries < 200 && bodies.length === count; tries++) await new Promise((done) => setTimeout(done, 50));
    const { consent, events } = bodies.at(-1);
    assert.deepEqual([events.length, events[0].name, consent.website, events[0].url !== undefined], [1, "pageview", !objects, !objects]);
    assert.equal(await page.isChecked("#objection"), objects);
  }
  assert.deepEqual(violations, []);
  const { accepted, refused_total } = await service.source("www.example.org", ({ accepted }) => accepted >= 5);
  assert.deepEqual([accepted, refused_total], [5, 0]);
});

test("c: a program works as before, and what it could not send is sent with its next use", async () => {
  const folder = new URL("c/", examples).pathname;
  await new Promise((done, fail) => execFile("make", ["-C", folder], (error, _, stderr) => (error ? fail(new Error(stderr)) : done())));
  const counts = async () => {
    const { accepted = 0, refused_total = 0 } = (await of("first-device")) ?? {};
    return { accepted, refused_total };
  };
  const before = await counts();
  const { port } = new URL(service.ingest);
  const state = mkdtempSync(join(tmpdir(), "quorate-c-"));
  const env = { ...process.env, QUORATE_HOST: "127.0.0.1", QUORATE_PORT: "1", QUORATE_KEY: service.key, XDG_STATE_HOME: state };
  const run = (...words) => new Promise((done) => execFile(join(folder, "units"), words, { env }, (error, stdout, stderr) => done({ code: error?.code ?? 0, stdout, stderr })));
  const usage = "usage: units feet|miles|pounds NUMBER\n";
  // Nobody listens there.
  assert.deepEqual(await run("feet", "3"), { code: 0, stdout: "0.9144 m\n", stderr: "" });
  assert.deepEqual(await run("parsecs", "3"), { code: 2, stdout: "", stderr: usage });
  assert.deepEqual(await counts(), before);
  env.QUORATE_PORT = port;
  assert.deepEqual(await run("miles", "26.2"), { code: 0, stdout: "42.1648 km\n", stderr: "" });
  assert.deepEqual(await counts(), { ...before, accepted: before.accepted + 3 });
  // Without a key it counts nothing, and leaves nothing.
  delete env.QUORATE_KEY;
  env.XDG_STATE_HOME = mkdtempSync(join(tmpdir(), "quorate-c-"));
  assert.deepEqual(await run("feet", "3"), { code: 0, stdout: "0.9144 m\n", stderr: "" });
  assert.deepEqual(readdirSync(env.XDG_STATE_HOME), []);
});
