//! A schema that a client of the registry asks about: is it one of the released ones, can it read what they wrote?

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};
use serde_json::Value;

use crate::registry::Released;

/// Longest text, in bytes, inclusive.
const BYTES_MAX: usize = 1024 * 1024;

/// A valid Avro schema from outside.
pub struct Candidate {
    json: Value,
    parsed: Schema,
}

impl Candidate {
    /// Reads a schema's text; a reason if it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("the schema has {} bytes, over the limit of {BYTES_MAX}", text.len()));
        }
        let json: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let parsed = Schema::parse(&json).map_err(|e| e.to_string())?;
        Ok(Self { json, parsed })
    }

    /// Whether it is a released schema: the same JSON or, if `normalized`, the same canonical form.
    pub fn is(&self, released: &Released, normalized: bool) -> bool {
        // The text was composed from JSON.
        let same_text = serde_json::from_str::<Value>(&released.text).is_ok_and(|json| json == self.json);
        let canonical = |schema: &Schema| schema.canonical_form();
        same_text || (normalized && released.parsed().is_ok_and(|it| canonical(it) == canonical(&self.parsed)))
    }

    /// Whether it can read what was written with a released schema; a reason if not.
    pub fn reads(&self, released: &Released) -> Result<(), String> {
        SchemaCompatibility::can_read(released.parsed()?, &self.parsed).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::SchemaSet;

    const EVENT: &str =
        r#"{"type": "record", "name": "Made", "namespace": "d", "fields": [{"name": "x", "type": "string"}]}"#;

    fn parse(text: &str) -> Candidate {
        Candidate::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_released_schema_is_known_however_its_json_is_written() {
        let set = SchemaSet::new("d", 1..2, &[&[EVENT]]);
        let mut json: Value = serde_json::from_str(&set.current().text).unwrap_or_default();
        let spaced = parse(&format!("{json:#}"));
        assert!(spaced.is(set.current(), false) && spaced.reads(set.current()).is_ok());
        json["doc"] = "described otherwise".into();
        let described = parse(&json.to_string());
        assert!(!described.is(set.current(), false) && described.is(set.current(), true));
        assert!(described.reads(set.current()).is_ok());
    }

    #[test]
    fn another_schema_is_another_and_no_schema_is_refused() {
        let set = SchemaSet::new("d", 1..2, &[&[EVENT]]);
        let other = parse("\"string\"");
        assert!(!other.is(set.current(), true) && other.reads(set.current()).is_err());
        for text in ["", "{", "7", "{\"type\": \"nothing\"}", "\"nothing\"", &"[".repeat(100_000)] {
            assert!(Candidate::parse(text).is_err(), "{}", &text[..text.len().min(30)]);
        }
        assert!(Candidate::parse(&format!("\"{}\"", "x".repeat(BYTES_MAX))).is_err());
    }
}
