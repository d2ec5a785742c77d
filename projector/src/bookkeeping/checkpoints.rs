//! Checkpoints: for each partition, the next offset that the tables will apply, and the last record that they applied.
//! Its hash shows later whether a log still contains it (`log_check`).

use std::collections::BTreeMap;

use daybook_ingest::log::Record;
use daybook_schemas::position::{Offset, Partition, Vector};
use sha2::{Digest, Sha256};

use crate::{
    row, statements,
    tables::{Column, FromRow, Params, PlanStatement, Row, Rows, Step, Tables, TablesError, Transaction},
};

statements! {
    pub(super) STATEMENTS;
    SEED = "checkpoints/seed", split;
    READ = "checkpoints/read", AppliedRow;
    MOVE = "checkpoints/move", split;
    SKIP = "checkpoints/skip", split;
}

/// The move of checkpoints in a plan: if it changes fewer rows, another process committed first.
pub(super) const PLANNED: PlanStatement = PlanStatement { statement: &MOVE, rows: Rows::Guard };

row! {
    /// The next offset of a partition, and the last record before it.
    struct AppliedRow<'r> {
        topic: &'r str,
        partition_id: i64,
        next_offset: i64,
        record_offset: i64,
        record_hash: &'r str,
    }
}

/// The last record of a partition that the tables have applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its [`hash`].
    pub hash: String,
}

/// The checkpoints of a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The next offset of each partition.
    pub next: Vector,
    /// The last record of each partition of which one was applied.
    pub last: BTreeMap<Partition, LastRecord>,
}

/// The records with which a batch ends: for each partition, the hash of its last one.
pub type Hashes = BTreeMap<Partition, String>;

/// A hash of a record's key and value.
pub fn hash(record: &Record) -> String {
    let mut hash = Sha256::new();
    // A missing key is not an empty one, and where the key ends must show.
    let key_bytes = record.key.as_ref().map_or(-1, |key| i64::try_from(key.len()).unwrap_or(i64::MAX));
    hash.update(key_bytes.to_be_bytes());
    hash.update(record.key.as_deref().unwrap_or_default());
    hash.update(&record.value);
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the next offsets of a generation.
pub async fn read(tables: &dyn Tables) -> Result<Vector, TablesError> {
    Ok(checkpoints(&tables.read(&READ, Params::One(Vec::new())).await?)?.next)
}

/// Reads the checkpoints of a generation, with the last records.
pub async fn read_with_last(tables: &dyn Tables) -> Result<Checkpoints, TablesError> {
    checkpoints(&tables.read(&READ, Params::One(Vec::new())).await?)
}

/// Reads the checkpoints of a generation on the caller's thread; never called from an async worker.
pub fn read_blocking(tables: &dyn Tables) -> Result<Checkpoints, TablesError> {
    checkpoints(&tables.begin()?.read(&READ, &Params::One(Vec::new()))?)
}

/// Makes a checkpoint at 0 for each partition that has none.
pub fn seed(transaction: &mut dyn Transaction, partitions: &[Partition]) -> Result<(), TablesError> {
    let topics = Column::texts(partitions.iter().map(|partition| partition.topic.name()));
    let ids = Column::ints(partitions.iter().map(|partition| i64::from(partition.id)));
    transaction.execute(&SEED, &Params::Many(vec![topics, ids])).map(|_| ())
}

/// Moves checkpoints behind the records of a batch by compare-and-set: false if another process committed first; then
/// nothing may be committed.
pub fn advance(
    transaction: &mut dyn Transaction,
    from: &Vector,
    to: &Vector,
    hashes: &Hashes,
) -> Result<bool, TablesError> {
    let moved = transaction.execute(&MOVE, &Params::Many(moves(from, to, hashes)))?;
    Ok(moved == to.0.len() as u64)
}

/// The same as a step of a plan.
pub fn step(from: &Vector, to: &Vector, hashes: &Hashes) -> Step {
    Step { statement: &MOVE, columns: moves(from, to, hashes) }
}

/// Moves checkpoints past offsets without records, as `advance` does; the last records are not changed.
pub fn skip(transaction: &mut dyn Transaction, from: &Vector, to: &Vector) -> Result<bool, TablesError> {
    let moved = transaction.execute(&SKIP, &Params::Many(skips(from, to)))?;
    Ok(moved == to.0.len() as u64)
}

/// Moves as columns: topics, partitions, from, to.
fn skips(from: &Vector, to: &Vector) -> Vec<Column> {
    vec![
        Column::texts(to.0.keys().map(|partition| partition.topic.name())),
        Column::ints(to.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(to.0.keys().map(|partition| from.next(*partition))),
        Column::ints(to.0.values().copied()),
    ]
}

/// The same, and the hash of the record before `to`.
fn moves(from: &Vector, to: &Vector, hashes: &Hashes) -> Vec<Column> {
    let mut columns = skips(from, to);
    columns.push(Column::texts(to.0.keys().map(|partition| hashes.get(partition).map_or("", String::as_str))));
    columns
}

fn checkpoints(rows: &[Row]) -> Result<Checkpoints, TablesError> {
    let mut checkpoints = Checkpoints::default();
    for row in rows {
        let AppliedRow { topic, partition_id, next_offset, record_offset, record_hash } = AppliedRow::read(row)?;
        let partition = partition(topic, partition_id)?;
        checkpoints.next.0.insert(partition, next_offset);
        if record_offset >= 0 {
            checkpoints.last.insert(partition, LastRecord { offset: record_offset, hash: record_hash.to_owned() });
        }
    }
    Ok(checkpoints)
}

/// A partition as rows name it.
pub(crate) fn partition(topic: &str, id: i64) -> Result<Partition, TablesError> {
    let topic = topic.parse().map_err(|_| TablesError::Shape { column: "topic" })?;
    let id = id.try_into().map_err(|_| TablesError::Shape { column: "partition_id" })?;
    Ok(Partition { topic, id })
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, position::Position, topics::Declaration};

    use super::*;

    #[test]
    fn a_hash_tells_records_apart_by_key_and_value_alone() {
        const TOPIC: Topic = Topic::new(&Declaration { name: "t", compacted: false, partitions: 1 });
        let of = |offset, key: Option<&str>, value: &str| {
            let (key, value) = (key.map(|key| key.as_bytes().into()), value.as_bytes().into());
            hash(&Record { position: Position::new(TOPIC, 0, offset), key, value })
        };
        assert_eq!(of(1, Some("k"), "v"), of(2, Some("k"), "v"));
        let mut all = vec![of(1, Some("k"), "v"), of(1, Some("kv"), ""), of(1, Some(""), "kv"), of(1, None, "kv")];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
