//! Bodies as Python's `json` reads them: `NaN`, `Infinity` and `-Infinity` are numbers there, and older clients send
//! them. Here they become strings of the same text, which is what PostgreSQL stores of them in a text or an array.

use axum::{body::Bytes, extract::FromRequestParts, http::request::Parts};
use daybook_query_api::{bodies::Bounded, error::ApiError};

/// The longer ones first, so that a sign belongs to its number.
const LITERALS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The whole body of a request, as JSON.
pub(super) struct PythonJson(pub(super) Bytes);

impl<S: Sync> FromRequestParts<S> for PythonJson {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Bounded(body) = Bounded::from_request_parts(parts, state).await?;
        Ok(Self(standard(body)))
    }
}

/// The body with these literals as strings. Text in strings does not change.
fn standard(body: Bytes) -> Bytes {
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains("NaN") || text.contains("Infinity") => quoted(text).into(),
        // What is not UTF-8 is refused where it is read.
        _ => body,
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token = match LITERALS.iter().find(|literal| rest.starts_with(**literal)) {
            Some(literal) => {
                out.extend(["\"", literal, "\""]);
                literal.len()
            }
            None => {
                let length = if first == '"' { string_length(rest) } else { first.len_utf8() };
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[token..];
    }
    out
}

/// The length of the string that a text begins with, or of all of it if the string does not end.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn literals_become_strings_and_strings_do_not_change() {
        for (text, expected) in [
            (r#"{"a":NaN,"b":[-Infinity, Infinity]}"#, r#"{"a":"NaN","b":["-Infinity", "Infinity"]}"#),
            (r#"{"NaN":"NaN"}"#, r#"{"NaN":"NaN"}"#),
            (r#"["a\"NaN\\",NaN,"\\"]"#, r#"["a\"NaN\\","NaN","\\"]"#),
            (r#"["ü",NaN,"é NaN"#, r#"["ü","NaN","é NaN"#),
            ("-NaN", "-\"NaN\""),
        ] {
            assert_eq!(quoted(text), expected, "{text}");
        }
    }
}
