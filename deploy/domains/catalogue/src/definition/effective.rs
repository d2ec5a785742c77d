//! Every value of a definition with its origin: given, from the preset, or a default.

use serde_json::{Value, json};

use super::tree::{item, name_of, named_items};

/// The tree of a definition in which each value is `{"value": ..., "origin": "given" | "preset" | "default"}`.
pub(super) fn effective(whole: &Value, given: &Value, preset: &Value) -> Value {
    annotate(whole, Some(given), Some(preset))
}

fn annotate<'a>(value: &Value, given: Option<&'a Value>, preset: Option<&'a Value>) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let at = |tree: Option<&'a Value>| tree?.get(key);
                (key.clone(), annotate(value, at(given), at(preset)))
            })
            .collect(),
        Value::Array(items) if !items.is_empty() && named_items(value).is_some() => items
            .iter()
            .map(|entry| {
                let at = |tree: Option<&'a Value>| item(tree?, name_of(entry)?);
                annotate(entry, at(given), at(preset))
            })
            .collect(),
        leaf => {
            let origin = match (given, preset) {
                (Some(_), _) => "given",
                (None, Some(_)) => "preset",
                (None, None) => "default",
            };
            json!({"value": leaf, "origin": origin})
        }
    }
}
