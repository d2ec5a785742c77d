"""Writes one record to every partition of a log's topics in a transaction, and ends it or leaves it open:
transactions.py commit|abort|open BOOTSTRAP PREFIX"""
import sys
import uuid

from confluent_kafka import Producer

outcome, bootstrap, prefix = sys.argv[1:]
settings = {"bootstrap.servers": bootstrap, "transactional.id": str(uuid.uuid4())}
if outcome == "open":
    # The broker ends it soon.
    settings["transaction.timeout.ms"] = 45000
producer = Producer(settings)
producer.init_transactions(60)
producer.begin_transaction()
for topic in [f"{prefix}.metaflow", f"{prefix}.metaflow.heartbeats"]:
    for partition in producer.list_topics(topic, 30).topics[topic].partitions:
        producer.produce(topic, key="foreign", value=outcome, partition=partition)
if outcome == "commit":
    producer.commit_transaction(60)
else:
    # What was not sent would leave no trace.
    producer.flush(60)
    if outcome == "abort":
        producer.abort_transaction(60)
