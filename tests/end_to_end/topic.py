"""A topic of somebody who knows nothing of us: `write` makes it and fills it with JSON records, some of them broken, and
prints what must become of them; `delete` deletes it; `check` looks for its records in a table."""

import collections
import json
import sys
import time

BROKEN_EVERY = 1000
WRITTEN_AT_ONCE = 20_000


def good(number, canary, now):
    return {
        "type": "view",
        "event": {"name": "pageview", "number": number},
        "page": {"url": f"https://shop.example/p/{number % 7}?mail={canary}@example.org"},
        "client": {
            "ip": f"203.0.{number % 16}.{number % 251}",
            "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        },
        "at": now - number % 600_000,
        "customer": {"mail": f"{canary}@example.org"},
    }


def broken(kind, event, canary):
    """A record that must be refused, and the reason."""
    text = json.dumps(event)
    if kind == 0:
        return None, "empty"
    if kind == 1:
        return text[: len(text) // 2], "malformed"
    if kind == 2:
        return text.encode().replace(b"pageview", b"page\xffview"), "malformed"
    if kind == 3:
        return json.dumps([event]), "malformed"
    if kind == 4:
        return json.dumps(event | {"note": canary * 4096}), "too_long"
    if kind == 5:
        return json.dumps(event | {"type": canary}), "unknown_type"
    if kind == 6:
        return json.dumps(event | {"client": {"ip": f"{canary}, 10.0.0.1"}}), "wrong_form"
    if kind == 7:
        return json.dumps(event | {"event": {"name": "pageview", "number": canary}}), "wrong_type"
    if kind == 8:
        return json.dumps(event | {"event": {"number": 1}}), "missing_field"
    return json.dumps(event | {"event": {"name": "pageview", "number": -1}}), "out_of_range"


def write(bootstrap, topic, partitions, count, canary):
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics([NewTopic(topic, num_partitions=partitions)])
    made[topic].result()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "compression.type": "lz4",
            "batch.size": 500_000,
            "queue.buffering.max.messages": 200_000,
        }
    )
    counts = collections.Counter(received=count)
    now = int(time.time() * 1000)
    for number in range(count):
        event = good(number, canary, now)
        value = None
        if number % BROKEN_EVERY == BROKEN_EVERY - 1:
            value, reason = broken(number // BROKEN_EVERY % 10, event, canary)
            counts[reason] += 1
        else:
            value = json.dumps(event)
            counts["stored"] += 1
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if number % WRITTEN_AT_ONCE == 0:
            producer.poll(0)
    producer.flush()
    print(json.dumps(counts))


def delete(bootstrap, topic):
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result()
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    print("{}")


def check(table):
    import duckdb
    from deltalake import DeltaTable

    numbers = DeltaTable(table).to_pyarrow_table(columns=["number"])  # which DuckDB finds by its name
    found = duckdb.sql(
        f"""select count(*), count(distinct number),
        count(*) filter (number % {BROKEN_EVERY} = {BROKEN_EVERY - 1}) from numbers"""
    ).fetchall()[0]
    print(json.dumps(dict(zip(["rows", "different", "broken"], found))))


command, *rest = sys.argv[1:]
if command == "write":
    write(rest[0], rest[1], int(rest[2]), int(rest[3]), rest[4])
elif command == "delete":
    delete(rest[0], rest[1])
else:
    check(rest[0])
