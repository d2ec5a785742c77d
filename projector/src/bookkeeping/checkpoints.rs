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
    /// Reads the checkpoints, and locks them until the transaction ends.
    pub LOCK = "checkpoints/lock", split, AppliedRow;
    /// Notes in all checkpoints whether the generation is live.
    pub SET_LIVE = "checkpoints/set_live";
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
        is_live: i64,
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
    /// Whether the generation is live.
    pub is_live: bool,
}

/// A move of checkpoints by compare-and-set: it is made if they are where they are thought to be, in a generation that is
/// live, or is not, as it is thought to be.
#[derive(Debug, Clone, Copy)]
pub struct Move<'m> {
    /// The checkpoints before it.
    pub from: &'m Vector,
    /// The checkpoints after it.
    pub to: &'m Vector,
    /// Whether the generation is live.
    pub is_live: bool,
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
    Ok(of_rows(&tables.read(&READ, Params::One(Vec::new())).await?)?.next)
}

/// Reads the checkpoints of a generation, with the last records.
pub async fn read_with_last(tables: &dyn Tables) -> Result<Checkpoints, TablesError> {
    of_rows(&tables.read(&READ, Params::One(Vec::new())).await?)
}

/// Reads the checkpoints of a generation on the caller's thread; never called from an async worker.
pub fn read_blocking(tables: &dyn Tables) -> Result<Checkpoints, TablesError> {
    let mut transaction = tables.begin()?;
    let rows = transaction.read(&READ, &Params::One(Vec::new()))?;
    transaction.commit()?;
    of_rows(&rows)
}

/// Makes a checkpoint at 0 for each partition that has none.
pub fn seed(transaction: &mut dyn Transaction, partitions: &[Partition], is_live: bool) -> Result<(), TablesError> {
    let topics = Column::texts(partitions.iter().map(|partition| partition.topic.name()));
    let ids = Column::ints(partitions.iter().map(|partition| i64::from(partition.id)));
    let live = Column::ints(partitions.iter().map(|_| i64::from(is_live)));
    transaction.execute(&SEED, &Params::Many(vec![topics, ids, live])).map(|_| ())
}

/// Moves checkpoints behind the records of a batch: false if another process committed first, or if a switch has made the
/// generation live, or made another one live; then nothing may be committed.
pub fn advance(transaction: &mut dyn Transaction, of: Move<'_>, hashes: &Hashes) -> Result<bool, TablesError> {
    let moved = transaction.execute(&MOVE, &Params::Many(moves(of, hashes)))?;
    Ok(moved == of.to.0.len() as u64)
}

/// The same as a step of a plan.
pub fn step(of: Move<'_>, hashes: &Hashes) -> Step {
    Step { statement: &MOVE, columns: moves(of, hashes) }
}

/// Moves checkpoints past offsets without records, as `advance` does; the last records are not changed.
pub fn skip(transaction: &mut dyn Transaction, of: Move<'_>) -> Result<bool, TablesError> {
    let moved = transaction.execute(&SKIP, &Params::Many(skips(of)))?;
    Ok(moved == of.to.0.len() as u64)
}

/// Moves as columns: topics, partitions, from, to, whether the generation is live.
fn skips(of: Move<'_>) -> Vec<Column> {
    vec![
        Column::texts(of.to.0.keys().map(|partition| partition.topic.name())),
        Column::ints(of.to.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(of.to.0.keys().map(|partition| of.from.next(*partition))),
        Column::ints(of.to.0.values().copied()),
        Column::ints(of.to.0.values().map(|_| i64::from(of.is_live))),
    ]
}

/// The same, and the hash of the record before `to`.
fn moves(of: Move<'_>, hashes: &Hashes) -> Vec<Column> {
    let mut columns = skips(of);
    columns.push(Column::texts(of.to.0.keys().map(|partition| hashes.get(partition).map_or("", String::as_str))));
    columns
}

/// Checkpoints as `READ` and [`LOCK`] return them.
pub fn of_rows(rows: &[Row]) -> Result<Checkpoints, TablesError> {
    let mut checkpoints = Checkpoints::default();
    for row in rows {
        let AppliedRow { topic, partition_id, next_offset, record_offset, record_hash, is_live } =
            AppliedRow::read(row)?;
        checkpoints.is_live |= is_live != 0;
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
