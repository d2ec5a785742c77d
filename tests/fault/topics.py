"""Deletes a log's topics, or creates them again, empty: topics.py delete|create BOOTSTRAP PREFIX
With a name, it is that topic alone: topics.py delete|create BOOTSTRAP PREFIX NAME
Or fails unless so many topics begin with a prefix: topics.py expect BOOTSTRAP PREFIX COUNT"""
import sys

from confluent_kafka.admin import AdminClient, NewTopic

command, bootstrap, prefix, *other = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": bootstrap})
if command == "expect":
    found = sorted(name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix))
    sys.exit(0 if len(found) == int(other[0]) else f"{len(found)} topics begin with {prefix}: {found}")
kept = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": "8454144"}
compacted = {"cleanup.policy": "compact", "max.message.bytes": "8454144"}
topics = {f"{prefix}.metaflow": kept, f"{prefix}.catalogue": kept, f"{prefix}.metaflow.heartbeats": compacted}
if other:
    topics = {name: kept for name in other}
if command == "delete":
    outcomes = admin.delete_topics(list(topics), operation_timeout=30)
else:
    outcomes = admin.create_topics([NewTopic(name, 12, 1, config=config) for name, config in topics.items()])
for outcome in outcomes.values():
    outcome.result(timeout=30)
