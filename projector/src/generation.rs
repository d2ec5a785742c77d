//! A generation: one complete build of a domain, with its tables, its checkpoints and its progress.
//!
//! A request takes a generation's handle once and uses no other (I4). Each generation keeps books of its own, in the same
//! schema as its tables: checkpoints, quarantine. They commit together with the rows (I3).

use std::sync::Arc;

use daybook_schemas::{
    position::{Partition, Position, Vector},
    topics::Topic,
};
use sha2::{Digest, Sha256};

use crate::{
    progress::Progress,
    projection::{Projection, Report},
    run_tags::RunTags,
    statement,
    tables::{Column, Params, Row, Statement, Tables, TablesError, Transaction},
};

/// The books that each generation keeps.
pub const BOOKS: Statement = statement!("generation/books");
const SEED_CHECKPOINTS: Statement = statement!("generation/seed_checkpoints", split);
const READ_CHECKPOINTS: Statement = statement!("generation/read_checkpoints");
const MOVE_CHECKPOINTS: Statement = statement!("generation/move_checkpoints", split);
const QUARANTINE: Statement = statement!("generation/quarantine", split);
const LIST_QUARANTINE: Statement = statement!("generation/list_quarantine");
const COUNT_QUARANTINE: Statement = statement!("generation/count_quarantine");

/// The statements of this file, so that a test can run each on every engine.
pub const STATEMENTS: [&Statement; 7] =
    [&BOOKS, &SEED_CHECKPOINTS, &READ_CHECKPOINTS, &MOVE_CHECKPOINTS, &QUARANTINE, &LIST_QUARANTINE, &COUNT_QUARANTINE];

/// Bytes of a quarantined record's value that are kept beside it; all of it stays in the log.
const QUARANTINED_BYTES_MAX: usize = 4096;

/// One generation of a domain.
pub struct Generation {
    /// The domain.
    pub domain: &'static str,
    /// Its number, from 1.
    pub number: i64,
    /// Its schema.
    pub schema: String,
    /// Its tables.
    pub tables: Arc<dyn Tables>,
    /// How far they have come.
    pub progress: Progress,
    /// Tags of runs, as of what this process has applied.
    pub run_tags: RunTags,
}

impl Generation {
    /// A generation whose tables are open.
    pub fn new(domain: &'static str, number: i64, schema: String, tables: Arc<dyn Tables>) -> Self {
        Self { domain, number, schema, tables, progress: Progress::default(), run_tags: RunTags::default() }
    }

    /// Notes that others have brought the tables to `reached`.
    pub fn note_reached(&self, reached: &Vector) {
        if self.progress.advance(reached) {
            self.run_tags.forget_all();
        }
    }

    /// Notes that this process has brought the tables from one vector to another. Tags that changed are forgotten before
    /// any writer is woken, so that none is answered with older ones.
    pub fn note_applied(&self, from: &Vector, reached: &Vector, report: Report) {
        self.run_tags.forget(&report.retagged);
        self.progress.advance_own(from, reached, report.doubtful);
    }
}

/// A record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it stands in the log.
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
    pub fn new(position: Position, reason: String, key: Option<&[u8]>, value: &[u8]) -> Self {
        let key = String::from_utf8_lossy(key.unwrap_or_default()).replace('\0', "\u{fffd}");
        let shown = &value[..value.len().min(QUARANTINED_BYTES_MAX)];
        let value_hex = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = i64::try_from(value.len()).unwrap_or(i64::MAX);
        Self { position, reason: reason.replace('\0', "\u{fffd}"), key, bytes, value_hex }
    }
}

/// What shapes a generation: DDL, and the meaning of the fold.
pub fn fingerprint(projection: &dyn Projection) -> String {
    let mut hash = Sha256::new();
    hash.update(projection.version().to_be_bytes());
    for statement in projection.ddl().iter().chain([&&BOOKS]) {
        hash.update(statement.postgres);
        hash.update(statement.sqlite);
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the checkpoints of a generation.
pub async fn checkpoints(tables: &dyn Tables) -> Result<Vector, TablesError> {
    vector(&tables.read(&READ_CHECKPOINTS, Params::One(Vec::new())).await?)
}

/// Reads the checkpoints of a generation on the caller's thread; never called from an async worker.
pub fn checkpoints_blocking(tables: &dyn Tables) -> Result<Vector, TablesError> {
    vector(&tables.begin()?.read(&READ_CHECKPOINTS, &Params::One(Vec::new()))?)
}

/// Makes a checkpoint at 0 for each partition that has none.
pub fn seed_checkpoints(transaction: &mut dyn Transaction, partitions: &[Partition]) -> Result<(), TablesError> {
    let topics = Column::texts(partitions.iter().map(|partition| partition.topic.as_str()));
    let ids = Column::ints(partitions.iter().map(|partition| i64::from(partition.id)));
    transaction.execute(&SEED_CHECKPOINTS, &Params::Many(vec![topics, ids])).map(|_| ())
}

/// Moves checkpoints by compare-and-set: false, and nothing to be committed, if another applier was there first.
pub fn move_checkpoints(transaction: &mut dyn Transaction, from: &Vector, to: &Vector) -> Result<bool, TablesError> {
    let moved = transaction.execute(&MOVE_CHECKPOINTS, &Params::Many(moves(from, to)))?;
    Ok(moved == to.0.len() as u64)
}

/// Moves of checkpoints as columns: topics, partitions, from, to.
pub fn moves(from: &Vector, to: &Vector) -> Vec<Column> {
    vec![
        Column::texts(to.0.keys().map(|partition| partition.topic.as_str())),
        Column::ints(to.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(to.0.keys().map(|partition| from.next(*partition))),
        Column::ints(to.0.values().copied()),
    ]
}

/// Puts records into quarantine.
pub fn quarantine(transaction: &mut dyn Transaction, records: &[Quarantined]) -> Result<(), TablesError> {
    if records.is_empty() {
        return Ok(());
    }
    let columns = vec![
        Column::texts(records.iter().map(|record| record.position.partition.topic.as_str())),
        Column::ints(records.iter().map(|record| i64::from(record.position.partition.id))),
        Column::ints(records.iter().map(|record| record.position.offset)),
        Column::texts(records.iter().map(|record| record.reason.as_str())),
        Column::texts(records.iter().map(|record| record.key.as_str())),
        Column::ints(records.iter().map(|record| record.bytes)),
        Column::texts(records.iter().map(|record| record.value_hex.as_str())),
    ];
    transaction.execute(&QUARANTINE, &Params::Many(columns)).map(|_| ())
}

/// The records in quarantine after `after`, in order of position, at most `count_max`.
pub async fn list_quarantine(
    tables: &dyn Tables,
    after: Option<Position>,
    count_max: i64,
) -> Result<Vec<Quarantined>, TablesError> {
    let after = after.unwrap_or(Position::new(Topic::Events, -1, -1));
    let (topic, id) = (after.partition.topic.as_str(), i64::from(after.partition.id));
    let params = Params::One(vec![topic.into(), id.into(), after.offset.into(), count_max.into()]);
    let entry = |row: &Row| {
        Ok(Quarantined {
            position: Position { partition: partition(row)?, offset: row.int(2)? },
            reason: row.text(3)?.to_owned(),
            key: row.text(4)?.to_owned(),
            bytes: row.int(5)?,
            value_hex: row.text(6)?.to_owned(),
        })
    };
    tables.read(&LIST_QUARANTINE, params).await?.iter().map(entry).collect()
}

/// How many records are in quarantine.
pub async fn count_quarantine(tables: &dyn Tables) -> Result<i64, TablesError> {
    let rows = tables.read(&COUNT_QUARANTINE, Params::One(Vec::new())).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Rows of topic, partition and offset as a vector.
pub(crate) fn vector(rows: &[Row]) -> Result<Vector, TablesError> {
    rows.iter().map(|row| Ok((partition(row)?, row.int(2)?))).collect::<Result<_, _>>().map(Vector)
}

fn partition(row: &Row) -> Result<Partition, TablesError> {
    let topic = row.text(0)?.parse().map_err(|_| TablesError::Shape { column: 0 })?;
    let id = row.int(1)?.try_into().map_err(|_| TablesError::Shape { column: 1 })?;
    Ok(Partition { topic, id })
}
