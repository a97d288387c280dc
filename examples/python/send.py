"""Sends events to Quorate: one JSON object a line on standard input, at most 100 in a request.

    QUORATE_KEY=qd_... python3 send.py http://127.0.0.1:8080 < events.ndjson

Standard library only. Events without an `id` are given one, so that an event whose acknowledgement was lost is
counted once. Exits with 0 when every event is on the server's disk or was refused for good, with 1 otherwise;
what is refused is told on standard error, without its content.
"""

import gzip
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

BATCH = 100
TRIES = 6
WAIT_S_MAX = 60.0


def post(url, key, events):
    """One attempt. Gives the status (0 without an answer), the answer, and the seconds to wait before the next."""
    body = gzip.compress(json.dumps(events).encode())
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    request = urllib.request.Request(f"{url}/v1/events", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer), None
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {}
        wait = error.headers.get("Retry-After", "")
        return error.code, answer, float(wait) if wait.isdigit() else None
    except OSError:
        return 0, {}, None


def send(url, key, events):
    """Sends events until they are taken or refused. True if they are."""
    for attempt in range(TRIES):
        status, answer, wait = post(url, key, events)
        if status in (202, 400):
            for refusal in answer.get("refused", []):
                print(
                    f"event {refusal['index']} of a batch: {refusal['reason']}"
                    f" ({refusal.get('field') or 'as a whole'}): expected {refusal['expected']}",
                    file=sys.stderr,
                )
            if status == 400 and "refused" not in answer:
                print(f"refused: {answer.get('message', 'no reason given')}", file=sys.stderr)
            return True
        if status == 413 and len(events) > 1:
            half = len(events) // 2
            return send(url, key, events[:half]) and send(url, key, events[half:])
        if status not in (0, 408, 429) and status < 500:
            print(f"{status}: {answer.get('message', 'no reason given')}", file=sys.stderr)
            return False
        if wait is None:
            # Not all senders at once: anywhere between nothing and twice the time of the attempt before.
            wait = random.uniform(0, min(WAIT_S_MAX, 0.5 * 2**attempt))
        time.sleep(wait)
    print("no answer for now; nothing is lost if the same file is sent again", file=sys.stderr)
    return False


def batches(lines):
    batch = []
    for line in lines:
        if line.strip():
            event = json.loads(line)
            event.setdefault("id", str(uuid.uuid4()))
            batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def main():
    if len(sys.argv) != 2 or "QUORATE_KEY" not in os.environ:
        sys.exit(__doc__)
    url, key = sys.argv[1].rstrip("/"), os.environ["QUORATE_KEY"]
    done = [send(url, key, batch) for batch in batches(sys.stdin)]
    sys.exit(0 if all(done) else 1)


if __name__ == "__main__":
    main()
