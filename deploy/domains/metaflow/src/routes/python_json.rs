//! Bodies as Python's `json` reads them: `NaN`, `Infinity` and `-Infinity` are numbers there, and older clients send
//! them. Here they become numbers of JSON: Python reads `1e999` as `Infinity`, too, and [`NAN`] stands for `NaN`.

use axum::{body::Bytes, extract::FromRequestParts, http::request::Parts};
use daybook_query_api::{bodies::Bounded, error::ApiError, json::NAN};

/// Literals and their numbers. The longer ones first, so that a sign belongs to its number.
const LITERALS: [(&str, &str); 3] = [("-Infinity", "-1e999"), ("Infinity", "1e999"), ("NaN", NAN)];

/// The whole body of a request, as JSON.
pub(super) struct PythonJson(pub(super) Bytes);

impl<S: Sync> FromRequestParts<S> for PythonJson {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Bounded(body) = Bounded::from_request_parts(parts, state).await?;
        Ok(Self(standard(body)))
    }
}

/// The body with numbers for these literals. Text in strings does not change.
fn standard(body: Bytes) -> Bytes {
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains("NaN") || text.contains("Infinity") => numbered(text).into(),
        // What is not UTF-8 is refused where it is read.
        _ => body,
    }
}

fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token = match LITERALS.iter().find(|(literal, _)| rest.starts_with(*literal)) {
            Some((literal, number)) => {
                // Between blanks, so that it does not become one number with what is beside it.
                out.extend([" ", *number, " "]);
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
    use daybook_query_api::json;

    use super::{NAN, numbered};

    #[test]
    fn literals_become_numbers_and_strings_do_not_change() {
        for (text, expected) in [
            (r#"{"a":NaN,"b":[-Infinity, Infinity]}"#, r#"{"a": NaN ,"b":[ -1e999 ,  1e999 ]}"#),
            (r#"["a\"\\",NaN,"\\"]"#, r#"["a\"\\", NaN ,"\\"]"#),
            (r#"["ü",NaN,"é"#, r#"["ü", NaN ,"é"#),
        ] {
            assert_eq!(numbered(text), expected.replace("NaN", NAN), "{text}");
        }
        for text in [r#"{"NaN":"NaN"}"#, r#"["a\"NaN\\","-Infinity"]"#, r#"["é NaN"#] {
            assert_eq!(numbered(text), text);
        }
    }

    #[test]
    fn what_python_does_not_read_is_still_no_json() {
        let is_read = |value: &str| json::object(numbered(&format!("{{\"a\": {value}}}")).as_bytes()).is_ok();
        for value in ["-NaN", "1NaN", "NaN5", "5Infinity", "1.Infinity", "--Infinity", "Infinity.5", "{NaN: 1}"] {
            assert!(!is_read(value), "{value}");
        }
        for value in ["NaN", "-Infinity", "[NaN,Infinity]"] {
            assert!(is_read(value), "{value}");
        }
    }
}
