//! One line of an NDJSON file.

use serde_json::{Map, Value};

use super::LINE_BYTES_MAX;
use crate::values::{
    json::{self, JsonFault},
    kind,
};

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The line is too long.
    #[error("the line has {0} bytes, more than {LINE_BYTES_MAX}")]
    TooLong(usize),
    /// The line is not UTF-8.
    #[error("the line is not UTF-8 from byte {0}")]
    NotUtf8(usize),
    /// The line is not JSON, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// The line is another JSON value.
    #[error("the line is {0}, not an object")]
    NotAnObject(&'static str),
}

impl LineFault {
    /// The kind of fault.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "line-too-long",
            Self::NotUtf8(_) => "not-utf-8",
            Self::Json(fault) => fault.code(),
            Self::NotAnObject(_) => "not-an-object",
        }
    }

    /// The field that it is about.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Json(fault) => fault.key(),
            Self::TooLong(_) | Self::NotUtf8(_) | Self::NotAnObject(_) => None,
        }
    }
}

/// Reads a line without its line feed; the caller passes over empty lines.
pub fn parse(line: &[u8]) -> Result<Map<String, Value>, LineFault> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineFault::TooLong(line.len()));
    }
    let text = std::str::from_utf8(line).map_err(|error| LineFault::NotUtf8(error.valid_up_to()))?;
    match json::parse(text)? {
        Value::Object(fields) => Ok(fields),
        other => Err(LineFault::NotAnObject(kind(&other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(line: &[u8]) -> Result<Value, &'static str> {
        parse(line).map(Value::Object).map_err(|fault| fault.code())
    }

    #[test]
    fn a_line_is_one_object() {
        assert_eq!(code(b" {\"a\": 1, \"b\": {\"a\": null}}\r"), Ok(json!({"a": 1, "b": {"a": null}})));
        for (line, expected) in [
            (b"[1]".as_slice(), "not-an-object"),
            (b"null", "not-an-object"),
            (b"", "not-json"),
            (b"{\"a\": 1", "not-json"),
            (b"{\"a\": 1} {}", "not-json"),
            (b"{\"a\": \"\xff\"}", "not-utf-8"),
            (b"\xef\xbb\xbf{}", "not-json"),
            (b"{\"a\": 1, \"a\": 1}", "duplicate-key"),
            (b"{\"a\": {\"b\": 1, \"b\": 2}}", "duplicate-key"),
        ] {
            assert_eq!(code(line), Err(expected), "{line:?}");
        }
    }

    #[test]
    fn a_line_has_a_bound() {
        let line = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
        assert!(code(&line(LINE_BYTES_MAX)).is_ok());
        assert_eq!(code(&line(LINE_BYTES_MAX + 1)), Err("line-too-long"));
    }

    #[test]
    fn the_fault_names_the_key() {
        let fault = parse(b"{\"title\": 1, \"title\": 2}").err();
        assert_eq!(
            fault.map(|fault| fault.to_string()).as_deref(),
            Some("the key \"title\" occurs twice in one object")
        );
    }
}
