//! Request bodies, read field by field: unknown fields are ignored, a wrong type is 400 with the field's name.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// A JSON object of a request, and how its fields are named in errors.
pub struct Object {
    fields: Map<String, Value>,
    prefix: String,
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let text =
        std::str::from_utf8(body).map_err(|e| ApiError::invalid("body", format!("the body is not UTF-8: {e}")))?;
    serde_json::from_str(text).map_err(|e| ApiError::invalid("body", format!("the body is not JSON: {e}")))
}

/// The body as an object.
pub fn object(body: &[u8]) -> Result<Object, ApiError> {
    match parse(body)? {
        Value::Object(fields) => Ok(Object { fields, prefix: String::new() }),
        other => Err(ApiError::invalid("body", format!("the body is {}, not a JSON object", kind(&other)))),
    }
}

/// The body as an array of objects.
pub fn array(body: &[u8]) -> Result<Vec<Object>, ApiError> {
    let Value::Array(entries) = parse(body)? else {
        return Err(ApiError::invalid("body", "the body is not a JSON array"));
    };
    let entry = |(index, value)| match value {
        Value::Object(fields) => Ok(Object { fields, prefix: format!("[{index}].") }),
        other => {
            Err(ApiError::invalid(&format!("[{index}]"), format!("entry {index} is {}, not an object", kind(&other))))
        }
    };
    entries.into_iter().enumerate().map(entry).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl Object {
    fn wrong(&self, field: &str, value: &Value, expected: &str) -> ApiError {
        let field = format!("{}{field}", self.prefix);
        ApiError::invalid(&field, format!("{field} is {}, not {expected}", kind(value)))
    }

    /// A string or null; `None` if it is missing.
    pub fn text(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, &other, "a string")),
        }
    }

    /// A string or null, with a default if it is missing.
    pub fn text_or(&mut self, field: &str, default: &str) -> Result<Option<String>, ApiError> {
        if self.fields.contains_key(field) { self.text(field) } else { Ok(Some(default.to_owned())) }
    }

    /// A string that may not be null, with a default if it is missing.
    pub fn required_text(&mut self, field: &str, default: &str) -> Result<String, ApiError> {
        match self.text_or(field, default)? {
            Some(text) => Ok(text),
            None => Err(self.wrong(field, &Value::Null, "a string")),
        }
    }

    /// A value as text: strings unchanged, numbers and booleans as JSON writes them, lists of those in braces, as a
    /// database driver writes them. `default` if it is missing.
    pub fn scalar(&mut self, field: &str, default: &str) -> Result<String, ApiError> {
        let Some(value) = self.fields.remove(field) else { return Ok(default.to_owned()) };
        match &value {
            Value::Array(items) => {
                let items: Option<Vec<_>> = items.iter().map(scalar_text).collect();
                items
                    .map(|items| format!("{{{}}}", items.join(",")))
                    .ok_or_else(|| self.wrong(field, &value, "a string"))
            }
            other => scalar_text(other).ok_or_else(|| self.wrong(field, other, "a string")),
        }
    }

    /// An integer, also as a string of digits; 0 if it is missing.
    pub fn small_int(&mut self, field: &str) -> Result<i32, ApiError> {
        let Some(value) = self.fields.remove(field) else { return Ok(0) };
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong(field, &value, "an integer"))?;
        i32::try_from(number).map_err(|_| {
            let field = format!("{}{field}", self.prefix);
            ApiError::invalid(&field, format!("{field} is out of range"))
        })
    }

    /// A list of strings; `None` if it is missing or null.
    pub fn texts(&mut self, field: &str) -> Result<Option<Vec<String>>, ApiError> {
        let items = match self.fields.remove(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(field, &other, "a list of strings")),
        };
        let item = |item| match item {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(field, &Value::Array(vec![other]), "a list that holds only strings")),
        };
        items.into_iter().map(item).collect::<Result<_, _>>().map(Some)
    }

    /// A field as it is.
    pub fn value(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field)
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
