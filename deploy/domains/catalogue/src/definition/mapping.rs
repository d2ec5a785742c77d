//! The literal mapping of an index: fields in the language of Elasticsearch, for programs that read it themselves.
//!
//! Whether a cluster has the field types and analysers, only the cluster knows. What is checked here is that the mapping
//! is one of fields that documents have, and that it leaves Daybook's own fields as they are.

use daybook_projector::search::shape::{ANALYZERS_TAKEN, LITERAL_OBJECT};
use serde_json::{Map, Value};

use super::{fields::Declared, indexes::MAPPING_FILE, presets::Preset, reader::Section};
use crate::derive;

/// Reads `mapping`: its properties by field.
pub(super) fn read_mapping(
    index: &Section<'_>,
    declared: &Declared<'_>,
    preset: Option<Preset>,
) -> Option<Map<String, Value>> {
    let section = index.section("mapping");
    if !section.is_present() {
        return None;
    }
    section.only(&["properties"]);
    section.required("properties");
    let properties = section.section("properties");
    for (name, _) in properties.entries() {
        match preset {
            Some(preset) => check_derived(&properties, preset, name),
            None => declared.check_name(&properties, name),
        }
    }
    check_fields(&properties);
    Some(owned(&section))
}

/// Reads `settings`.
pub(super) fn read_settings(index: &Section<'_>) -> Option<Map<String, Value>> {
    let section = index.section("settings");
    if !section.is_present() {
        return None;
    }
    section.only(&["analysis"]);
    if index.get("mapping").is_none() && index.get(MAPPING_FILE).is_none() {
        index.fault("settings", "conflict", "settings mean nothing without mapping");
    }
    let analyzers = section.section("analysis").section("analyzer");
    for (name, _) in analyzers.entries().filter(|(name, _)| ANALYZERS_TAKEN.contains(name)) {
        analyzers.fault(name, "reserved-name", format!("Daybook's own fields need the analyser {name} as it is"));
    }
    Some(owned(&section))
}

fn owned(section: &Section<'_>) -> Map<String, Value> {
    section.entries().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

/// The documents of a preset have fields of their own, and no others.
fn check_derived(properties: &Section<'_>, preset: Preset, name: &str) {
    let known = derive::document_fields(preset);
    if !known.contains(&name) {
        let nearest = properties.nearest(name, known.iter().copied());
        let detail = format!("{name} is not a field of the preset's documents{nearest}");
        properties.fault(name, "unknown-field", detail);
    }
}

/// Checks that each field has a table, and is copied to none of Daybook's own.
fn check_fields(properties: &Section<'_>) {
    let prefix = format!("{LITERAL_OBJECT}.");
    for (name, _) in properties.entries() {
        let field = properties.section(name);
        let targets = match field.get("copy_to") {
            Some(Value::Array(targets)) => targets.iter().collect(),
            target => Vec::from_iter(target),
        };
        if targets.iter().any(|target| !target.as_str().is_some_and(|target| target.starts_with(&prefix))) {
            field.fault(
                "copy_to",
                "conflict",
                format!("a field is copied to another one of the mapping: {prefix}name"),
            );
        }
        check_fields(&field.section("properties"));
    }
}
