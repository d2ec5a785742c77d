//! Quarantine: records that could not be applied, with the reason. The log keeps their bytes.

use daybook_schemas::position::Position;

use super::checkpoints::partition;
use crate::{
    row, statements,
    tables::{Column, FromRow, Params, Tables, TablesError, Transaction},
};

statements! {
    pub(super) STATEMENTS;
    INSERT = "quarantine/insert", split;
    LIST = "quarantine/list", QuarantineRow;
    COUNT = "quarantine/count", CountRow;
}

row! {
    struct QuarantineRow<'r> {
        topic: &'r str,
        partition_id: i64,
        record_offset: i64,
        reason: String,
        record_key: String,
        value_bytes: i64,
        value_hex: String,
    }
}

row! {
    struct CountRow {
        records: i64,
    }
}

/// Bytes of a quarantined record's value that are kept beside it; the log keeps all of it.
const BYTES_MAX: usize = 4096;

/// A record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its position in the log.
    pub position: Position,
    /// Why it was not applied.
    pub reason: String,
    /// Its key, as far as it is text.
    pub key: String,
    /// Size of its value.
    pub bytes: i64,
    /// The beginning of its value, in hexadecimal.
    pub value_hex: String,
}

impl Quarantined {
    /// The quarantine entry of a record.
    pub fn new(position: Position, reason: &str, key: Option<&[u8]>, value: &[u8]) -> Self {
        let key = String::from_utf8_lossy(key.unwrap_or_default()).replace('\0', "\u{fffd}");
        let shown = &value[..value.len().min(BYTES_MAX)];
        let value_hex = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = i64::try_from(value.len()).unwrap_or(i64::MAX);
        Self { position, reason: reason.replace('\0', "\u{fffd}"), key, bytes, value_hex }
    }
}

/// Puts records into quarantine.
pub fn insert(transaction: &mut dyn Transaction, records: &[Quarantined]) -> Result<(), TablesError> {
    if records.is_empty() {
        return Ok(());
    }
    let columns = vec![
        Column::texts(records.iter().map(|record| record.position.partition.topic.name())),
        Column::ints(records.iter().map(|record| i64::from(record.position.partition.id))),
        Column::ints(records.iter().map(|record| record.position.offset)),
        Column::texts(records.iter().map(|record| record.reason.as_str())),
        Column::texts(records.iter().map(|record| record.key.as_str())),
        Column::ints(records.iter().map(|record| record.bytes)),
        Column::texts(records.iter().map(|record| record.value_hex.as_str())),
    ];
    transaction.execute(&INSERT, &Params::Many(columns)).map(|_| ())
}

/// The records in quarantine after `after`, in order of position, at most `count_max`.
pub async fn list(
    tables: &dyn Tables,
    after: Option<Position>,
    count_max: i64,
) -> Result<Vec<Quarantined>, TablesError> {
    let (topic, id, offset) = match after {
        Some(after) => (after.partition.topic.name(), i64::from(after.partition.id), after.offset),
        None => ("", -1, -1),
    };
    let params = Params::One(vec![topic.into(), id.into(), offset.into(), count_max.into()]);
    let entry = |row| {
        let row = QuarantineRow::read(row)?;
        Ok(Quarantined {
            position: Position { partition: partition(row.topic, row.partition_id)?, offset: row.record_offset },
            reason: row.reason,
            key: row.record_key,
            bytes: row.value_bytes,
            value_hex: row.value_hex,
        })
    };
    tables.read(&LIST, params).await?.iter().map(|row| entry(row)).collect()
}

/// How many records are in quarantine.
pub async fn count(tables: &dyn Tables) -> Result<i64, TablesError> {
    let rows = tables.read(&COUNT, Params::One(Vec::new())).await?;
    rows.first().map_or(Ok(0), |row| Ok(CountRow::read(row)?.records))
}
