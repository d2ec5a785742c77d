//! JSON text to a value, strictly: a key that occurs twice in one object is a fault, at every depth.

use std::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, map::Entry};

use super::ValueFault;

/// Why a text is no JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The text is not JSON.
    #[error("the text is not JSON: {0}")]
    Syntax(String),
    /// An object has a key twice.
    #[error("the key {0:?} occurs twice in one object")]
    DuplicateKey(String),
}

impl JsonFault {
    /// The kind of fault.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "not-json",
            Self::DuplicateKey(_) => "duplicate-key",
        }
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Syntax(_) => None,
            Self::DuplicateKey(key) => Some(key),
        }
    }

    pub(super) fn into_value_fault(self) -> ValueFault {
        ValueFault::new(self.code(), self.to_string())
    }
}

/// Reads one JSON value.
pub fn parse(text: &str) -> Result<Value, JsonFault> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict(&duplicate).deserialize(&mut deserializer);
    match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => match duplicate.into_inner() {
            Some(key) => Err(JsonFault::DuplicateKey(key)),
            None => Err(JsonFault::Syntax(error.to_string())),
        },
    }
}

/// Whether a text or key of the value holds the character NUL.
pub(crate) fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// Reads a value and keeps the first key that occurs twice.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match fields.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(access.next_value_seed(self)?);
                }
                Entry::Occupied(entry) => {
                    *self.0.borrow_mut() = Some(entry.key().clone());
                    return Err(A::Error::custom("a key occurs twice"));
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_occurs_twice_is_named() {
        for (text, key) in [
            (r#"{"a":1,"b":2,"a":3}"#, "a"),
            (r#"{"a":1,"\u0061":3}"#, "a"),
            (r#"[{"x":{"y":1,"y":1}}]"#, "y"),
            (r#"{"":1,"":1}"#, ""),
        ] {
            assert_eq!(parse(text), Err(JsonFault::DuplicateKey(key.to_owned())), "{text}");
        }
        assert_eq!(parse(r#"{"a":{"b":1},"b":[{"a":1},{"a":2}]}"#), Ok(json!({"a":{"b":1},"b":[{"a":1},{"a":2}]})));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{\"a\":1}}", "nul", "[1,]", "NaN", "1e999", "\"\\ud800\""] {
            assert!(matches!(parse(text), Err(JsonFault::Syntax(_))), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(parse(&deep), Err(JsonFault::Syntax(_))));
    }
}
