//! The released schemas, their fixed ids and subjects: what a Confluent-compatible registry serves.
//!
//! Ids are fixed here for ever; nothing registers a schema at run time. Both topics hold the same envelope, so one id
//! stands under two subjects, named by Confluent's TopicNameStrategy (`<topic>-value`).

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

use crate::topics::Topic;

/// One released version of the envelope.
#[derive(Debug)]
pub struct Released {
    /// The schema id in the Confluent wire format.
    pub id: u32,
    /// The version within each subject, from 1.
    pub version: u32,
    /// The whole schema as JSON, every named type written out where it is first used.
    pub text: String,
}

macro_rules! avsc {
    ($version:literal: $($name:literal),+ $(,)?) => {
        [$(include_str!(concat!("../avro/", $version, "/", $name, ".avsc"))),+]
    };
}

/// The files of version 1, the envelope first.
const V1: [&str; 10] = avsc!("v1": "envelope", "log-created", "flow-registered", "run-started", "step-registered",
    "task-registered", "artifacts-registered", "metadata-registered", "run-tags-mutated", "heartbeat-recorded");

static RELEASED: LazyLock<Vec<Released>> = LazyLock::new(|| vec![Released { id: 1, version: 1, text: compose(&V1) }]);

/// All released versions, oldest first.
pub fn released() -> &'static [Released] {
    &RELEASED
}

/// The version that new events are written with.
pub fn current() -> &'static Released {
    &RELEASED[RELEASED.len() - 1]
}

/// The subject of a topic's values.
pub fn subject(topic: Topic, topic_prefix: &str) -> String {
    format!("{}-value", topic.full_name(topic_prefix))
}

/// Writes the envelope with each named type in place of its first mention, so that the text stands alone.
fn compose(files: &[&str]) -> String {
    let mut parsed: Vec<Value> = files
        .iter()
        .map(|file| serde_json::from_str(file).expect("a released schema is JSON: each is parsed by a test"))
        .collect();
    let mut named: HashMap<String, Value> = parsed
        .drain(1..)
        .map(|schema| {
            let part = |field: &str| schema[field].as_str().unwrap_or_default().to_owned();
            (format!("{}.{}", part("namespace"), part("name")), schema)
        })
        .collect();
    let mut envelope = parsed.remove(0);
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

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

    use super::*;

    fn parse(text: &str) -> Schema {
        Schema::parse_str(text).expect("a released schema parses")
    }

    #[test]
    fn every_version_reads_every_version_released_before_it() {
        for reader in released() {
            for writer in released().iter().filter(|writer| writer.version <= reader.version) {
                let verdict = SchemaCompatibility::can_read(&parse(&writer.text), &parse(&reader.text));
                assert!(
                    verdict.is_ok(),
                    "version {} cannot read version {}: {verdict:?}",
                    reader.version,
                    writer.version
                );
            }
        }
    }

    #[test]
    fn released_texts_never_change() {
        // Fingerprints of the parsing canonical form (Avro specification, "Transforming into Parsing Canonical Form").
        let frozen = [(1, 1, FINGERPRINT_V1)];
        let now: Vec<_> = released()
            .iter()
            .map(|it| (it.id, it.version, parse(&it.text).fingerprint::<apache_avro::rabin::Rabin>().to_string()))
            .collect();
        let now: Vec<_> = now.iter().map(|(id, version, print)| (*id, *version, print.as_str())).collect();
        assert_eq!(now, frozen);
    }

    const FINGERPRINT_V1: &str = "36394187836aa60e";
}
