//! The definition of a collection: its fields, cleaning, indexes, checks and refreshes, read from TOML or JSON.
//!
//! Reading names every mistake in one call. A preset lies under what is given; everything else has a default, so
//! `collection`, `key` and `fields` alone make a definition. The canonical JSON holds what was given, so reading it
//! again gives an equal definition.

pub mod clean;
pub mod fields;
pub mod identifier;
pub mod indexes;
pub mod lists;
pub mod measures;
pub mod presets;
pub mod refresh;
pub mod tables;
pub mod terms;
pub mod verify;

mod effective;
mod mapping;
mod reader;
mod successor;
mod toml_text;
mod tree;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use self::{
    clean::CleanDefinition,
    fields::{Declared, Field, FieldsByName},
    identifier::Identifier,
    indexes::{Filtered, Index},
    presets::Preset,
    reader::{Faults, Section},
    refresh::Refresh,
    tables::Table,
    verify::{Canary, Verify},
};
use crate::values::{
    self,
    canonical::{canonical_json, sha256_hex},
    json::holds_nul,
    kind,
};

/// Longest text of a definition, in bytes, inclusive.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

const KEYS: [&str; 14] = [
    "collection",
    "key",
    "preset",
    "compat",
    "fields",
    "upstream",
    "tables",
    "clean",
    "filtered",
    "index",
    "verify",
    "canary",
    "refresh",
    lists::LISTS,
];

/// The definition of a collection, with every value filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Definition {
    /// The name of the collection.
    pub collection: Identifier,
    /// The field that identifies a record.
    pub key: Identifier,
    /// The preset that lies under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The system whose results it reproduces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compat: Option<Compat>,
    /// The fields.
    pub fields: FieldsByName,
    /// Further tables.
    pub tables: Vec<Table>,
    /// Rules that change values and exclude records.
    pub clean: CleanDefinition,
    /// The filtered index.
    pub filtered: Filtered,
    /// The main index.
    pub index: Index,
    /// Limits of change.
    pub verify: Verify,
    /// Queries with expected answers.
    #[serde(rename = "canary")]
    pub canaries: Vec<Canary>,
    /// When and how it is refreshed.
    pub refresh: Refresh,
    /// The revisions that `@latest` means, by name of the list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, u64>,
    /// Where its records come from.
    #[serde(skip_serializing_if = "Upstream::is_empty")]
    pub upstream: Upstream,
    #[serde(skip)]
    trees: Trees,
}

/// The system whose results a collection reproduces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Openverse: terms match single words only.
    OpenverseStrict,
}

/// Where records come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// A PostgreSQL table, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Map<String, Value>>,
}

/// A mistake in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Fault {
    /// The path of the value, such as `fields.url.max_length`; empty for the whole text.
    pub field: String,
    /// The kind of mistake, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// The line of the TOML text, from 1, if the mistake is one of syntax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// A definition as JSON: what was given, the preset, and all values.
#[derive(Debug, Clone, Default, PartialEq)]
struct Trees {
    given: Value,
    preset: Value,
    whole: Value,
}

impl Upstream {
    const fn is_empty(&self) -> bool {
        self.postgres.is_none()
    }
}

impl Definition {
    /// Reads a definition from TOML or, if the text begins so, from a JSON object.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        Self::parse_json(&Self::read_tree(text)?)
    }

    /// Reads a text as TOML or, if it begins so, as a JSON object, without looking at what it says.
    pub fn read_tree(text: &str) -> Result<Value, Vec<Fault>> {
        if !text.trim_start().starts_with('{') {
            check_size(text.len())?;
            return toml_text::to_json(text);
        }
        values::json::parse(text).map_err(|fault| {
            let (field, code, detail) = (String::new(), fault.code(), fault.to_string());
            vec![Fault { field, code, detail, line: None }]
        })
    }

    /// Reads a definition from JSON.
    pub fn parse_json(value: &Value) -> Result<Self, Vec<Fault>> {
        let faults = Faults::default();
        let Value::Object(given) = value else {
            faults.add("", "wrong-type", format!("the definition is {}, not a table", kind(value)));
            return Err(faults.into_inner());
        };
        check_size(canonical_json(value).len())?;
        if holds_nul(value) {
            faults.add("", "nul-character", "the definition holds the character NUL");
        }
        let given = Value::Object(with_field_tables(given));
        let definition = read(&given, &faults);
        let faults = faults.into_inner();
        match definition {
            Some(definition) if faults.is_empty() => Ok(definition),
            _ => Err(faults),
        }
    }

    /// What was given, as JSON with keys in order and without blanks.
    pub fn canonical_json(&self) -> String {
        canonical_json(&self.trees.given)
    }

    /// The SHA-256 of the canonical JSON, as hexadecimal digits.
    pub fn hash(&self) -> String {
        sha256_hex(&self.canonical_json())
    }

    /// Every value with its origin: `{"value": ..., "origin": "given" | "preset" | "default"}` in place of each value.
    pub fn effective(&self) -> Value {
        effective::effective(&self.trees.whole, &self.trees.given, &self.trees.preset)
    }

    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }
}

fn check_size(bytes: usize) -> Result<(), Vec<Fault>> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let faults = Faults::default();
    faults.add("", "too-large", format!("the definition has {bytes} bytes, more than {TEXT_BYTES_MAX}"));
    Err(faults.into_inner())
}

/// The definition in which a field that is only a type is a table with that type.
fn with_field_tables(given: &Map<String, Value>) -> Map<String, Value> {
    let mut given = given.clone();
    let fields = given.get_mut("fields").and_then(Value::as_object_mut);
    for (_, field) in fields.into_iter().flatten().filter(|(_, field)| field.is_string()) {
        *field = json!({"type": field.take()});
    }
    given
}

/// Reads what is given over its preset.
fn read(given: &Value, faults: &Faults) -> Option<Definition> {
    let entries = given.as_object()?;
    let root = Section::root(entries, faults);
    root.only(&KEYS);
    let preset = root.one_of("preset", &Preset::ALL);
    let declared = Declared::of(entries);
    let preset_tree = match preset.map(|preset| preset.tree(&declared)) {
        None => json!({}),
        Some(Ok(tree)) => tree,
        Some(Err(fault)) => {
            faults.add("preset", "preset-unreadable", fault.to_string());
            json!({})
        }
    };
    let merged = tree::overlay(preset_tree.clone(), given);
    let root = Section::root(merged.as_object()?, faults);
    root.required("collection");
    root.required("key");
    let (collection, key) = (root.identifier("collection"), root.identifier("key"));
    if let Some(name) = collection.as_ref().filter(|name| name.is_reserved_table()) {
        root.fault("collection", "reserved-name", format!("a generation needs the name {name} itself"));
    }
    let fields = fields::read(&root);
    if let Some(key) = &key {
        fields::check_key(&root, &declared, key, &fields);
    }
    let tables = tables::read(&root, &declared);
    let mut definition = Definition {
        preset,
        compat: root.one_of("compat", &[("openverse-strict", Compat::OpenverseStrict)]),
        fields,
        tables,
        clean: clean::read(&root, &declared, key.as_ref()),
        filtered: indexes::read_filtered(&root, &declared, preset),
        index: indexes::read_index(&root, &declared, preset),
        verify: verify::read(&root),
        canaries: verify::read_canaries(&root),
        lists: lists::read(&root),
        refresh: refresh::read(&root),
        upstream: Upstream { postgres: refresh::read_postgres(&root) },
        collection: collection?,
        key: key?,
        trees: Trees::default(),
    };
    match serde_json::to_value(&definition) {
        Ok(whole) => definition.trees = Trees { given: given.clone(), preset: preset_tree, whole },
        Err(error) => faults.add("", "not-json", format!("the definition has no JSON: {error}")),
    }
    Some(definition)
}

#[cfg(test)]
mod tests;
