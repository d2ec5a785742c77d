//! Texts, tags and the mature mark of a document.

use serde_json::Value;

/// Most characters of a description, in code points, inclusive.
pub const DESCRIPTION_MAX: usize = 2_000;

/// Returns the beginning of the description that the metadata has, if it is text.
pub fn description(meta: Option<&Value>) -> Option<&str> {
    let text = meta?.get("description")?.as_str()?;
    let end = text.char_indices().nth(DESCRIPTION_MAX).map_or(text.len(), |(end, _)| end);
    Some(&text[..end])
}

/// Returns the URL of the license that the metadata has, if it is text.
pub fn license_url(meta: Option<&Value>) -> Option<&str> {
    meta?.get("license_url")?.as_str()
}

/// Whether a record is for mature audiences: by its flag or because the metadata says `true`.
pub fn mature(meta: Option<&Value>, flag: bool) -> bool {
    flag || meta.and_then(|meta| meta.get("mature")) == Some(&Value::Bool(true))
}

/// Returns the tags of a document: the name and accuracy of each tag that has a name.
pub fn tags(tags: Value) -> Option<Value> {
    let Value::Array(mut tags) = tags else { return None };
    tags.retain_mut(|tag| {
        let Some(fields) = tag.as_object_mut().filter(|fields| fields.get("name").is_some_and(Value::is_string)) else {
            return false;
        };
        fields.retain(|name, value| name == "name" || (name == "accuracy" && !value.is_null()));
        true
    });
    Some(Value::Array(tags))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_is_text_of_at_most_two_thousand_characters() {
        let long = "é🙂".repeat(1_100);
        let exact = "é".repeat(DESCRIPTION_MAX);
        for (value, expected) in [
            (json!("Old pier"), Some("Old pier".to_owned())),
            (json!(exact), Some(exact.clone())),
            (json!(long), Some("é🙂".repeat(1_000))),
            (json!(""), Some(String::new())),
            (json!(["Old pier"]), None),
            (json!({"en": "Old pier"}), None),
            (json!(7), None),
            (Value::Null, None),
        ] {
            let meta = json!({"description": value});
            assert_eq!(description(Some(&meta)).map(str::to_owned), expected, "{meta}");
        }
        for meta in [json!({}), json!(["description"]), json!("description"), Value::Null] {
            assert_eq!(description(Some(&meta)), None, "{meta}");
        }
        assert_eq!(description(None), None);
    }

    #[test]
    fn a_record_is_mature_by_its_flag_or_because_the_metadata_says_true() {
        for (meta, flag, expected) in [
            (json!({"mature": false}), true, true),
            (json!({"mature": "no"}), false, false),
            (json!({"mature": "true"}), false, false),
            (json!({"mature": 1}), false, false),
            (json!({"mature": true}), false, true),
            (json!({"mature": null}), false, false),
            (json!({}), false, false),
            (json!({}), true, true),
            (Value::Null, false, false),
        ] {
            assert_eq!(mature(Some(&meta), flag), expected, "{meta} and {flag}");
        }
        assert!(!mature(None, false));
    }

    #[test]
    fn tags_have_name_and_accuracy_only() {
        for (row, expected) in [
            (
                json!([{"name": "sea", "provider": "flickr"}, {"name": "boat", "accuracy": 0.95, "extra": 1}]),
                json!([{"name": "sea"}, {"name": "boat", "accuracy": 0.95}]),
            ),
            (json!([{"name": "sea", "accuracy": "0.97"}]), json!([{"name": "sea", "accuracy": "0.97"}])),
            (json!([{"name": "sea", "accuracy": null}, {"name": null}, "x"]), json!([{"name": "sea"}])),
            (json!([]), json!([])),
        ] {
            assert_eq!(tags(row.clone()), Some(expected), "{row}");
        }
        for row in [Value::Null, json!({}), json!("sea")] {
            assert_eq!(tags(row.clone()), None, "{row}");
        }
    }
}
