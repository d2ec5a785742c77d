"""Reads the schema registry with Confluent's client and decodes a record's value with another Avro library.
Arguments: base URL of the registry, subject, file with the bytes of one record's value."""
import io
import json
import struct
import sys

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

url, subject, file = sys.argv[1:]
client = SchemaRegistryClient({"url": url})
assert subject in client.get_subjects(), client.get_subjects()
assert client.get_versions(subject) == [1]
latest = client.get_latest_version(subject)
assert (latest.schema_id, latest.version, latest.schema.schema_type) == (100, 1, "AVRO"), latest
value = open(file, "rb").read()
magic, schema_id = struct.unpack(">bI", value[:5])
schema = client.get_schema(schema_id)
assert magic == 0 and json.loads(schema.schema_str) == json.loads(latest.schema.schema_str)
parsed = fastavro.parse_schema(json.loads(schema.schema_str))
record = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, return_record_name=True)
assert record["event"][0] == "io.daybook.metaflow.FlowRegistered", record
assert record["event"][1]["flow_id"] == "Größe", record
for missing in (lambda: client.get_schema(99), lambda: client.get_latest_version("nothing-value")):
    try:
        missing()
        raise SystemExit("something that is not there was found")
    except SchemaRegistryError as error:
        assert error.http_status_code == 404, error
print("the registry's client agrees")
