//! Which texts of a record are searched for sensitive terms.
//!
//! Texts are those of the document, so a description is searched as far as it is indexed, unless the full text is
//! asked for.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Fields;

/// The texts to search, as paths into a document.
#[derive(Debug, Clone)]
pub struct SearchedTexts {
    paths: Vec<Vec<String>>,
    match_full_text: bool,
}

impl SearchedTexts {
    /// Takes paths such as `title` and `tags.name`; with `match_full_text` a description is searched whole.
    pub fn new(paths: &[String], match_full_text: bool) -> Self {
        let names = |path: &String| path.split('.').map(str::to_owned).collect();
        Self { paths: paths.iter().map(names).collect(), match_full_text }
    }

    /// Looks for attributes by other names.
    pub fn rename(&mut self, renamed: &BTreeMap<String, String>) {
        for first in self.paths.iter_mut().filter_map(|path| path.first_mut()) {
            if let Some(name) = renamed.get(first) {
                name.clone_into(first);
            }
        }
    }

    /// Returns the texts of a record, given its row and its document, in the order of the paths.
    pub fn of<'a>(&self, row: &'a Fields, document: &'a Fields) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut texts = Vec::new();
        for path in &self.paths {
            let Some((first, rest)) = path.split_first() else { continue };
            let value = match first.as_str() {
                "description" if self.match_full_text => {
                    let whole = row.get("meta_data").and_then(|meta| meta.get("description"));
                    whole.or_else(|| document.get(first))
                }
                _ => document.get(first),
            };
            if let Some(value) = value {
                collect(value, rest, &mut texts);
            }
        }
        texts.into_iter()
    }
}

/// Adds the texts below a value; every item of a list is looked into.
fn collect<'a>(value: &'a Value, path: &[String], texts: &mut Vec<&'a str>) {
    match (value, path) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, texts)),
        (Value::String(text), []) => texts.push(text),
        (Value::Object(fields), [first, rest @ ..]) => {
            if let Some(value) = fields.get(first) {
                collect(value, rest, texts);
            }
        }
        _ => {}
    }
}
