//! Checkpoints: for each partition, the next offset that the tables will apply.

use daybook_schemas::position::{Partition, Vector};

use crate::{
    row, statements,
    tables::{Column, FromRow, Params, PlanStatement, Row, Rows, Step, Tables, TablesError, Transaction},
};

statements! {
    pub(super) STATEMENTS;
    SEED = "checkpoints/seed", split;
    READ = "checkpoints/read", CheckpointRow;
    MOVE = "checkpoints/move", split;
}

/// The move of checkpoints in a plan: if it changes fewer rows, another process committed first.
pub(super) const PLANNED: PlanStatement = PlanStatement { statement: &MOVE, rows: Rows::Guard };

row! {
    /// The next offset of a partition.
    pub(crate) struct CheckpointRow<'r> {
        topic: &'r str,
        partition_id: i64,
        next_offset: i64,
    }
}

/// Reads the checkpoints of a generation.
pub async fn read(tables: &dyn Tables) -> Result<Vector, TablesError> {
    vector(&tables.read(&READ, Params::One(Vec::new())).await?)
}

/// Reads the checkpoints of a generation on the caller's thread; never called from an async worker.
pub fn read_blocking(tables: &dyn Tables) -> Result<Vector, TablesError> {
    vector(&tables.begin()?.read(&READ, &Params::One(Vec::new()))?)
}

/// Makes a checkpoint at 0 for each partition that has none.
pub fn seed(transaction: &mut dyn Transaction, partitions: &[Partition]) -> Result<(), TablesError> {
    let topics = Column::texts(partitions.iter().map(|partition| partition.topic.name()));
    let ids = Column::ints(partitions.iter().map(|partition| i64::from(partition.id)));
    transaction.execute(&SEED, &Params::Many(vec![topics, ids])).map(|_| ())
}

/// Moves checkpoints by compare-and-set: false if another process committed first; then nothing may be committed.
pub fn advance(transaction: &mut dyn Transaction, from: &Vector, to: &Vector) -> Result<bool, TablesError> {
    let moved = transaction.execute(&MOVE, &Params::Many(moves(from, to)))?;
    Ok(moved == to.0.len() as u64)
}

/// The same as a step of a plan.
pub fn step(from: &Vector, to: &Vector) -> Step {
    Step { statement: &MOVE, columns: moves(from, to) }
}

/// Moves as columns: topics, partitions, from, to.
fn moves(from: &Vector, to: &Vector) -> Vec<Column> {
    vec![
        Column::texts(to.0.keys().map(|partition| partition.topic.name())),
        Column::ints(to.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(to.0.keys().map(|partition| from.next(*partition))),
        Column::ints(to.0.values().copied()),
    ]
}

/// Rows of checkpoints as a vector.
pub(crate) fn vector(rows: &[Row]) -> Result<Vector, TablesError> {
    let next = |row| {
        let CheckpointRow { topic, partition_id, next_offset } = CheckpointRow::read(row)?;
        Ok((partition(topic, partition_id)?, next_offset))
    };
    rows.iter().map(|row| next(row)).collect::<Result<_, _>>().map(Vector)
}

/// A partition as rows name it.
pub(super) fn partition(topic: &str, id: i64) -> Result<Partition, TablesError> {
    let topic = topic.parse().map_err(|_| TablesError::Shape { column: "topic" })?;
    let id = id.try_into().map_err(|_| TablesError::Shape { column: "partition_id" })?;
    Ok(Partition { topic, id })
}
