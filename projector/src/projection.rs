//! What a projection is: tables, and a fold of events into them.
//!
//! Invariant I5: `apply` is a deterministic fold. How records are grouped into batches must not show in the tables: a batch
//! leaves the same rows as its records applied one by one, in the order of each partition.

use std::collections::HashSet;

use daybook_schemas::{Envelope, position::Position};

use crate::tables::{Column, Statement, TablesError, Transaction};

/// A record whose event was decoded and keeps the rules that need no tables.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Where it stands.
    pub position: Position,
    /// The event and its circumstances.
    pub envelope: Envelope,
}

/// A record that the fold cannot apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapplied {
    /// Where it stands.
    pub position: Position,
    /// Which rule it breaks.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that break a rule of the fold.
    pub unapplied: Vec<Unapplied>,
    /// Records of which something may have been there before: what became of them, the tables alone tell. Of all others
    /// the rows are what their events say.
    pub doubtful: HashSet<Position>,
    /// Runs whose tags may have changed, by number and flow.
    pub retagged: Vec<(i64, String)>,
}

/// A batch as the parameters of one statement.
#[derive(Debug, Clone)]
pub struct BatchStatement {
    /// The statement. Before the columns it takes the checkpoints as topics, partitions, from and to, and the payload of a
    /// notification; it moves and notifies as the runner would.
    pub statement: &'static Statement,
    /// The columns of the batch.
    pub columns: Vec<Column>,
}

/// A fold of events into tables.
pub trait Projection: Send + Sync {
    /// The domain whose generations it builds.
    fn domain(&self) -> &'static str;
    /// The DDL of its tables.
    fn ddl(&self) -> &'static [&'static Statement];
    /// Raised when the fold changes its meaning; part of the fingerprint.
    fn version(&self) -> u32;
    /// Folds records into the tables.
    fn apply(&self, transaction: &mut dyn Transaction, batch: &[Decoded]) -> Result<Report, TablesError>;
    /// The same as one statement, for an ordinary batch: no record of it was there before or breaks a rule. Where that
    /// turns out not to hold, the statement declines and changes nothing. `None` for a batch that is no ordinary one.
    fn at_once(&self, batch: &[Decoded]) -> Option<BatchStatement>;
    /// The highest numbers that the log holds so far: runs, tasks, metadata ids.
    fn highest_numbers(&self) -> &'static Statement;
}
