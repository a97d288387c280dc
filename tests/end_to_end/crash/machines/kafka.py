"""What the failure runs ask of Kafka that our own program does not offer: SERVERS coordinator GROUP | recreate TOPIC."""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

servers, command, name = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": servers})

if command == "coordinator":
    group = admin.describe_consumer_groups([name], request_timeout=20)[name].result(30)
    print(group.coordinator.id)
elif command == "recreate":
    partitions = admin.list_topics(name, timeout=20).topics[name].partitions
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "failure-runs"})
    ends = {p: consumer.get_watermark_offsets(TopicPartition(name, p), timeout=20)[1] for p in partitions}
    new = NewTopic(name, len(partitions), len(partitions[0].replicas))
    admin.delete_topics([name])[name].result(30)
    # It is gone only when every broker knows.
    for _ in range(60):
        try:
            admin.create_topics([new])[name].result(30)
            break
        except KafkaException:
            time.sleep(0.5)
    else:
        sys.exit("the topic cannot be made again")
    # It grows beyond where the one before was: no position can tell the two apart.
    producer = Producer({"bootstrap.servers": servers, "acks": "all"})
    for partition, end in ends.items():
        for _ in range(end + 10):
            producer.produce(name, b"x", partition=partition)
    if producer.flush(60):
        sys.exit("the new topic takes nothing")
else:
    sys.exit(__doc__)
