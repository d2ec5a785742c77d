//! Idempotency keys: of several events with one key under one record key, only the first is applied.
//!
//! A key is stored only if its event was applied: if the event was rejected, or lost against another, its request is
//! decided again when it is retried. Compacted topics have no keys: only the newest record of a key matters, and
//! applying a record twice changes nothing.

use std::collections::HashSet;

use daybook_schemas::{EventSet, position::Position};

use crate::{
    projection::Decoded,
    row, statements,
    tables::{Column, FromRow, NoColumns, Params, PlanStatement, Step, TablesError, Transaction},
};

statements! {
    pub(super) STATEMENTS;
    /// The first event of each record key and idempotency key.
    pub FIND = "idempotency/find", split, keyed FirstRow;
    INSERT = "idempotency/insert", split;
}

/// Stores keys in a plan. If a key exists already, its event must change nothing, and the plan is declined.
pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

row! {
    /// The event that an idempotency key was first used for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FirstRow<'r> {
        /// Its kind.
        pub kind: &'r str,
        /// The number by which its request finds what it made; 0 where there is none.
        pub number: i64,
        /// How many entries it has, for requests that are answered with a count.
        pub entries: i64,
        /// Its topic.
        pub topic: &'r str,
        /// The partition.
        pub partition_id: i64,
        /// The offset.
        pub record_offset: i64,
    }
}

/// The record key and the idempotency key that an event leaves.
fn keys<E: EventSet>(decoded: &Decoded<E>) -> Option<(String, &str)> {
    let key = decoded.envelope.idempotency_key.as_deref()?;
    (!decoded.position.partition.topic.compacted()).then(|| (decoded.envelope.event.key(), key))
}

/// Splits a batch into parts without two events of one key: whether the second is applied depends on the outcome of the
/// first.
pub(crate) fn parts<E: EventSet>(batch: &[Decoded<E>]) -> Vec<&[Decoded<E>]> {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut seen = HashSet::new();
    for (index, decoded) in batch.iter().enumerate() {
        let Some(keys) = keys(decoded) else { continue };
        if seen.contains(&keys) {
            parts.push(&batch[begin..index]);
            begin = index;
            seen.clear();
        }
        seen.insert(keys);
    }
    parts.push(&batch[begin..]);
    parts
}

/// The positions of events whose key was used before.
pub(crate) fn repeated<E: EventSet>(
    transaction: &mut dyn Transaction,
    part: &[Decoded<E>],
) -> Result<HashSet<Position>, TablesError> {
    let (positions, keys): (Vec<Position>, Vec<(String, &str)>) =
        part.iter().filter_map(|decoded| Some((decoded.position, keys(decoded)?))).unzip();
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let (records, keys): (Vec<String>, Vec<&str>) = keys.into_iter().unzip();
    let found = transaction.read(&FIND, &Params::Many(vec![Column::texts(records), Column::texts(keys)]))?;
    let position = |row| {
        let (index, _) = NoColumns::read_keyed(row)?;
        positions.get(index).copied().ok_or(TablesError::Shape { column: "ordinal" })
    };
    found.iter().map(|row| position(row)).collect()
}

/// Keeps the keys of the events at positions that were applied.
pub(crate) fn step<E: EventSet>(part: &[Decoded<E>], applied: impl Fn(Position) -> bool) -> Step {
    let applied = part.iter().filter(|decoded| applied(decoded.position));
    let kept: Vec<_> = applied.filter_map(|decoded| Some((decoded, keys(decoded)?))).collect();
    let number = |event: &E| event.numbers().map_or(0, |numbers| numbers.first);
    let entries = |event: &E| i64::try_from(event.entries()).unwrap_or(i64::MAX);
    let columns = vec![
        Column::texts(kept.iter().map(|(_, (record, _))| record.as_str())),
        Column::texts(kept.iter().map(|(_, (_, key))| *key)),
        Column::texts(kept.iter().map(|(decoded, _)| decoded.envelope.event.kind())),
        Column::ints(kept.iter().map(|(decoded, _)| number(&decoded.envelope.event))),
        Column::ints(kept.iter().map(|(decoded, _)| entries(&decoded.envelope.event))),
        Column::texts(kept.iter().map(|(decoded, _)| decoded.position.partition.topic.name())),
        Column::ints(kept.iter().map(|(decoded, _)| i64::from(decoded.position.partition.id))),
        Column::ints(kept.iter().map(|(decoded, _)| decoded.position.offset)),
    ];
    Step { statement: &INSERT, columns }
}
