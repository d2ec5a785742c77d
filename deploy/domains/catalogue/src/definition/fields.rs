//! The fields of a collection: their types, and what happens to values on their way in.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{identifier::Identifier, reader::Section};
use crate::values::FieldType;

/// Most fields of a collection, inclusive.
pub const FIELDS_MAX: usize = 200;
/// Longest `max_length`, inclusive: the longest text that PostgreSQL bounds.
const LENGTH_MAX: u64 = 10_485_760;

/// The field that records are counted by.
pub const SOURCE: &str = "source";
/// Longest source, in code points, that has an index: a much longer one is over the limit of PostgreSQL's indexes, and
/// not of SQLite's.
const INDEXED_MAX: usize = 200;

const OPTIONS: [&str; 9] =
    ["type", "required", "max_length", "on_long", "unique", "merge", "owner", "default", "volatile"];
const KEY_TYPES: [FieldType; 4] = [FieldType::Text, FieldType::Uuid, FieldType::Int, FieldType::Long];

/// A field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether a record must have a value that is not null.
    pub required: bool,
    /// Longest text, in code points, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// What happens to a longer text; there is none without `max_length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_long: Option<OnLong>,
    /// Whether values that several records have are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// How the values of several upserts become one.
    pub merge: Merge,
    /// Who sets the field.
    pub owner: Owner,
    /// The value of a record that says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether a change of this field alone makes no event.
    pub volatile: bool,
}

impl Field {
    /// Longest text of it, in code points, if that is short enough for an index.
    pub fn indexed_max(&self) -> Option<usize> {
        self.max_length.filter(|max| self.kind == FieldType::Text && *max <= INDEXED_MAX)
    }
}

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLong {
    /// The record is refused.
    Reject,
    /// The text is cut.
    Truncate,
    /// The value becomes null.
    Null,
}

/// What is done about values that several records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unique {
    /// They are counted, with samples; no record is dropped.
    Report,
}

/// How the value of an upsert and the value before it become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The newest value counts.
    Replace,
    /// The newest value that is not null counts.
    NewestNonNull,
    /// Of each key at the top, the newest value that is not null counts.
    MergeObject,
    /// Every item counts once, in the order in which they came.
    MergeArray,
}

/// Who sets a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The upstream source.
    Upstream,
    /// The API: what upstream says of the field is ignored.
    Api,
}

/// The fields by name.
pub type FieldsByName = BTreeMap<Identifier, Field>;

/// The names and types that a definition declares, also those of fields with faults.
pub(super) struct Declared<'a>(BTreeMap<&'a str, Option<FieldType>>);

impl<'a> Declared<'a> {
    pub(super) fn of(definition: &'a Map<String, Value>) -> Self {
        let fields = definition.get("fields").and_then(Value::as_object);
        let kind = |field: &Value| FieldType::parse(field.get("type")?.as_str()?);
        Self(fields.into_iter().flatten().map(|(name, field)| (name.as_str(), kind(field))).collect())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Checks a key that is the name of a field.
    pub(super) fn check_name(&self, section: &Section<'_>, name: &str) {
        if !self.contains(name) {
            let nearest = section.nearest(name, self.0.keys().copied());
            section.fault(name, "unknown-field", format!("{name} is not a declared field{nearest}"));
        }
    }

    /// Checks the name of a field that is used elsewhere; it has one of some types unless there are none.
    pub(super) fn check(&self, section: &Section<'_>, key: &str, name: &Identifier, types: &[FieldType]) {
        let Some(kind) = self.0.get(name.as_str()) else {
            let nearest = section.nearest(name.as_str(), self.0.keys().copied());
            section.fault(key, "unknown-field", format!("{name} is not a declared field{nearest}"));
            return;
        };
        if let Some(kind) = kind.filter(|kind| !types.is_empty() && !types.contains(kind)) {
            let names: Vec<_> = types.iter().map(|kind| kind.name()).collect();
            let detail = format!("field {name} is of type {}, not {}", kind.name(), names.join(" or "));
            section.fault(key, "wrong-type", detail);
        }
    }

    /// Checks a value of a field; the result is its normal form.
    pub(super) fn value(&self, section: &Section<'_>, key: &str, name: &str, value: &Value) -> Option<Value> {
        match (*self.0.get(name)?)?.from_json(value) {
            Ok(value) => Some(value),
            Err(fault) => {
                section.fault(key, fault.code, fault.detail);
                None
            }
        }
    }
}

/// Reads the table of fields.
pub(super) fn read(root: &Section<'_>) -> FieldsByName {
    root.required("fields");
    let section = root.section("fields");
    let count = section.entries().count();
    if count > FIELDS_MAX {
        // Each of them could add faults of its own.
        root.fault("fields", "too-many", format!("{count} fields are more than {FIELDS_MAX}"));
        return FieldsByName::new();
    }
    let mut fields = FieldsByName::new();
    for (key, _) in section.entries() {
        let name = section.named(key, key);
        if name.as_ref().is_some_and(Identifier::is_reserved_column) {
            section.fault(key, "reserved-name", format!("the tables need the name {key} themselves"));
        }
        if let (Some(name), Some(field)) = (name, read_field(&section.section(key))) {
            fields.insert(name, field);
        }
    }
    fields
}

/// Checks that the key is a field that can be one.
pub(super) fn check_key(root: &Section<'_>, declared: &Declared<'_>, key: &Identifier, fields: &FieldsByName) {
    declared.check(root, "key", key, &KEY_TYPES);
    let Some(field) = fields.get(key) else { return };
    let conflicts = [
        (field.owner == Owner::Api, "cannot be owned by the API"),
        (field.volatile, "cannot be volatile"),
        (field.merge != Merge::Replace, "cannot be merged"),
        (field.default.is_some(), "cannot have a default"),
        (field.on_long.is_some_and(|on_long| on_long != OnLong::Reject), "cannot be cut or dropped when it is long"),
    ];
    for (_, reason) in conflicts.into_iter().filter(|(is_conflict, _)| *is_conflict) {
        root.fault(&format!("fields.{key}"), "conflict", format!("the key {key} {reason}"));
    }
}

fn read_field(section: &Section<'_>) -> Option<Field> {
    if !section.is_present() {
        return None;
    }
    section.only(&OPTIONS);
    section.required("type");
    let kind = section.one_of("type", &FieldType::ALL.map(|kind| (kind.name(), kind)));
    let required = section.boolean("required").unwrap_or(false);
    let max_length = section.whole("max_length", 1..=LENGTH_MAX).and_then(|length| usize::try_from(length).ok());
    let on_long = [("reject", OnLong::Reject), ("truncate", OnLong::Truncate), ("null", OnLong::Null)];
    let on_long = section.one_of("on_long", &on_long);
    let unique = section.one_of("unique", &[("report", Unique::Report)]);
    let merges = [
        ("replace", Merge::Replace),
        ("newest-non-null", Merge::NewestNonNull),
        ("merge-object", Merge::MergeObject),
        ("merge-array", Merge::MergeArray),
    ];
    let merge = section.one_of("merge", &merges).unwrap_or(Merge::Replace);
    let owner = section.one_of("owner", &[("upstream", Owner::Upstream), ("api", Owner::Api)]);
    let volatile = section.boolean("volatile").unwrap_or(false);
    let on_long = on_long.or(max_length.map(|_| OnLong::Reject));
    let owner = owner.unwrap_or(Owner::Upstream);
    let mut field = Field { kind: kind?, required, max_length, on_long, unique, merge, owner, default: None, volatile };
    check_options(section, &field);
    field.default = read_default(section, &field);
    Some(field)
}

/// Checks that the options fit the type and each other.
fn check_options(section: &Section<'_>, field: &Field) {
    let kind = field.kind;
    let of_type = |key: &str, types: &[FieldType]| {
        if section.get(key).is_some() && !types.contains(&kind) {
            let names: Vec<_> = types.iter().map(|kind| kind.name()).collect();
            section.fault(key, "conflict", format!("{key} is for {}, not for {}", names.join(" and "), kind.name()));
        }
    };
    of_type("max_length", &[FieldType::Text]);
    of_type("on_long", &[FieldType::Text]);
    let scalars: Vec<_> =
        FieldType::ALL.into_iter().filter(|kind| !matches!(kind, FieldType::Json | FieldType::TextArray)).collect();
    of_type("unique", &scalars);
    match field.merge {
        Merge::MergeObject => of_type("merge", &[FieldType::Json]),
        Merge::MergeArray => of_type("merge", &[FieldType::Json, FieldType::TextArray]),
        Merge::Replace | Merge::NewestNonNull => {}
    }
    if section.get("on_long").is_some() && section.get("max_length").is_none() {
        section.fault("on_long", "conflict", "on_long means nothing without max_length");
    }
    if field.required && field.on_long == Some(OnLong::Null) {
        section.fault("on_long", "conflict", "a required field cannot become null");
    }
}

fn read_default(section: &Section<'_>, field: &Field) -> Option<Value> {
    let value = match field.kind.from_json(section.get("default")?) {
        Ok(value) => value,
        Err(fault) => {
            section.fault("default", "invalid-default", fault.detail);
            return None;
        }
    };
    let length = value.as_str().map_or(0, |text| text.chars().count());
    if field.max_length.is_some_and(|max| field.kind == FieldType::Text && length > max) {
        section.fault("default", "invalid-default", "the default is longer than max_length");
    }
    if field.required && value.is_null() {
        section.fault("default", "invalid-default", "the default of a required field cannot be null");
    }
    Some(value)
}
