"""Asks the schema registry everything that Confluent's client can ask, and decodes a record's value with another Avro
library. Arguments: base URL of the registry, subject, file with the bytes of one record's value."""
import io
import json
import struct
import sys

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry.common.schema_registry_client import (
    AssociationCreateOrUpdateRequest,
    ConfigCompatibilityLevel,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError

url, subject, file = sys.argv[1:]
OTHER = Schema(json.dumps({"type": "record", "name": "Other", "fields": []}), "AVRO")
NOTHING = Schema("{", "AVRO")
NONE = ServerConfig(compatibility=ConfigCompatibilityLevel.NONE)


def client():
    """A client whose cache is empty, so that each answer is the server's."""
    return SchemaRegistryClient({"url": url, "max.retries": 0})


def refused(call, status, code):
    try:
        answer = call(client())
    except SchemaRegistryError as error:
        assert (error.http_status_code, error.error_code) == (status, code), error
        assert error.error_message, error
    else:
        raise SystemExit(f"{call} was answered: {answer}")


# What is there.
assert subject in client().get_subjects(), client().get_subjects()
assert client().get_subjects(subject_prefix=subject, limit=1) == [subject]
assert client().get_subjects(offset=100) == [] and client().get_subjects(deleted_only=True) == []
assert client().get_versions(subject) == [1]
latest = client().get_latest_version(subject)
assert (latest.schema_id, latest.version, latest.schema.schema_type) == (100, 1, "AVRO"), latest
assert latest.subject == subject, latest
assert client().get_version(subject, 1).schema_id == 100 and client().get_version(subject, "latest").version == 1
assert client().get_latest_with_metadata(subject, {}).schema_id == 100
schema = client().get_schema(100)
assert json.loads(schema.schema_str) == json.loads(latest.schema.schema_str)
assert json.loads(client().get_schema(100, subject_name=subject).schema_str) == json.loads(schema.schema_str)
assert client().get_schema_types() == ["AVRO"] and client().get_contexts() == ["."]
assert subject in client().get_subjects_by_schema_id(100)
assert client().get_subjects_by_schema_id(100, subject_name=subject) == [subject]
versions = client().get_schema_versions(100, subject_name=subject)
assert [(it.subject, it.version) for it in versions] == [(subject, 1)], versions
assert client().get_referenced_by(subject, 1) == []
assert client().get_compatibility() == client().get_compatibility(subject) == "BACKWARD_TRANSITIVE"
assert str(client().get_config(subject).compatibility_level) == "BACKWARD_TRANSITIVE"
assert client().get_config().compatibility_level == client().get_config(subject).compatibility_level
assert client().get_global_mode() == client().get_mode(subject) == "READONLY"

# The same schema, however its JSON is written, is known; another one is not taken.
spaced = Schema(json.dumps(json.loads(schema.schema_str), indent=2), "AVRO")
found = client().lookup_schema(subject, spaced)
assert (found.schema_id, found.version, found.subject) == (100, 1, subject), found
assert client().lookup_schema(subject, spaced, normalize_schemas=True).version == 1
assert client().register_schema(subject, spaced) == 100
assert client().register_schema_full_response(subject, spaced, normalize_schemas=True).schema_id == 100
assert client().test_compatibility(subject, spaced) and client().test_compatibility(subject, spaced, 1, verbose=True)
assert client().test_compatibility_all_versions(subject, spaced)
assert not client().test_compatibility(subject, OTHER)
assert not client().test_compatibility_all_versions(subject, OTHER, verbose=True)

# What is not there, is no schema, or would change something.
missing = "nothing-value"
refused(lambda it: it.get_versions(missing), 404, 40401)
refused(lambda it: it.get_latest_version(missing), 404, 40401)
refused(lambda it: it.get_latest_with_metadata(missing, {}), 404, 40401)
refused(lambda it: it.lookup_schema(missing, spaced), 404, 40401)
refused(lambda it: it.test_compatibility(missing, spaced), 404, 40401)
refused(lambda it: it.get_compatibility(missing), 404, 40401)
refused(lambda it: it.get_mode(missing), 404, 40401)
refused(lambda it: it.get_version(subject, 7), 404, 40402)
refused(lambda it: it.test_compatibility(subject, spaced, 7), 404, 40402)
refused(lambda it: it.get_referenced_by(subject, 7), 404, 40402)
refused(lambda it: it.get_version(subject, "newest"), 422, 42202)
refused(lambda it: it.get_version(subject, 0), 422, 42202)
refused(lambda it: it.get_schema(99), 404, 40403)
refused(lambda it: it.get_subjects_by_schema_id(99), 404, 40403)
refused(lambda it: it.get_schema_versions(99), 404, 40403)
refused(lambda it: it.get_schema_by_guid("0f6e1f1a-0000-0000-0000-000000000000"), 404, 40403)
refused(lambda it: it.get_latest_with_metadata(subject, {"owner": "x"}), 404, 40403)
refused(lambda it: it.lookup_schema(subject, OTHER), 404, 40403)
refused(lambda it: it.lookup_schema(subject, NOTHING), 422, 42201)
refused(lambda it: it.register_schema(subject, NOTHING), 422, 42201)
refused(lambda it: it.register_schema(subject, Schema("{}", "JSON")), 422, 42201)
refused(lambda it: it.test_compatibility(subject, NOTHING), 422, 42201)
refused(lambda it: it.register_schema(subject, OTHER), 422, 42205)
refused(lambda it: it.register_schema(missing, OTHER), 422, 42205)
for change in (
    lambda it: it.delete_subject(subject),
    lambda it: it.delete_subject(subject, permanent=True),
    lambda it: it.delete_version(subject, 1),
    lambda it: it.set_compatibility(subject, "NONE"),
    lambda it: it.set_compatibility(level="NONE"),
    lambda it: it.set_config(subject, NONE),
    lambda it: it.set_config(config=NONE),
    lambda it: it.delete_config(subject),
    lambda it: it.delete_config(),
    lambda it: it.update_mode(subject, "READWRITE"),
    lambda it: it.update_global_mode("READWRITE"),
    lambda it: it.delete_mode(subject),
):
    refused(change, 405, 405)
refused(lambda it: it.get_associations_by_resource_name("topic", "cluster"), 404, 404)
refused(lambda it: it.delete_associations("topic"), 404, 404)
refused(lambda it: it.create_association(AssociationCreateOrUpdateRequest(resource_id="topic")), 404, 404)

# Another library decodes a record with what it got.
value = open(file, "rb").read()
magic, schema_id = struct.unpack(">bI", value[:5])
assert (magic, schema_id) == (0, 100), (magic, schema_id)
parsed = fastavro.parse_schema(json.loads(schema.schema_str))
record = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, return_record_name=True)
assert record["event"][0] == "io.daybook.metaflow.FlowRegistered", record
assert record["event"][1]["flow_id"] == "Größe", record
print("the registry's client agrees")
