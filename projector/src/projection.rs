//! A projection: tables, and a fold of events into them.
//!
//! A domain implements [`Fold`] over its own events. Generic code uses [`Projection`], which every fold implements: it
//! takes raw records, which are decoded and checked in one place.
//!
//! Invariant I5: `apply` is a deterministic fold. The tables must not depend on how records are grouped into batches: a
//! batch produces the same rows as its records applied one by one, in the order of each partition.

use std::{collections::HashSet, sync::Arc};

use daybook_ingest::log::Record;
use daybook_schemas::{
    Envelope, EventSet, Topic, codec,
    codec::DecodeError,
    core::CoreEvent,
    event::Encoded,
    position::{PartitionId, Position},
    rules, topics,
};

use crate::{
    batch::EventBatch,
    comparison::Comparable,
    error_chain::chain,
    search::shape::IndexShape,
    tables::{Ddl, PlanStatement, Step, TablesError, Transaction},
};

/// A record whose event was decoded and satisfies the rules that need no tables.
#[derive(Debug, Clone)]
pub struct Decoded<E> {
    /// Its position.
    pub position: Position,
    /// The event with its metadata.
    pub envelope: Envelope<E>,
}

/// A record that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its position.
    pub position: Position,
    /// Which rule it violates.
    pub reason: String,
}

/// Names one entity of a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    /// Its kind.
    pub kind: &'static str,
    /// Its key, as its domain writes it.
    pub key: String,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that violate a rule of the fold.
    pub rejected: Vec<Rejected>,
    /// Records that changed nothing because their rows existed already.
    pub lost: HashSet<Position>,
    /// Records whose rows must be read back to know their outcome. The rows of all other records that were not rejected
    /// are as in their events.
    pub read_back: HashSet<Position>,
    /// Changed entities that existed before and may be cached. New entities are not included.
    pub changed: Vec<EntityKey>,
}

impl Report {
    /// Notes a record that violates a rule.
    pub fn reject(&mut self, position: Position, reason: String) {
        self.rejected.push(Rejected { position, reason });
        self.read_back.insert(position);
    }

    /// Notes a record that changed nothing.
    pub fn lose(&mut self, position: Position) {
        self.lost.insert(position);
        self.read_back.insert(position);
    }

    /// Adds the outcome of further records.
    pub(crate) fn extend(&mut self, other: Self) {
        self.rejected.extend(other.rejected);
        self.lost.extend(other.lost);
        self.read_back.extend(other.read_back);
        self.changed.extend(other.changed);
    }
}

/// The steps that commit a batch without reading first.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// Statements with their columns.
    pub steps: Vec<Step>,
    /// Entities that they change, as in [`Report::changed`].
    pub changed: Vec<EntityKey>,
}

/// A fold of a domain's events into tables.
pub trait Fold: Send + Sync + 'static {
    /// The domain's events.
    type Event: EventSet;

    /// The domain whose generations it builds.
    fn domain(&self) -> &'static str;
    /// The topics that it reads.
    fn topics(&self) -> Vec<Topic>;
    /// The DDL of its tables.
    fn ddl(&self) -> Vec<Ddl>;
    /// Raised when the fold changes its meaning; part of the fingerprint.
    fn version(&self) -> u32;
    /// Folds records into the tables. No two of them have one idempotency key, and none has one that was used before.
    fn apply(&self, transaction: &mut dyn Transaction, batch: &[&Decoded<Self::Event>]) -> Result<Report, TablesError>;
    /// The statements that its plans may use, in the order in which they run.
    fn plan_statements(&self) -> &'static [PlanStatement];
    /// The same as `apply` for an ordinary batch, whose records are all applied and whose rows do not exist yet. Else
    /// the plan is declined and changes nothing. `None` for a batch that is not ordinary.
    fn plan(&self, batch: &[&Decoded<Self::Event>]) -> Option<Planned>;
    /// The shape of its search documents; `None` without search. Part of the fingerprint: an index of another shape belongs
    /// to another generation, because two releases that run beside each other cannot write one index.
    fn index_shape(&self) -> Option<Arc<IndexShape>>;
    /// Its tables, as verification compares them between two generations. Rows that keep the position of the event that
    /// made them are compared by it, too.
    fn comparable(&self) -> Vec<Comparable>;
}

/// Records on their way into tables, decoded.
pub trait Batch: Send {
    /// Records that could not be decoded, or violate a rule that needs no tables.
    fn rejected(&self) -> &[Rejected];
    /// Commits the other records in one round trip, with their bookkeeping except the checkpoints; `None` if the batch
    /// is not ordinary.
    fn plan(&self) -> Option<Planned>;
    /// Folds the other records, with their bookkeeping except the checkpoints.
    fn apply(&self, transaction: &mut dyn Transaction) -> Result<Report, TablesError>;
}

/// A record of the domain was written by a newer program. Retryable: it can be read once this program is replaced.
#[derive(Debug, Clone, thiserror::Error)]
#[error("record {position} was written by a newer program: {reason}")]
pub struct NewerRecord {
    /// Its position.
    pub position: Position,
    /// What is newer.
    pub reason: String,
}

/// A fold as generic code sees it, over raw records.
pub trait Projection: Send + Sync {
    /// The domain whose generations it builds.
    fn domain(&self) -> &'static str;
    /// The topics that it reads.
    fn topics(&self) -> Vec<Topic>;
    /// The DDL of its tables.
    fn ddl(&self) -> Vec<Ddl>;
    /// Raised when the fold changes its meaning.
    fn version(&self) -> u32;
    /// The statements that its plans may use, in the order in which they run.
    fn plan_statements(&self) -> &'static [PlanStatement];
    /// Decodes and checks records; fails with the first one that a newer program wrote. `partition_count` says how many
    /// partitions a topic has.
    fn batch<'a>(
        &'a self,
        records: &[Record],
        partition_count: &dyn Fn(Topic) -> PartitionId,
    ) -> Result<Box<dyn Batch + 'a>, NewerRecord>;
    /// The shape of its search documents; `None` without search.
    fn index_shape(&self) -> Option<Arc<IndexShape>>;
    /// When the event of a record was recorded, in milliseconds since 1970; `None` for a record that is no event.
    fn time(&self, record: &Record) -> Option<i64>;
    /// Its tables, as verification compares them between two generations.
    fn comparable(&self) -> Vec<Comparable>;
}

impl<F: Fold> Projection for F {
    fn domain(&self) -> &'static str {
        Fold::domain(self)
    }

    fn topics(&self) -> Vec<Topic> {
        Fold::topics(self)
    }

    fn ddl(&self) -> Vec<Ddl> {
        Fold::ddl(self)
    }

    fn version(&self) -> u32 {
        Fold::version(self)
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        Fold::plan_statements(self)
    }

    fn batch<'a>(
        &'a self,
        records: &[Record],
        partition_count: &dyn Fn(Topic) -> PartitionId,
    ) -> Result<Box<dyn Batch + 'a>, NewerRecord> {
        let (mut decoded, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            let position = record.position;
            match decode::<F::Event>(record, partition_count) {
                Ok(Some(envelope)) => decoded.push(Decoded { position, envelope }),
                Ok(None) => {}
                Err(Undecodable::Newer(reason)) => return Err(NewerRecord { position, reason }),
                Err(Undecodable::Violation(reason)) => rejected.push(Rejected { position, reason }),
            }
        }
        Ok(Box::new(EventBatch::new(self, decoded, rejected)))
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        Fold::index_shape(self)
    }

    fn time(&self, record: &Record) -> Option<i64> {
        codec::decode::<F::Event>(&record.value).ok().map(|envelope| envelope.occurred_at)
    }

    fn comparable(&self) -> Vec<Comparable> {
        Fold::comparable(self)
    }
}

/// Why a record is not an event of its domain.
enum Undecodable {
    /// A newer program wrote it.
    Newer(String),
    /// It violates a rule.
    Violation(String),
}

/// Decodes a record and checks the rules that need no tables; `None` for the record that holds the log's id.
fn decode<E: EventSet>(
    record: &Record,
    partition_count: &dyn Fn(Topic) -> PartitionId,
) -> Result<Option<Envelope<E>>, Undecodable> {
    let violation = |reason: String| Undecodable::Violation(reason);
    let undecodable = |error: DecodeError| match error {
        DecodeError::Newer { .. } => Undecodable::Newer(error.to_string()),
        error => violation(chain(&error)),
    };
    if codec::schema_id(&record.value).is_ok_and(|id| CoreEvent::schemas().owns(id)) {
        return codec::decode::<CoreEvent>(&record.value).map(|_| None).map_err(undecodable);
    }
    let envelope: Envelope<E> = codec::decode(&record.value).map_err(undecodable)?;
    envelope.event.check().map_err(|error| violation(error.to_string()))?;
    rules::check_envelope(&envelope).map_err(|error| violation(error.to_string()))?;
    let key = envelope.event.key();
    if record.key.as_deref() != Some(key.as_bytes()) {
        return Err(violation(format!("the record's key is not {key:?}, the key of its event")));
    }
    let here = record.position.partition;
    if here.topic != envelope.event.topic() {
        return Err(violation(format!("a {} does not belong to topic {}", envelope.event.kind(), here.topic)));
    }
    let partition = topics::partition_of(key.as_bytes(), partition_count(here.topic));
    if here.id != partition {
        return Err(violation(format!("its key belongs to partition {partition}")));
    }
    Ok(Some(envelope))
}
