//! What a projection is: tables, and a fold of events into them.
//!
//! Invariant I5: `apply` is a deterministic fold. How records are grouped into batches must not show in the tables: a batch
//! leaves the same rows as its records applied one by one, in the order of each partition.

use daybook_schemas::{Envelope, position::Position};

use crate::tables::{Statement, TablesError, Transaction};

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

/// A fold of events into tables.
pub trait Projection: Send + Sync {
    /// The domain whose generations it builds.
    fn domain(&self) -> &'static str;
    /// The DDL of its tables.
    fn ddl(&self) -> &'static [&'static Statement];
    /// Raised when the fold changes its meaning; part of the fingerprint.
    fn version(&self) -> u32;
    /// Folds records into the tables; returns those that break a rule of the fold.
    fn apply(&self, transaction: &mut dyn Transaction, batch: &[Decoded]) -> Result<Vec<Unapplied>, TablesError>;
    /// The highest numbers that the log holds so far: runs, tasks, metadata ids.
    fn highest_numbers(&self) -> &'static Statement;
}
