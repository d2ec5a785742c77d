//! Request bodies, read field by field: unknown fields are ignored, and what a field cannot hold is 400 with its name.
//!
//! Values are kept as the client wrote them until they are read, so numbers keep their digits, and half of a surrogate
//! pair matters only in a field that is read.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::column_text::{Unstorable, column_text, is_space, string};
use crate::error::ApiError;

/// A JSON object of a request, and how its fields are named in errors.
pub struct Object<'a> {
    fields: Fields<'a>,
    prefix: String,
}

/// Names and values in the order of the text.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    // A name that is no text cannot be the name of a field that is read.
                    if let Some(name) = string(name.get()) {
                        fields.push((name, value));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|e| ApiError::invalid("body", format!("the body is not JSON: {e}")))
}

fn text_of(body: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(body).map_err(|e| ApiError::invalid("body", format!("the body is not UTF-8: {e}")))
}

/// The body as an object.
pub fn object(body: &[u8]) -> Result<Object<'_>, ApiError> {
    let raw: &RawValue = parse(text_of(body)?)?;
    if !raw.get().starts_with('{') {
        return Err(ApiError::invalid("body", format!("the body is {}, not a JSON object", kind(raw))));
    }
    Ok(Object { fields: parse(raw.get())?, prefix: String::new() })
}

/// The body as an array of objects.
pub fn array(body: &[u8]) -> Result<Vec<Object<'_>>, ApiError> {
    let raw: &RawValue = parse(text_of(body)?)?;
    if !raw.get().starts_with('[') {
        return Err(ApiError::invalid("body", "the body is not a JSON array"));
    }
    let entries: Vec<&RawValue> = parse(raw.get())?;
    let mut objects = Vec::with_capacity(entries.len());
    for (index, raw) in entries.into_iter().enumerate() {
        if !raw.get().starts_with('{') {
            let message = format!("entry {index} is {}, not an object", kind(raw));
            return Err(ApiError::invalid(&format!("[{index}]"), message));
        }
        objects.push(Object { fields: parse(raw.get())?, prefix: format!("[{index}].") });
    }
    Ok(objects)
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

impl<'a> Object<'a> {
    /// A field that is there, null or not. The last of several of one name counts.
    fn get(&self, field: &str) -> Option<&'a RawValue> {
        self.fields.0.iter().rfind(|(name, _)| name == field).map(|(_, value)| *value)
    }

    /// A field that is there and not null.
    fn some(&self, field: &str) -> Option<&'a RawValue> {
        self.get(field).filter(|value| value.get() != "null")
    }

    /// Whether a field is there, null or not.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Refuses fields of other names.
    pub fn only(&self, names: &[&str]) -> Result<(), ApiError> {
        let Some((other, _)) = self.fields.0.iter().find(|(name, _)| !names.contains(&&**name)) else { return Ok(()) };
        let (field, names) = (format!("{}{other}", self.prefix), names.join(", "));
        Err(ApiError::invalid(&field, format!("there is no field {field}; there are: {names}")))
    }

    fn wrong(&self, field: &str, value: &RawValue, expected: &str) -> ApiError {
        let field = format!("{}{field}", self.prefix);
        ApiError::invalid(&field, format!("{field} is {}, not {expected}", kind(value)))
    }

    fn unstorable(&self, field: &str, reason: &Unstorable) -> ApiError {
        let field = format!("{}{field}", self.prefix);
        ApiError::invalid(&field, format!("{field} {reason}"))
    }

    /// A value as the text that a column holds of it (see `column_text`); `None` if it is missing or null.
    pub fn text(&self, field: &str) -> Result<Option<String>, ApiError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        column_text(value.get()).map_err(|reason| self.unstorable(field, &reason))
    }

    /// A value as text or null, with a default if it is missing.
    pub fn text_or(&self, field: &str, default: &str) -> Result<Option<String>, ApiError> {
        if self.has(field) { self.text(field) } else { Ok(Some(default.to_owned())) }
    }

    /// A value as text that may not be null, with a default if it is missing.
    pub fn required_text(&self, field: &str, default: &str) -> Result<String, ApiError> {
        match self.text_or(field, default)? {
            Some(text) => Ok(text),
            None => {
                Err(ApiError::invalid(&format!("{}{field}", self.prefix), format!("{}{field} is null", self.prefix)))
            }
        }
    }

    /// A string or null, and nothing else; `None` if it is missing.
    pub fn name(&self, field: &str) -> Result<Option<String>, ApiError> {
        match self.some(field) {
            Some(value) if value.get().starts_with('"') => self.string(field, value).map(Some),
            Some(value) => Err(self.wrong(field, value, "a string")),
            None => Ok(None),
        }
    }

    /// True, false or null, and nothing else; `None` if it is missing.
    pub fn flag(&self, field: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        match value.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(self.wrong(field, value, "true or false")),
        }
    }

    /// An integer, also as a string of digits, with PostgreSQL's white space around them; 0 if it is missing.
    pub fn small_int(&self, field: &str) -> Result<i32, ApiError> {
        let Some(value) = self.get(field) else { return Ok(0) };
        let digits = string(value.get()).unwrap_or(value.get().into());
        digits.trim_matches(is_space).parse().map_err(|_| self.wrong(field, value, "an integer in range"))
    }

    /// Any value as a list of texts: what is no list is a list of one, and what is no string is its JSON text. `None` if
    /// it is missing or null.
    pub fn texts_of_any(&self, field: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(value) = self.some(field) else { return Ok(None) };
        let item = |item: &RawValue| match item.get().starts_with('"') {
            true => self.string(field, item),
            false => json_text(item).map_err(|reason| self.unstorable(field, &reason)),
        };
        items(value).unwrap_or_else(|| vec![value]).into_iter().map(item).collect::<Result<_, _>>().map(Some)
    }

    /// The items of a list, each as the client wrote it; `None` if the field is no list.
    pub fn items(&self, field: &str) -> Option<Vec<&'a str>> {
        Some(items(self.get(field)?)?.into_iter().map(RawValue::get).collect())
    }

    /// A field as it is.
    pub fn value(&self, field: &str) -> Result<Option<Value>, ApiError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let parsed = serde_json::from_str(value.get());
        parsed.map(Some).map_err(|e| ApiError::invalid(field, format!("{field} cannot be read: {e}")))
    }

    fn string(&self, field: &str, value: &RawValue) -> Result<String, ApiError> {
        let text = string(value.get()).ok_or_else(|| self.unstorable(field, &Unstorable::Surrogate))?;
        Ok(text.into_owned())
    }
}

/// The JSON text of a value, if a column of JSON can hold the value.
fn json_text(value: &RawValue) -> Result<String, Unstorable> {
    // What cannot be read holds half of a surrogate pair, or a number that is too large.
    let parsed: Value = serde_json::from_str(value.get()).map_err(|_| Unstorable::Json)?;
    if holds_nul(&parsed) { Err(Unstorable::Json) } else { Ok(value.get().to_owned()) }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// The items of a list; `None` if it is none.
fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    value.get().starts_with('[').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_may_hold_anything() {
        let body = br#"{"junk": "\ud800", "\udc00": [1e999, {"a": "\udfff"}], "user_name": "x"}"#;
        let object = object(body).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(object.text("user_name").ok().flatten().as_deref(), Some("x"));
        assert!(object.text("junk").is_err());
    }

    #[test]
    fn the_last_of_several_fields_of_one_name_counts() {
        let object = object(br#"{"a": "1", "\u0061": "2"}"#).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(object.text("a").ok().flatten().as_deref(), Some("2"));
    }

    #[test]
    fn fields_of_other_names_and_types_are_refused_by_name() {
        let object = object(br#"{"a": true, "b": "true", "c": null}"#).unwrap_or_else(|error| panic!("{error}"));
        let field = |refused: Result<(), ApiError>| match refused {
            Err(ApiError::Invalid { field, .. }) => field,
            _ => None,
        };
        assert!(object.only(&["a", "b", "c", "d"]).is_ok());
        assert_eq!(field(object.only(&["a", "c"])).as_deref(), Some("b"));
        assert_eq!(field(object.flag("b").map(drop)).as_deref(), Some("b"));
        let flags = ["a", "c", "d"].map(|field| object.flag(field).ok());
        assert_eq!(flags, [Some(Some(true)), Some(None), Some(None)]);
    }

    #[test]
    fn integers_may_be_strings_of_digits_and_nothing_else() {
        let of = |text: &str| {
            let body = format!("{{\"n\": {text}}}");
            object(body.as_bytes()).and_then(|object| object.small_int("n")).ok()
        };
        for (text, expected) in [
            ("5", Some(5)),
            ("\" 6 \"", Some(6)),
            ("\"+7\"", Some(7)),
            ("-0", Some(0)),
            (r#""\u000b4""#, Some(4)),
            (r#""\t\f-4\r\n""#, Some(-4)),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        for text in [r#""\u00a05""#, "null", "1.0", "true", "1e3", "[1]", "\"\"", "\"x\"", "99999999999999999999"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn any_value_is_a_list_of_texts() {
        for (text, expected) in [
            (r#"["a", "b"]"#, vec!["a", "b"]),
            (r#"[1, null, "a", {"b":2}]"#, vec!["1", "null", "a", r#"{"b":2}"#]),
            (r#""a""#, vec!["a"]),
            (r#"{"b":2}"#, vec![r#"{"b":2}"#]),
        ] {
            let body = format!("{{\"tags\": {text}}}");
            let tags = object(body.as_bytes()).and_then(|object| object.texts_of_any("tags"));
            assert_eq!(tags.ok().flatten().unwrap_or_default(), expected, "{text}");
        }
        for text in [r#"{"a":"\u0000"}"#, r#"[["\ud800"]]"#, "[1e400]", r#"["\ud800"]"#, r#"{"\u0000":1}"#] {
            let body = format!("{{\"tags\": {text}}}");
            let tags = object(body.as_bytes()).and_then(|object| object.texts_of_any("tags"));
            assert!(tags.is_err(), "{text}");
        }
    }
}
