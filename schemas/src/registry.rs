//! The released schemas of each domain, with their ids and subjects, as a Confluent-compatible registry serves them.
//!
//! Ids never change; nothing registers a schema at run time. Each domain has a range of ids, so that a reader recognizes
//! an id that only a newer program knows. Subjects follow Confluent's TopicNameStrategy (`<topic>-value`).

use std::{collections::HashMap, ops::Range, sync::OnceLock};

use apache_avro::{rabin::Rabin, schema_compatibility::SchemaCompatibility};
use serde_json::Value;

use crate::topics::Topic;

/// The envelope with an empty union in place of the event.
const ENVELOPE: &str = include_str!("../avro/envelope.avsc");

/// The texts of the `.avsc` files of one version. The folder is relative to that of the caller's crate.
#[macro_export]
macro_rules! schema_files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $name, ".avsc"))),+].as_slice()
    };
}

/// One released version of a domain's schema.
#[derive(Debug)]
pub struct Released {
    /// The schema id in the Confluent wire format.
    pub id: u32,
    /// The version within each subject, from 1.
    pub version: u32,
    /// The whole schema as JSON: every named type is written out where it is first used.
    pub text: String,
    /// The schemas of the events, each by itself.
    pub(crate) events: Vec<String>,
    /// The text, parsed for the fast codec.
    pub(crate) fast: OnceLock<Result<serde_avro_fast::Schema, String>>,
    /// The text, parsed by apache-avro.
    pub(crate) parsed: OnceLock<Result<apache_avro::Schema, String>>,
    /// Each event's schema, parsed by apache-avro, with its name.
    pub(crate) parsed_events: OnceLock<Result<Vec<apache_avro::Schema>, String>>,
}

/// All released versions of one domain.
#[derive(Debug)]
pub struct SchemaSet {
    domain: &'static str,
    ids: Range<u32>,
    released: Vec<Released>,
}

impl SchemaSet {
    /// The set of a domain whose schema ids are in `ids`. `versions` holds the texts of each version's files, oldest
    /// version first.
    ///
    /// # Panics
    /// If there is no version, or a file is not JSON. Each domain's tests load its set.
    pub fn new(domain: &'static str, ids: Range<u32>, versions: &[&[&str]]) -> Self {
        assert!(!versions.is_empty(), "a domain has at least one version");
        let release = |(id, (version, files)): (u32, (u32, &&[&str]))| Released {
            id,
            version,
            text: compose(files),
            events: files.iter().map(|file| (*file).to_owned()).collect(),
            fast: OnceLock::new(),
            parsed: OnceLock::new(),
            parsed_events: OnceLock::new(),
        };
        let released = ids.clone().zip((1..).zip(versions)).map(release).collect();
        Self { domain, ids, released }
    }

    /// The domain.
    pub const fn domain(&self) -> &'static str {
        self.domain
    }

    /// All released versions, oldest first.
    pub fn released(&self) -> &[Released] {
        &self.released
    }

    /// The version that new events are written with.
    pub fn current(&self) -> &Released {
        &self.released[self.released.len() - 1]
    }

    /// The version with this schema id.
    pub fn find(&self, id: u32) -> Option<&Released> {
        self.released.iter().find(|released| released.id == id)
    }

    /// Whether an id belongs to this domain, known or not.
    pub fn owns(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }
}

impl Released {
    pub(crate) fn fast(&self) -> Result<&serde_avro_fast::Schema, String> {
        let parse = || self.text.parse().map_err(|e: serde_avro_fast::schema::SchemaError| e.to_string());
        self.fast.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn parsed(&self) -> Result<&apache_avro::Schema, String> {
        let parse = || apache_avro::Schema::parse_str(&self.text).map_err(|e| e.to_string());
        self.parsed.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn parsed_events(&self) -> Result<&[apache_avro::Schema], String> {
        let parse = || {
            let parsed = self.events.iter().map(|text| apache_avro::Schema::parse_str(text));
            parsed.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())
        };
        self.parsed_events.get_or_init(parse).as_deref().map_err(Clone::clone)
    }
}

/// The subject of a topic's values.
pub fn subject(topic: Topic, topic_prefix: &str) -> String {
    format!("{}-value", topic.full_name(topic_prefix))
}

/// Writes the envelope with the events in its union. Each named type is written out where it is first used, so that the
/// text is self-contained.
fn compose(files: &[&str]) -> String {
    let parse =
        |text: &str| serde_json::from_str::<Value>(text).expect("a released schema is JSON: each is parsed by a test");
    let events: Vec<Value> = files.iter().map(|file| parse(file)).collect();
    let full_name = |schema: &Value| {
        let part = |field: &str| schema[field].as_str().unwrap_or_default();
        format!("{}.{}", part("namespace"), part("name"))
    };
    let mut named: HashMap<String, Value> = events.iter().map(|schema| (full_name(schema), schema.clone())).collect();
    let mut envelope = parse(ENVELOPE);
    let union: Vec<Value> = events.iter().map(|schema| Value::String(full_name(schema))).collect();
    if let Some(event) = envelope["fields"].as_array_mut().and_then(|fields| fields.last_mut()) {
        event["type"] = Value::Array(union);
    }
    inline(&mut envelope, &mut named);
    envelope.to_string()
}

fn inline(schema: &mut Value, named: &mut HashMap<String, Value>) {
    match schema {
        Value::String(name) => {
            if let Some(mut definition) = named.remove(name.as_str()) {
                inline(&mut definition, named);
                *schema = definition;
            }
        }
        Value::Array(branches) => branches.iter_mut().for_each(|branch| inline(branch, named)),
        Value::Object(object) => {
            for key in ["type", "items", "fields"] {
                if let Some(inner) = object.get_mut(key) {
                    inline(inner, named);
                }
            }
        }
        _ => {}
    }
}

/// Checks what holds for every domain's schemas: no released version changed, each reads what earlier ones wrote, and the
/// ids are the domain's. Each domain's tests call it with what it released: id, version, and the fingerprint (CRC-64) of
/// the parsing canonical form. The error says what is wrong.
pub fn check_released(set: &SchemaSet, frozen: &[(u32, u32, &str)]) -> Result<(), String> {
    let mut now = Vec::new();
    for reader in set.released() {
        if !set.owns(reader.id) {
            return Err(format!("id {} is outside of the domain's range", reader.id));
        }
        for writer in set.released().iter().filter(|writer| writer.version <= reader.version) {
            SchemaCompatibility::can_read(writer.parsed()?, reader.parsed()?)
                .map_err(|error| format!("version {} cannot read {}: {error}", reader.version, writer.version))?;
        }
        // Avro specification, "Transforming into Parsing Canonical Form".
        now.push((reader.id, reader.version, reader.parsed()?.fingerprint::<Rabin>().to_string()));
    }
    let is_frozen = now.iter().map(|(id, version, print)| (*id, *version, print.as_str())).eq(frozen.iter().copied());
    if is_frozen { Ok(()) } else { Err(format!("a released schema changed: {now:?}, not {frozen:?}")) }
}
