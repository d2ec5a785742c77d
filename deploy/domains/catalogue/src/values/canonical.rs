//! Canonical JSON: keys in order of their bytes, no blanks. Equal values have equal texts, and so equal hashes.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical JSON text of a value.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

/// The canonical JSON text of an object of these keys and values; no key may occur twice.
pub fn canonical_object<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let mut text = String::new();
    write_object(&mut text, entries);
    text
}

/// The SHA-256 of a text, as lower-case hexadecimal digits.
pub fn sha256_hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => write_object(text, fields.iter()),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

fn write_object<'a>(text: &mut String, entries: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut entries: Vec<_> = entries.collect();
    // The order does not depend on how serde_json keeps objects.
    entries.sort_unstable_by_key(|(key, _)| *key);
    text.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_key(text, key);
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn write_key(text: &mut String, key: &str) {
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        text.push('"');
        text.push_str(key);
        text.push('"');
    } else {
        let _ = write!(text, "{}", Value::from(key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_in_order_and_there_are_no_blanks() {
        let value = json!({"b": [1, 1.0, null, {"z": true, "a": "x y"}], "a b": {}, "a\"": "\u{e9}\n", "B": []});
        let expected = r#"{"B":[],"a b":{},"a\"":"é\n","b":[1,1.0,null,{"a":"x y","z":true}]}"#;
        assert_eq!(canonical_json(&value), expected);
        assert_eq!(serde_json::from_str::<Value>(expected).ok(), Some(value));
    }

    #[test]
    fn the_hash_is_the_sha_256() {
        let expected = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(sha256_hex("{}"), expected);
    }
}
