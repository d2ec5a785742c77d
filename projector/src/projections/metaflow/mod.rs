//! The Metaflow projection: flows, runs, steps, tasks, artifacts and metadata, as Metaflow's metadata API shows them.
//!
//! Rules of the fold: a parent stands before its child in the log, else the child's record is quarantined; the first of
//! several registrations of one name or number wins, later ones change nothing; an event whose idempotency key its flow
//! has seen changes nothing; the newest heartbeat wins, in whatever order they come.

mod fold;
mod items;

use crate::{
    projection::{Decoded, Projection, Unapplied},
    statement,
    tables::{Statement, TablesError, Transaction},
};

const TABLES: Statement = statement!("tables", split);
const HIGHEST_NUMBERS: Statement = statement!("highest_numbers");

/// The Metaflow projection.
pub struct Metaflow;

impl Metaflow {
    /// Every statement that the fold runs, so that a test can run each on every engine.
    pub fn statements() -> Vec<&'static Statement> {
        [&[&HIGHEST_NUMBERS], fold::STATEMENTS.as_slice()].concat()
    }
}

impl Projection for Metaflow {
    fn domain(&self) -> &'static str {
        "metaflow"
    }

    fn ddl(&self) -> &'static [&'static Statement] {
        &[&TABLES]
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[Decoded]) -> Result<Vec<Unapplied>, TablesError> {
        fold::apply(transaction, batch)
    }

    fn highest_numbers(&self) -> &'static Statement {
        &HIGHEST_NUMBERS
    }
}
