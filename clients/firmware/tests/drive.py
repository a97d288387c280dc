#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Devices against a service behind a bad network: every event once.

    tests/drive.py DEVICE                       against a service of its own
    tests/drive.py DEVICE --quorate BINARY      against the real one; deltalake reads its table
    tests/drive.py DEVICE --to PORT --key KEY --fleet x1=14 x2=3
                                                fourteen and three devices of these products against one that runs; gives
                                                as JSON how many events those of each product had acknowledged

Between the device and the service stands a proxy that drops requests, cuts requests and answers, delays, repeats
requests, and answers 503, 429 or 401 itself. The device loses power after a random number of bytes written, again and
again. At the end all is well, and what arrived is compared with what the device had confirmed.
"""

import argparse
import concurrent.futures
import http.server
import importlib.util
import json
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


class Service(http.server.ThreadingHTTPServer):
    """Knows second copies by (contributor, boot, seq), and checks what the real service would not need to."""

    daemon_threads = True

    def __init__(self, seed):
        super().__init__(("127.0.0.1", 0), Answerer)
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.events = {}
        self.copies = self.conflicts = self.malformed = 0
        self.is_moody = True

    def take(self, body):
        """Status and receipt for a body."""
        envelope = json.loads(body)
        refused = []
        with self.lock:
            for index, event in enumerate(envelope["events"]):
                assert event["type"] == "device_usage" and event["seq"] > 0
                assert event.get("boot", envelope["boot"]) <= envelope["boot"]
                assert event.get("uptime_ms", 0) <= envelope["sent_uptime_ms"]
                key = envelope["common"]["serial_number"], event.get("boot", envelope["boot"]), event["seq"]
                if self.is_moody and self.random.random() < 0.02:
                    refused.append({"index": index, "reason": "unreadable", "expected": 'a "}]', "retry": True})
                elif key in self.events:
                    self.copies += 1
                    self.conflicts += self.events[key] != event["duration"]
                else:
                    self.events[key] = event["duration"]
        receipt = {"accepted": len(envelope["events"]) - len(refused), "refused": refused,
                   "refused_total": len(refused), "changed": [], "changed_total": 0, "undeclared": 0}
        if receipt["accepted"] or not refused:
            return 202, receipt
        return 400, {"error": "all_refused", "message": "", "retry": False, **receipt}


class Answerer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        if self.path != "/v1/events" or not self.headers["Authorization"].startswith("Bearer "):
            self.reply(404, {})
        elif self.server.is_moody and length > 1800 and self.server.random.random() < 0.2:
            self.reply(413, {"error": "too_large", "retry": False})
        else:
            try:
                status, receipt = self.server.take(body)
            except (ValueError, KeyError, AssertionError) as error:
                print(f"malformed: {error!r}: {body!r}", file=sys.stderr)
                self.server.malformed += 1
                status, receipt = 400, {"error": "malformed", "retry": False}
            self.reply(status, receipt)

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Proxy:
    """A bad network. `trouble` is how much of what passes suffers something; `denies` answers 401 to all."""

    def __init__(self, to, seed):
        self.to = to
        self.random = random.Random(seed)
        self.trouble = 0.6
        self.denies = False
        self.requests = 0
        self.suffered = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.handle, args=[connection], daemon=True).start()

    def handle(self, client):
        with client:
            client.settimeout(10)
            try:
                self.serve(client)
            except OSError:
                pass

    def suffer(self):
        if self.denies:
            return "401"
        kinds = ["refuse", "cut request", "cut answer", "lose answer", "delay", "repeat", "503", "429", "portal"]
        kind = self.random.choice(kinds) if self.random.random() < self.trouble else "nothing"
        self.suffered[kind] = self.suffered.get(kind, 0) + 1
        return kind

    def serve(self, client):
        kind = self.suffer()
        self.requests += 1
        if kind == "refuse":
            return
        request = read_message(client)
        if kind == "503":
            client.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}")
        elif kind == "429":
            client.sendall(b"HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        elif kind == "401":
            client.sendall(b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 14\r\n\r\n{"retry":true}')
        elif kind == "portal":
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>log in</html>")
        elif kind == "cut request":
            self.forward(request[: self.random.randrange(len(request))], answers=False)
        else:
            if kind == "delay":
                time.sleep(self.random.random() * 0.3)
            if kind == "repeat":
                self.forward(request)
            answer = self.forward(request)
            if kind == "cut answer":
                answer = answer[: self.random.randrange(len(answer))]
            if kind != "lose answer":
                # In parts, as networks do.
                middle = self.random.randrange(len(answer) + 1)
                client.sendall(answer[:middle])
                client.sendall(answer[middle:])

    def forward(self, request, answers=True):
        with socket.create_connection(self.to, timeout=10) as service:
            service.sendall(request)
            return read_message(service) if answers else b""


def read_message(connection):
    """One HTTP message with a Content-Length."""
    message = b""
    while b"\r\n\r\n" not in message:
        message += received(connection)
    head, _, body = message.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1])
    while len(body) < length:
        body += received(connection)
    return head + b"\r\n\r\n" + body


def received(connection):
    part = connection.recv(65536)
    if not part:
        raise OSError("closed")
    return part


class Device:
    def __init__(self, program, folder, serial, port, key, speed, product="x1"):
        self.program, self.serial, self.port, self.key, self.speed = program, serial, port, key, speed
        self.product = product
        self.flash, self.confirmed_in = folder / f"{serial}.flash", folder / f"{serial}.confirmed"
        self.power_losses = 0

    def run(self, first, last, power=0, seconds=60):
        """Gives what it counted and the next event to record."""
        arguments = [self.program, "127.0.0.1", self.port, self.key, self.serial, self.flash, self.confirmed_in,
                     first, last, self.speed, power, seconds, self.product]
        done = subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, 9):
            sys.exit(f"the device ended with {done.returncode}")
        self.power_losses += done.returncode == 9
        counts, following = done.stdout.splitlines()
        return json.loads(counts), int(following)

    def run_through_power_losses(self, first, last, seed, losses):
        chance = random.Random(seed)
        following = first
        for _ in range(losses):
            _, following = self.run(following, last, power=1 + chance.randrange(6_000), seconds=2)
        return following

    def confirmed(self):
        return {100 * int(line) for line in self.confirmed_in.read_text().split()}


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def lossy(options, folder, service, target, key):
    """Devices through power losses and a bad network, then a good one; gives what they had confirmed."""
    proxy = Proxy(target, options.seed)
    confirmed, losses = set(), 0
    for number in range(options.devices):
        first = 1 + number * options.events
        last = first + options.events - 1
        device = Device(options.device, folder, f"X1-2031-{number:06}", proxy.port, key, speed=2000)
        proxy.trouble = 0.6
        following = device.run_through_power_losses(first, last, options.seed + number, losses=12)
        proxy.trouble = 0.3
        _, following = device.run(following, last, seconds=4)
        proxy.trouble = 0
        if service:
            service.is_moody = False
        counts, following = device.run(following, last, seconds=60)
        check(following == last + 1 and counts["waiting"] == 0, f"not all was sent: {counts}")
        check(counts["dropped"] + counts["refused"] + counts["failed"] == 0, f"events were given up: {counts}")
        confirmed |= device.confirmed()
        losses += device.power_losses
        if service:
            service.is_moody = True
    print(f"lossy: {options.devices} devices, {losses} power losses, {proxy.requests} requests, "
          f"{len(confirmed)} events confirmed; network: {dict(sorted(proxy.suffered.items()))}")
    return confirmed, losses


def denied(options, folder, target, key):
    """An hour of 401 by the device's clock; gives what was confirmed in it."""
    proxy = Proxy(target, options.seed)
    proxy.trouble, proxy.denies = 0, True
    device = Device(options.device, folder, "X1-2031-DENIED", proxy.port, key, speed=900)
    first = 1 + options.devices * options.events
    threading.Timer(4, lambda: setattr(proxy, "denies", False)).start()
    began = time.monotonic()
    counts, _ = device.run(first, first + 99, seconds=60)
    confirmed = device.confirmed()
    check(len(confirmed) == 100 and counts["waiting"] == 0 and counts["delivered"] == 100, f"after 401: {counts}")
    # The first is denied; the next comes after an hour, which is four seconds.
    check(proxy.requests <= 8, f"{proxy.requests} requests")
    print(f"denied: 401 for {4 * 900 // 60} minutes of the device's time, {proxy.requests} requests in all, "
          f"100 events delivered after {time.monotonic() - began:.1f} s")
    return confirmed


def example(options, folder, target):
    """The example as its page says; gives what was recorded with it."""
    program = pathlib.Path(options.device).with_name("posix").resolve()
    arguments = [program, *target, "qd_key", "X1-000417", folder / "events.flash"]
    done = subprocess.run([str(argument) for argument in arguments], input="implant 14230\nairway 9120 E042\n",
                          stdout=subprocess.PIPE, text=True, check=True)
    told = "delivered 2, refused 0, dropped 0, unfit 0, failed 0, damaged 0, waiting 0; last status 202\n"
    check(done.stdout == told, f"the example says {done.stdout}")
    return {14230, 9120}


def against_own(options, folder):
    service = Service(options.seed)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    confirmed, losses = lossy(options, folder, service, service.server_address, "qd_key")
    service.is_moody = False
    confirmed |= denied(options, folder, service.server_address, "qd_key")
    confirmed |= example(options, folder, service.server_address)
    stored = sorted(service.events.values())
    check(service.malformed == 0, f"{service.malformed} malformed requests")
    check(service.conflicts == 0, f"{service.conflicts} events under a number that another had")
    check(len(stored) == len(set(stored)), "an event has two numbers")
    check(confirmed <= set(stored), f"{len(confirmed - set(stored))} confirmed events are missing")
    # Written to its last byte, and power went before anybody was told.
    check(len(set(stored) - confirmed) <= losses, "events that nobody recorded")
    print(f"own service: {len(stored)} events stored once, {service.copies} copies known, no conflict")


def listening(url):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url, timeout=5).status
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing answers at {url}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def against_real(options, folder):
    # Before anything is started.
    check(importlib.util.find_spec("deltalake"), "Python's deltalake is missing: `cargo xtask python` makes target/python")
    init = subprocess.run([options.quorate, "init", "own"], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    key = next(word for word in init.stdout.split() if word.startswith("qd_"))
    config = folder / "own" / "quorate.toml"
    text = config.read_text()
    ports = {8080: free_port(), 8081: free_port(), 9090: free_port()}
    for standard, port in ports.items():
        text = text.replace(f'"127.0.0.1:{standard}"', f'"127.0.0.1:{port}"')
    config.write_text(text.replace("commit_every_s   = 10", "commit_every_s   = 1"))
    with open(folder / "service.log", "wb") as log:
        service = subprocess.Popen([options.quorate, "--config", config, "run"], stdout=log, stderr=log)
    try:
        listening(f"http://127.0.0.1:{ports[9090]}/readyz")
        target = ("127.0.0.1", ports[8080])
        confirmed, losses = lossy(options, folder, None, target, key)
        confirmed |= denied(options, folder, target, key)
    finally:
        # Its own way to stop: what is in memory is committed.
        service.terminate()
        service.wait(60)
    compare_with_table(folder / "own" / "data", confirmed, losses)


def fleet(options, folder):
    """Devices of several products at once behind a bad network, which lose power now and then."""
    proxy = Proxy(("127.0.0.1", options.to), options.seed)
    products = [product for word in options.fleet for product, _, count in [word.partition("=")] for _ in range(int(count))]

    def live(number):
        serial = f"{products[number]}-{number:06}"
        device = Device(options.device, folder, serial, proxy.port, options.key, speed=2000, product=products[number])
        following = device.run_through_power_losses(1, options.events, options.seed + number, losses=2)
        counts, following = device.run(following, options.events, seconds=120)
        check(following == options.events + 1 and counts["waiting"] == 0, f"{serial} did not send all: {counts}")
        check(counts["dropped"] + counts["refused"] + counts["failed"] == 0, f"{serial} gave events up: {counts}")
        return counts["delivered"]

    proxy.trouble = 0.4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        delivered = list(pool.map(live, range(len(products))))
    told = {product: 0 for product in products}
    for product, count in zip(products, delivered):
        told[product] += count
    print(f"{proxy.requests} requests; network: {dict(sorted(proxy.suffered.items()))}", file=sys.stderr)
    print(json.dumps(told))


def compare_with_table(data, confirmed, losses):
    import deltalake

    rows = deltalake.DeltaTable(data / "events" / "device_usage").to_pyarrow_table().to_pylist()
    durations = sorted(row["duration"] for row in rows)
    check(len(durations) == len(set(durations)), f"{len(durations) - len(set(durations))} events are twice in the table")
    check(confirmed <= set(durations), f"{len(confirmed - set(durations))} confirmed events are not in the table")
    check(len(set(durations) - confirmed) <= losses, "events that nobody recorded")
    print(f"real service: {len(rows)} rows in the table, each confirmed event once")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("device")
    parser.add_argument("--quorate", help="the service's binary")
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--events", type=int, default=300, help="of each device")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=int, help="port of a service that runs")
    parser.add_argument("--key", help="its write key")
    parser.add_argument("--fleet", nargs="+", help="devices of each product, x1=14 say")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.fleet:
            fleet(options, pathlib.Path(folder))
        elif options.quorate:
            options.quorate = str(pathlib.Path(options.quorate).resolve())
            against_real(options, pathlib.Path(folder))
        else:
            against_own(options, pathlib.Path(folder))


main()
