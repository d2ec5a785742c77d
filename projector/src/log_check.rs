//! Whether a log still contains what the tables have applied.
//!
//! A log that was restored from an older state has the same id, and may have been written on since. So two things are
//! checked: no checkpoint is beyond the log's end, and the last applied record of each partition still stands where it
//! was applied. Of a compacted topic it may have been removed; then nothing can be compared. And each topic has as many
//! partitions as before: a key is in another one if it has more.

use std::{collections::BTreeMap, time::Duration};

use daybook_ingest::log::{self, EventLog, LogError, ReadLimits, Record, WAYS_OUT};
use daybook_schemas::{
    Topic,
    position::{Offset, Partition, Position, Vector},
};
use tokio::time::Instant;

use crate::{
    bookkeeping::checkpoints::{self, Checkpoints, LastRecord},
    tables::{Tables, TablesError},
};

/// Bounds of one read of last records.
const LIMITS: ReadLimits = ReadLimits { records_max: 64, bytes_max: 1024 * 1024, wait: Duration::from_millis(200) };
/// How long the last records are waited for.
const READ_MAX: Duration = Duration::from_secs(10);

/// How a log and the tables that were built from it do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A topic has another number of partitions than the tables know.
    #[error(
        "topic {topic} has {in_log} partitions, but the tables were built from {in_tables}: keys are distributed over all \
         partitions of a topic, so it cannot be used with another number of them; restore the former topic, or make topics \
         with the former number under another prefix, and copy the records of each partition there in their order"
    )]
    Partitions {
        /// The topic.
        topic: Topic,
        /// How many of its partitions the tables know.
        in_tables: usize,
        /// How many the log has.
        in_log: usize,
    },
    /// The log ends before a checkpoint.
    #[error(
        "the tables have applied {partition} up to offset {checkpoint}, but the log ends at {end}: it was truncated, \
         made anew or restored from an older state; {ways}",
        ways = WAYS_OUT
    )]
    Ends {
        /// The partition that is too short.
        partition: Partition,
        /// The next offset that the tables would apply.
        checkpoint: Offset,
        /// The offset of the log's next record.
        end: Offset,
    },
    /// The last applied record is not there: another one, or none.
    #[error(
        "the tables have applied another record at {position} than the log has there: the log was restored from an older \
         state and written on since, or recreated; {ways}",
        ways = WAYS_OUT
    )]
    Differs {
        /// The position.
        position: Position,
    },
    /// The log gave a new record a position that the tables had applied before.
    #[error(
        "{position} was assigned to a new record, but the tables had applied it before: the log was restored from an older \
         state, or recreated; {ways}",
        ways = WAYS_OUT
    )]
    AppendedBefore {
        /// The position.
        position: Position,
    },
    /// The log begins after the last applied record.
    #[error("the tables have applied {position}, which is not in the log any more: history was cut off; {ways}", ways = WAYS_OUT)]
    CutOff {
        /// The position.
        position: Position,
    },
}

impl Mismatch {
    /// Whether tables that are emptied and filled again fit the log.
    pub const fn is_healed_by_empty_tables(&self) -> bool {
        !matches!(self, Self::Partitions { .. })
    }
}

/// Why a log is not known to contain what the tables have applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// It does not.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The log failed.
    #[error("cannot read the log")]
    Log(#[from] LogError),
    /// The tables failed.
    #[error("cannot read the checkpoints")]
    Tables(#[from] TablesError),
}

/// Checks that a log contains what the tables have applied. Blocks its thread.
pub fn check(log: &dyn EventLog, tables: &dyn Tables) -> Result<(), CheckError> {
    // In this order: the log only grows.
    let (mut checkpoints, known) = (checkpoints::read_blocking(tables)?, log.topics());
    // Other topics belong to another version of the program.
    checkpoints.next.0.retain(|partition, _| known.contains(&partition.topic));
    checkpoints.last.retain(|partition, _| known.contains(&partition.topic));
    // Partitions are in the order of their topics.
    let mut topics: Vec<Topic> = checkpoints.next.0.keys().map(|partition| partition.topic).collect();
    topics.dedup();
    check_partitions(&checkpoints.next, &log::partitions(log))?;
    check_ends(&checkpoints.next, &log.end(&topics)?)?;
    let (mut unproven, began) = (Unproven::new(&checkpoints, |_| true), Instant::now());
    while !unproven.0.is_empty() {
        let mut reader = log.reader(&unproven.start(&Vector::default()))?;
        loop {
            let before = unproven.0.len();
            let mut records = reader.read(LIMITS).map_err(|error| match error {
                LogError::OffsetGone(position) => CheckError::Mismatch(Mismatch::CutOff { position }),
                error => error.into(),
            })?;
            let is_empty = records.is_empty();
            unproven.compare(&mut records, &reader.reached(), &checkpoints.next)?;
            // A partition with much to read must not keep the others waiting: those that are left are read alone.
            if unproven.0.is_empty() || (!is_empty && unproven.0.len() == before) {
                break;
            }
            if is_empty && began.elapsed() > READ_MAX {
                return unproven.without_records();
            }
        }
    }
    Ok(())
}

/// Checks the positions of new records. `applied` is what the tables had reached when the append began.
pub fn check_appended(applied: &Vector, positions: &[Position]) -> Result<(), Mismatch> {
    match positions.iter().find(|position| applied.covers(**position)) {
        Some(position) => Err(Mismatch::AppendedBefore { position: *position }),
        None => Ok(()),
    }
}

/// Checks that each topic of the log has as many partitions as the tables know. A topic that the tables do not know, or
/// the log, belongs to another version of the program.
fn check_partitions(next: &Vector, of_log: &[Partition]) -> Result<(), Mismatch> {
    for partition in of_log {
        let topic = partition.topic;
        let in_tables = next.0.keys().filter(|it| it.topic == topic).count();
        let in_log = of_log.iter().filter(|it| it.topic == topic).count();
        if in_tables > 0 && in_tables != in_log {
            return Err(Mismatch::Partitions { topic, in_tables, in_log });
        }
    }
    Ok(())
}

/// Checks that no checkpoint is beyond the log's end.
fn check_ends(next: &Vector, end: &Vector) -> Result<(), Mismatch> {
    match next.0.iter().find(|(partition, next)| end.next(**partition) < **next) {
        Some((partition, checkpoint)) => {
            let (partition, checkpoint, end) = (*partition, *checkpoint, end.next(*partition));
            Err(Mismatch::Ends { partition, checkpoint, end })
        }
        None => Ok(()),
    }
}

/// The last applied records that were not compared with the log's yet.
pub(crate) struct Unproven(BTreeMap<Partition, LastRecord>);

impl Unproven {
    /// Those of the partitions that are chosen.
    pub(crate) fn new(checkpoints: &Checkpoints, chosen: impl Fn(&Partition) -> bool) -> Self {
        let last = checkpoints.last.iter().filter(|(partition, _)| chosen(partition));
        Self(last.map(|(partition, last)| (*partition, last.clone())).collect())
    }

    /// Whether all of them were compared.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a reader must begin in order to go on from `next`: at the last record, where there is one.
    pub(crate) fn start(&self, next: &Vector) -> Vector {
        let mut start = next.clone();
        start.0.extend(self.0.iter().map(|(partition, last)| (*partition, last.offset)));
        start
    }

    /// Compares the first record that comes of each partition, and takes those before `next` away. `reached` is where the
    /// reader goes on.
    pub(crate) fn compare(
        &mut self,
        records: &mut Vec<Record>,
        reached: &Vector,
        next: &Vector,
    ) -> Result<(), Mismatch> {
        if self.0.is_empty() {
            return Ok(());
        }
        for record in records.iter() {
            let Some(last) = self.0.remove(&record.position.partition) else { continue };
            let position = Position { partition: record.position.partition, offset: last.offset };
            if record.position == position && checkpoints::hash(record) != last.hash {
                return Err(Mismatch::Differs { position });
            }
            missing_if(record.position != position, position)?;
        }
        // Nothing came, but the reader is past it.
        let passed = self.0.extract_if(.., |partition, last| reached.next(*partition) > last.offset);
        for (partition, last) in passed.collect::<Vec<_>>() {
            missing_if(true, Position { partition, offset: last.offset })?;
        }
        records.retain(|record| record.position.offset >= next.next(record.position.partition));
        Ok(())
    }

    /// The outcome if no record comes of the partitions that are left.
    fn without_records(&self) -> Result<(), CheckError> {
        match self.0.iter().find(|(partition, _)| !partition.topic.compacted()) {
            None => Ok(()),
            Some((partition, last)) => {
                let text = format!("timed out reading {}", Position { partition: *partition, offset: last.offset });
                Err(LogError::Unavailable(text).into())
            }
        }
    }
}

/// Only compaction removes single records.
fn missing_if(is_missing: bool, position: Position) -> Result<(), Mismatch> {
    let is_lost = is_missing && !position.partition.topic.compacted();
    if is_lost { Err(Mismatch::Differs { position }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, topics::Declaration};

    use super::*;

    #[test]
    fn new_records_come_after_all_that_was_applied_when_they_were_appended() {
        const TOPIC: Topic = Topic::new(&Declaration { name: "t", compacted: false, partitions: 2 });
        let applied = Vector([(Partition { topic: TOPIC, id: 0 }, 5)].into());
        let at = |id, offset| Position::new(TOPIC, id, offset);
        assert_eq!(check_appended(&applied, &[at(0, 5), at(1, 0)]), Ok(()));
        let lost = check_appended(&applied, &[at(1, 0), at(0, 4)]);
        assert_eq!(lost, Err(Mismatch::AppendedBefore { position: at(0, 4) }));
    }

    #[test]
    fn a_topic_has_as_many_partitions_as_the_tables_know_or_they_know_none() {
        const KNOWN: Topic = Topic::new(&Declaration { name: "known", compacted: true, partitions: 2 });
        const OTHER: Topic = Topic::new(&Declaration { name: "other", compacted: false, partitions: 2 });
        let of = |topic, count| (0..count).map(move |id| Partition { topic, id });
        let tables = Vector(of(KNOWN, 2).map(|partition| (partition, 0)).collect());
        let check = |count| check_partitions(&tables, &of(KNOWN, count).chain(of(OTHER, 3)).collect::<Vec<_>>());
        assert_eq!((check(0), check(2)), (Ok(()), Ok(())));
        for count in [1, 5] {
            let in_log = usize::try_from(count).unwrap_or_default();
            assert_eq!(check(count), Err(Mismatch::Partitions { topic: KNOWN, in_tables: 2, in_log }));
        }
    }
}
