//! A record as it comes in: its fields are checked against the definition and get the normal form of their types.
//!
//! Every value is kept, refused with a fault, or named in a list of what was not kept. Defaults are not filled in: what
//! upstream did not say is absent.

pub mod csv;
pub mod fold;
pub mod json_line;

use serde_json::{Map, Value};

use crate::{
    Fields,
    definition::{
        Definition,
        fields::{Field, OnLong, Owner},
    },
    values::{
        FieldType, ValueFault,
        canonical::{canonical_object, sha256_hex},
    },
};

/// Longest line of a file, and longest record of a CSV file, in bytes, inclusive.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Longest record id, in bytes, inclusive.
pub const RECORD_ID_BYTES_MAX: usize = 200;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// As JSON values.
    Json,
    /// As the texts of a CSV file, or null.
    Csv,
}

/// What a record covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// All that upstream says of it, so required fields must be there.
    Whole,
    /// Some fields, to be merged with what is known.
    Partial,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordInput {
    /// The text of its key.
    pub record_id: String,
    /// Its fields.
    pub fields: Fields,
    /// Fields that the definition does not declare; they are dropped.
    pub unknown: Vec<String>,
    /// Fields that the API owns; what upstream says of them is dropped.
    pub ignored: Vec<String>,
    /// Fields whose text was too long, and was cut or became null.
    pub shortened: Vec<String>,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {detail}")]
pub struct RecordFault {
    /// The text of its key, if that could be read.
    pub record_id: Option<String>,
    /// The field.
    pub field: String,
    /// The kind of fault, such as `key-missing`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// Reads a record; the first fault refuses it.
pub fn read(
    definition: &Definition,
    mut given: Map<String, Value>,
    source: Source,
    coverage: Coverage,
) -> Result<RecordInput, RecordFault> {
    let (record_id, key) = read_key(definition, &mut given, source)?;
    let fault = |field: &str, code: &'static str, detail: String| RecordFault {
        record_id: Some(record_id.clone()),
        field: field.to_owned(),
        code,
        detail,
    };
    let mut fields = Fields::new();
    fields.insert(definition.key.to_string(), key);
    let (mut unknown, mut ignored, mut shortened) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in given {
        let Some(field) = definition.field(&name) else {
            unknown.push(name);
            continue;
        };
        if field.owner == Owner::Api {
            ignored.push(name);
            continue;
        }
        let read = read_field(&name, field, value, source);
        let (value, is_shortened) = read.map_err(|reason| fault(&name, reason.code, reason.detail))?;
        if is_shortened {
            shortened.push(name.clone());
        }
        fields.insert(name, value);
    }
    if let Some(name) = first_missing(definition, &fields).filter(|_| coverage == Coverage::Whole) {
        return Err(fault(name, "required-missing", format!("{name} is required")));
    }
    Ok(RecordInput { record_id, fields, unknown, ignored, shortened })
}

/// Fields that the API owns, as it sets them.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiInput {
    /// The fields.
    pub fields: Fields,
    /// Fields whose text was too long, and was cut or became null.
    pub shortened: Vec<String>,
}

/// Reads the fields that the API sets of a record; the first one with a fault, or that the API does not own, refuses all.
pub fn read_api(definition: &Definition, record_id: &str, given: Map<String, Value>) -> Result<ApiInput, RecordFault> {
    let (mut fields, mut shortened) = (Fields::new(), Vec::new());
    for (name, value) in given {
        let read = match definition.field(&name) {
            None => Err(ValueFault::new("unknown-field", format!("{name} is not a declared field"))),
            Some(field) if field.owner != Owner::Api => {
                Err(ValueFault::new("owned-by-upstream", format!("{name} is not a field that the API owns")))
            }
            Some(field) => read_field(&name, field, value, Source::Json),
        };
        let (value, is_shortened) = read.map_err(|reason| RecordFault {
            record_id: Some(record_id.to_owned()),
            field: name.clone(),
            code: reason.code,
            detail: reason.detail,
        })?;
        if is_shortened {
            shortened.push(name.clone());
        }
        fields.insert(name, value);
    }
    Ok(ApiInput { fields, shortened })
}

/// Reads the text of a key, as a path has it; the result is its normal form.
pub fn read_id(definition: &Definition, text: &str) -> Result<String, RecordFault> {
    let mut given = Map::from_iter([(definition.key.to_string(), Value::from(text))]);
    read_key(definition, &mut given, Source::Csv).map(|(record_id, _)| record_id)
}

/// The SHA-256 of what upstream says of a record, as hexadecimal digits. Of its volatile fields, only the names count: so a
/// field that is new is recorded.
pub fn content_hash(fields: &Fields, definition: &Definition) -> String {
    let is_volatile = |name: &str| definition.field(name).is_some_and(|field| field.volatile);
    let text = canonical_object(fields.iter().filter(|(name, _)| !is_volatile(name)));
    let volatile: Vec<&str> = fields.keys().map(String::as_str).filter(|name| is_volatile(name)).collect();
    sha256_hex(&if volatile.is_empty() { text } else { format!("{text} {}", volatile.join(" ")) })
}

/// Takes the key: its text and its value.
fn read_key(
    definition: &Definition,
    given: &mut Map<String, Value>,
    source: Source,
) -> Result<(String, Value), RecordFault> {
    let name = definition.key.as_str();
    let fault =
        |code: &'static str, detail: String| RecordFault { record_id: None, field: name.to_owned(), code, detail };
    let value = given.remove(name).ok_or_else(|| fault("key-missing", format!("{name} is required")))?;
    let field = definition.field(name);
    let kind = field.map_or(FieldType::Text, |field| field.kind);
    let value = read_value(kind, value, source).map_err(|reason| fault(reason.code, reason.detail))?;
    let text = match &value {
        Value::Null => return Err(fault("key-null", format!("{name} is null"))),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let length = text.chars().count();
    let is_text = kind == FieldType::Text;
    let length_max = field.and_then(|field| field.max_length).filter(|max| is_text && length > *max);
    if text.is_empty() {
        return Err(fault("key-empty", format!("{name} is empty")));
    }
    if text.len() > RECORD_ID_BYTES_MAX {
        let detail = format!("{name} has {} bytes, more than {RECORD_ID_BYTES_MAX}", text.len());
        return Err(fault("key-too-long", detail));
    }
    if let Some(max) = length_max {
        return Err(fault("key-too-long", format!("{name} has {length} characters, more than {max}")));
    }
    if text.chars().any(char::is_control) {
        return Err(fault("key-control-character", format!("{name} holds a control character")));
    }
    Ok((text, value))
}

/// The value of a field in the normal form of its type, and whether its text was too long.
fn read_field(name: &str, field: &Field, value: Value, source: Source) -> Result<(Value, bool), ValueFault> {
    let value = read_value(field.kind, value, source)?;
    let too_long = |length| ValueFault::new("too-long", format!("{name} has {length} characters, too many"));
    let (value, is_shortened) = bounded(field, value).map_err(too_long)?;
    if field.required && value.is_null() {
        return Err(ValueFault::new("required-null", format!("{name} is null")));
    }
    Ok((value, is_shortened))
}

fn read_value(kind: FieldType, value: Value, source: Source) -> Result<Value, ValueFault> {
    match (source, value) {
        (Source::Csv, Value::String(text)) => kind.from_text(&text),
        (Source::Csv | Source::Json, value) => kind.normalize(value),
    }
}

/// Applies the bound of a text, and says whether it was too long; the error is the length of a text that is refused.
fn bounded(field: &Field, value: Value) -> Result<(Value, bool), usize> {
    let (Some(max), Value::String(text)) = (field.max_length, &value) else { return Ok((value, false)) };
    let Some((end, _)) = text.char_indices().nth(max) else { return Ok((value, false)) };
    match field.on_long.unwrap_or(OnLong::Reject) {
        OnLong::Reject => Err(text.chars().count()),
        OnLong::Truncate => Ok((Value::from(&text[..end]), true)),
        OnLong::Null => Ok((Value::Null, true)),
    }
}

/// The first required field that upstream owns and that has neither a value nor a default.
fn first_missing<'a>(definition: &'a Definition, fields: &Fields) -> Option<&'a str> {
    let required = definition
        .fields
        .iter()
        .filter(|(_, field)| field.required && field.owner == Owner::Upstream && field.default.is_none());
    required.map(|(name, _)| name.as_str()).find(|name| !fields.contains_key(*name))
}

#[cfg(test)]
mod tests;
