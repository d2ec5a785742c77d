//! The search document of one entity.
//!
//! A pure function of rows. Its revision counts the events that changed its rows, and so orders its states (I6).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::shape::Name;

/// Longest id, in bytes, inclusive: that of Elasticsearch.
const ID_BYTES_MAX: usize = 512;

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its id.
    pub id: String,
    /// How many events it has taken.
    pub revision: i64,
    /// The id of its parent, if it has one from which it inherits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How many records the tables had applied when its rows were read, or more. So an index that is newer than the
    /// tables is distinguished from theirs. Not shown.
    #[serde(skip)]
    pub applied: i64,
    /// Its attributes: texts, numbers, and lists of these or of flat objects.
    pub source: Map<String, Value>,
}

impl Document {
    /// A document without attributes.
    pub fn new(id: String, revision: i64) -> Self {
        Self { id, revision, parent: None, applied: 0, source: Map::new() }
    }

    /// Sets an attribute, unless there is nothing to set.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !is_empty {
            self.source.insert(name.to_owned(), value);
        }
    }

    /// As JSON. Equal documents have equal texts.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A number by which documents that sort alike are put in order: the beginning of the id's digest.
    pub fn key(&self) -> i64 {
        let digest = Sha256::digest(&self.id);
        // The highest bit is left out, so that no engine sees a sign.
        digest.iter().take(8).fold(0_i64, |key, byte| (key << 8) | i64::from(*byte)) & i64::MAX
    }

    /// The values of some attributes, in order.
    pub fn values(&self, attributes: &[Name]) -> Vec<Cow<'_, str>> {
        let mut values = Vec::new();
        for value in attributes.iter().filter_map(|name| self.source.get(&**name)) {
            collect(value, &mut values);
        }
        values
    }
}

/// A document as an index keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// How many events it has taken.
    pub revision: i64,
    /// All of it ([`Document::text`]).
    pub text: String,
}

impl Stored {
    /// A document by its text.
    pub fn read(text: String) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Identity {
            id: String,
            revision: i64,
        }
        let Identity { id, revision } = serde_json::from_str(&text)?;
        Ok(Self { id, revision, text })
    }
}

impl From<Document> for Stored {
    fn from(document: Document) -> Self {
        let text = document.text();
        Self { id: document.id, revision: document.revision, text }
    }
}

/// The texts, numbers and truth values of a value.
fn collect<'a>(value: &'a Value, values: &mut Vec<Cow<'a, str>>) {
    match value {
        Value::String(text) => values.push(Cow::Borrowed(text)),
        Value::Number(number) => values.push(Cow::Owned(number.to_string())),
        Value::Array(list) => list.iter().for_each(|value| collect(value, values)),
        Value::Object(object) => object.values().for_each(|value| collect(value, values)),
        Value::Bool(value) => values.push(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Null => {}
    }
}

/// An id from the parts of a path. Of one that is too long, the end is a digest.
pub fn id_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut id = String::new();
    for part in parts {
        if !id.is_empty() {
            id.push('/');
        }
        id.push_str(part);
    }
    if id.len() <= ID_BYTES_MAX {
        return id;
    }
    let digest: String = Sha256::digest(&id).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}#{digest}", cut(&id, ID_BYTES_MAX - digest.len() - 1))
}

/// A text cut to so many bytes, between two characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_paths_and_never_too_long() {
        assert_eq!(id_of(["artifact", "F", "2", "x"]), "artifact/F/2/x");
        let name = "é".repeat(300);
        let long = id_of(["artifact", "F", &name, "0"]);
        assert!(long.len() <= ID_BYTES_MAX && long.starts_with("artifact/F/é"));
        assert_ne!(id_of(["artifact", "F", &name, "1"]), long, "ids that differ at the end are the same");
    }

    #[test]
    fn keys_are_spread_and_never_negative() {
        let keys: std::collections::HashSet<i64> =
            (0..1000).map(|number| Document::new(number.to_string(), 1).key()).collect();
        assert!(keys.len() == 1000 && keys.iter().all(|key| *key >= 0));
    }

    #[test]
    fn values_are_those_of_lists_and_flat_objects_too() {
        let mut document = Document::new("1".to_owned(), 1);
        document.set("run", 7);
        document.set("tags", json!(["a", "b"]));
        document.set("metadata", json!([{"field": "gpu", "value": "A100"}]));
        document.set("nothing", Value::Null);
        let values = document.values(&["run", "tags", "nothing", "metadata"].map(Name::Borrowed));
        assert_eq!(values, ["7", "a", "b", "gpu", "A100"]);
        assert_eq!(document.source.len(), 3);
    }
}
