"""Deletes a log's topics, or creates them again, empty: topics.py delete|create BOOTSTRAP PREFIX"""
import sys

from confluent_kafka.admin import AdminClient, NewTopic

command, bootstrap, prefix = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": bootstrap})
names = [f"{prefix}.metaflow", f"{prefix}.catalogue", f"{prefix}.metaflow.heartbeats"]
if command == "delete":
    outcomes = admin.delete_topics(names, operation_timeout=30)
else:
    kept = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": "8454144"}
    settings = [kept, kept, {"cleanup.policy": "compact", "max.message.bytes": "8454144"}]
    outcomes = admin.create_topics([NewTopic(name, 12, 1, config=config) for name, config in zip(names, settings)])
for outcome in outcomes.values():
    outcome.result(timeout=30)
