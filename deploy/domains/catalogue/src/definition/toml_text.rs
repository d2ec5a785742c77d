//! TOML to JSON: a date or time becomes its text, and a number that is not finite is a fault.

use serde_json::{Map, Number, Value};

use super::{Fault, reader::Faults};

/// Reads a TOML text as a JSON object.
pub(super) fn to_json(text: &str) -> Result<Value, Vec<Fault>> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
        let line = before.map(|before| before.split(|byte| *byte == b'\n').count());
        // Only the message: the error's own text shows the line, which may hold a password.
        let detail = format!("the text is not TOML: {}", error.message());
        vec![Fault { field: String::new(), code: "syntax", detail, line }]
    })?;
    let faults = Faults::default();
    let value = object("", table, &faults);
    let faults = faults.into_inner();
    if faults.is_empty() { Ok(value) } else { Err(faults) }
}

fn object(path: &str, table: toml::Table, faults: &Faults) -> Value {
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let entries = table.into_iter().map(|(key, value)| {
        let value = json(&at(&key), value, faults);
        (key, value)
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn json(path: &str, value: toml::Value, faults: &Faults) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::Bool(value),
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Table(table) => object(path, table, faults),
        toml::Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(index, item)| json(&format!("{path}.{index}"), item, faults)).collect()
        }
        toml::Value::Float(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => {
                faults.add(path, "out-of-range", format!("{path} is {number}, not a finite number"));
                Value::Null
            }
        },
    }
}
