//! The types of fields, and how a value is read from JSON and from the text of a CSV file.
//!
//! What is read has the normal form of its type, so equal values have equal JSON, and reading it again changes nothing.
//! A value that the type cannot hold is a fault; nothing is replaced by a default. NUL is refused, because PostgreSQL
//! cannot store it.

pub mod canonical;
pub mod json;

mod arrays;
mod numbers;
mod timestamps;

use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

/// Longest part of a value that a fault shows, in characters.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// A finite floating-point number of 64 bits.
    Double,
    /// An instant with microseconds, in the years 1 to 9999.
    Timestamp,
    /// A UUID.
    Uuid,
    /// Any JSON value.
    Json,
    /// A list of texts.
    TextArray,
}

/// Why a type cannot hold a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ValueFault {
    /// The kind of fault, such as `not-an-integer`.
    pub code: &'static str,
    /// What is wrong, with the beginning of the value.
    pub detail: String,
}

impl ValueFault {
    pub(crate) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl FieldType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::Text,
        Self::Bool,
        Self::Int,
        Self::Long,
        Self::Double,
        Self::Timestamp,
        Self::Uuid,
        Self::Json,
        Self::TextArray,
    ];

    /// The name of the type in a definition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Long => "long",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::TextArray => "text[]",
        }
    }

    /// The type of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Reads a JSON value; null is null in every type.
    pub fn from_json(self, value: &Value) -> Result<Value, ValueFault> {
        self.normalize(value.clone())
    }

    /// Reads a JSON value like `from_json`, without copying it.
    pub fn normalize(self, value: Value) -> Result<Value, ValueFault> {
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Text, Value::String(text)) => storable(text),
            (Self::Bool, value @ Value::Bool(_)) => Ok(value),
            (Self::Int, Value::Number(number)) => numbers::int(&number),
            (Self::Long, Value::Number(number)) => numbers::long(&number),
            (Self::Double, Value::Number(number)) => numbers::double(&number),
            (Self::Timestamp, Value::String(text)) => timestamps::parse(&text).map(Value::String),
            (Self::Uuid, Value::String(text)) if text.len() == 36 => uuid(&text),
            (Self::Uuid, Value::String(text)) => Err(not_a_uuid(&text)),
            (Self::Json, value) if json::holds_nul(&value) => Err(nul()),
            (Self::Json, value) => Ok(value),
            (Self::TextArray, Value::Array(items)) => texts(items),
            (_, other) => Err(self.mismatch(kind(&other))),
        }
    }

    /// Reads the text of a CSV file as PostgreSQL writes and reads it.
    pub fn from_text(self, text: &str) -> Result<Value, ValueFault> {
        match self {
            Self::Text => storable(text.to_owned()),
            Self::Bool => boolean(text),
            Self::Int => numbers::int_of_text(text),
            Self::Long => numbers::long_of_text(text),
            Self::Double => numbers::double_of_text(text),
            Self::Timestamp => timestamps::parse(trimmed(text)).map(Value::String),
            Self::Uuid => uuid(text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text)),
            Self::Json => self.normalize(json::parse(text).map_err(json::JsonFault::into_value_fault)?),
            Self::TextArray => texts(arrays::parse(text)?),
        }
    }

    /// The fault of a value that is no value of this type.
    fn mismatch(self, found: &str) -> ValueFault {
        let (code, expected) = match self {
            Self::Text => ("not-a-text", "a text"),
            Self::Bool => ("not-a-boolean", "true or false"),
            Self::Int | Self::Long => ("not-an-integer", "an integer"),
            Self::Double => ("not-a-number", "a number"),
            Self::Timestamp => ("not-a-timestamp", "a timestamp"),
            Self::Uuid => ("not-a-uuid", "a UUID"),
            Self::Json => ("not-json", "JSON"),
            Self::TextArray => ("not-an-array", "an array of texts"),
        };
        ValueFault::new(code, format!("{found} is not {expected}"))
    }
}

impl Serialize for FieldType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The kind of a JSON value, in words.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The beginning of a text, quoted, for faults.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn nul() -> ValueFault {
    ValueFault::new("nul-character", "the value holds the character NUL")
}

fn not_a_uuid(text: &str) -> ValueFault {
    FieldType::Uuid.mismatch(&shown(text))
}

fn storable(text: String) -> Result<Value, ValueFault> {
    if text.contains('\0') { Err(nul()) } else { Ok(Value::String(text)) }
}

fn uuid(text: &str) -> Result<Value, ValueFault> {
    match Uuid::try_parse(text) {
        Ok(uuid) if matches!(text.len(), 32 | 36) => Ok(Value::String(uuid.hyphenated().to_string())),
        _ => Err(not_a_uuid(text)),
    }
}

fn texts(items: Vec<Value>) -> Result<Value, ValueFault> {
    for item in &items {
        match item {
            Value::String(text) if text.contains('\0') => return Err(nul()),
            Value::String(_) => {}
            Value::Null => return Err(ValueFault::new("null-element", "an array of texts cannot hold null")),
            other => return Err(FieldType::Text.mismatch(&format!("{} in an array", kind(other)))),
        }
    }
    Ok(Value::Array(items))
}

/// The text without the blanks that PostgreSQL ignores around numbers, booleans and timestamps.
fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// A boolean, or a beginning of its name that names no other.
fn boolean(text: &str) -> Result<Value, ValueFault> {
    let word = trimmed(text).to_ascii_lowercase();
    let begins = |name: &str, characters_min: usize| word.len() >= characters_min && name.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        return Ok(Value::Bool(true));
    }
    if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        return Ok(Value::Bool(false));
    }
    Err(FieldType::Bool.mismatch(&shown(text)))
}

#[cfg(test)]
mod tests;
