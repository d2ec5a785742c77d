//! The Metaflow projection: flows, runs, steps, tasks, artifacts and metadata, as Metaflow's metadata API shows them.
//!
//! Rules of the fold: a parent stands before its child in the log, else the child's record is quarantined; the first of
//! several registrations of one name or number wins, later ones change nothing; an event whose idempotency key its flow
//! has seen changes nothing; the newest heartbeat wins, in whatever order they come.

mod documents;
mod fold;
mod items;

use crate::{
    projection::{BatchStatement, Decoded, Projection, Report},
    statement,
    tables::{Statement, TablesError, Transaction},
};

const TABLES: Statement = statement!("tables", split);
/// Functions of engines that have any.
const FUNCTIONS: Statement = statement!("functions", split);
const HIGHEST_NUMBERS: Statement = statement!("highest_numbers");

/// The Metaflow projection.
pub struct Metaflow;

impl Metaflow {
    /// Every statement that the fold runs on both engines, so that a test can run each.
    pub fn statements() -> Vec<&'static Statement> {
        [&[&HIGHEST_NUMBERS], fold::STATEMENTS.as_slice(), documents::STATEMENTS.as_slice()].concat()
    }
}

impl Projection for Metaflow {
    fn domain(&self) -> &'static str {
        "metaflow"
    }

    fn ddl(&self) -> &'static [&'static Statement] {
        &[&TABLES, &FUNCTIONS]
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, transaction: &mut dyn Transaction, batch: &[Decoded]) -> Result<Report, TablesError> {
        fold::apply(transaction, batch)
    }

    fn at_once(&self, batch: &[Decoded]) -> Option<BatchStatement> {
        fold::at_once(batch)
    }

    fn highest_numbers(&self) -> &'static Statement {
        &HIGHEST_NUMBERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement without line breaks, without the parameters that its rows come from, and without what it does with rows
    /// that are there already.
    fn shape(text: &str) -> String {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ON CONFLICT DO NOTHING", "");
        let mut parts = words.split("FROM UNNEST(");
        let begin = parts.next().unwrap_or_default().to_owned();
        parts.fold(begin, |shape, part| {
            let rest = part.split_once(") AS e").map_or(part, |(_, rest)| rest);
            format!("{shape}FROM UNNEST() AS e{rest}")
        })
    }

    #[test]
    fn the_function_for_ordinary_batches_holds_the_statements_of_the_fold_word_for_word() {
        let functions = shape(FUNCTIONS.postgres);
        let held = fold::STATEMENTS.iter().filter(|it| functions.contains(&shape(it.postgres)));
        let held: Vec<_> = held.map(|statement| statement.name).collect();
        let expected = [
            "insert_runs",
            "insert_tasks",
            "insert_artifacts",
            "insert_metadata",
            "raise_attempts",
            "raise_numbers",
            "beat_runs",
            "beat_tasks",
        ];
        assert_eq!(held, expected);
        assert!(functions.contains(&shape(crate::generation::STATEMENTS[3].postgres)), "checkpoints move otherwise");
    }
}
