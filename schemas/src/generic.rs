//! Decodes a record by its schema alone, without the types of its domain, for code that reads every topic.
//!
//! The result is JSON, with fields in the order of the schema. Numbers that JSON does not support (NaN and infinities)
//! become null.

use apache_avro::{Schema, from_avro_datum, types::Value as Avro};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    codec::{DecodeError, split},
    registry::SchemaSet,
};

/// The schema sets of the domains that a program knows.
#[derive(Debug, Clone, Default)]
pub struct SchemaSets(pub Vec<&'static SchemaSet>);

/// An event that was decoded without its types.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The domain of its schema.
    pub domain: &'static str,
    /// The name of its Avro record.
    pub kind: String,
    /// The event's fields as a JSON object, in the order of the schema.
    pub event: String,
    /// The envelope's other fields.
    pub envelope: Map<String, Value>,
}

impl SchemaSets {
    /// Decodes a record's value with the schema that it was written with.
    pub fn decode(&self, value: &[u8]) -> Result<Decoded, DecodeError> {
        let (id, datum) = split(value)?;
        let set = self.0.iter().find(|set| set.owns(id)).ok_or(DecodeError::UnknownSchema(id))?;
        let Written { envelope, kind, event } = convert(set, id, datum, |_, value| Ok(value))?;
        let event = serde_json::to_string(&Json(&event));
        let event = event.map_err(|error| DecodeError::Avro { id, reason: error.to_string() })?;
        Ok(Decoded { domain: set.domain(), kind, event, envelope })
    }
}

/// A value as it was written.
struct Written {
    /// The envelope's fields but for the event.
    envelope: Map<String, Value>,
    kind: String,
    event: Avro,
}

/// Reads a value that was written with schema `id`, resolved against the current version of its domain (Avro
/// specification, "Schema Resolution"): events are matched by name, and missing fields get their defaults.
pub(crate) fn resolve(set: &SchemaSet, id: u32, datum: &[u8]) -> Result<Value, DecodeError> {
    let avro = |reason: String| DecodeError::Avro { id, reason };
    let readers = set.current().parsed_events().map_err(avro)?;
    let Written { mut envelope, kind, event } = convert(set, id, datum, |kind, value| {
        let reader = readers.iter().find(|reader| name(reader) == kind);
        let reader = reader.ok_or_else(|| format!("the current schema has no event {kind}"))?;
        value.resolve(reader).map_err(|e| e.to_string())
    })?;
    let event = serde_json::to_value(Json(&event)).map_err(|error| avro(error.to_string()))?;
    envelope.insert("event".to_owned(), Value::Object(Map::from_iter([(kind, event)])));
    Ok(Value::Object(envelope))
}

fn convert(
    set: &SchemaSet,
    id: u32,
    datum: &[u8],
    event: impl Fn(&str, Avro) -> Result<Avro, String>,
) -> Result<Written, DecodeError> {
    let avro = |reason: String| DecodeError::Avro { id, reason };
    let writer = set.find(id).ok_or_else(|| {
        if set.owns(id) { DecodeError::Newer { id, domain: set.domain() } } else { DecodeError::UnknownSchema(id) }
    })?;
    let schema = writer.parsed().map_err(avro)?;
    let mut left = datum;
    let value = from_avro_datum(schema, &mut left, None).map_err(|e| avro(e.to_string()))?;
    if !left.is_empty() {
        return Err(DecodeError::Trailing(left.len() as u64));
    }
    let Avro::Record(fields) = value else { return Err(avro("the value is no record".to_owned())) };
    let (mut envelope, mut found) = (Map::new(), None);
    for (field, value) in fields {
        if let (Avro::Union(branch, value), "event") = (&value, field.as_str()) {
            let kind = branch_name(schema, *branch).ok_or_else(|| avro(format!("no branch {branch}")))?;
            let event = event(&kind, Avro::clone(value)).map_err(avro)?;
            found = Some((kind, event));
        } else {
            let value = serde_json::to_value(Json(&value)).map_err(|error| avro(error.to_string()))?;
            envelope.insert(field, value);
        }
    }
    let (kind, event) = found.ok_or_else(|| avro("the envelope holds no event".to_owned()))?;
    Ok(Written { envelope, kind, event })
}

/// The name of a branch of the envelope's union of events.
fn branch_name(envelope: &Schema, branch: u32) -> Option<String> {
    let Schema::Record(envelope) = envelope else { return None };
    let field = envelope.fields.iter().find(|field| field.name == "event")?;
    let Schema::Union(union) = &field.schema else { return None };
    union.variants().get(usize::try_from(branch).ok()?).map(|schema| name(schema).to_owned())
}

fn name(schema: &Schema) -> &str {
    schema.name().map_or("", |name| name.name.as_str())
}

/// A value that is written as JSON.
struct Json<'a>(&'a Avro);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Avro::Float(number) if !number.is_finite() => serializer.serialize_none(),
            Avro::Double(number) if !number.is_finite() => serializer.serialize_none(),
            Avro::Union(_, value) => Json(value).serialize(serializer),
            Avro::Array(items) => serializer.collect_seq(items.iter().map(Json)),
            Avro::Map(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, Json(value)))),
            Avro::Record(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &Json(value))?;
                }
                map.end()
            }
            Avro::TimestampMillis(millis) => serializer.serialize_i64(*millis),
            value => Value::try_from(value.clone()).unwrap_or(Value::Null).serialize(serializer),
        }
    }
}
