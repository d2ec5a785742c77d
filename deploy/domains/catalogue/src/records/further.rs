//! Further tables of a collection: rows that fields of its records hold, each under a key of its own.
//!
//! Several records may hold the row of one key. All are stored, and readers see that of the lowest record id. So the next
//! one is seen once that record is hidden, without a look at other records.

use std::collections::BTreeMap;

use daybook_projector::{
    comparison, row, statements,
    tables::{Cell, Column, FromRow, Params, Row, Tables, TablesError, Transaction},
};
use serde_json::Value;

use crate::{
    Fields,
    definition::tables::Table,
    values::canonical::{canonical_json, canonical_object, sha256_hex},
};

const FURTHER_ROWS: &str = "further_rows";

statements! {
    /// The statements of collections with further tables.
    pub(super) STATEMENTS;
    PUT = "sql/put_further", split;
    REMOVE = "sql/remove_further", split;
    /// The rows of the table `$1` whose keys have a hash after `$2`, `$3` at most.
    pub(super) LIST = "sql/list_further", FurtherRow;
    /// The row of the table `$1` whose key has the hash `$2`.
    pub(super) READ = "sql/read_further", FurtherRow;
    COUNT = "sql/count_further", CountRow;
}

row! {
    /// A row of a further table that readers see.
    pub(super) struct FurtherRow<'r> {
        pub(super) row_key: &'r str,
        pub(super) record_id: &'r str,
        pub(super) content: &'r str,
    }
}

row! {
    struct CountRow<'r> {
        table_name: &'r str,
        record_count: i64,
        row_count: i64,
    }
}

/// How much a further table holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Records that hold a row.
    pub(super) records: u64,
    /// Rows that readers see.
    pub(super) rows: u64,
}

/// How much each further table of a generation holds.
pub(super) type FurtherCounts = BTreeMap<String, Count>;

/// The row of a key, as one record holds it.
#[derive(Debug, PartialEq, Eq)]
struct HeldRow {
    row_key: String,
    content: String,
}

impl HeldRow {
    /// The row that the fields of a record hold, if any.
    fn of(table: &Table, fields: &Fields) -> Option<Self> {
        let (key, row) = (key_of(table, fields)?, fields.get(table.from.as_str())?.as_object()?);
        Some(Self { row_key: hash_of(&key), content: canonical_object(row.iter()) })
    }
}

/// Whether the fields of a record hold a row.
pub(super) fn holds_row(table: &Table, fields: &Fields) -> bool {
    key_of(table, fields).is_some()
}

/// The key of the row that the fields of a record hold; `None` without an object, or if a part of the key has no value.
fn key_of(table: &Table, fields: &Fields) -> Option<Vec<String>> {
    let row = fields.get(table.from.as_str())?.as_object()?;
    table.key.iter().map(|name| key_text(row.get(name.as_str())?)).collect()
}

/// A value of a key as text; `None` if it is none that identifies a row.
fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The hash of a key, of the texts of its columns.
pub(super) fn hash_of(key: &[String]) -> String {
    sha256_hex(&canonical_json(&Value::from(key)))
}

/// What the records of a batch change in further tables.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    tables: &'a [Table],
    held: Vec<[Cell; 4]>,
    gone: Vec<[Cell; 2]>,
}

impl<'a> Changes<'a> {
    pub(super) const fn new(tables: &'a [Table]) -> Self {
        Self { tables, held: Vec::new(), gone: Vec::new() }
    }

    /// Notes the fields of a record that readers see; `None` if they do not see it.
    pub(super) fn note(&mut self, record_id: &str, fields: Option<&Fields>) {
        for table in self.tables {
            let (name, record_id) = (table.name.as_str().into(), record_id.into());
            match fields.and_then(|fields| HeldRow::of(table, fields)) {
                Some(HeldRow { row_key, content }) => {
                    self.held.push([name, record_id, row_key.into(), content.into()]);
                }
                None => self.gone.push([name, record_id]),
            }
        }
    }

    /// Writes what was noted.
    pub(super) fn write(self, transaction: &mut dyn Transaction) -> Result<(), TablesError> {
        if !self.held.is_empty() {
            transaction.execute(&PUT, &Params::Many(Column::of_rows(self.held.into_iter().map(Vec::from))))?;
        }
        if !self.gone.is_empty() {
            transaction.execute(&REMOVE, &Params::Many(Column::of_rows(self.gone.into_iter().map(Vec::from))))?;
        }
        Ok(())
    }
}

/// How much each further table of a generation holds; none if its definition has none.
pub(super) async fn counts(tables: &dyn Tables) -> Result<FurtherCounts, TablesError> {
    if comparison::columns(tables, FURTHER_ROWS).await?.is_empty() {
        return Ok(FurtherCounts::new());
    }
    let rows = tables.read_background(&COUNT, Params::One(Vec::new())).await?;
    let unsigned = |count: i64| u64::try_from(count).unwrap_or(0);
    let counted = |row: &Row| {
        let CountRow { table_name, record_count, row_count } = CountRow::read(row)?;
        Ok((table_name.to_owned(), Count { records: unsigned(record_count), rows: unsigned(row_count) }))
    };
    rows.iter().map(counted).collect()
}

/// The table that holds the rows, as verification compares it.
pub(super) fn comparable() -> comparison::Comparable {
    let rows = comparison::Comparable::of(FURTHER_ROWS).by_text("table_name").by_text("record_id");
    rows.columns(["row_key", "content"]).rows_of_fold()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::Definition;

    fn held(set: Value) -> Option<HeldRow> {
        let text = "collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\nset = 'json'\n\
            [[tables]]\nname = 'sets'\nfrom = 'set'\nkey = ['provider', 'url']";
        let definition = Definition::parse(text).unwrap_or_else(|faults| panic!("{faults:?}"));
        HeldRow::of(&definition.tables[0], &Fields::from_iter([("set".to_owned(), set)]))
    }

    #[test]
    fn a_row_is_found_by_the_texts_of_its_key_whatever_else_it_holds() {
        let key = |set| held(set).map(|row| row.row_key);
        let one = key(json!({"provider": "a", "url": "b"}));
        assert!(one.is_some());
        assert_eq!(one, key(json!({"url": "b", "provider": "a", "title": "x"})));
        assert_eq!(one, Some(hash_of(&["a".to_owned(), "b".to_owned()])));
        assert_ne!(one, key(json!({"provider": "ab", "url": ""})));
        assert_eq!(key(json!({"provider": 1, "url": true})), key(json!({"provider": "1", "url": "true"})));
    }

    #[test]
    fn what_has_no_key_is_no_row() {
        for set in [
            json!(null),
            json!("a"),
            json!([{"provider": "a", "url": "b"}]),
            json!({"provider": "a"}),
            json!({"provider": "a", "url": null}),
            json!({"provider": "a", "url": {"x": 1}}),
        ] {
            assert_eq!(held(set.clone()), None, "{set}");
        }
    }
}
