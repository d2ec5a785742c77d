//! Bookkeeping of indexes, in the tables: their checkpoints, and the documents that they refused.

use daybook_schemas::position::Vector;

use super::Refused;
use crate::{
    bookkeeping::checkpoints::partition,
    row, statements,
    tables::{Column, FromRow, Params, Row, Tables, TablesError},
};

statements! {
    /// The statements of this file, so that a test can run each on every engine.
    pub STATEMENTS;
    READ_CHECKPOINTS = "bookkeeping/read_checkpoints", CheckpointRow;
    WRITE_CHECKPOINTS = "bookkeeping/write_checkpoints", split;
    READ_NEWEST = "bookkeeping/read_newest", NewestRow;
    WRITE_NEWEST = "bookkeeping/write_newest";
    QUARANTINE = "bookkeeping/quarantine", split;
    LIST_QUARANTINE = "bookkeeping/list_quarantine", RefusedRow;
}

row! {
    /// The next offset of a partition.
    struct CheckpointRow<'r> {
        topic: &'r str,
        partition_id: i64,
        next_offset: i64,
    }
}

row! {
    /// What an index is known to hold.
    struct NewestRow {
        newest: i64,
    }
}

row! {
    /// A document that an index refused.
    struct RefusedRow {
        document_id: String,
        revision: i64,
        reason: String,
    }
}

/// The checkpoints of an index; empty if it was never built.
pub async fn checkpoints(tables: &dyn Tables, index_id: &str) -> Result<Vector, TablesError> {
    let next = |row: &Row| {
        let CheckpointRow { topic, partition_id, next_offset } = CheckpointRow::read(row)?;
        Ok((partition(topic, partition_id)?, next_offset))
    };
    let rows = tables.read(&READ_CHECKPOINTS, Params::One(vec![index_id.into()])).await?;
    rows.iter().map(next).collect::<Result<_, _>>().map(Vector)
}

/// The highest [`super::document::Document::applied`] that an index is known to have held; `None` if it had no documents.
pub async fn newest(tables: &dyn Tables, index_id: &str) -> Result<Option<i64>, TablesError> {
    let rows = tables.read(&READ_NEWEST, Params::One(vec![index_id.into()])).await?;
    rows.first().map(|row| Ok(NewestRow::read(row)?.newest)).transpose()
}

/// Records that an index has reached `reached` with documents up to `newest`, and the documents that it refused. Blocks its
/// thread. Checkpoints never move back.
pub fn advance(
    tables: &dyn Tables,
    index_id: &str,
    reached: &Vector,
    newest: Option<i64>,
    refused: &[Refused],
) -> Result<(), TablesError> {
    let mut transaction = tables.begin()?;
    if let Some(newest) = newest {
        transaction.execute(&WRITE_NEWEST, &Params::One(vec![index_id.into(), newest.into()]))?;
    }
    if !refused.is_empty() {
        let columns = vec![
            Column::texts(refused.iter().map(|_| index_id)),
            Column::texts(refused.iter().map(|it| it.id.as_str())),
            Column::ints(refused.iter().map(|it| it.revision)),
            Column::texts(refused.iter().map(|it| it.reason.replace('\0', "\u{fffd}"))),
        ];
        transaction.execute(&QUARANTINE, &Params::Many(columns))?;
    }
    let columns = vec![
        Column::texts(reached.0.keys().map(|_| index_id)),
        Column::texts(reached.0.keys().map(|partition| partition.topic.name())),
        Column::ints(reached.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(reached.0.values().copied()),
    ];
    transaction.execute(&WRITE_CHECKPOINTS, &Params::Many(columns))?;
    transaction.commit()
}

/// Documents that an index refused for good, in order of id, at most `count_max`.
pub async fn list_quarantine(tables: &dyn Tables, index_id: &str, count_max: i64) -> Result<Vec<Refused>, TablesError> {
    let rows = tables.read(&LIST_QUARANTINE, Params::One(vec![index_id.into(), count_max.into()])).await?;
    let refused = |row| {
        let RefusedRow { document_id, revision, reason } = RefusedRow::read(row)?;
        Ok(Refused { id: document_id, revision, reason })
    };
    rows.iter().map(|row| refused(row)).collect()
}
