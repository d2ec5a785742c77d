"""Changes a topic as an operator might by mistake: it gets more partitions, or a partition loses its records.
alter_topic.py grow BOOTSTRAP TOPIC PARTITIONS
alter_topic.py cut BOOTSTRAP TOPIC PARTITION"""
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

command, bootstrap, topic, number = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": bootstrap})
if command == "grow":
    outcomes = admin.create_partitions([NewPartitions(topic, int(number))])
    is_done = lambda: len(admin.list_topics(topic, 30).topics[topic].partitions) == int(number)
else:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    partition = TopicPartition(topic, int(number))
    end = consumer.get_watermark_offsets(partition, timeout=30)[1]
    assert end > 0, "there is nothing to cut off"
    outcomes = admin.delete_records([TopicPartition(topic, int(number), end)])
    is_done = lambda: consumer.get_watermark_offsets(partition, timeout=30)[0] == end
for outcome in outcomes.values():
    outcome.result(timeout=30)
# The broker answers before every other one knows it.
while not is_done():
    time.sleep(0.1)
