//! Definitions as JSON trees: presets lie under what is given.
//!
//! The items of a list whose items all have an `id` or a `name` are matched by it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The `id` or `name` of an item.
pub(super) fn name_of(item: &Value) -> Option<&str> {
    item.get("id").or_else(|| item.get("name"))?.as_str()
}

/// The items of a list by name, in order; `None` if it is no list of items with names that differ.
pub(super) fn named_items(value: &Value) -> Option<Vec<(&str, &Value)>> {
    let items: Vec<_> =
        value.as_array()?.iter().map(|item| name_of(item).map(|name| (name, item))).collect::<Option<_>>()?;
    let names: BTreeSet<_> = items.iter().map(|(name, _)| *name).collect();
    (names.len() == items.len()).then_some(items)
}

/// The item of a name.
pub(super) fn item<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| name_of(item) == Some(name))
}

/// Lays a tree over another: objects are merged by key, items by name, and everything else is replaced.
pub(super) fn overlay(under: Value, over: &Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => Value::Object(overlay_object(under, over)),
        (under @ Value::Array(_), Value::Array(over_items)) => match (named_items(&under), named_items(over)) {
            (Some(items), Some(_)) if !items.is_empty() => {
                let names: Vec<String> = items.iter().map(|(name, _)| (*name).to_owned()).collect();
                overlay_items(under, &names, over_items)
            }
            _ => over.clone(),
        },
        (_, over) => over.clone(),
    }
}

fn overlay_object(mut under: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    // Options of another kind of rule mean nothing here.
    if let (Some(kind), Some(other)) = (under.get("kind"), over.get("kind"))
        && kind != other
    {
        return over.clone();
    }
    for (key, value) in over {
        let merged = match under.remove(key) {
            Some(below) => overlay(below, value),
            None => value.clone(),
        };
        under.insert(key.clone(), merged);
    }
    under
}

/// Items of `under` in their order, each overlaid, then those that only `over` has.
fn overlay_items(under: Value, names: &[String], over_items: &[Value]) -> Value {
    let Value::Array(under_items) = under else { return Value::Array(over_items.to_vec()) };
    let over_of = |name: &str| over_items.iter().find(|item| name_of(item) == Some(name));
    let mut items: Vec<Value> = names
        .iter()
        .zip(under_items)
        .map(|(name, below)| match over_of(name) {
            Some(over) => overlay(below, over),
            None => below,
        })
        .collect();
    let is_new = |item: &&Value| name_of(item).is_none_or(|name| !names.iter().any(|known| known == name));
    items.extend(over_items.iter().filter(is_new).cloned());
    Value::Array(items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_lies_over_the_preset() {
        let under = json!({"a": {"x": 1, "y": [1]}, "rules": [{"id": "p", "kind": "k", "o": 1}, {"id": "q"}]});
        for (over, expected) in [
            (json!({}), under.clone()),
            (json!({"a": {"y": [2]}}), json!({"a": {"x": 1, "y": [2]}, "rules": under["rules"]})),
            (
                json!({"rules": [{"id": "r"}, {"id": "p", "n": 2}]}),
                json!({"a": under["a"], "rules": [{"id": "p", "kind": "k", "o": 1, "n": 2}, {"id": "q"}, {"id": "r"}]}),
            ),
            (
                json!({"rules": [{"id": "p", "kind": "other"}]}),
                json!({"a": under["a"], "rules": [{"id": "p", "kind": "other"}, {"id": "q"}]}),
            ),
        ] {
            assert_eq!(overlay(under.clone(), &over), expected, "{over}");
        }
    }
}
