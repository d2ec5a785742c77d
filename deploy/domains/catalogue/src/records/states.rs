//! The states of records in the tables, from which the fold goes on.

use std::collections::BTreeMap;

use daybook_projector::{
    row,
    search::ranges::PagedKey,
    statements,
    tables::{Cell, Column, FromRow, Params, Row, TablesError, Transaction},
};
use daybook_schemas::position::Position;
use serde::{Deserialize, Serialize};

use crate::{Fields, record::fold::State, values::canonical::canonical_json};

statements! {
    /// The statements that are the same for every collection.
    pub(super) STATEMENTS;
    PUT = "sql/put_state", split;
    /// The ids of all records that were ever named: those after `$1`, without the first `$3`, `$2` at most.
    pub(super) IDS_AFTER = "sql/ids_after", RecordIdRow;
    /// The states of the records after `$1`, `$2` at most.
    pub(super) STATES_AFTER = "sql/states_after", StateRow;
    /// The states of some records; keyed by record id.
    pub(super) READ = "sql/read_states", split, keyed StateRow;
    /// Removes the typed rows of some records.
    pub(super) REMOVE = "sql/remove", split;
}

row! {
    /// The id of a record.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    pub(super) struct RecordIdRow {
        record_id: String,
    }
}

impl PagedKey for RecordIdRow {
    fn lowest() -> Self {
        Self { record_id: String::new() }
    }

    fn cells(&self) -> Vec<Cell> {
        vec![self.record_id.as_str().into()]
    }
}

impl RecordIdRow {
    /// The id.
    pub(super) fn into_id(self) -> String {
        self.record_id
    }
}

row! {
    /// The state of a record as it is stored.
    pub(super) struct StateRow<'r> {
        record_id: &'r str,
        revision: i64,
        raw: Option<&'r str>,
        api: &'r str,
        flags: &'r str,
        takedown: Option<&'r str>,
        removed: i64,
        content_hash: Option<&'r str>,
        changed_at: i64,
    }
}

/// The state of a record, and what its source said last.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) state: State,
    /// The hash of the last upsert, unless something came after it that changed the content.
    pub(super) content_hash: Option<String>,
    /// When the event was written that changed it last, in milliseconds since 1970.
    pub(super) changed_at: i64,
    /// The last event of a batch that is to be written to it.
    pub(super) written_by: Option<Position>,
}

impl StateRow<'_> {
    /// The id of the record.
    pub(super) fn record_id(&self) -> &str {
        self.record_id
    }
}

impl Stored {
    /// Reads a row.
    pub(super) fn of(row: &StateRow<'_>) -> Result<Self, TablesError> {
        let wrong = |column| move |_| TablesError::Shape { column };
        let raw = row.raw.map(serde_json::from_str::<Fields>).transpose().map_err(wrong("raw"))?;
        let state = State {
            raw,
            api: serde_json::from_str(row.api).map_err(wrong("api"))?,
            flags: serde_json::from_str(row.flags).map_err(wrong("flags"))?,
            taken_down: row.takedown.map(str::to_owned),
            revision: row.revision,
            is_removed: row.removed != 0,
        };
        let content_hash = row.content_hash.map(str::to_owned);
        Ok(Self { state, content_hash, changed_at: row.changed_at, written_by: None })
    }

    /// The flags as JSON.
    pub(super) fn flags(&self) -> String {
        canonical_json(&serde_json::json!(self.state.flags))
    }
}

fn text(fields: &Fields) -> String {
    canonical_json(&serde_json::Value::Object(fields.clone()))
}

/// Reads the states of some records; those that were never named have none.
pub(super) fn read<'a>(
    transaction: &mut dyn Transaction,
    record_ids: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, Stored>, TablesError> {
    let rows = transaction.read(&READ, &Params::Many(vec![Column::texts(record_ids)]))?;
    let stored = |row: &'_ Row| {
        let (_, row) = StateRow::read_keyed(row)?;
        Ok((row.record_id.to_owned(), Stored::of(&row)?))
    };
    rows.iter().map(stored).collect()
}

/// Writes the states that changed.
pub(super) fn write(
    transaction: &mut dyn Transaction,
    changed: &[(&str, &Stored, Position)],
) -> Result<(), TablesError> {
    let row = |(record_id, stored, position): &(&str, &Stored, Position)| {
        let state = &stored.state;
        vec![
            Cell::from(*record_id),
            state.revision.into(),
            Cell::Text(state.raw.as_ref().map(text)),
            text(&state.api).into(),
            stored.flags().into(),
            state.taken_down.as_deref().into(),
            i64::from(state.is_removed).into(),
            stored.content_hash.as_deref().into(),
            stored.changed_at.into(),
            i64::from(position.partition.id).into(),
            position.offset.into(),
        ]
    };
    transaction.execute(&PUT, &Params::Many(Column::of_rows(changed.iter().map(row)))).map(|_| ())
}
