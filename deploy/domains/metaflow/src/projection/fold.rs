//! What the kinds of the fold share: a fold under way, and how a kind whose rows have a key is inserted.
//!
//! Invariant: the result is that of applying the records one by one. Working kind by kind keeps to it because a child
//! looks only at parents of a lower offset; where a batch holds two registrations of one name, that kind is applied one
//! by one, so that "the first one wins" needs no second definition.

use std::collections::HashSet;

use daybook_projector::{
    projection::Report,
    row,
    tables::{Column, FromRow, Params, Row, Statement, Step, TablesError, Transaction},
};
use daybook_schemas::position::Position;

use super::items::Item;

/// A fold under way.
pub(super) struct Fold<'t> {
    transaction: &'t mut dyn Transaction,
    pub(super) report: Report,
}

/// How events of a kind become rows, one each.
pub(super) struct Kind<E: 'static> {
    /// Inserts events whose parent precedes them, unless their row exists already.
    pub(super) insert: &'static Statement,
    /// Their rows, column by column.
    pub(super) columns: fn(&[Item<'_, E>]) -> Vec<Column>,
    /// Whether two of them have a key in common.
    pub(super) repeat: fn(&[Item<'_, E>]) -> bool,
    /// Finds events that were not inserted, and whether the parent of each precedes it.
    pub(super) not_inserted: &'static Statement,
    /// Their keys and positions, for that.
    pub(super) keys: fn(&[Item<'_, E>]) -> Vec<Column>,
    /// What their parent is.
    pub(super) parent: &'static str,
}

row! {
    /// An item that was not inserted.
    pub(super) struct NotInsertedRow {
        has_parent: bool,
    }
}

impl<E: 'static> Kind<E> {
    /// The insert of all items as a step of a plan; `None` where two of them have a key in common.
    pub(super) fn step(&self, items: &[Item<'_, E>]) -> Option<Step> {
        (!(self.repeat)(items)).then(|| Step { statement: self.insert, columns: (self.columns)(items) })
    }
}

impl<'t> Fold<'t> {
    pub(super) fn new(transaction: &'t mut dyn Transaction) -> Self {
        Self { transaction, report: Report::default() }
    }

    /// Runs a statement over many rows; returns how many it changed.
    pub(super) fn execute(&mut self, statement: &Statement, columns: Vec<Column>) -> Result<u64, TablesError> {
        if columns.first().is_none_or(Column::is_empty) {
            return Ok(0);
        }
        self.transaction.execute(statement, &Params::Many(columns))
    }

    pub(super) fn run(&mut self, step: Step) -> Result<u64, TablesError> {
        self.execute(step.statement, step.columns)
    }

    /// Rows of a keyed statement.
    pub(super) fn read(&mut self, statement: &Statement, columns: Vec<Column>) -> Result<Vec<Row>, TablesError> {
        self.transaction.read(statement, &Params::Many(columns))
    }

    /// Inserts items of a kind, all together or, if two of them have the same key, one by one. Items whose parent does
    /// not precede them are rejected; the others that were not inserted are duplicates.
    pub(super) fn insert<E: 'static>(&mut self, kind: &Kind<E>, items: &[Item<'_, E>]) -> Result<(), TablesError> {
        let chunk = if (kind.repeat)(items) { 1 } else { items.len().max(1) };
        for part in items.chunks(chunk) {
            if self.execute(kind.insert, (kind.columns)(part))? == part.len() as u64 {
                continue;
            }
            for row in &self.read(kind.not_inserted, (kind.keys)(part))? {
                let (index, NotInsertedRow { has_parent }) = NotInsertedRow::read_keyed(row)?;
                let position = part.get(index).ok_or(TablesError::Shape { column: "ordinal" })?.position;
                match has_parent {
                    true => self.report.lose(position),
                    false => self.reject_orphan(position, kind.parent),
                }
            }
        }
        Ok(())
    }

    /// The positions of the records rejected so far.
    pub(super) fn rejected(&self) -> HashSet<Position> {
        self.report.rejected.iter().map(|rejected| rejected.position).collect()
    }

    /// Rejects a record whose parent does not precede it.
    pub(super) fn reject_orphan(&mut self, position: Position, parent: &str) {
        self.report.reject(position, format!("its {parent} does not precede it in the log"));
    }
}
