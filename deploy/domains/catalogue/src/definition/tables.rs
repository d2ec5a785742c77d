//! Further tables of a collection, each derived from a field of its records.

use std::collections::HashSet;

use serde::Serialize;

use super::{fields::Declared, identifier::Identifier, reader::Section};
use crate::values::FieldType;

/// A further table. Of several records with one key, the lowest record id counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: Identifier,
    /// The field that holds the row as a JSON object.
    pub from: Identifier,
    /// The members of that object which are its key.
    pub key: Vec<Identifier>,
}

/// Reads the tables.
pub(super) fn read(root: &Section<'_>, declared: &Declared<'_>) -> Vec<Table> {
    let (mut tables, mut names) = (Vec::new(), HashSet::new());
    for section in root.sections("tables") {
        section.only(&["name", "from", "key"]);
        for key in ["name", "from", "key"] {
            section.required(key);
        }
        let (name, from, key) = (section.identifier("name"), section.identifier("from"), section.identifiers("key"));
        if let Some(from) = &from {
            declared.check(&section, "from", from, &[FieldType::Json]);
        }
        if let Some(name) = name.as_ref().filter(|name| names.contains(*name)) {
            section.fault("name", "duplicate", format!("another table is named {name}"));
        }
        if let (Some(name), Some(from), Some(key)) = (name, from, key) {
            names.insert(name.clone());
            tables.push(Table { name, from, key });
        }
    }
    tables
}
